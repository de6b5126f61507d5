"""Pieces and back: what is known comes back as it was, what is unknown as it stood."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.bundle.pieces import COPY, END_ID, UNKNOWN_ID, PieceTokenizer
from rtstream.errors import BundleError
from rtstream.training.text.train_pieces import train_pieces
from tests.training.tiny_pairs import ENGLISH, WORDS, translated

TEXTS = [*ENGLISH, *(translated(text, language) for language in WORDS for text in ENGLISH)]
TOKENIZER = train_pieces(TEXTS, tuple(WORDS), 60)


def test_languages_are_tokens_that_no_text_can_write():
    assert list(TOKENIZER.languages) == list(WORDS)
    ids, runs = TOKENIZER.encode("<es> Tom")
    assert not set(ids) & set(TOKENIZER.languages.values())
    assert runs == ["<es>"]


@given(st.lists(st.sampled_from([*" ".join(TEXTS).split(), "東京", "Łódź", "😀", COPY]), max_size=8))
def test_every_text_comes_back(words):
    text = " ".join(words)
    ids, runs = TOKENIZER.encode(text)
    assert TOKENIZER.decode([*ids, END_ID], runs) == text
    assert UNKNOWN_ID not in ids
    assert ids.count(TOKENIZER.copy) == len(runs)


def test_run_of_unknown_words_is_one_token():
    ids, runs = TOKENIZER.encode("Tom 東京 大阪 reads 😀")
    assert runs == ["東京 大阪", "😀"]
    assert ids.count(TOKENIZER.copy) == 2


def test_copy_without_a_run_is_left_out():
    ids, _ = TOKENIZER.encode("Tom reads")
    assert TOKENIZER.decode([TOKENIZER.copy, *ids, TOKENIZER.copy], ()) == "Tom reads"


def test_pieces_know_whether_they_begin_or_go_on_with_a_word():
    ids, _ = TOKENIZER.encode("Tom reads.")
    assert TOKENIZER.begins_word(ids[0])
    assert not TOKENIZER.begins_word(ids[-1])
    assert not TOKENIZER.continues_word(ids[-1])  # a full stop
    assert not TOKENIZER.continues_word(TOKENIZER.copy)
    assert any(TOKENIZER.continues_word(number) for number in range(len(TOKENIZER)))


def test_saved_and_sent_to_another_process_it_is_the_same(tmp_path):
    TOKENIZER.save(tmp_path / "pieces.model")
    for other in (PieceTokenizer.load(tmp_path / "pieces.model"), pickle.loads(pickle.dumps(TOKENIZER))):  # noqa: S301
        assert other.encode(TEXTS[0]) == TOKENIZER.encode(TEXTS[0])
        assert len(other) == len(TOKENIZER)


@pytest.mark.parametrize("data", [b"", b"nonsense", None])
def test_what_is_no_tokenizer_is_named(tmp_path, data):
    if data is not None:
        (tmp_path / "pieces.model").write_bytes(data)
    with pytest.raises(BundleError, match=r"pieces\.model") as caught:
        PieceTokenizer.load(tmp_path / "pieces.model")
    assert "\n" not in str(caught.value)
