"""Batches of pairs: a function of seed and step, little padding, every pair once before any comes again."""

import itertools
from collections import Counter

import pytest
import torch

from rtstream.bundle.pieces import COPY, END_ID, PAD_ID
from rtstream.errors import TrainingError
from rtstream.training.corpus.data import IGNORED
from rtstream.training.text.asr_noise import AsrNoise
from rtstream.training.text.data import BATCHES_A_POOL, TextBatches, shares
from rtstream.training.text.recipe import Noise
from rtstream.training.text.train_pieces import train_pieces
from tests.training.tiny_pairs import ENGLISH, WORDS, translated

DATA = {language: [(text, translated(text, language)) for text in ENGLISH] for language in WORDS}
PLAIN = Noise(as_written=1.0, join=0.0, copy_names=0.0)


@pytest.fixture(scope="module")
def tokenizer():
    return train_pieces([text for rows in DATA.values() for pair in rows for text in pair], tuple(DATA), 60)


def make(tokenizer, noise=PLAIN, **changes):
    options = {"pairs": 6, "share": {"es": 0.5, "de": 0.5}, "seed": 1, "max_tokens": 80} | changes
    return TextBatches(DATA, tokenizer, noise, AsrNoise.of(ENGLISH), **options)


def batches(stream, count):
    return list(itertools.islice(stream, count))


def same(one, other):
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in one.__slots__)


def test_stream_goes_on_from_any_step(tokenizer):
    noise = Noise(join=0.3, copy_names=0.3)
    whole = batches(make(tokenizer, noise), BATCHES_A_POOL + 5)
    for start in (3, BATCHES_A_POOL, BATCHES_A_POOL + 2):
        assert same(batches(make(tokenizer, noise, start=start), 1)[0], whole[start])


def test_processes_share_the_stream(tokenizer):
    whole = batches(make(tokenizer), 6)
    for rank in (0, 1):
        part = batches(make(tokenizer, rank=rank, world=2), 3)
        assert all(same(one, other) for one, other in zip(part, whole[rank::2], strict=True))


def test_rows_have_language_and_end_and_targets_follow_tokens(tokenizer):
    for batch in batches(make(tokenizer), 4):
        for source, mask, tokens, targets in zip(batch.source, batch.mask, batch.tokens, batch.targets, strict=True):
            length = int(mask.sum())
            assert int(source[0]) == int(tokens[0]) in tokenizer.languages.values()
            assert int(source[length - 1]) == END_ID
            assert bool((source[length:] == PAD_ID).all())
            real = targets[targets != IGNORED]
            assert int(real[-1]) == END_ID
            assert torch.equal(real[:-1], tokens[1 : len(real)])


def test_every_pair_comes_once_before_any_comes_again(tokenizer):
    stream = make(tokenizer, pairs=3)
    drawn = [pair for index in range(5) for pair in stream.drawn("es", index)]
    counts = Counter(drawn[: len(drawn) // len(ENGLISH) * len(ENGLISH)])
    assert len(counts) == len(ENGLISH)
    assert len(set(counts.values())) == 1


def test_what_is_heard_is_lower_case_and_what_is_written_stays(tokenizer):
    stream = make(tokenizer, Noise(as_written=0.0, misheard=0.0, join=0.0, copy_names=0.0))
    for examples in stream.pool(0)[:5]:
        for example in examples:
            english = tokenizer.decode(example.source)
            assert english == english.lower()
            assert not english.endswith(".")
            assert tokenizer.decode(example.target).endswith(".")


def test_copied_name_is_a_token_on_both_sides(tokenizer):
    stream = make(tokenizer, Noise(as_written=1.0, copy_names=1.0, join=0.0))
    examples = [example for batch in stream.pool(0) for example in batch]
    assert any(tokenizer.copy in example.source for example in examples)
    for example in examples:
        assert example.source.count(tokenizer.copy) == example.target.count(tokenizer.copy)
    assert COPY not in tokenizer.decode(examples[0].target)


def test_long_pairs_are_left_out(tokenizer):
    stream = make(tokenizer, max_tokens=14)
    assert all(len(example.source) <= 14 for batch in stream.pool(0) for example in batch)


def test_small_languages_get_their_least_share():
    got = shares({"es": 900, "de": 90_000, "pt": 10}, 2.0, 0.2)
    assert sum(got.values()) == pytest.approx(1.0)
    assert (got["pt"], got["es"]) == (0.2, 0.2)
    assert shares({"es": 400, "de": 100}, 2.0, 0.1) == pytest.approx({"es": 2 / 3, "de": 1 / 3})
    with pytest.raises(TrainingError, match="too much for 6 languages"):
        shares(dict.fromkeys("abcdef", 1), 1.0, 0.2)


def test_language_without_token_or_pairs_is_an_error(tokenizer):
    for data, told in (({"fr": [("a", "b")]}, "fr: no token"), ({"es": []}, "es: no pairs")):
        with pytest.raises(TrainingError, match=told):
            TextBatches(
                data, tokenizer, PLAIN, AsrNoise({}), pairs=1, share=dict.fromkeys(data, 1.0), seed=0, max_tokens=9
            )
