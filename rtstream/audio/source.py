"""What the service listens to, whatever it is, and how it is named: ``mic``, ``wav:FILE``, ``fifo:PATH``, ``-``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import parse_qsl, unquote

from rtstream.audio.resample import MAX_RATE, MIN_RATE
from rtstream.errors import ConfigError
from rtstream.events import AudioBlock, AudioLost, DeviceState

if TYPE_CHECKING:
    from collections.abc import Iterator

SourceItem = AudioBlock | AudioLost | DeviceState
"""What a source gives, in order: audio, what is missing of it, and how the device is."""

PAUSE_SECONDS = 10.0
"""A writer that writes nothing for so long pauses, as a speaker does: who waits for the last words shall get them."""
PAUSE_RANGE = (0.1, 86_400.0)
EXAMPLES = (
    "mic, mic:NAME, wav:FILE, wav:FILE?speed=max&loop=1, fifo:PATH?rate=16000&pause=10&create=1, - or -?rate=16000"
)


class Source(Protocol):
    """A source that is read in a thread of its own.

    Its items end when the source does; what goes wrong on the way is a DeviceState, never an exception.
    ``live``: the audio does not wait for who is slow. ``signs`` counts signs of life: audio that came, or a device that
    was looked for in vain. ``idle``: no audio is to be expected now, however long that takes. ``quiet``: set by who
    reads it while nobody speaks, so that it may let some audio gather and wake less often.
    """

    quiet: bool

    @property
    def live(self) -> bool:
        """Whether audio is lost if it is not taken in time."""
        ...

    @property
    def signs(self) -> int:
        """How many signs of life there were."""
        ...

    @property
    def idle(self) -> bool:
        """Whether the absence of signs is nothing to worry about."""
        ...

    def __iter__(self) -> Iterator[SourceItem]:
        """Give the items; once."""
        ...

    def close(self) -> None:
        """End the iteration soon. Any thread may call it, also more than once."""
        ...


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A parsed name of a source.

    ``target``: a device or a path. ``speed``: times real time, 0 for as fast as it is recognised. ``rate``: of raw
    PCM in Hz, None for WAV. ``pause``: seconds without audio after which the writer of a FIFO pauses. ``create``: make
    the FIFO where there is none.
    """

    kind: Literal["mic", "wav", "fifo", "stdin"]
    target: str = ""
    speed: float = 1.0
    loop: bool = False
    rate: int | None = None
    pause: float = PAUSE_SECONDS
    create: bool = False


def parse_source(text: str) -> SourceSpec:
    """Parse a source's name. Raises ConfigError, which says what is allowed.

    In a path "?" is written %3F and "%" %25; any other character may be written so too.
    """
    name, _, query = text.partition("?") if not text.startswith("mic") else (text, "", "")
    options = dict(parse_qsl(query, keep_blank_values=True))
    kind, colon, target = name.partition(":")
    if kind != "mic":
        target = unquote(target, errors="surrogateescape")
    match kind:
        case "mic" if target or not colon:
            spec = SourceSpec("mic", target or "default")
        case "wav" if target:
            spec = SourceSpec(
                "wav", target, speed=_speed(text, options.pop("speed", "1")), loop=_flag(text, "loop", options)
            )
        case "fifo" if target:
            pause = _number(options.pop("pause", f"{PAUSE_SECONDS:g}"), *PAUSE_RANGE)
            if pause is None:
                raise ConfigError(f"source '{text}': pause is {PAUSE_RANGE[0]:g} to {PAUSE_RANGE[1]:g} seconds")
            rate = _rate(text, options.pop("rate", "16000"))
            spec = SourceSpec("fifo", target, rate=rate, pause=pause, create=_flag(text, "create", options))
        case "-" if not colon:
            raw = options.pop("rate", None)
            spec = SourceSpec("stdin", "-", rate=None if raw is None else _rate(text, raw))
        case _:
            raise ConfigError(f"source '{text}' is not known; it is one of: {EXAMPLES}")
    if options:
        raise ConfigError(
            f"source '{text}': no option '{next(iter(options))}' here; in a path write ? as %3F; examples: {EXAMPLES}"
        )
    return spec


def _speed(text: str, value: str) -> float:
    if value == "max":
        return 0.0
    speed = _number(value, 0.01, 1000)
    if speed is None:
        raise ConfigError(f"source '{text}': speed is 'max' or 0.01 to 1000 times real time")
    return speed


def _number(value: str, least: float, most: float) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if least <= number <= most else None


def _flag(text: str, name: str, options: dict[str, str]) -> bool:
    value = options.pop(name, "0").lower()
    if value not in {"", "0", "1", "true", "false", "yes", "no"}:
        raise ConfigError(f"source '{text}': {name} is 1 or 0")
    return value in {"", "1", "true", "yes"}


def _rate(text: str, value: str) -> int:
    if not value.isdecimal() or not MIN_RATE <= int(value) <= MAX_RATE:
        raise ConfigError(f"source '{text}': rate is {MIN_RATE} to {MAX_RATE} Hz")
    return int(value)
