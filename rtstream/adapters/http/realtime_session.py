"""How a realtime session is set up, from and to OpenAI's fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rtstream.adapters.http.language import read_language
from rtstream.adapters.http.prompt import phrases_of
from rtstream.rpc.client_audio import SILENCE_MS
from rtstream.wire.failures import invalid


@dataclass(frozen=True, slots=True)
class Session:
    """``server_vad``: the service finds where turns end, else the client commits them.

    ``language``: as the client has named it, ``languages``: what that stands for.
    """

    server_vad: bool = True
    silence_ms: int | None = None
    language: str = ""
    prompt: str = ""
    model: str = ""
    languages: tuple[str, ...] | None = None

    @property
    def phrases(self) -> tuple[str, ...]:
        """Those of the prompt."""
        return phrases_of(self.prompt)

    def fields(self) -> dict[str, object]:
        """As clients read it."""
        turns = {"type": "server_vad", "silence_duration_ms": self.silence_ms} if self.server_vad else None
        return {
            "type": "transcription",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24_000},
                    "noise_reduction": None,
                    "transcription": {"model": self.model, "language": self.language, "prompt": self.prompt},
                    "turn_detection": turns,
                }
            },
        }


def read_session(given: object, before: Session, languages: tuple[str, ...]) -> Session:
    """The session after an update, for a model of ``languages``. Raises RequestFailedError."""
    session = _table(given, "session")
    if session.get("type", "transcription") != "transcription":
        raise invalid("session.type", "only transcription is possible")
    source = _table(_table(session.get("audio"), "session.audio").get("input"), "session.audio.input")
    name = "session.audio.input"
    form = _table(source.get("format"), f"{name}.format")
    if form and (form.get("type") != "audio/pcm" or form.get("rate", 24_000) != 24_000):
        raise invalid(f"{name}.format", "only audio/pcm of 24000 Hz is possible")
    asked = _table(source.get("transcription"), f"{name}.transcription")
    fields = {key: asked.get(key, getattr(before, key)) or "" for key in ("language", "prompt", "model")}
    for key, value in fields.items():
        if not isinstance(value, str):
            raise invalid(f"{name}.transcription.{key}", "it must be text")
    spoken = read_language(fields["language"], languages)
    server_vad, silence_ms = before.server_vad, before.silence_ms
    if "turn_detection" in source:
        turns = source["turn_detection"]
        server_vad = turns is not None
        silence_ms = _table(turns, f"{name}.turn_detection").get("silence_duration_ms")
        low, high = SILENCE_MS
        if silence_ms is not None and not (isinstance(silence_ms, int) and low <= silence_ms <= high):
            raise invalid(f"{name}.turn_detection.silence_duration_ms", f"it must be {low} to {high}")
    return Session(server_vad, silence_ms, fields["language"], fields["prompt"], fields["model"], spoken)


def _table(given: object, name: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise invalid(name, "it must be an object")
    return given
