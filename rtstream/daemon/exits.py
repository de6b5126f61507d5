"""How the service ends."""

from __future__ import annotations

from enum import IntEnum

from rtstream.errors import AudioError, ConfigError, RtstreamError
from rtstream.vad.gate import GateMissingError


class UnavailableError(RtstreamError):
    """An address cannot be listened on."""


class ExitCode(IntEnum):
    """What the process says at its end; the numbers from 64 on are those of sysexits.h."""

    STOPPED = 0
    """By SIGTERM or SIGINT, and everything that was said is published."""
    FAILED = 1
    """An error that nobody foresaw."""
    NO_INPUT = 66
    """The file that is the source cannot be played."""
    UNAVAILABLE = 69
    """An address cannot be listened on."""
    CUT_SHORT = 75
    """By SIGTERM or SIGINT, but what was said last could not be recognised within service.drain_seconds."""
    CONFIG = 78
    """The settings are wrong: to start again will not help."""


def exit_code(error: RtstreamError) -> ExitCode:
    """What an error means at the end of the process."""
    match error:
        case ConfigError() | GateMissingError():
            return ExitCode.CONFIG
        case AudioError():
            return ExitCode.NO_INPUT
        case UnavailableError():
            return ExitCode.UNAVAILABLE
        case _:
            return ExitCode.FAILED
