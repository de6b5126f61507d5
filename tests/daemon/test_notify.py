"""What systemd hears, at a real socket."""

import os
import socket

import pytest

from rtstream.daemon.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def heard(request, tmp_path):
    name = str(tmp_path / "notify") if request.param == "path" else f"@rtstream-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(name.replace("@", "\0", 1))
        server.settimeout(0)

        def take():
            try:
                return server.recv(4096).decode()
            except BlockingIOError:
                return None

        yield name, take


def test_what_is_said_arrives_also_at_abstract_sockets(heard):
    name, take = heard
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready()
    notifier.status("two\nlines")
    notifier.watchdog()
    notifier.stopping()
    notifier.extend(1.5)
    assert [take() for _ in range(5)] == [
        *["READY=1", "STATUS=two lines", "WATCHDOG=1", "STOPPING=1", "EXTEND_TIMEOUT_USEC=1500000"],
    ]


def test_reloading_carries_the_time_that_systemd_asks_for(heard):
    name, take = heard
    Notifier({"NOTIFY_SOCKET": name}).reloading()
    first, second = take().split("\n")
    assert first == "RELOADING=1"
    assert second.removeprefix("MONOTONIC_USEC=").isdecimal()


def test_nobody_to_hear_it_is_no_error(tmp_path):
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_listener_that_does_not_read_never_blocks(heard):
    name, _ = heard
    notifier = Notifier({"NOTIFY_SOCKET": name})
    for _ in range(10_000):
        notifier.watchdog()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_interval_is_systemds(environment, seconds):
    assert Notifier(environment).watchdog_seconds == seconds
