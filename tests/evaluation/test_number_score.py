"""The sentences of the table of spoken numbers, and what counts as right."""

import pytest

from rtstream.evaluation.number_score import SAID, VOICES, Row, forms, measure, numbers, table
from rtstream.training.corpus.voices import Voice

ALL = [(said, digits) for sentences in SAID.values() for said, digits in sentences.items()]


def test_there_are_sixty_by_two_voices():
    assert len(ALL) == len(dict(ALL)) == 60
    assert len({voice.program for voice in VOICES}) == 2


@pytest.mark.parametrize(("said", "digits"), ALL)
def test_what_is_understood_word_by_word_is_right_in_each_form(said, digits):
    row = Row("", "", said, digits, forms(said))
    assert row.written["as spoken"] == said
    assert row.is_right("digits")
    assert row.is_right("words")


def test_another_number_is_wrong_and_other_words_do_not_count():
    row = Row("", "", "Dial nine one one.", "Dial 911.", forms("Dull nine one two."))
    assert not row.is_right("digits")
    assert not row.is_right("words")
    assert Row("", "", row.said, row.digits, forms("Dull nine one one.")).is_right("digits")
    assert not Row("", "", row.said, row.digits, forms("Dial nine one one.") | {"words": "Dial 911."}).is_right("words")
    assert numbers("On May 3, at 7:30.") == ["3", "7:30"]


def test_table_has_a_row_a_kind_and_one_a_sentence_and_voice(monkeypatch):
    monkeypatch.setattr(Voice, "say", lambda _, text, *_args: text)
    monkeypatch.setattr(
        "rtstream.evaluation.number_score.recognize",
        lambda _, text: type("Heard", (), {"text": text.replace("two", "to")}),
    )
    rows = measure(None)
    assert len(rows) == 120
    shown = table(rows)
    assert "| dates | 9 of 10 | 9 of 10 | 9 of 10 | 9 of 10 |" in shown
    assert "| Dial nine one one. | flite | Dial nine one one. | Dial 911. | Dial nine one one. |" in shown
