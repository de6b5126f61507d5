"""Microphones for tests: a real PulseAudio server whose sources play what is written to a FIFO, seen through ALSA."""

import os
import shutil
import subprocess
import threading
import time
from contextlib import suppress

import numpy as np
import pytest

RATE = 16_000

needs_sound = pytest.mark.skipif(
    not (shutil.which("pulseaudio") and shutil.which("pactl")),
    reason="needs a sound server: apt-get install libportaudio2 libasound2-plugins pulseaudio pulseaudio-utils",
)


def until(condition, what, seconds=600.0):
    """Wait for a condition; the limit is there only so that a failing test ends."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.02)
    return found


class SoundServer:
    """``environment`` makes programs see its sources as PortAudio devices of the names in the ALSA configuration."""

    def __init__(self, folder):
        self.folder = folder
        self.config = folder / "alsa.conf"
        self.socket = folder / "native"
        self.environment = {
            **os.environ,
            "ALSA_CONFIG_PATH": str(self.config),
            "PULSE_SERVER": f"unix:{self.socket}",
            "PULSE_RUNTIME_PATH": str(folder / "pulse"),
            "XDG_RUNTIME_DIR": str(folder),
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
        }
        self.configure()
        module = f"module-native-protocol-unix auth-anonymous=1 socket={self.socket}"
        with (folder / "pulse.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "-L", module],  # noqa: S607
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        until(lambda: self._control("info"), "the sound server answers")

    def configure(self, *devices, extra=""):
        """Make ``devices``, names of sources, the ALSA devices there are."""
        text = "</usr/share/alsa/alsa.conf>\n" + extra
        for name in devices:
            text += f"pcm.{name} {{ type pulse device {name} }}\n"
        self.config.write_text(text)

    def pace(self):
        """Add a source that gives silence at the speed of sound, for :meth:`playing`."""
        arguments = f"sink_name=pace rate={RATE} channels=1 format=s16le"
        until(lambda: self._control("load-module", "module-null-sink", *arguments.split()), "a pace")

    @staticmethod
    def playing(name, file):
        """An ALSA device that gives the samples of a file, from the first on, and then silence.

        The file plug-in reads as much of its file as it got from its slave, and leaves what is missing at the end.
        """
        slave = "type pulse device pace.monitor"
        return f'pcm.{name} {{ type file file "/dev/null" infile "{file}" format raw slave.pcm {{ {slave} }} }}\n'

    def plug(self, name):
        """Add a source."""
        fifo = self.folder / f"{name}-{time.monotonic_ns()}"
        arguments = f"source_name={name} file={fifo} rate={RATE} channels=1 format=s16le"
        number = until(lambda: self._control("load-module", "module-pipe-source", *arguments.split()), "plugged")
        return PluggedMicrophone(self, number, fifo)

    def close(self):
        self.process.kill()
        self.process.wait()

    def _control(self, *arguments):
        done = subprocess.run(
            ["pactl", *arguments],  # noqa: S607
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def unload(self, number):
        subprocess.run(["pactl", "unload-module", number], env=self.environment, check=True)  # noqa: S607


class PluggedMicrophone:
    """Says nothing, not even silence, until it is told to."""

    def __init__(self, server, number, fifo):
        self._server = server
        self._number = number
        self._pipe = os.open(fifo, os.O_WRONLY)
        self._stop = threading.Event()
        self._thread = None

    def say(self, samples, *, then_silence=True):
        """Play float samples at the speed of sound, in the background, and silence afterwards."""
        pcm = np.clip(samples * 32768, -32768, 32767).astype("<i2").tobytes()
        self._stop.clear()
        self._thread = threading.Thread(target=self._play, args=(pcm, then_silence), daemon=True)
        self._thread.start()

    def hush(self):
        """Stop in the middle, as a hung device."""
        self._stop.set()
        if self._thread:
            self._thread.join()

    def unplug(self):
        self._server.unload(self._number)
        self.hush()
        os.close(self._pipe)

    def _play(self, pcm, then_silence):
        step = RATE // 100 * 2
        began = time.monotonic()
        at = 0
        with suppress(BrokenPipeError):
            while not self._stop.is_set() and (at < len(pcm) or then_silence):
                piece = pcm[at : at + step]
                os.write(self._pipe, piece.ljust(step, b"\0"))
                at += step
                time.sleep(max(0.0, began + at / (2 * RATE) - time.monotonic()))
