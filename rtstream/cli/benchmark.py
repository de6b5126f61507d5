"""Measures recognition on this machine: computing time by stage, delays, memory, the start of a process."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import rtstream
from rtstream.audio.open import open_audio
from rtstream.cli.options import RecognizerOptions
from rtstream.engine.counting import counting
from rtstream.errors import RtstreamError
from rtstream.events import SAMPLE_RATE, AudioBlock, Event, Final
from rtstream.recognizer.pipeline import Pipeline
from rtstream.recognizer.recognizer import Recognizer
from rtstream.vad.segmenter import Segmenter
from rtstream.vad.webrtc import WebRtcGate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from rtstream.vad.gate import Gate

PAUSE = SAMPLE_RATE
"""Silence between recordings that are played as one stream, in samples; enough to close a segment."""
MEMORY_SECONDS = 300
"""How much audio lies between two looks at the memory in use."""


@dataclass
class Delays:
    """Of each segment, in seconds."""

    first_partial_audio: list[float] = field(default_factory=list)
    """From the begin of the segment to the newest audio when its first partial came."""
    first_partial_compute: list[float] = field(default_factory=list)
    """From the last audio that the first partial needed to the partial."""
    final_compute: list[float] = field(default_factory=list)
    """From the last audio of the segment to its final."""


class Bench:
    """Plays recordings through one pipeline and keeps count; what it counts does not include loading the model."""

    def __init__(self, recognizer: Recognizer, new_gate: Callable[[], Gate] = WebRtcGate) -> None:
        bundle, self.counts = counting(recognizer.bundle)
        """What the recognizer asks of its engine."""
        self._pipeline = Pipeline(Recognizer(bundle, recognizer.config), Segmenter(new_gate()))
        self.counts.stage = lambda: self._pipeline.times.stage
        self._position = 0
        self._partial_of = -1  # the last segment that had a partial
        self._played = 0
        self.wall_seconds = 0.0
        self.cpu_seconds = 0.0
        """CPU time of the whole process, all threads."""
        self.delays = Delays()
        self._texts: list[str] = []
        self.memory: dict[int, int] = {}
        """Bytes resident after so many seconds of audio, about every ``MEMORY_SECONDS``, while no segment is open.

        Empty where the system does not say.
        """

    @property
    def audio_seconds(self) -> float:
        """Audio of the recordings that were played; pauses between them do not count."""
        return self._played / SAMPLE_RATE

    @property
    def stages(self) -> Mapping[str, float]:
        """CPU seconds by stage, of the thread that recognises."""
        return self._pipeline.times.seconds

    def take_text(self) -> str:
        """The finals since this was asked last."""
        text, self._texts = " ".join(filter(None, self._texts)), []
        return text

    def play(self, file: str, limit_seconds: float | None = None) -> None:
        """Play a recording, no further than to ``limit_seconds`` of all audio played. Raises AudioError."""
        with self._timed(), open_audio(file) as audio:
            blocks = iter(audio)
            while limit_seconds is None or self.audio_seconds < limit_seconds:
                with self._pipeline.times.measure("decode"):
                    block = next(blocks, None)
                if block is None:
                    break
                self._push(block.samples)
                self._played += len(block.samples)

    def pause(self) -> None:
        """Let a second of silence follow."""
        with self._timed():
            self._push(np.zeros(PAUSE, np.float32))
        self._look_at_memory()

    def finish(self) -> None:
        """End the stream. What is played next is another one."""
        with self._timed():
            self._count(self._pipeline.finish)
        self._look_at_memory()

    def _push(self, samples: NDArray[np.float32]) -> None:
        block = AudioBlock(samples, self._position)
        self._position += len(samples)
        self._count(lambda: self._pipeline.push(block))

    def _count(self, recognise: Callable[[], list[Event]]) -> None:
        start = time.perf_counter()
        events = recognise()
        took = time.perf_counter() - start
        for event in events:
            if isinstance(event, Final):
                self._texts.append(event.text)
                self.delays.final_compute.append(took)
            elif event.segment != self._partial_of:
                self._partial_of = event.segment
                self.delays.first_partial_audio.append((self._position - event.start) / SAMPLE_RATE)
                self.delays.first_partial_compute.append(took)

    def _look_at_memory(self) -> None:
        past = int(self.audio_seconds // MEMORY_SECONDS) * MEMORY_SECONDS
        if past and past not in self.memory and (resident := resident_bytes()) is not None:
            self.memory[past] = resident

    @contextmanager
    def _timed(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall_seconds += time.perf_counter() - wall
        self.cpu_seconds += time.process_time() - cpu


def play_each(bench: Bench, files: Sequence[str], repeat: int) -> None:
    """Play every recording ``repeat`` times, each as a stream of its own."""
    for file in [*files] * repeat:
        bench.play(file)
        bench.finish()


def play_on(bench: Bench, files: Sequence[str], seconds: float) -> None:
    """Play the recordings over and over, as one stream with pauses, until ``seconds`` of audio have been played."""
    while bench.audio_seconds < seconds:
        for file in files:
            bench.play(file, seconds)
            bench.pause()
    bench.finish()


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the start of a fresh process: until its modules were imported, until it could recognise."""

    imported: float
    ready: float


def measure_start(options: RecognizerOptions) -> Start:
    """Start a process that loads the model, whose files are in the system's cache already. Raises RtstreamError."""
    root = str(Path(rtstream.__file__).parent.parent)  # the package need not be installed
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    program = "import sys; from rtstream.cli.benchmark import start_up; start_up(sys.argv[1])"
    start = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-c", program, json.dumps(asdict(options), default=str)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        assert process.stdout is not None
        times = [time.perf_counter() - start for _ in process.stdout]
    if process.returncode or len(times) != 2:
        raise RtstreamError("the process that was to load the model failed; what it said stands above")
    return Start(*times)


def start_up(options: str) -> None:
    """Be the process that ``measure_start`` starts: a line of output when all is imported, another when ready."""
    print("imported", flush=True)  # noqa: T201 - to the parent
    chosen = json.loads(options)
    given = RecognizerOptions(**{**chosen, "model": chosen["model"] and Path(chosen["model"])})
    given.gates()
    given.load()
    print("ready", flush=True)  # noqa: T201


def resident_bytes() -> int | None:
    """Memory of this process that is in RAM now; None where Linux's /proc is missing."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * resource.getpagesize()


def peak_bytes() -> int:
    """The most memory of this process that was ever in RAM."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kept in batches: it lags behind
    return max(peak * 1024, resident_bytes() or 0)
