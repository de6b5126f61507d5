"""Folding: any language's text in plain Latin letters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.model.letters import fold


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("São Paulo", "sao paulo"),
        ("Über Straßen, GROẞ", "uber strassen, gross"),
        ("Cœur, ça — où?", "coeur, ca — ou?"),
        ("L\N{RIGHT SINGLE QUOTATION MARK}été", "l'ete"),
        ("CRISTAL·LÍ cristaŀlí", "cristalli cristalli"),
        ("Zażółć gęślą jaźń", "zazolc gesla jazn"),
        ("één vijfentwintig", "een vijfentwintig"),
        ("Ærø Þór ıslak İzmir", "aero thor islak izmir"),
        ("Съёмка: щука, Юлия, мой", "semka: shchuka, yuliya, moi"),
        ("Її м\N{MODIFIER LETTER APOSTROPHE}яч, ґанок", "ii m'yach, ganok"),
        ("Ђорђе Његош", "djordje njegosh"),
        ("Ψυχή Οδός", "psychi odos"),
        ("7½ 日本", "71⁄2 日本"),
    ],
)
def test_letters_become_plain(text, plain):
    assert fold(text) == plain


@given(text=st.text())
def test_folding_twice_is_folding_once(text):
    assert fold(fold(text)) == fold(text)


@given(text=st.text(st.characters(max_codepoint=127)))
def test_english_is_lower_case_and_nothing_else(text):
    assert fold(text) == text.lower()
