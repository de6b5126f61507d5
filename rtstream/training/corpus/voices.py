"""Programs that speak: flite (Carnegie Mellon's; Debian's package ``flite``) and espeak-ng (``espeak-ng``)."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import click
import numpy as np
import soundfile
import soxr

from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from pathlib import Path

    from rtstream.training.corpus.augment import Samples

PACE = 160
"""Words a minute that espeak-ng speaks."""


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice of a program; ``pitch`` is flite's in Hz, espeak-ng's from 0 to 99."""

    program: Literal["flite", "espeak-ng"]
    name: str
    pitch: float

    def __str__(self) -> str:
        """As a shard's index names a speaker."""
        return f"{self.program}:{self.name}"

    def say(self, text: str, folder: Path, *, stretch: float = 1.0, pitch: float = 1.0) -> Samples:
        """``text``, float32 at 16 kHz: so many times as long, and as high, as the voice speaks.

        flite's rms knows one height alone. ``folder`` is for two files. Raises click.ClickException where the program
        does not work.
        """
        words, wave = folder / "text", folder / "wave.wav"
        words.write_text(text, encoding="utf-8")
        if self.program == "flite":
            varied = [f"duration_stretch={stretch:.3f}", f"int_f0_target_mean={self.pitch * pitch:.1f}"]
            options = ["-voice", self.name, *(word for each in varied for word in ("--setf", each)), words, wave]
        else:
            height = min(99, round(self.pitch * pitch))
            options = ["-v", self.name, "-s", round(PACE / stretch), "-p", height, "-f", words, "-w", wave]
        try:
            command = [self.program, *map(str, options)]
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - no shell, no option from outside
            samples, rate = soundfile.read(wave, dtype="float32")
        except FileNotFoundError as error:
            raise click.ClickException(f"{self.program} is missing: apt install {self.program}") from error
        except (subprocess.CalledProcessError, soundfile.SoundFileError) as error:
            raise click.ClickException(f"{self.program} cannot say {text!r}: {error}") from error
        return np.asarray(soxr.resample(samples, rate, SAMPLE_RATE), np.float32)


FLITE = {
    "slt": Voice("flite", "slt", 170.0),
    "rms": Voice("flite", "rms", 95.0),
    "awb": Voice("flite", "awb", 135.0),
    "kal16": Voice("flite", "kal16", 105.0),
}
"""Those that speak at 16 kHz."""
