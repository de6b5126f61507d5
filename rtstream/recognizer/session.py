"""One stream of speech segments being recognised."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from rtstream.events import SAMPLE_RATE, Event, Final, Partial, SegmentAudio, Word
from rtstream.recognizer.biasing import BiasedText
from rtstream.recognizer.context import SEEN_FRAMES, context_frames
from rtstream.recognizer.ctc_search import LogProbs, greedy_text
from rtstream.recognizer.guard import borne_out, spoken, written_alone
from rtstream.recognizer.words import time_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from rtstream.recognizer.recognizer import Recognizer


NOISES = re.compile(r"\([^()]*\)|\[[^][]*\]|\*[^*]*\*")
SHAPE_STEP = 32
"""Encoder frames to whose multiple a whole segment is padded."""


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
        self.biased = None if recognizer.biaser is None else BiasedText(recognizer.biaser)

    @property
    def log_probs(self) -> LogProbs:
        return np.concatenate(self.posteriors) if self.posteriors else np.zeros((0, 1), np.float32)


class RecognizerSession:
    """Turns the segments of one stream into partials and finals. Not shared between threads."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.recognizer = recognizer
        self.times = StageTimes()
        self._next = recognizer
        self._open: _OpenSegment | None = None

    def change(self, recognizer: Recognizer) -> None:
        """Use another recognizer, of the same chunk length, from the next segment on; any thread may call it."""
        self._next = recognizer

    @torch.inference_mode()
    def accept(self, audio: SegmentAudio) -> list[Event]:
        """The events that further audio of a segment brings, in order; a final when it is the segment's last.

        A segment without words gives no event at all. The audio of a segment must be contiguous.
        """
        if self._open is None:
            self.recognizer = self._next
            self._open = _OpenSegment(self.recognizer, audio.position)
        r = self.recognizer
        segment = self._open
        segment.end = audio.position + len(audio.samples)
        with self.times.measure("features"):
            mel, segment.mel = r.features.step(torch.from_numpy(audio.samples), segment.mel)
            if audio.last:
                mel = torch.cat([mel, r.features.finish(segment.mel)])
            if r.config.reencode:
                segment.features.append(mel)
        states = mel.new_zeros(0, r.bundle.config.encoder.d_model)
        if r.config.chunk_ms:
            with self.times.measure("encoder"):
                states, segment.encoder = r.encoder.step(mel, segment.encoder, r.chunk_frames, last=audio.last)
        if len(states):
            self._add(states, segment, heard=len(states))
        if audio.last:
            self._open = None
            final = self._final(audio.segment, segment)
            return [final] if final is not None else []
        partial = self._partial(audio.segment, segment) if len(states) else None
        return [partial] if partial is not None else []

    def _add(self, states: Tensor, segment: _OpenSegment, *, heard: int) -> None:
        """Take further states, of which the first ``heard`` are the segment's and the others its padding's."""
        with self.times.measure("ctc"):
            segment.posteriors.append(self.recognizer.ctc(states[:heard]).numpy())
        with self.times.measure("decoder"):
            segment.decoder = self.recognizer.bundle.model.decoder.extend(states, segment.decoder)

    def _encode_whole(self, segment: _OpenSegment) -> None:
        """Put the states of the whole segment, with full context, in the place of those of its chunks."""
        r = self.recognizer
        most = r.bundle.config.encoder.max_frames
        with self.times.measure("second encoding"):
            mel = torch.cat(segment.features)
            frames = -(-len(mel) // 2)
            # Torch keeps code for every shape that it has met, a quarter of a megabyte for each: let them be few.
            whole = min(-(-context_frames(frames, most) // SHAPE_STEP) * SHAPE_STEP, most)
            padded = F.pad(mel, (0, 0, 0, 2 * whole - len(mel)), value=r.features.silence)
            states = r.encoder(padded[None])[0, : frames + SEEN_FRAMES]
        segment.posteriors.clear()
        segment.decoder = r.bundle.model.decoder.initial_state()
        self._add(states, segment, heard=frames)

    def _partial(self, number: int, segment: _OpenSegment) -> Partial | None:
        r = self.recognizer
        if r.config.partials == "none":
            return None
        if r.config.partials == "ctc":
            with self.times.measure("ctc"):
                text = greedy_text(segment.log_probs, r.letters)
                # Until a space follows, the last word may go on.
                text = text if segment.log_probs[-1].argmax() == r.letters.index(" ") + 1 else text.rpartition(" ")[0]
            if segment.biased is not None:
                with self.times.measure("phrases"):
                    segment.biased.add_text(text, segment.log_probs)
        else:
            with self.times.measure("partials"):
                stop = r.config.stop_ms // 20
                added = r.decoder.extend(segment.decoder, segment.committed, stop)
            if segment.biased is not None:
                with self.times.measure("phrases"):
                    added = segment.biased.add_tokens(
                        added, segment.committed, segment.log_probs, r.decoder, segment.decoder
                    )
            segment.committed += added
            text = self._written(segment.committed)
        if segment.biased is not None and text:
            text = " ".join(segment.biased.words)
        if len(text) <= len(segment.text) or not borne_out(text, segment.log_probs, r.letters, r.config.guard):
            return None
        if not segment.text:
            with self.times.measure("guard"):
                no_speech = r.decoder.no_speech(segment.decoder)
                if not spoken(text, no_speech, segment.log_probs, r.letters, r.config.guard, partial=True):
                    return None
        segment.text = text
        end = segment.start + segment.decoder.frames * SAMPLE_RATE // 50
        return Partial(number, segment.start, min(end, segment.end), text, self._words(text, segment))

    def _final(self, number: int, segment: _OpenSegment) -> Final | None:
        r = self.recognizer
        if r.config.reencode and any(map(len, segment.features)):
            self._encode_whole(segment)
        if not segment.posteriors:
            return None
        with self.times.measure("finals"):
            decoded = r.decoder.transcribe(segment.decoder, segment.committed)
            text = self._written(decoded.tokens)
        with self.times.measure("guard"):
            trusted = decoded.ended and borne_out(text, segment.log_probs, r.letters, r.config.guard)
            if not trusted:
                text = written_alone(segment.log_probs, r.letters, r.config.guard)
            if not segment.text and not spoken(text, decoded.no_speech, segment.log_probs, r.letters, r.config.guard):
                return None
        text = text or segment.text  # what has been shown gets a final
        if not text:
            return None
        if r.biaser is not None:
            with self.times.measure("phrases"):
                asked = (r.decoder, segment.decoder) if trusted else ()
                text = r.biaser.correct(text, segment.log_probs, *asked)
        words = self._words(text, segment)
        return Final(number, segment.start, segment.end, text, words, "decoder" if trusted else "ctc")

    def _written(self, tokens: list[int]) -> str:
        """The text of tokens; none where they are but marks and "(noises)", as Whisper's decoder has them."""
        text = self.recognizer.bundle.tokenizer.decode(tokens).strip()
        return text if any(map(str.isalnum, NOISES.sub("", text))) else ""

    def _words(self, text: str, segment: _OpenSegment) -> tuple[Word, ...]:
        if not self.recognizer.config.words:
            return ()
        with self.times.measure("words"):
            return time_words(text, segment.log_probs, self.recognizer.letters, segment.start)
