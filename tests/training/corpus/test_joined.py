"""Strings of digits are made of single ones, by one speaker each, and by the seed alone."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtstream.errors import TrainingError
from rtstream.training.corpus.data import Batches, find_shard, load_set, load_shard
from rtstream.training.corpus.joined import CLIPS_A_DIGIT, PAUSES, join, join_digits
from tests.training.tiny_training import PLAIN, tone, write_shard
from tests.training.tiny_whisper import full_tokenizer

SAID = [(word, speaker) for speaker in ("ann", "bob") for word in ("one", "two", "five", "oh")]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Two speakers' digits among other clips, each digit of another length."""
    folder = tmp_path_factory.mktemp("digits")
    rows = [(0.2 + 0.01 * place, word, {"speaker": speaker}) for place, (word, speaker) in enumerate(SAID)]
    write_shard(folder / "digits", [*rows, (0.5, "one more", {"speaker": "ann"}), (0.3, "one", {"speaker": "once"})])
    write_shard(folder / "words", [(0.4, "seven", {"speaker": "ann"}), (0.4, "seven", {"speaker": "ann"})])
    return folder


@pytest.fixture(scope="module")
def strings(shards):
    return load_set(shards, "digits:joined")


def test_a_string_is_said_by_one_speaker_and_its_text_is_its_parts(strings):
    assert len(strings) == CLIPS_A_DIGIT * len(SAID)
    for clip in strings:
        assert clip.text == clip.reference == " ".join(part.text for part in clip.parts)
        assert {part.speaker for part in clip.parts} == {clip.speaker}
        assert 2 <= len(clip.parts) <= 12
    assert {clip.speaker for clip in strings} == {"ann", "bob"}  # of one digit nothing is made


def test_pauses_are_between_the_parts_and_as_long_as_the_clip_says(strings):
    for clip in strings:
        assert len(clip.pauses) == len(clip.parts) - 1
        assert all(PAUSES[0] <= pause <= PAUSES[1] for pause in clip.pauses)
        audio = clip.read()
        assert audio.dtype == np.float32
        assert len(audio) == pytest.approx(16_000 * clip.seconds, abs=len(clip.parts))


def test_the_same_digit_again_is_common(shards):
    strings = join_digits(load_shard(shards / "digits"), 300)
    words = [clip.text.split() for clip in strings]
    again = np.mean([one == two for each in words for one, two in itertools.pairwise(each)])
    assert again == pytest.approx(0.3 + 0.7 / 4, abs=0.05)


def test_a_shard_joins_to_the_same_audio_each_time(shards, strings):
    again = find_shard([shards / "elsewhere", shards], "digits:joined")
    assert again == strings
    assert all(np.array_equal(one.read(), other.read()) for one, other in zip(strings, again, strict=True))


def test_another_seed_joins_others(shards):
    singles = load_shard(shards / "digits")
    texts = [[clip.text for clip in join_digits(singles, 20, seed=seed)] for seed in (1, 2)]
    assert texts[0] != texts[1]


@settings(max_examples=20)
@given(pauses=st.lists(st.floats(0.0, 0.4), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_recordings_are_heard_whole_and_in_order(pauses, seed):
    parts = [tone(index, 0.2) for index in range(len(pauses) + 1)]
    audio = join(parts, pauses, seed)
    place = 0
    for part, pause in zip(parts, [*pauses, 0.0], strict=True):
        assert np.array_equal(audio[place + 80 : place + len(part) - 80], part[80:-80])
        place += len(part) + round(pause * 16_000)
    assert place == len(audio)


def test_a_recording_shorter_than_its_fade_is_no_trouble():
    audio = join([np.ones(10, np.float32), np.ones(3, np.float32)], [0.1], 0)
    assert len(audio) == 13 + 1600
    assert np.isfinite(audio).all()


def test_nothing_to_join_is_an_error_that_names_the_shard(shards):
    with pytest.raises(TrainingError, match=r"words: no single digits to join: nobody says two different ones"):
        find_shard([shards], "words:joined")


def test_strings_are_a_source_of_batches_whose_texts_are_sentences_of_words(strings):
    tokenizer = full_tokenizer()
    batches = Batches({"digits:joined": (strings, 1.0)}, tokenizer, PLAIN, [], seconds=8, seed=0)
    clips = batches.pool(0)[0]
    batch = batches.collate(clips, np.random.default_rng(0))
    assert batch.letter_counts.tolist() == [len(clip.text) for clip in clips]
    for row, clip in enumerate(clips):
        learnt = batch.targets[row][batch.targets[row] >= 0].tolist()[1:-1]
        first, *others = clip.text.split()
        assert tokenizer.decode(learnt) == f" {', '.join([first.title(), *others])}."
        assert batch.word_tokens[row].count_nonzero() == len(clip.parts)
        assert np.allclose(batch.audio[row, : batch.samples[row]], clip.read())
