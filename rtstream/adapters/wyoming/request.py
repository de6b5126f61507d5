"""What a client asks of its turn, checked: nothing that comes over the network is taken for what it should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rtstream.adapters.wyoming.info import ASR
from rtstream.errors import ConfigError, RtstreamError
from rtstream.languages import canonical, within
from rtstream.recognizer.phrases import parse_phrase
from rtstream.rpc.client_audio import SamplesDecoder, open_decoder
from rtstream.wire.failures import RequestFailedError
from rtstream.wire.v1 import rtstream_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtstream.wire.values import Status

SILENCE_MS: Mapping[str, int] = {"aggressive": 250, "relaxed": 1250}
"""That ends a turn, as Home Assistant has it; "default" is the service's own."""
WIDTHS = range(1, 5)
MOST_TEXTS = 4096
"""Names and terms that are looked at: it is done where all clients are served, who must not wait for it."""


class TurnError(RtstreamError):
    """Why a turn has no transcript. ``code`` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A ``transcribe`` event. ``names`` come before ``terms`` where there are too many; both are phrases.

    ``language``: None where whichever is spoken is wanted.
    """

    language: str | None = None
    names: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    silence_ms: int | None = None

    @classmethod
    def read(cls, data: Mapping[str, Any], status: Status) -> TurnRequest:
        """Check one. Raises TurnError."""
        name, model = data.get("name"), status.model
        if name not in (None, "", ASR, model):
            raise TurnError("model-unknown", f"there is no model {name!r} here; leave it out, or write {model!r}")
        return cls(
            _language(data.get("language"), status.recognized_languages),
            _texts(data.get("transcript_names")),
            _texts(data.get("transcript_terms")),
            SILENCE_MS.get(str(data.get("vad_sensitivity"))),
        )

    def phrases(self, most: int) -> tuple[str, ...]:
        """Names and terms that can be found in speech, as many as there may be.

        Others are left out: a house has names that nobody can say, and turns must not fail for that.
        """
        found: dict[str, str] = {}
        for text in (*self.names, *self.terms)[:MOST_TEXTS]:
            if len(found) >= most:
                break
            try:
                name = "" if "=" in text else parse_phrase(text).text
            except ConfigError:
                continue
            if name:
                found.setdefault(name.casefold(), name)
        return tuple(found.values())


@dataclass(frozen=True, slots=True)
class TurnFormat:
    """How the samples of a turn come; ``width``: bytes of one."""

    rate: int
    width: int
    channels: int

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> TurnFormat:
        """Check that of an ``audio-start`` or ``audio-chunk``. Raises TurnError."""
        numbers = [data.get(name) for name in ("rate", "width", "channels")]
        rate, width, channels = (n if isinstance(n, int) and 0 < n < 1 << 31 else 0 for n in numbers)
        if not rate or not channels or width not in WIDTHS:
            raise TurnError(
                "audio-format",
                f"rate, width and channels are {numbers}: they must be whole numbers, such as 16000, 2 and 1",
            )
        return cls(rate, width, channels)

    def decoder(self) -> SamplesDecoder:
        """What makes 16 kHz mono of it. Raises TurnError."""
        config = pb.RecognitionConfig(sample_rate=self.rate, channels=self.channels)
        try:
            decoder = open_decoder(config)
        except RequestFailedError as error:
            raise TurnError("audio-format", str(error).removeprefix("config.")) from None
        assert isinstance(decoder, SamplesDecoder)  # not of a file
        return decoder

    def to_16_bit(self, audio: bytes) -> bytes:
        """Whole samples as 16-bit ones. Raises TurnError."""
        if len(audio) % self.width:
            raise TurnError("audio-format", f"a chunk of {len(audio)} bytes does not hold samples of {self.width}")
        if self.width == 1:  # unsigned
            return ((np.frombuffer(audio, np.uint8).astype("<i2") - 128) << 8).tobytes()
        return np.frombuffer(audio, np.uint8).reshape(-1, self.width)[:, -2:].tobytes()


def _language(given: object, known: tuple[str, ...]) -> str | None:
    if given in (None, "", "auto"):
        return None
    try:
        tag = canonical(str(given))
    except ValueError:
        tag = ""
    found = next((language for language in known if tag and (within(tag, language) or within(language, tag))), None)
    if found is None:
        raise TurnError(
            "language-unsupported",
            f"speech in {str(given)[:40]!r} cannot be recognised: the model knows {', '.join(known)}; choose that",
        )
    return found


def _texts(given: object) -> tuple[str, ...]:
    return tuple(text for text in given if isinstance(text, str)) if isinstance(given, list) else ()
