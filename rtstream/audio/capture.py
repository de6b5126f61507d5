"""A program of its own that owns PortAudio: ``python -m rtstream.audio.capture``.

In a process of its own a driver that hangs hangs nothing else and can be killed, no model work can delay the callback
(it shares no interpreter lock with it), and each start sees the devices and ALSA's configuration as they are now: both
PortAudio and ALSA read them once a process.

Its standard output carries :mod:`rtstream.audio.capture_protocol`. It ends when its standard input does, so it never
outlives who started it; signals are left to that one.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

from rtstream.audio.capture_protocol import CaptureRequest, Kind, pack
from rtstream.audio.jack import remove_unused_metadata
from rtstream.audio.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLE_BYTES = 2
LONGEST_XRUN_SECONDS = 60.0
VIRTUAL_CHANNELS = 8
"""ALSA's plug-ins and sound servers offer 32 channels and more and convert to any number; real microphones have few."""


class CaptureError(Exception):
    """Capturing is not possible now; ``code`` says in which way."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Capture:
    """An open device whose callback fills a ring. ``sounddevice``: the module, imported where its failure is told."""

    def __init__(self, sounddevice: Any, device: dict[str, Any], request: CaptureRequest) -> None:  # noqa: ANN401
        most = int(device["max_input_channels"])
        self.channels = request.channels or (1 if most > VIRTUAL_CHANNELS else most)
        self.rate = request.rate or round(device["default_samplerate"])
        self.ring = Ring(int(request.ring_seconds * self.rate), SAMPLE_BYTES * self.channels)
        self.ended = os.eventfd(0, os.EFD_CLOEXEC)
        self._next_adc: float | None = None
        try:
            self.stream = sounddevice.RawInputStream(
                samplerate=self.rate,
                device=device["index"],
                channels=self.channels,
                dtype="int16",
                latency="high",  # of PortAudio's own buffer: some 40 ms, and fewer wake-ups
                callback=self._take,
                finished_callback=lambda: os.eventfd_write(self.ended, 1),
            )
            self.stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise CaptureError("OPEN_FAILED", f"{device['name']} cannot be opened: {plain(error)}") from error

    def _take(self, data: Any, frames: int, when: Any, status: Any) -> None:  # noqa: ANN401 - PortAudio's
        """Copy a block; PortAudio's realtime thread calls it."""
        if status.input_overflow and self._next_adc is not None:
            # The driver does not say how much it has lost, its clock does.
            missing = when.inputBufferAdcTime - self._next_adc
            if 0 < missing < LONGEST_XRUN_SECONDS:
                self.ring.lose(round(missing * self.rate))
        self._next_adc = when.inputBufferAdcTime + frames / self.rate
        self.ring.write(memoryview(data))


def main(arguments: Sequence[str]) -> int:
    """Run with ``--list`` for the devices as JSON, or with a request for its audio."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    out = sys.stdout.buffer
    try:
        sounddevice = _portaudio()
        if arguments == ["--list"]:
            out.write(json.dumps(_devices(sounddevice)).encode())
            out.flush()
            return 0
        threading.Thread(target=_end_with_starter, daemon=True).start()
        request = CaptureRequest.from_json(arguments[0])
        device = choose(_devices(sounddevice), request.device)
        _send_all(Capture(sounddevice, device, request), device, out)
    except BrokenPipeError:
        os._exit(0)  # nobody listens, and stopping the stream may hang
    except CaptureError as error:
        out.write(pack(Kind.FAULT, json.dumps({"code": error.code, "message": str(error)}).encode()))
        out.flush()
    os._exit(0)  # as above


def choose(devices: Sequence[dict[str, Any]], wanted: str) -> dict[str, Any]:
    """Find the input device ``wanted``: an index, ``default``, a name or a part of it, in any case.

    A whole name is preferred to a part, an earlier device to a later one. Raises CaptureError.
    """
    inputs = [device for device in devices if device["max_input_channels"] > 0]
    name = wanted.casefold()
    matches = (
        [d for d in inputs if d["default"]] + [d for d in inputs if d["name"].casefold() == name] + inputs[:1]
        if name in {"", "default"}
        else [d for d in inputs if str(d["index"]) == wanted]
        if wanted.isdecimal()
        else [d for d in inputs if d["name"].casefold() == name] + [d for d in inputs if name in d["name"].casefold()]
    )
    if matches:
        return matches[0]
    there = ", ".join(d["name"] for d in inputs) or "none"
    raise CaptureError("NO_DEVICE", f"no input device matches '{wanted or 'default'}'; there are: {there}")


def plain(error: Exception) -> str:
    """PortAudio's reason in one line, without the number that no reader knows."""
    reason = next((str(part) for part in error.args if isinstance(part, str)), type(error).__name__)
    return " ".join(reason.removeprefix("Error opening RawInputStream: ").split())


def _portaudio() -> Any:  # noqa: ANN401 - a module without types
    remove_unused_metadata()  # of a process that was killed: importing sounddevice would wait for it for ever
    try:
        import sounddevice  # noqa: PLC0415 - importing it starts PortAudio
    except (ImportError, OSError) as error:
        raise CaptureError(
            "NO_PORTAUDIO", f"{error}; install it: sudo apt-get install libportaudio2, pip install sounddevice"
        ) from error
    except Exception as error:
        raise CaptureError("NO_PORTAUDIO", f"PortAudio does not start: {plain(error)}") from error
    return sounddevice


def _devices(sounddevice: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    default = sounddevice.default.device[0]
    apis = [api["name"] for api in sounddevice.query_hostapis()]
    return [
        {
            "index": device["index"],
            "name": device["name"],
            "host_api": apis[device["hostapi"]],
            "max_input_channels": device["max_input_channels"],
            "default_samplerate": device["default_samplerate"],
            "default": device["index"] == default,
        }
        for device in sounddevice.query_devices()
        if device["max_input_channels"] > 0
    ]


def _send_all(capture: Capture, device: dict[str, Any], out: BinaryIO) -> None:
    """Pass the ring's content on until the device ends. Raises BrokenPipeError, or CaptureError at the end."""
    form = {"device": device["name"], "rate": capture.rate, "channels": capture.channels}
    out.write(pack(Kind.FORMAT, json.dumps(form).encode()))
    out.flush()
    poll = select.poll()
    poll.register(capture.ring, select.POLLIN)
    poll.register(capture.ended, select.POLLIN)
    ended = False
    while True:
        while run := capture.ring.read(capture.rate // 10):
            out.write(pack(Kind.AUDIO, run.data, run.position, run.lost))
            out.flush()
        if ended:
            raise CaptureError("LOST", f"{device['name']} has stopped: unplugged, or taken away by the sound server")
        ended = any(descriptor == capture.ended for descriptor, _ in poll.poll())


def _end_with_starter() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
