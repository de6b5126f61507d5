"""What takes long to find is looked for once, and the event loop's own threads have no part in it."""

import asyncio
import threading

import pytest

from rtstream.daemon.shared import Shared


class Slow:
    """Answers when it is let, or fails."""

    def __init__(self):
        self.go, self.calls, self.fails = threading.Event(), 0, False

    def __call__(self):
        self.calls += 1
        self.go.wait()
        if self.fails:
            raise OSError("no answer")
        return self.calls


@pytest.fixture
def slow():
    made = Slow()
    yield made
    made.go.set()


async def test_all_who_ask_meanwhile_share_one_answer_and_who_leaves_takes_it_from_nobody(slow):
    shared = Shared(slow)
    asking = [asyncio.ensure_future(shared.get()) for _ in range(300)]
    await asyncio.sleep(0)
    for task in asking[::2]:
        task.cancel()
    async with asyncio.timeout(60):
        assert await asyncio.to_thread(lambda: "others have their threads")
    slow.go.set()
    assert set(await asyncio.gather(*asking[1::2])) == {1}
    assert await shared.get() == 1  # still fresh
    assert slow.calls == 1


async def test_failure_is_shared_and_looked_for_anew_after_a_moment(slow, monkeypatch):
    monkeypatch.setattr("rtstream.daemon.shared.FRESH_SECONDS", 0.0)
    slow.fails = True
    slow.go.set()
    shared = Shared(slow)
    told = await asyncio.gather(*(shared.get() for _ in range(20)), return_exceptions=True)
    assert {str(error) for error in told} == {"no answer"}
    assert slow.calls == 1
    slow.fails = False
    assert await shared.get() == 2
