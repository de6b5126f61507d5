"""Whether a clip has the same text however loud it came, with partials and without.

``python -m rtstream.evaluation.level_score models/base dev-cv:reporting --data ../shared/data/audio``
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from rtstream.engine.open import load_bundle
from rtstream.evaluation.evaluate import normalizer, recognize, spread
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.training.corpus.data import load_set

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = (-40.0, -30.0, -20.0, -10.0, 12.0)
"""Peaks in dB of full scale that are compared with a peak of 0 dB; above it the audio is clipped."""
FULL_SCALE = 32768


def at_level(audio: NDArray[np.float32], decibels: float) -> NDArray[np.float32]:
    """A clip (n,) with its peak at so many dB of full scale, as a sound card's 16 bits hold it."""
    loud = audio * (10 ** (decibels / 20) / max(float(np.abs(audio).max()), 1e-9)) * FULL_SCALE
    return (np.round(loud).clip(-FULL_SCALE, FULL_SCALE - 1) / FULL_SCALE).astype(np.float32)


def differences(text: str, usual: str) -> tuple[bool, bool, bool]:
    """Whether two texts differ in their words, in the case of the first letter, in the mark at the end."""
    normalize = normalizer()
    return (
        normalize(text) != normalize(usual),
        text[:1].isupper() != usual[:1].isupper(),
        _mark(text) != _mark(usual),
    )


def _mark(text: str) -> str:
    return text[-1:] if text[-1:] in {".", "?", "!", ",", ":", ";"} else ""


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("sets", nargs=-1, required=True)
@click.option("--data", type=click.Path(path_type=Path), default=Path("../shared/data/audio"), show_default=True)
@click.option("--clips", "most", type=click.IntRange(min=1), help="Only N clips of each set, evenly spread.")
@click.option("--texts", is_flag=True, help="Print what differs.")
def main(bundle: Path, sets: tuple[str, ...], data: Path, most: int | None, *, texts: bool) -> None:
    """Count the clips of SETS whose finals differ from those of the same clip at 0 dB without partials."""
    model = load_bundle(bundle, "fbgemm")
    without, with_partials = (Recognizer(model, RecognizerConfig(partials=name)) for name in ("none", "decoder"))
    for name in sets:
        clips = spread(load_set(data, name), most)
        found: dict[float | str, NDArray[np.int64]] = {level: np.zeros(3, np.int64) for level in (*LEVELS, "partials")}
        for clip in clips:
            audio = clip.read()
            usual = recognize(without, at_level(audio, 0.0)).text
            others = {level: recognize(without, at_level(audio, level)).text for level in LEVELS}
            shown = recognize(with_partials, at_level(audio, 0.0)).text
            pairs: list[tuple[float | str, str]] = [*others.items(), ("partials", shown)]
            for level, text in pairs:
                differing = differences(text, usual)
                found[level] += differing
                if texts and any(differing):
                    click.echo(f"{level}: {usual!r}\n    -> {text!r}")
        click.echo(f"{name}, {len(clips)} clips: words, first letter, last mark")
        for level, counts in found.items():
            click.echo(f"  {level if isinstance(level, str) else f'{level:+.0f} dB'}: {' '.join(map(str, counts))}")


if __name__ == "__main__":
    main()
