"""The vocabulary is cut to the commonest tokens of the texts, and every kept token knows its old row."""

import gzip
from collections import Counter

import pytest

from rtstream.bundle.tokenizer import byte_characters
from rtstream.errors import TrainingError
from rtstream.training.speech.vocabulary import SPECIAL, common_words, count_tokens, cut_tokenizer, kept_ids
from tests.training.tiny_whisper import LANGUAGES, full_tokenizer


@pytest.fixture
def texts(tmp_path):
    plain, packed = tmp_path / "a.txt", tmp_path / "b.txt.gz"
    plain.write_text("The thing and our café.\nthe the the\n\n", encoding="utf-8")
    with gzip.open(packed, "wt", encoding="utf-8") as file:
        file.write("ing ing\n")
    return [plain, packed]


def pieces(tokenizer):
    """What was kept besides bytes and special tokens."""
    return set(tokenizer.pieces) - set(byte_characters().values()) - set(tokenizer.special)


def test_tokens_are_counted_by_how_often_their_words_come():
    full = full_tokenizer()
    counts = count_tokens(full, Counter({" the": 3, " and": 2}))
    assert {full.pieces[token]: number for token, number in counts.items()} == {"Ġthe": 3, "Ġand": 2}


def test_commonest_tokens_are_kept_with_their_ancestors(texts):
    cut = cut_tokenizer(full_tokenizer(), texts, lower=1, cased=0)
    assert pieces(cut) == {"Ġthe", "Ġt", "he"}
    assert pieces(cut_tokenizer(full_tokenizer(), texts, lower=0, cased=0)) == set()
    assert {"Ġand", "Ġing"} <= pieces(cut_tokenizer(full_tokenizer(), texts, lower=100, cased=0))


def test_texts_as_written_bring_what_normalizing_drops(texts):
    accented = "Ã©"
    assert accented not in pieces(cut_tokenizer(full_tokenizer(), texts, lower=100, cased=0))
    assert accented in pieces(cut_tokenizer(full_tokenizer(), texts, lower=0, cased=100))


def test_only_special_tokens_of_use_are_kept(texts):
    cut = cut_tokenizer(full_tokenizer(), texts, lower=100, cased=100)
    assert set(cut.special) == {*SPECIAL, *LANGUAGES}
    assert set(cut.languages) == {"en", "es", "fr", "de", "pt", "ja"}
    assert "<|0.00|>" not in cut.pieces


def test_cut_tokenizer_encodes_the_texts_as_the_full_one(texts):
    full = full_tokenizer()
    cut = cut_tokenizer(full, texts, lower=100, cased=100)
    old = kept_ids(full, cut)
    for text in (" the thing and our cafe", "The thing and our café.", " ing"):
        assert [old[token] for token in cut.encode(text)] == full.encode(text)


def test_words_are_kept_whole_wherever_they_stand():
    full = full_tokenizer()
    cut = cut_tokenizer(full, [], lower=0, cased=0, words=["the"])
    for text in (" the", "the", " The", "The"):
        assert [cut.pieces[token] for token in cut.encode(text)] == [full.pieces[t] for t in full.encode(text)]


def test_common_words_are_those_of_the_language():
    assert {"der", "und"} <= set(common_words("de", 30))
    assert len(common_words("pl", 50)) == 50
    with pytest.raises(TrainingError, match="no list of the words of 'tlh'"):
        common_words("tlh", 10)


def test_kept_ids_name_the_full_tokenizers_row_of_each_token(texts):
    full = full_tokenizer()
    cut = cut_tokenizer(full, texts, lower=2, cased=2)
    old = kept_ids(full, cut)
    assert [full.pieces[index] for index in old] == list(cut.pieces)
    assert [old[index] for index in cut.special.values()] == [full.special[name] for name in cut.special]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("absent.txt", None),
        ("plain.txt.gz", b"no gzip"),
        ("cut.txt.gz", gzip.compress(b"x" * 9999, mtime=0)[:20]),
        ("bad.txt", b"\xff"),
    ],
    ids=["absent", "no gzip", "cut short", "not UTF-8"],
)
def test_text_that_cannot_be_read_is_named(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TrainingError, match=rf"{name}: text for the vocabulary cannot be read"):
        cut_tokenizer(full_tokenizer(), [tmp_path / name], lower=1, cased=1)
