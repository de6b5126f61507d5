"""What a machine's translations must not be, and a run of it that goes on."""

import pytest

from rtstream.training.corpus.machine_pairs import english_of, plausible, unwritten
from tests.training.tiny_pairs import ENGLISH, WORDS, write_pairs


@pytest.mark.parametrize(
    ("english", "translation", "fine"),
    [
        ("I like fruit.", "Eu gosto de frutas.", True),
        ("At 10 or 11?", "Às 10 ou 11?", True),
        ("At 10 or 11?", "Às 10?", False),
        ("I like fruit.", "Eu", False),
        ("Hi.", "Olá, como você está hoje?", False),
        ("He sings and sings all day long.", "a b c a b c a b c a b c", False),
    ],
)
def test_failures_that_can_be_seen_are_left_out(english, translation, fine):
    assert plausible(english, translation) is fine


def test_run_goes_on_after_its_last_whole_line(tmp_path):
    out = tmp_path / "out.tsv"
    assert list(unwritten(["a", "b"], out)) == ["a", "b"]
    out.write_text("a\tA\tmachine\nb\tB\tmach")
    assert list(unwritten(["a", "b", "c"], out)) == ["b", "c"]
    assert out.read_text() == "a\tA\tmachine\n"


def test_no_sentence_of_a_dev_set_is_translated(tmp_path):
    write_pairs(tmp_path)
    assert english_of(tmp_path, WORDS) == []
    for language in WORDS:
        (tmp_path / f"pairs-en-{language}.dev.tsv.gz").write_bytes(b"")
    with pytest.raises(Exception, match="pairs cannot be read"):
        english_of(tmp_path / "absent", WORDS)
    assert sorted(english_of(tmp_path, WORDS)) == sorted(ENGLISH)
