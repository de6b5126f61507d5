"""A muted source is read and dropped, and everybody sees it."""

import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from rtstream.cli.main import cli
from rtstream.daemon.audio_clock import AudioClock
from rtstream.daemon.listener import Listener
from rtstream.events import AudioBlock, DeviceState
from rtstream.wire.v1 import rtstream_pb2 as pb
from tests.audio.sound_server import until
from tests.daemon.test_listener import Given, Noted
from tests.recognizer.tiny_bundle import DATA

ON = DeviceState("desk", "capturing")
MUTED, CAPTURING, LOST = pb.CAPTURE_STATE_MUTED, pb.CAPTURE_STATE_CAPTURING, pb.CAPTURE_STATE_LOST


def block(position):
    return AudioBlock(np.zeros(320, np.float32), position)


class Steps:
    """Items, and calls between them."""

    def __init__(self, *steps):
        self._steps = steps

    def __iter__(self):
        for step in self._steps:
            if callable(step):
                step()
            else:
                yield step


def listen(*steps, muted=False):
    """Play a source; "mute" and "unmute" among its items are done there."""
    channel, published, heard = Noted(), [], []
    source = Given()
    listener = Listener(source, channel, published.append, AudioClock(0), heard.append, muted=muted)
    doings = {"mute": lambda: listener.mute(muted=True), "unmute": lambda: listener.mute(muted=False)}
    source.items = Steps(*(doings.get(step, step) if isinstance(step, str) else step for step in steps))
    listener.start()
    listener._thread.join()
    return listener, channel.calls, [state.state for state in published], heard


def test_what_was_said_before_gets_its_final_and_what_comes_is_dropped():
    a, b, c, d = (block(n * 320) for n in range(4))
    listener, calls, states, heard = listen(ON, a, "mute", b, c, "unmute", d)
    assert calls == [("put_live", a), ("flush",), ("put_live", d), ("flush",)]
    assert states == ["capturing", "muted", "capturing"]
    assert heard == [a, d]
    assert listener.samples == 4 * 320  # it is read all the same


def test_to_mute_twice_tells_once():
    _, _, states, _ = listen(ON, "mute", "mute", "unmute", "unmute")
    assert states == ["capturing", "muted", "capturing"]


def test_a_device_that_is_lost_is_told_while_muted_and_is_muted_when_it_is_back():
    lost = DeviceState("desk", "lost", "unplugged")
    listener, _, states, _ = listen(ON, "mute", lost, ON, block(0))
    assert states == ["capturing", "muted", "lost", "muted"]
    assert listener.device.state == "muted"


def test_a_service_can_begin_muted():
    _, calls, states, heard = listen(ON, block(0), muted=True)
    assert states == ["muted"]
    assert [name for name, *_ in calls] == ["flush", "flush"]
    assert heard == []


@pytest.mark.slow
def test_the_service_is_muted_and_unmuted_from_the_command_line(tmp_path, serve):
    path = tmp_path / "loop.wav"
    shutil.copy(DATA / "cv-laundry.wav", path)
    daemon = serve("--source", f"wav:{path}?loop=1", model="tiny").ready()
    subscriber = daemon.subscribe()
    until(lambda: subscriber.of("final"), "something was said")

    assert CliRunner().invoke(cli, ["mute", f"unix:{daemon.socket}"]).exit_code == 0
    until(lambda: subscriber.of("device_state")[-1].state == MUTED, "it is seen")
    assert daemon.status().device.state == MUTED
    late = daemon.subscribe()
    until(lambda: [state.state for state in late.of("device_state")] == [MUTED], "who comes later sees it too")

    def recognised_in_two_seconds():
        before = daemon.status().counters
        until(lambda: daemon.status().counters["audio_samples"] > before["audio_samples"] + 32_000, "audio is read")
        return daemon.status().counters["recognised_samples"] - before["recognised_samples"]

    # On a slow machine a chunk takes longer than that.
    until(lambda: not any(recognised_in_two_seconds() for _ in range(4)), "what was said before is recognised")
    said = late.of("final")
    assert recognised_in_two_seconds() == 0
    assert late.of("final") == said

    assert CliRunner().invoke(cli, ["unmute", f"unix:{daemon.socket}"]).exit_code == 0
    until(lambda: len(late.of("final")) > len(said), "it is recognised again")
    assert late.of("device_state")[-1].state == CAPTURING
    assert daemon.stop() == 0
