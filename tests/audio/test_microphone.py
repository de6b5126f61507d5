"""A microphone through real PortAudio, ALSA and a sound server: present, absent, unplugged, replaced, hung."""

import os
import signal
import threading

import numpy as np
import pytest

from rtstream.audio.capture import CaptureError, choose
from rtstream.audio.capture_protocol import CaptureRequest
from rtstream.audio.devices import list_devices
from rtstream.audio.microphone import Microphone, MicrophoneConfig
from rtstream.events import AudioBlock, AudioLost, DeviceState
from tests.audio.sound_server import needs_sound, until

pytestmark = needs_sound
QUICK = MicrophoneConfig(stall_seconds=1.0, retry_seconds=0.05, retry_most_seconds=0.2)


class Heard:
    """Reads a microphone in a thread, as the service does."""

    def __init__(self, microphone):
        self.items = []
        self.microphone = microphone
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        for item in self.microphone:
            self.items.append(item)

    def close(self):
        self.microphone.close()
        self.thread.join()

    def states(self):
        return [item.state for item in self.items if isinstance(item, DeviceState)]

    def samples(self):
        blocks = [item.samples for item in self.items if isinstance(item, AudioBlock)]
        return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


@pytest.fixture
def hear(sound, monkeypatch):
    for name, value in sound.environment.items():
        monkeypatch.setenv(name, value)
    listeners = []

    def start(device="default", config=QUICK, **request):
        listeners.append(Heard(Microphone(CaptureRequest(device, **request), config)))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()


def tone(seconds, level=0.25):
    """A ramp and a tone: where it begins can be found."""
    return (level * np.sin(np.arange(int(16_000 * seconds)) * 0.2)).astype(np.float32)


def reading(name, file):
    """An ALSA device that gives a file's content, as fast as it is read."""
    return f'pcm.{name} {{ type file file "/dev/null" infile "{file}" format raw slave.pcm {{ type null }} }}\n'


def positions_are_continuous(items):
    at = None
    for item in items:
        if isinstance(item, AudioBlock | AudioLost):
            assert at is None or item.position == at
            at = item.position + (len(item.samples) if isinstance(item, AudioBlock) else item.samples)
    return True


def test_what_is_said_is_heard_sample_by_sample(sound, hear):
    sound.configure("desk")
    said = tone(2.0)
    device = sound.plug("desk")
    heard = hear("desk", rate=16_000)
    device.say(tone(0.1, 0.0))
    until(lambda: "capturing" in heard.states(), "capturing")
    device.hush()
    device.say(said)
    until(lambda: np.abs(heard.samples()).max() > 0.1, "heard")
    silence = lambda: not heard.samples()[-8_000:].any()  # noqa: E731
    until(silence, "heard to its end")
    heard.close()
    device.unplug()
    got = heard.samples()
    begin = int(np.argmax(np.abs(got) > 0.02))
    assert heard.states() == ["starting", "capturing", "ended"]
    assert positions_are_continuous(heard.items)
    offset = int(np.argmax(np.abs(said) > 0.02))
    length = len(said) - offset
    np.testing.assert_allclose(got[begin : begin + length], said[offset:], atol=2 / 32768)


def test_native_rate_and_channels_become_16_khz_mono(sound, hear):
    sound.configure("desk")
    device = sound.plug("desk")
    heard = hear("desk", rate=48_000, channels=2)
    device.say(tone(1.0))
    until(lambda: len(heard.samples()) >= 16_000, "heard")
    detail = next(i.detail for i in heard.items if isinstance(i, DeviceState) and i.state == "capturing")
    assert detail == "48000 Hz, 2 channels"
    device.unplug()


def test_device_that_is_absent_at_the_start_is_captured_when_it_comes_also_under_another_index(sound, hear):
    heard = hear("desk")
    until(lambda: "lost" in heard.states(), "absent")
    (lost,) = [i for i in heard.items if isinstance(i, DeviceState) and i.state == "lost"]
    assert "no input device matches 'desk'" in lost.detail
    signs = heard.microphone.signs
    until(lambda: heard.microphone.signs > signs, "being looked for is a sign of life")
    sound.configure("aaa_other", "desk")
    device = sound.plug("desk")
    device.say(tone(1.0))
    until(lambda: "capturing" in heard.states(), "captured")
    assert not [i for i in heard.items if isinstance(i, AudioLost)]
    device.unplug()


def test_device_that_is_there_but_cannot_be_opened_is_said_so_and_tried_again(sound, hear):
    sound.configure("desk")  # a name without a source behind it fails to open, as a busy device does
    heard = hear("desk")
    until(lambda: "lost" in heard.states(), "not opened")
    (lost,) = [i for i in heard.items if isinstance(i, DeviceState) and i.state == "lost"]
    assert "desk" in lost.detail
    device = sound.plug("desk")
    device.say(tone(1.0))
    until(lambda: "capturing" in heard.states(), "captured")
    device.unplug()


def test_unplugged_device_is_lost_and_captured_again_when_it_is_back(sound, hear):
    sound.configure("desk")
    device = sound.plug("desk")
    heard = hear("desk")
    device.say(tone(0.5))
    until(lambda: len(heard.samples()) > 8_000, "heard")
    device.unplug()
    until(lambda: "lost" in heard.states(), "lost")
    sound.configure("other", "desk")  # another index
    device = sound.plug("desk")
    before = len(heard.samples())
    device.say(tone(0.5))
    until(lambda: len(heard.samples()) > before + 8_000, "heard again")
    assert heard.states()[-1] == "capturing"
    assert positions_are_continuous(heard.items)
    (gap,) = [i for i in heard.items if isinstance(i, AudioLost)]
    assert gap.reason == "device"
    device.unplug()


def test_device_that_opens_healthily_but_gives_nothing_is_stalled_no_sign_of_life_and_reopened(sound, hear):
    sound.configure("desk")
    device = sound.plug("desk")
    heard = hear("desk")
    device.say(tone(0.5))
    until(lambda: len(heard.samples()) > 8_000, "heard")
    device.hush()
    until(lambda: "stalled" in heard.states(), "stalled")
    signs = heard.microphone.signs
    # it "opens healthily" again and again meanwhile
    threading.Event().wait(3 * QUICK.stall_seconds)
    assert heard.microphone.signs == signs
    assert heard.states()[-1] == "stalled"
    before = len(heard.samples())
    device.say(tone(0.5))
    until(lambda: len(heard.samples()) > before + 8_000, "heard again")
    assert heard.states()[-1] == "capturing"
    assert positions_are_continuous(heard.items)
    device.unplug()


def test_driver_that_hangs_for_good_hangs_nothing_else(sound, hear, tmp_path):
    # ALSA's file plug-in reading from a FIFO that nobody writes: PortAudio never comes back
    os.mkfifo(tmp_path / "never")
    sound.configure(extra=reading("hung", tmp_path / "never"))
    heard = hear("hung", MicrophoneConfig(open_seconds=6.0, retry_seconds=0.05))
    until(lambda: "stalled" in heard.states(), "given up")
    sound.configure("hung")
    device = sound.plug("hung")
    device.say(tone(0.5))
    until(lambda: "capturing" in heard.states(), "captured")
    device.unplug()


def test_capturing_process_that_is_killed_is_started_again(sound, hear):
    sound.configure("desk")
    device = sound.plug("desk")
    heard = hear("desk")
    device.say(tone(0.5))
    until(lambda: len(heard.samples()) > 8_000, "heard")
    children = f"/proc/{os.getpid()}/task/{heard.thread.native_id}/children"
    with open(children) as file:  # noqa: PTH123
        os.kill(int(file.read().split()[0]), signal.SIGKILL)
    before = len(heard.samples())
    until(lambda: "lost" in heard.states(), "lost")
    until(lambda: len(heard.samples()) > before + 8_000, "heard again")
    device.unplug()


def test_reader_that_does_not_read_loses_audio_of_exactly_known_length(sound, tmp_path, monkeypatch):
    # A device a hundred times faster than sound, through a ring of half a second
    said = np.arange(1, 30_000, dtype="<i2")
    said.tofile(tmp_path / "numbers")
    sound.configure(extra=reading("fast", tmp_path / "numbers"))
    for name, value in sound.environment.items():
        monkeypatch.setenv(name, value)
    microphone = Microphone(CaptureRequest("fast", 16_000, 1, ring_seconds=0.5))
    items = []
    for item in microphone:
        items.append(item)
        threading.Event().wait(0.01)
        if sum(isinstance(i, AudioLost) for i in items) == 3:
            break
    microphone.close()
    assert positions_are_continuous(items)
    assert {i.reason for i in items if isinstance(i, AudioLost)} == {"overflow"}
    blocks = [i for i in items if isinstance(i, AudioBlock) and i.position + len(i.samples) < len(said)]
    assert blocks
    for block in blocks:  # each number is at its place, also behind a gap
        np.testing.assert_array_equal(np.round(block.samples * 32768), said[block.position :][: len(block.samples)])


def test_devices_are_listed_as_they_are_now(sound, monkeypatch):
    for name, value in sound.environment.items():
        monkeypatch.setenv(name, value)
    assert "desk" not in [device.name for device in list_devices()]
    sound.configure("desk")
    assert "desk" in [device.name for device in list_devices()]


def device(index, name, channels=1, *, default=False):
    return {"index": index, "name": name, "max_input_channels": channels, "default": default}


DEVICES = [
    device(0, "HDA Intel: analog", 2),
    device(3, "USB PnP Sound Device: Audio (hw:1,0)"),
    device(4, "USB PnP"),
    device(5, "HDMI", 0),
    device(6, "default", 32, default=True),
]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [("default", 6), ("", 6), ("3", 3), ("usb pnp", 4), ("Sound Device", 3), ("hda", 0), ("hw:1,0", 3)],
)
def test_device_is_chosen_by_index_name_or_part_of_it(wanted, index):
    assert choose(DEVICES, wanted)["index"] == index


@pytest.mark.parametrize("wanted", ["5", "HDMI", "99", "no such"])
def test_what_is_no_input_device_is_named_with_those_that_are(wanted):
    with pytest.raises(CaptureError, match=rf"'{wanted}'; there are: HDA Intel: analog, USB PnP Sound Device"):
        choose(DEVICES, wanted)
