"""One turn: audio in, its text while it is spoken, and the transcript at the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.vad import VoiceStarted, VoiceStopped

from rtstream.adapters.wyoming.request import TurnError
from rtstream.events import SAMPLE_RATE, AudioLost, Fault, Final, Partial, Speech
from rtstream.wire.failures import RequestFailedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wyoming.event import Eventable

    from rtstream.adapters.wyoming.request import TurnFormat
    from rtstream.rpc.hub import RecognitionStream

LONGEST_SECONDS = 300.0
"""Of a turn, and of its audio."""
WAIT_SECONDS = 15.0
"""Of audio, in which somebody must begin to speak, where the turn ends by itself."""
SAMPLES_PER_MILLISECOND = SAMPLE_RATE // 1000


class Turn:
    """Recognises one client's audio until :meth:`stop`; ``send`` takes what it is told.

    With ``ends_itself`` it is over when the speaker pauses. ``language``: the one that
    was asked for; what is recognised says which it is.
    """

    def __init__(
        self,
        stream: RecognitionStream,
        form: TurnFormat,
        send: Callable[[Eventable], Awaitable[None]],
        *,
        language: str | None,
        ends_itself: bool = False,
    ) -> None:
        self.form = form
        self._decoder = form.decoder()
        self._stream = stream
        self._send = send
        self._language = language
        self._ends_itself = ends_itself
        self._samples = 0
        self._speaking = False
        self._finals: list[str] = []
        self._segment: int | None = None
        self._shown = ""  # of that segment
        self._started = self._finished = False
        self._trouble: TurnError | None = None
        self._began = asyncio.get_running_loop().time()
        self.stopped = False
        """Whether its client has said that no more audio comes."""
        self.task = asyncio.ensure_future(self._run())
        """Done when the transcript has been sent, or cannot be."""

    @property
    def over(self) -> bool:
        """Whether nothing more is sent."""
        return self.task.done()

    async def push(self, audio: bytes) -> None:
        """Take further audio; waits for room. Raises TurnError for what is none, which :meth:`stop` must follow."""
        if self._samples >= LONGEST_SECONDS * SAMPLE_RATE or self._seconds >= LONGEST_SECONDS:
            raise TurnError("audio-too-long", f"a turn may last {LONGEST_SECONDS:.0f} s; begin another one")
        data = self.form.to_16_bit(audio)
        try:
            async for samples in self._decoder.push(data):
                self._samples += len(samples)
                await self._stream.push(samples)
        except RequestFailedError as error:
            raise TurnError("audio-format", str(error)) from None
        if self._ends_itself and self._samples >= WAIT_SECONDS * SAMPLE_RATE and not self._speaking:
            await self._finish()

    async def pause(self) -> None:
        """Give what was said its final: more may be long in coming."""
        await self._stream.pause()

    async def stop(self) -> None:
        """Say that no more audio comes: the transcript follows."""
        self.stopped = True
        if not self.over:
            try:
                async for samples in self._decoder.finish():
                    await self._stream.push(samples)
            except RequestFailedError as error:
                self._trouble = TurnError("audio-format", str(error))
            await self._finish()

    async def result(self) -> None:
        """Wait until the transcript is sent. Raises TurnError if there is none, OSError where the client is gone."""
        await asyncio.shield(self.task)

    async def close(self) -> None:
        """Let go of everything, whatever is pending."""
        self.task.cancel()
        await asyncio.wait({self.task})
        if not self.task.cancelled():
            self.task.exception()  # was told, or there is nobody to tell
        await self._stream.close()

    async def _finish(self) -> None:
        if not self._finished:
            self._finished = True
            await self._stream.finish()

    @property
    def _seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    async def _run(self) -> None:
        async for event in self._stream:
            match event:
                case Partial():
                    self._language = event.language or self._language
                    await self._show(event.segment, event.text)
                case Final(text=text):
                    self._language = event.language or self._language
                    await self._show(event.segment, text)
                    self._finals += [text] if text else []
                    if text and self._ends_itself:
                        break
                case Speech():
                    await self._tell(event)
                case Fault(message=message):
                    self._trouble = TurnError("recognition-failed", message)
                case AudioLost():
                    self._trouble = TurnError("audio-lost", f"{event.samples / SAMPLE_RATE:.1f} s were not recognised")
        await self._stream.close()
        if self._finals or self._trouble is None:
            await self._start()
            await self._send(Transcript(" ".join(self._finals), language=self._language))
            await self._send(TranscriptStop())
        if self._trouble is not None:
            raise self._trouble

    async def _start(self) -> None:
        if not self._started:
            self._started = True
            await self._send(TranscriptStart(language=self._language))

    async def _show(self, segment: int, text: str) -> None:
        """Send what a segment's text has more than was sent: what has been sent cannot be taken back."""
        if segment != self._segment:
            self._segment, self._shown = segment, ""
        if text == self._shown or not text.startswith(self._shown):
            return
        apart = " " if self._started and not self._shown else ""
        more, self._shown = apart + text[len(self._shown) :], text
        await self._start()
        await self._send(TranscriptChunk(more))

    async def _tell(self, speech: Speech) -> None:
        self._speaking = speech.state == "started"
        milliseconds = speech.position // SAMPLES_PER_MILLISECOND
        await self._send(VoiceStarted(milliseconds) if self._speaking else VoiceStopped(milliseconds))
