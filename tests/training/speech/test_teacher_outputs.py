"""What the teacher makes of clips is computed once, whatever happens, and is what it would make of them now."""

import json
import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from rtstream.engine.torch_int8 import TorchDecoder
from rtstream.errors import TrainingError
from rtstream.recognizer.context import SEEN_FRAMES
from rtstream.recognizer.final_pass import GreedyDecoder
from rtstream.training.corpus.data import load_shard
from rtstream.training.speech import teacher_outputs as taught
from rtstream.training.speech.teacher_outputs import greedy, teach
from tests.training.tiny_training import ENCODER, make_teacher
from tests.training.tiny_whisper import full_tokenizer

TEACHER = make_teacher(3, ends=3.0)
TOKENIZER = full_tokenizer()
ROW = 2 * ENCODER.d_model  # bytes


class Hearing:
    """Gives a clip's samples, remembers which, and can be interrupted."""

    def __init__(self, interrupted=math.inf):
        self.heard = []
        self.interrupted = interrupted

    def __call__(self, clip):
        if len(self.heard) >= self.interrupted:
            raise KeyboardInterrupt
        self.heard.append(clip.offset)
        return clip.read()


@pytest.fixture
def clips(data):
    """Those of speech, out of their order in the shard, and one without a reference."""
    speech = [clip for clip in load_shard(data / "speech") if clip.text]
    return speech[::-1]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Two clips, padded to 10 s, a batch."""
    monkeypatch.setattr(taught, "BATCH_SECONDS", 20.0)


def given(clips, path, hear=None, report=lambda *_: None):
    return teach(clips, path, TEACHER, hear or Hearing(), report)


def read(clips):
    return [(clip.taught.written, clip.taught.read()) for clip in clips]


def assert_same(one, other):
    for (text, states), (other_text, other_states) in zip(read(one), read(other), strict=True):
        assert text == other_text
        assert states.dtype == np.float16
        np.testing.assert_allclose(states, other_states, atol=0.05)  # sums of bfloat16 depend on a batch's rows


def test_states_are_the_teachers_of_the_padded_clip_and_some_of_its_padding(clips, tmp_path):
    for clip in given(clips, tmp_path / "speech"):
        states = torch.from_numpy(clip.taught.read()).float()
        own = TEACHER.encoder(torch.from_numpy(clip.read())[None])[0]
        assert len(own) == ENCODER.max_frames
        assert len(states) == math.ceil(len(clip.read()) / 320) + SEEN_FRAMES
        assert_close(states, own[: len(states)], rtol=0, atol=0.08)


def test_texts_are_what_the_teacher_finds_in_its_states(clips, tmp_path):
    taught_clips = given(clips, tmp_path / "speech")
    for clip in taught_clips:
        states = TEACHER.encoder(torch.from_numpy(clip.read())[None])
        assert [clip.taught.written] == greedy(states, [clip.taught.frames - 50], TEACHER.decoder, TOKENIZER, frame=320)
    assert any(clip.taught.written for clip in taught_clips)


def test_clips_stay_as_they_were_and_in_order(clips, tmp_path):
    taught_clips = given(clips, tmp_path / "speech")
    for clip, other in zip(clips, taught_clips, strict=True):
        assert (clip.offset, clip.text, clip.taught) == (other.offset, other.text, None)


def test_clips_without_a_reference_get_no_text(data, tmp_path):
    foreign = load_shard(data / "foreign")
    assert [clip.taught.written for clip in given(foreign, tmp_path / "foreign")] == [None] * 3
    assert [clip.written for clip in foreign] == [None] * 3


def test_texts_of_another_language_are_asked_for_in_it_also_where_they_were_not_learnt_before(clips, tmp_path):
    unlearnt, learnt = replace(clips[0], language="ja", text=None, learnt=False), replace(clips[0], language="ja")
    (before,) = given([unlearnt], tmp_path / "clips")
    (now,) = given([learnt], tmp_path / "clips")
    assert before.taught.written is None
    assert np.array_equal(before.taught.read(), now.taught.read())
    states = torch.from_numpy(now.taught.read()).float()[None]
    frames = [int(clips[0].seconds * 50)]
    expected = greedy(states, frames, TEACHER.decoder, TOKENIZER, frame=320, languages=["ja"])
    assert [now.taught.written] == expected
    hearing = Hearing()
    assert given([learnt], tmp_path / "clips", hearing) == [now]
    assert hearing.heard == []


def test_reference_is_written_in_the_teachers_style(clips, tmp_path):
    path = tmp_path / "speech"
    given(clips, path)
    rows = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    styles = {clip.offset: f"{clip.text.title()}!" for clip in clips}
    path.with_suffix(".jsonl").write_text(
        "".join(json.dumps(row | {"written": styles[row["offset"]]}) + "\n" for row in rows)
    )
    assert [clip.written for clip in given(clips, path)] == [f"{clip.text.title()}!" for clip in clips]


def test_nothing_is_computed_twice(clips, tmp_path):
    first, second, third = Hearing(), Hearing(), Hearing()
    some = given(clips[:3], tmp_path / "speech", first)
    before = read(some)
    given(clips, tmp_path / "speech", second)
    again = given(clips[1:4], tmp_path / "speech", third)
    assert sorted(first.heard + second.heard) == sorted(clip.offset for clip in clips)
    assert not third.heard
    assert_same(some[1:], again[:2])
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(before, read(some), strict=True))


def test_report_tells_how_many_of_the_clips_are_done(clips, tmp_path):
    seen = []
    given(clips[:2], tmp_path / "speech")
    given(clips, tmp_path / "speech", report=lambda *told: seen.append(told))
    assert seen == [(4, 5), (5, 5)]


def test_interrupted_run_keeps_what_was_done(clips, tmp_path):
    whole = given(clips, tmp_path / "whole")
    broken, resumed = Hearing(interrupted=3), Hearing()
    with pytest.raises(KeyboardInterrupt):
        given(clips, tmp_path / "parts", broken)
    parts = given(clips, tmp_path / "parts", resumed)
    assert_same(whole, parts)
    assert set(broken.heard[:2]).isdisjoint(resumed.heard)
    assert len(resumed.heard) == 3


@pytest.mark.parametrize("lines", [0, 0.5, 1, 2.3, 3.99, 5])
@pytest.mark.parametrize("more", [0, 1, 1000])
def test_files_cut_off_anywhere_are_gone_on_with(clips, tmp_path, lines, more):
    """The index ends within a line; of the states there is at least what its whole lines tell of."""
    whole = given(clips, tmp_path / "whole")
    index, states = (tmp_path / f"whole.{ending}" for ending in ("jsonl", "f16"))
    all_lines = index.read_bytes().splitlines(keepends=True)
    done = all_lines[: int(lines)]
    rows = max((row["row"] + row["frames"] for row in map(json.loads, done)), default=0)
    rest = b"".join(all_lines[int(lines) :][:1])
    (tmp_path / "parts.jsonl").write_bytes(b"".join(done) + rest[: int((lines % 1) * len(rest))])
    (tmp_path / "parts.f16").write_bytes(states.read_bytes()[: rows * ROW + more])
    hearing = Hearing()
    assert_same(whole, given(clips, tmp_path / "parts", hearing))
    assert len(hearing.heard) == 5 - int(lines)
    assert (tmp_path / "parts.f16").stat().st_size == states.stat().st_size or lines == 5
    assert sorted((tmp_path / "parts.jsonl").read_bytes().splitlines()) == sorted(index.read_bytes().splitlines())
    assert_same(whole, given(clips, tmp_path / "parts", Hearing(interrupted=0)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda path: path.with_suffix(".f16").unlink(),
            r"speech\.f16: shorter than .*\.jsonl says; remove both",
        ),
        (lambda path: path.with_suffix(".f16").write_bytes(b"\0" * 100), r"speech\.f16: shorter than"),
        (lambda path: path.with_suffix(".jsonl").write_text("nonsense\n"), r"speech\.jsonl: not an index"),
        (lambda path: path.with_suffix(".jsonl").write_text("[1]\n"), r"speech\.jsonl: not an index"),
        (lambda path: path.with_suffix(".jsonl").write_text("{}\n"), r"speech\.jsonl: not an index"),
    ],
)
def test_broken_files_are_one_error_that_names_them(clips, tmp_path, spoil, message):
    path = tmp_path / "speech"
    given(clips, path)
    spoil(path)
    with pytest.raises(TrainingError, match=message) as caught:
        given(clips, path)
    assert "\n" not in str(caught.value)


def test_two_runs_at_once_share_the_work(clips, tmp_path):
    hearings, results, start = [Hearing(), Hearing()], [[], []], threading.Barrier(2)

    def run(number):
        start.wait()
        results[number] = given(clips, tmp_path / "speech", hearings[number])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(hearing.heard) for hearing in hearings) == [0, 5]
    assert_same(*results)


@pytest.mark.parametrize("ends", [0.0, 3.0, 4.0])
def test_texts_of_many_rows_are_those_that_greedy_search_finds_for_each(ends):
    """Row by row, of whatever length; None where that does not come to an end."""
    ended = []
    for seed in range(4):
        decoder = make_teacher(seed, ends=ends).decoder
        states = torch.randn(5, 200, ENCODER.d_model, generator=torch.Generator().manual_seed(seed))
        search = GreedyDecoder(TorchDecoder(decoder), TOKENIZER)
        found = [search.transcribe(decoder.extend(row, decoder.initial_state())) for row in states]
        texts = [TOKENIZER.decode(one.tokens).strip() if one.ended else None for one in found]
        with torch.inference_mode():
            assert greedy(states, [200] * 5, decoder, TOKENIZER, frame=320) == texts
        ended += [one.ended for one in found]
    assert (ends == 0.0) is not any(ended)
    assert not all(ended)


def test_greedy_text_is_the_likeliest_next_token_of_whole_texts():
    decoder = make_teacher(2, ends=4.0).decoder
    states = torch.randn(6, 120, ENCODER.d_model, generator=torch.Generator().manual_seed(5))
    never = [index for index in TOKENIZER.special.values() if index != TOKENIZER.end]
    with torch.inference_mode():
        for row, text in enumerate(greedy(states, [120] * 6, decoder, TOKENIZER, frame=320)):
            tokens = TOKENIZER.prompt()
            while tokens[-1] != TOKENIZER.end and len(tokens) < 30:
                logits = decoder(torch.tensor([tokens]), states[row : row + 1])[0, -1]
                tokens.append(int(logits.index_fill(0, torch.tensor(never), -torch.inf).argmax()))
            if text is not None:
                assert TOKENIZER.decode(tokens).strip() == text
                assert tokens[-1] == TOKENIZER.end
