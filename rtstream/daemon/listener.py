"""The thread that reads the service's own source and hands its audio to recognition."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from rtstream.events import SAMPLE_RATE, AudioBlock, AudioLost, DeviceState, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.audio.source import Source
    from rtstream.daemon.audio_clock import AudioClock
    from rtstream.daemon.audio_queue import AudioQueue
    from rtstream.events import ServiceEvent

log = structlog.get_logger()


class Listener:
    """Reads ``source`` to its end, and has ``clock`` note when its audio comes.

    ``publish`` gets the states of the device at once, whatever waits in ``channel``, and ``hear`` all audio.
    """

    def __init__(
        self,
        source: Source,
        channel: AudioQueue,
        publish: Callable[[ServiceEvent], None],
        clock: AudioClock,
        hear: Callable[[AudioBlock], None] = lambda _: None,
        *,
        muted: bool = False,
    ) -> None:
        self.device: DeviceState | None = None
        self.samples = 0
        """Of audio that came."""
        self.lost = {"overflow": 0, "device": 0}
        """Samples that did not come, by reason."""
        self._source = source
        self._channel = channel
        self._publish = publish
        self._clock = clock
        self._hear = hear
        self._heard: float | None = None
        self._muted = muted
        self._dropping = False
        self._actual: DeviceState | None = None  # of the device, whether it is muted or not
        self._telling = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)

    @property
    def audio_age(self) -> float | None:
        """Seconds since audio came last; None before any did."""
        return None if self._heard is None else time.monotonic() - self._heard

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def mute(self, muted: bool) -> None:  # noqa: FBT001 - it is what it says
        """Drop the audio from now on, after the final of what was said; or hand it on again. From any thread."""
        with self._telling:
            if muted != self._muted:
                self._muted = muted
                log.info("muted" if muted else "unmuted")
                if self._actual is not None:
                    self._show(replace(self._actual, time=None))

    def close(self, seconds: float) -> None:
        """Listen no more; what came until now is in the channel afterwards, and its last segment will be closed."""
        self._source.close()
        self._thread.join(seconds)
        if self._thread.is_alive():  # waits for standard input, or for a sound system that hangs
            self._channel.flush()

    def _run(self) -> None:
        try:
            for item in self._source:
                self._pass_on(item)
        except Exception as error:
            log.exception("the source has failed")
            self._publish(Fault("SOURCE_FAILED", f"listening has ended: {type(error).__name__}: {error}"))
            if self.device is not None:
                self._tell(replace(self.device, state="lost", detail=str(error), time=None))
        self._channel.flush()

    def _pass_on(self, item: AudioBlock | AudioLost | DeviceState) -> None:
        match item:
            case AudioBlock():
                self._heard = time.monotonic()
                self.samples += len(item.samples)
                self._clock.note(item.position, len(item.samples))
                if self._muted:
                    if not self._dropping:
                        self._channel.flush()
                    self._dropping = True
                    return
                self._dropping = False
                self._hear(item)
                if self._source.live:
                    self._channel.put_live(item)
                else:
                    self._channel.put(item)
                self._source.quiet = self._channel.quiet
            case AudioLost():
                log.warning("audio was lost", reason=item.reason, seconds=round(item.samples / SAMPLE_RATE, 3))
                self.lost[item.reason] = self.lost.get(item.reason, 0) + item.samples
                self._channel.note(item)
            case DeviceState():
                self._tell(item)

    def _tell(self, state: DeviceState) -> None:
        if state.state in {"stalled", "lost", "ended"}:
            self._channel.flush()  # what was said is a whole, whatever comes next
        elif state.state == "paused":
            self._channel.pause()
        report = log.warning if state.state in {"stalled", "lost"} else log.info
        report("audio source", device=state.device, state=state.state, detail=state.detail)
        with self._telling:
            self._actual = state
            self._show(state)

    def _show(self, state: DeviceState) -> None:
        if self._muted and state.state in {"capturing", "paused"}:
            state = replace(state, state="muted", detail="its audio is dropped; 'rtstream unmute' ends that")
        self.device = self._clock.timed(state)
        self._publish(self.device)
