"""The input devices of this machine, as they are now."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from rtstream.audio.capture_protocol import Parser
from rtstream.errors import AudioError

CAPTURE_PROGRAM = (sys.executable, "-m", "rtstream.audio.capture")
ANSWER_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class InputDevice:
    """A device that can be captured. ``index`` changes when devices come and go: choose by ``name``."""

    index: int
    name: str
    host_api: str
    channels: int
    rate: int
    default: bool


def list_devices() -> list[InputDevice]:
    """Ask PortAudio, in a process of its own: in this one the list would be as old as the process.

    A device that another program holds may be missing. Raises AudioError: no PortAudio, or it does not answer.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            [*CAPTURE_PROGRAM, "--list"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except OSError as error:
        raise AudioError(f"no process can be started to ask the sound system: {error.strerror}; try again") from None
    except subprocess.TimeoutExpired:
        raise AudioError(
            f"the sound system does not answer within {ANSWER_SECONDS:g} s; look for a driver or server that hangs"
        ) from None
    if done.stdout[:1] == b"[":
        return [
            InputDevice(
                device["index"],
                device["name"],
                device["host_api"],
                device["max_input_channels"],
                round(device["default_samplerate"]),
                device["default"],
            )
            for device in json.loads(done.stdout)
        ]
    parser = Parser()
    parser.feed(done.stdout)
    message = parser.take()
    reason = json.loads(message.body)["message"] if message else f"its process ended with {done.returncode}"
    raise AudioError(f"the devices cannot be listed: {reason}")
