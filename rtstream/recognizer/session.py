"""One stream of speech segments being recognised."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from rtstream.events import SAMPLE_RATE, Event, Final, Partial, SegmentAudio, Word
from rtstream.recognizer.ctc_search import LogProbs, greedy_text
from rtstream.recognizer.guard import borne_out
from rtstream.recognizer.words import time_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from rtstream.recognizer.recognizer import Recognizer


SHAPE_STEP = 64
"""Mel frames to whose multiple a whole segment is padded."""


class StageTimes:
    """CPU seconds that each stage has taken, for benchmarks and metrics."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the CPU time of a block to a stage."""
        start = time.thread_time()
        yield
        self.seconds[stage] += time.thread_time() - start


class _OpenSegment:
    """What is known of the segment that is being spoken."""

    def __init__(self, recognizer: Recognizer, start: int) -> None:
        self.start = self.end = start
        self.mel = recognizer.features.initial_state()
        self.encoder = recognizer.encoder.initial_state()
        self.decoder = recognizer.bundle.model.decoder.initial_state()
        self.features: list[Tensor] = []
        self.posteriors: list[LogProbs] = []
        self.committed: list[int] = []
        self.text = ""

    @property
    def log_probs(self) -> LogProbs:
        return np.concatenate(self.posteriors) if self.posteriors else np.zeros((0, 1), np.float32)


class RecognizerSession:
    """Turns the segments of one stream into partials and finals. Not shared between threads."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.recognizer = recognizer
        self.times = StageTimes()
        self._open: _OpenSegment | None = None

    @torch.inference_mode()
    def accept(self, audio: SegmentAudio) -> list[Event]:
        """The events that further audio of a segment brings, in order; a final when it is the segment's last.

        A segment without words gives no event at all. The audio of a segment must be contiguous.
        """
        r = self.recognizer
        if self._open is None:
            self._open = _OpenSegment(r, audio.position)
        segment = self._open
        segment.end = audio.position + len(audio.samples)
        with self.times.measure("features"):
            mel, segment.mel = r.features.step(torch.from_numpy(audio.samples), segment.mel)
            if audio.last:
                mel = torch.cat([mel, r.features.finish(segment.mel)])
            if r.config.reencode:
                segment.features.append(mel)
        with self.times.measure("encoder"):
            states, segment.encoder = r.encoder.step(mel, segment.encoder, r.chunk_frames, last=audio.last)
        if len(states):
            self._add(states, segment)
        if audio.last:
            self._open = None
            final = self._final(audio.segment, segment)
            return [final] if final is not None else []
        partial = self._partial(audio.segment, segment) if len(states) else None
        return [partial] if partial is not None else []

    def _add(self, states: Tensor, segment: _OpenSegment) -> None:
        with self.times.measure("ctc"):
            segment.posteriors.append(self.recognizer.ctc(states).numpy())
        with self.times.measure("decoder"):
            segment.decoder = self.recognizer.bundle.model.decoder.extend(states, segment.decoder)

    def _encode_again(self, segment: _OpenSegment) -> None:
        mel = torch.cat(segment.features)
        # Torch keeps code for every shape that it has met, a quarter of a megabyte for each: let them be few.
        whole = min(-(-len(mel) // SHAPE_STEP) * SHAPE_STEP, 2 * self.recognizer.bundle.config.encoder.max_frames)
        with self.times.measure("second encoding"):
            padded = F.pad(mel, (0, 0, 0, whole - len(mel)))[None]
            states = self.recognizer.encoder(padded, torch.tensor([len(mel)]))[0, : -(-len(mel) // 2)]
        segment.posteriors.clear()
        segment.decoder = self.recognizer.bundle.model.decoder.initial_state()
        self._add(states, segment)

    def _partial(self, number: int, segment: _OpenSegment) -> Partial | None:
        r = self.recognizer
        if r.config.partials == "none":
            return None
        if r.config.partials == "ctc":
            with self.times.measure("ctc"):
                text = greedy_text(segment.log_probs, r.letters)
                # Until a space follows, the last word may go on.
                text = text if segment.log_probs[-1].argmax() == r.letters.index(" ") + 1 else text.rpartition(" ")[0]
        else:
            with self.times.measure("partials"):
                stop = r.config.stop_ms // 20
                segment.committed += r.decoder.extend(segment.decoder, segment.committed, stop)
                text = r.bundle.tokenizer.decode(segment.committed).strip()
        if len(text) <= len(segment.text) or not borne_out(text, segment.log_probs, r.letters, r.config.guard):
            return None
        segment.text = text
        end = segment.start + segment.decoder.frames * SAMPLE_RATE // 50
        return Partial(number, segment.start, min(end, segment.end), text, self._words(text, segment))

    def _final(self, number: int, segment: _OpenSegment) -> Final | None:
        r = self.recognizer
        if not segment.posteriors:
            return None
        if r.config.reencode and r.config.chunk_ms:
            self._encode_again(segment)
        with self.times.measure("finals"):
            decoded = r.decoder.transcribe(segment.decoder, segment.committed)
            text = r.bundle.tokenizer.decode(decoded.tokens).strip()
        with self.times.measure("guard"):
            trusted = decoded.ended and borne_out(text, segment.log_probs, r.letters, r.config.guard)
        if not trusted:
            text = greedy_text(segment.log_probs, r.letters)
            text = text if len(text) >= r.config.guard.min_letters else ""
        if not text:
            return None
        words = self._words(text, segment)
        return Final(number, segment.start, segment.end, text, words, "decoder" if trusted else "ctc")

    def _words(self, text: str, segment: _OpenSegment) -> tuple[Word, ...]:
        if not self.recognizer.config.words:
            return ()
        with self.times.measure("words"):
            return time_words(text, segment.log_probs, self.recognizer.letters, segment.start)
