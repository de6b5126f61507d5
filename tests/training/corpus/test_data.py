"""Batches are decided by seed and step alone; shards are read in place or refused by name."""

import itertools
import json
from dataclasses import fields, replace

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from rtstream.errors import TrainingError
from rtstream.model.config import FOREIGN, KNOWN
from rtstream.training.corpus.augment import Augment
from rtstream.training.corpus.data import HALVES, IGNORED, Batches, Clip, clean_clip, load_set, load_shard
from rtstream.training.corpus.text import normalize
from tests.training.tiny_training import PLAIN, TEXTS, make_batches, make_recipe, taught_clips, tone, write_shard
from tests.training.tiny_whisper import full_tokenizer

RECIPE = make_recipe()


def take(batches, count):
    return list(itertools.islice(batches, count))


def same(one, other):
    return all(torch.equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))


@pytest.mark.parametrize("taught", [False, True])
def test_same_seed_gives_the_same_batches(data, taught):
    first, second = (take(make_batches(RECIPE, data, taught=taught), 5) for _ in range(2))
    assert all(map(same, first, second))


def test_another_seed_gives_others(data):
    one, other = (take(make_batches(RECIPE, data, seed=seed), 1)[0] for seed in (1, 2))
    assert one.audio.shape != other.audio.shape or not torch.equal(one.audio, other.audio)


@pytest.mark.parametrize("start", [1, 3, 18])
def test_start_goes_on_where_another_run_stood(data, start):
    whole = take(make_batches(RECIPE, data), start + 2)
    resumed = take(make_batches(RECIPE, data, start=start), 2)
    assert all(map(same, whole[start:], resumed))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_out_the_batches_of_one(data, world):
    whole = take(make_batches(RECIPE, data), 2 * world)
    parts = [take(make_batches(RECIPE, data, rank=rank, world=world), 2) for rank in range(world)]
    assert all(map(same, whole, [parts[i % world][i // world] for i in range(2 * world)]))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_loader_processes_give_each_batch_once_and_in_order(data, workers):
    batches = make_batches(RECIPE, data, start=2, taught=True)
    loaded = take(DataLoader(batches, batch_size=None, num_workers=workers), 5)
    assert all(map(same, loaded, take(batches, 5)))


@settings(max_examples=10)
@given(seed=st.integers(0, 100), index=st.integers(0, 5))
def test_a_pool_holds_batches_of_about_the_audio_asked(data, seed, index):
    batches = make_batches(RECIPE, data, seed=seed)
    pool = batches.pool(index)
    assert pool == batches.pool(index)
    seconds = [sum(clip.seconds for clip in clips) for clips in pool]
    assert sum(seconds) >= 16 * 2.0 - 1e-9
    assert max(seconds) <= 2.0 + 2 * 0.8
    spread = [max(c.seconds for c in clips) - min(c.seconds for c in clips) for clips in pool]
    assert np.mean(spread) < 0.1


def test_sources_are_drawn_by_their_share_of_the_audio(data):
    batches = make_batches(make_recipe(sources={"speech": 0.5, "foreign": 1.5}), data)
    clips = [clip for index in range(60) for batch in batches.pool(index) for clip in batch]
    foreign = sum(clip.seconds for clip in clips if clip.text is None)
    assert foreign / sum(clip.seconds for clip in clips) == pytest.approx(0.75, abs=0.04)


def test_a_batch_holds_what_the_decoder_and_ctc_are_to_write(data):
    tokenizer = full_tokenizer()
    clips = [*load_shard(data / "speech"), load_shard(data / "foreign")[0]]
    batch = make_batches(RECIPE, data, augment=PLAIN).collate(clips, np.random.default_rng(0))
    prompt = tokenizer.prompt()
    for row, text in enumerate(TEXTS):
        # What follows the first token says whether anybody speaks; the rest of the prompt is given.
        spoken, *learnt = batch.targets[row][batch.targets[row] != IGNORED].tolist()
        assert spoken == batch.targets[row, 0] == (prompt[1] if text else tokenizer.no_speech)
        assert learnt == [*tokenizer.encode(f" {text}" if text else ""), tokenizer.end]
        read = batch.tokens[row, : len(prompt) + len(learnt) - 1].tolist()
        assert read == [*prompt, *learnt[:-1]]
        first = int((batch.targets[row] != IGNORED).nonzero()[1])
        assert batch.tokens[row, first] == prompt[-1]  # the first word is learnt where the prompt ends
    assert batch.letter_counts.tolist() == [*map(len, TEXTS), -1]
    assert len(batch.letters) == sum(map(len, TEXTS))
    assert bool((batch.targets[-1] == IGNORED).all())


@pytest.mark.parametrize(
    ("language", "learnt"), [("ja", "ja"), ("pt-BR", "pt"), ("ru", None)], ids=["known", "with its region", "unknown"]
)
def test_of_another_language_its_name_alone_is_learnt(data, language, learnt):
    tokenizer = full_tokenizer()
    clip = replace(load_shard(data / "foreign")[0], language=language)
    batch = make_batches(RECIPE, data, augment=PLAIN).collate([clip], np.random.default_rng(0))
    assert batch.targets[0, 0] == (tokenizer.languages[learnt] if learnt else IGNORED)
    assert bool((batch.targets[0, 1:] == IGNORED).all())


def test_word_tokens_count_the_tokens_up_to_each_word(data):
    tokenizer = full_tokenizer()
    batch = make_batches(RECIPE, data, augment=PLAIN).collate(load_shard(data / "speech"), np.random.default_rng(0))
    for row, text in enumerate(TEXTS):
        words = text.split()
        expected = [len(tokenizer.encode("".join(f" {word}" for word in words[: n + 1]))) for n in range(len(words))]
        assert batch.word_tokens[row].tolist()[: len(words)] == expected
        assert not batch.word_tokens[row, len(words) :].any()


def test_audio_is_padded_with_zeros_past_its_samples(data):
    batch = make_batches(RECIPE, data, augment=PLAIN).collate(load_shard(data / "speech"), np.random.default_rng(0))
    assert batch.samples.tolist() == [int(s * 16_000) for s in (0.4, 0.5, 0.55, 0.6, 0.7, 0.8)]
    assert batch.audio.shape == (6, 12_800)
    for row, samples in enumerate(batch.samples):
        assert not batch.audio[row, samples:].any()
        assert np.allclose(batch.audio[row, :samples], tone(row, int(samples) / 16_000), atol=1e-4)


UNSPOILT = replace(Augment(speed=0.9), noise=0.0, room=0.0, band=0.0, gain_db=(0.0, 0.0))
"""Clips are changed as the teacher's are, and no more."""


def test_taught_clip_is_always_heard_as_the_teacher_heard_it(data):
    clips = taught_clips(data, "speech", UNSPOILT)
    batches = make_batches(RECIPE, data, augment=UNSPOILT)
    first, second = (batches.collate(clips, np.random.default_rng(seed)) for seed in (1, 2))
    for row, clip in enumerate(clips):
        expected = clean_clip(UNSPOILT, clip)
        if clip.taught is None:
            assert not np.array_equal(first.audio[row, : len(expected)], second.audio[row, : len(expected)])
            continue
        for batch in (first, second):
            assert int(batch.samples[row]) == len(expected)
            assert np.allclose(batch.audio[row, : len(expected)], expected, atol=1e-6)


def test_noise_and_rooms_are_others_each_time(data):
    spoilt = replace(UNSPOILT, noise=1.0)
    clips = [clip for clip in taught_clips(data, "speech", spoilt) if clip.taught]
    batches = make_batches(RECIPE, data, augment=spoilt)
    first, second = (batches.collate(clips, np.random.default_rng(seed)) for seed in (1, 2))
    assert torch.equal(first.samples, second.samples)
    assert not any(torch.equal(one, other) for one, other in zip(first.audio, second.audio, strict=True))


def test_clips_differ_in_how_they_are_heard(data):
    """Or all of a shard would have one speed and one lead."""
    clips = load_shard(data / "speech")
    longer = [len(clean_clip(Augment(speed=1.0), clip)) / 16_000 - clip.seconds for clip in clips]
    assert len({round(seconds, 3) for seconds in longer}) == len(clips)


def test_goals_are_those_of_the_clips_of_their_rows(data):
    taught = [clip for clip in taught_clips(data, "speech", PLAIN) if clip.taught]
    untaught = load_shard(data / "speech")[0]
    batches = make_batches(RECIPE, data, augment=PLAIN)
    clips = [taught[3], untaught, taught[0], taught[4]]
    batch = batches.collate(clips, np.random.default_rng(0))
    assert batch.goal_counts.tolist() == [clip.taught.frames if clip.taught else 0 for clip in clips]
    assert batch.goals.shape == (4, max(batch.goal_counts), 16)
    assert batch.goals.dtype == torch.float16
    for row, clip in enumerate(clips):
        count = int(batch.goal_counts[row])
        assert not batch.goals[row, count:].any()
        if clip.taught:
            assert np.array_equal(batch.goals[row, :count], clip.taught.read())
    nothing = batches.collate([untaught, untaught], np.random.default_rng(0))
    assert nothing.goals.shape == (2, 0, 0)
    assert nothing.goal_counts.tolist() == [0, 0]


def test_decoder_learns_the_teachers_style_and_ctc_the_letters(data):
    tokenizer = full_tokenizer()
    clips = [
        replace(clip, taught=replace(clip.taught, written=f"{clip.text.title()}, and more"))
        for clip in taught_clips(data, "speech", PLAIN)
        if clip.taught
    ]
    batches = make_batches(RECIPE, data, augment=PLAIN)
    styled = batches.collate(clips, np.random.default_rng(0))
    plain = batches.collate([replace(clip, taught=None) for clip in clips], np.random.default_rng(0))
    assert torch.equal(styled.letters, plain.letters)
    assert torch.equal(styled.letter_counts, plain.letter_counts)
    for row, clip in enumerate(clips):
        _, *learnt = styled.targets[row][styled.targets[row] != IGNORED].tolist()
        assert tokenizer.decode(learnt) == f" {clip.text.title()},"
        words = clip.text.split()
        counted = styled.word_tokens[row].tolist()[: len(words)]
        assert [tokenizer.decode(learnt[:count]).lower().rstrip(",") for count in counted] == [
            "".join(f" {word}" for word in words[: n + 1]) for n in range(len(words))
        ]


@pytest.mark.parametrize("rows", range(1, 8))
def test_first_rows_of_a_batch_are_the_batch_of_those_clips(data, rows):
    clips = [load_shard(data / "foreign")[0], *taught_clips(data, "speech", PLAIN)]
    batches = make_batches(RECIPE, data, augment=PLAIN)
    first = batches.collate(clips, np.random.default_rng(0)).first(rows)
    alone = batches.collate(clips[:rows], np.random.default_rng(0))
    for name in ("samples", "letters", "letter_counts", "goal_counts"):
        assert torch.equal(getattr(first, name), getattr(alone, name)), name
    for name in ("audio", "tokens", "targets", "word_tokens", "goals"):
        cut, own = getattr(first, name), getattr(alone, name)
        assert len(cut) == rows
        assert torch.equal(cut[tuple(slice(0, size) for size in own.shape)], own), name


def test_clips_too_long_or_too_short_are_left_out(data):
    clips = load_shard(data / "speech")
    batches = Batches({"speech": (clips, 1.0)}, full_tokenizer(), PLAIN, [], seconds=2, seed=0, max_clip=0.5)
    assert {clip.seconds for batch in batches.pool(0) for clip in batch} == {0.4, 0.5}
    with pytest.raises(TrainingError, match=r"source speech: no clip is longer than 0\.1 s and at most 0\.2 s long"):
        Batches({"speech": (clips, 1.0)}, full_tokenizer(), PLAIN, [], seconds=2, seed=0, max_clip=0.2)


@pytest.mark.parametrize("second", [1, -1])
def test_clip_of_two_channels_is_heard_as_the_service_hears_it(tmp_path, second):
    file = tmp_path / "clip.wav"
    samples = np.stack((tone(1, 0.5), second * tone(1, 0.5)), axis=1)
    soundfile.write(file, samples, 16_000, subtype="FLOAT")
    clip = Clip(file, 0, file.stat().st_size, seconds=0.5, text="")
    assert np.abs(clip.read() - tone(1, 0.5))[200:].max() < 1e-6


def test_shard_keeps_labels_that_can_be_learnt(tmp_path):
    rows = [
        (0.4, "Hello, there!", {}),
        (0.4, "room 7", {}),
        (0.4, "hallo", {"lang": "de"}),
        (0.4, "sure", {"agree": 0.8}),
        (0.4, "unsure", {"agree": 0.79}),
        (0.4, "elsewhere", {"file": "not-in-the-tar.flac"}),
        (0.4, "", {"lang": "zxx"}),
    ]
    write_shard(tmp_path / "shard", rows)
    assert [clip.text for clip in load_shard(tmp_path / "shard")] == ["hello there", None, None, "sure", ""]


def test_texts_of_the_languages_that_are_learnt_are_learnt(tmp_path):
    rows = [
        (0.4, "grüß dich, peter - bitte!", {"lang": "de"}),
        (0.4, "Bom dia.", {"lang": "pt-BR"}),
        (0.4, "hallo", {"lang": "nl"}),
        (0.4, "Hello.", {}),
    ]
    write_shard(tmp_path / "shard", rows)
    clips = load_shard(tmp_path / "shard", languages=["de", "pt"])
    assert [clip.text for clip in clips] == ["gruss dich peter bitte", "bom dia", None, None]
    assert [clip.voice for clip in clips] == [KNOWN, KNOWN, FOREIGN, FOREIGN]
    assert [clip.written for clip in clips] == ["grüß dich, peter - bitte!", "Bom dia.", None, None]


def test_decoder_is_told_the_language_of_a_text_and_counts_the_tokens_of_its_words(data):
    tokenizer = full_tokenizer()
    clip = load_shard(data / "foreign")[0]
    text = "Hé — peut-être, ja -"
    clip = replace(clip, text=normalize(text, "ja"), reference=text, language="ja")
    batch = make_batches(RECIPE, data, augment=PLAIN).collate([clip], np.random.default_rng(0))
    written = tokenizer.encode(f" {text}")
    prompt = tokenizer.prompt("ja")
    assert batch.tokens[0].tolist()[: len(prompt) + len(written)] == [*prompt, *written]
    assert batch.targets[0, 0] == tokenizer.languages["ja"]
    assert batch.targets[0, len(prompt) - 1 :].tolist()[: len(written) + 1] == [*written, tokenizer.end]
    ends = [len(tokenizer.encode(f" {text}"[:end])) for end in (3, 3, 16, len(text) + 1)]
    assert clip.text == "he peut etre ja"
    assert batch.word_tokens[0].tolist() == ends


def test_shard_gives_the_clips_of_one_language_or_label_with_their_texts_as_they_are(tmp_path):
    rows = [
        (0.4, "Room 7, please.", {}),
        (0.4, "Grüß dich!", {"lang": "de"}),
        (0.4, "", {"lang": "zxx", "label": "rain"}),
        (0.4, None, {"lang": "de"}),
    ]
    write_shard(tmp_path / "shard", rows)
    kept = {kind: [clip.reference for clip in load_shard(tmp_path / "shard", kind)] for kind in ("en", "de", "rain")}
    assert kept == {"en": ["Room 7, please."], "de": ["Grüß dich!", ""], "rain": [""]}
    assert [clip.kind for clip in load_shard(tmp_path / "shard")] == ["en", "de", "rain", "de"]
    with pytest.raises(
        TrainingError, match=r"shard: no usable clip in the shard of the kind 'fr': it has de, en, rain"
    ):
        load_shard(tmp_path / "shard", "fr")


def rewrite(path, **changes):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1] |= changes
    path.write_text("\n".join(json.dumps({k: v for k, v in row.items() if v is not ...}) for row in rows))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: (d / "shard.tar").unlink(), r"shard: no shard \(needs \.tar and \.jsonl\)"),
        (lambda d: (d / "shard.jsonl").unlink(), r"shard: no shard"),
        (lambda d: (d / "shard.jsonl").write_text("{"), r"shard: no shard"),
        (lambda d: (d / "shard.tar").write_bytes(b"no archive" * 100), r"shard: no shard"),
        (lambda d: (d / "shard.jsonl").write_text(""), r"shard: no usable clip"),
        (lambda d: (d / "shard.jsonl").write_text("[]\n"), r"shard\.jsonl: line 1 is no clip"),
        (lambda d: (d / "shard.jsonl").write_text('{"file": "shard-0.flac", "dur": 1}\n'), r"line 1 is no clip .*text"),
        (lambda d: rewrite(d / "shard.jsonl", dur="long"), r"line 2 is no clip"),
        (lambda d: rewrite(d / "shard.jsonl", text=None), r"line 2 is no clip"),
    ],
)
def test_broken_shard_is_one_error_that_names_it(tmp_path, spoil, message):
    write_shard(tmp_path / "shard", [(0.4, "one", {}), (0.4, "two", {})])
    spoil(tmp_path)
    with pytest.raises(TrainingError, match=message) as caught:
        load_shard(tmp_path / "shard")
    assert "\n" not in str(caught.value)


def test_clip_that_cannot_be_read_names_its_shard(tmp_path):
    write_shard(tmp_path / "shard", [(0.4, "one", {})])
    (clip,) = load_shard(tmp_path / "shard")
    with clip.shard.open("r+b") as file:
        file.seek(clip.offset)
        file.write(bytes(clip.size))
    with pytest.raises(TrainingError, match=r"shard\.tar: the clip at byte \d+ cannot be read"):
        clip.read()
    clip.shard.unlink()
    with pytest.raises(TrainingError, match="cannot be read"):
        clip.read()


def test_clip_of_another_rate_is_refused(tmp_path):
    write_shard(tmp_path / "shard", [(0.4, "one", {})], rate=8000)
    (clip,) = load_shard(tmp_path / "shard")
    with pytest.raises(TrainingError, match="a clip at 8000 Hz; shards hold 16000 Hz"):
        clip.read()


def voices(*speakers):
    return [(0.3, f"clip {index}", {"speaker": speaker}) for index, speaker in enumerate(speakers)]


def halves(folder):
    return [{clip.reference for clip in load_set(folder, f"speech:{half}")} for half in HALVES]


def test_halves_of_a_set_have_no_speaker_in_common_and_are_all_of_it_together(tmp_path):
    speakers = "aabbbcddefff"
    write_shard(tmp_path / "speech", voices(*speakers))
    said = [{speakers[int(text.split()[1])] for text in half} for half in halves(tmp_path)]
    assert said[0] | said[1] == set(speakers)
    assert not said[0] & said[1]
    assert abs(len(said[0]) - len(said[1])) <= 1
    assert halves(tmp_path) == halves(tmp_path)


def test_a_kind_has_halves_too(tmp_path):
    rows = [(0.3, f"clip {index}", {"speaker": str(index), "lang": "de" if index % 3 else "es"}) for index in range(9)]
    write_shard(tmp_path / "speech", rows)
    both = [load_set(tmp_path, f"speech:de:{half}") for half in HALVES]
    assert [len(half) for half in both] == [3, 3]
    assert {clip.language for half in both for clip in half} == {"de"}
    assert len({clip.speaker for half in both for clip in half}) == 6


def test_halves_of_a_set_of_one_speaker_are_parted_by_clip(tmp_path):
    write_shard(tmp_path / "speech", voices(*"aaaaa"))
    assert [len(half) for half in halves(tmp_path)] == [3, 2]
