"""What a client asks for, as messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rtstream.languages import AUTO, read_choice
from rtstream.wire.convert import from_seconds
from rtstream.wire.v1 import rtstream_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from rtstream.wire.values import StreamSettings


Container = Literal["wav", "ogg", "flac"]
"""A format of files that can be sent as they are."""
_CONTAINERS = {"wav": pb.AUDIO_ENCODING_WAV, "ogg": pb.AUDIO_ENCODING_OGG, "flac": pb.AUDIO_ENCODING_FLAC}


@dataclass(frozen=True, slots=True)
class Flush:
    """In the place of a chunk of audio: what was sent is all that was said.

    The open segment ends there, whatever silence there is; its final follows, then a Flushed. Audio may go on.
    """


def spoken_languages(language: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Those that may be spoken: none for any, None for the service's own. Raises ValueError for what is no language."""
    return None if language is None else read_choice(language)


def recognize_request(chunk: bytes | Flush) -> pb.RecognizeRequest:
    """The next message of a client's own stream."""
    if isinstance(chunk, Flush):
        return pb.RecognizeRequest(flush=pb.Flush())
    return pb.RecognizeRequest(audio=chunk)


def subscribe_request(
    *,
    from_start: bool,
    max_age_seconds: float | None,
    partials: bool,
    words: bool,
    languages: Collection[str] | None,
    heartbeat_seconds: float,
) -> pb.SubscribeRequest:
    """Of what is published; ``languages``: None for all translations. Without ``partials`` those of finals alone."""
    return pb.SubscribeRequest(
        from_start=from_start,
        max_age=None if max_age_seconds is None else from_seconds(max_age_seconds),
        words=words,
        heartbeat_interval=from_seconds(heartbeat_seconds),
        kinds=_kinds(partials=partials, translations=languages is None or bool(languages)),
        languages=languages or (),
        no_partial_translations=not partials,
    )


def recognition_config(
    rate: int, channels: int, *, floats: bool, settings: StreamSettings | None, container: Container | None = None
) -> pb.RecognitionConfig:
    """Of a client's own stream: how its samples are encoded, and what is wanted of them; ``container``: a file's."""
    encoding = pb.AUDIO_ENCODING_F32LE if floats else pb.AUDIO_ENCODING_S16LE
    config = pb.RecognitionConfig(
        encoding=_CONTAINERS[container] if container else encoding, sample_rate=rate, channels=channels
    )
    if settings is not None:
        config.no_partials, config.words = not settings.partials, settings.words
        config.phrases.extend(settings.phrases)
        if settings.languages is not None:
            config.languages.extend(settings.languages or (AUTO,))
        config.silence_ms, config.speech_events = settings.silence_ms or 0, settings.speech
        config.translate = settings.translate
        if settings.chunk_ms is not None:
            config.chunk.FromMilliseconds(settings.chunk_ms)
    return config


def _kinds(*, partials: bool, translations: bool) -> list[str]:
    """The kinds of events to ask for; none stands for all, also for those that a newer service may have."""
    unwanted = {pb.EVENT_KIND_UNSPECIFIED}
    if not partials:
        unwanted.add(pb.EVENT_KIND_PARTIAL)
    if not translations:
        unwanted.add(pb.EVENT_KIND_TRANSLATION)
    wanted = [pb.EventKind.Name(kind) for kind in pb.EventKind.values() if kind not in unwanted]
    return wanted if len(unwanted) > 1 else []
