"""Speech to text of Pipecat by an rtstream service: ``Pipeline([transport.input(), RtstreamSTTService(), ...])``.

Audio goes to the service as it comes and words come back while they are spoken; nothing leaves your machines. Needs
``pipecat-ai``, which asks for a protobuf below 7, though it runs with 7 (1.14.0 did): install rtstream after it. What
silence ends a segment is ``silence_ms``; the pipeline's own turn detection goes on as before.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterimTranscriptionFrame,
    StartFrame,
    TranscriptionFrame,
)
from pipecat.services.settings import STTSettings
from pipecat.services.stt_service import STTService
from pipecat.transcriptions.language import Language
from pipecat.utils.time import time_now_iso8601

from rtstream.client import AsyncClient, ClientTls, Final, Partial, ServerError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator


class RtstreamSTTService(STTService):
    """``target``, ``token`` and ``tls`` are AsyncClient's; ``phrases``: names and words to find where they are said."""

    def __init__(
        self,
        target: str = "127.0.0.1:7660",
        *,
        token: str | None = None,
        tls: ClientTls | None = None,
        phrases: tuple[str, ...] = (),
        silence_ms: int | None = None,
        **options: object,
    ) -> None:
        super().__init__(settings=STTSettings(model="rtstream", language=Language.EN), **options)
        self._client = AsyncClient(target, token=token, tls=tls)
        self._phrases = phrases
        self._silence_ms = silence_ms
        self._audio: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._reading: asyncio.Task[None] | None = None

    async def start(self, frame: StartFrame) -> None:
        """Open the stream."""
        await super().start(frame)
        self._reading = self.create_task(self._read())

    async def stop(self, frame: EndFrame) -> None:
        """Recognise what was said last, then let go."""
        self._audio.put_nowait(None)
        if self._reading is not None:
            await self._reading
            self._reading = None
        await self._client.close()
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        """Let go at once."""
        if self._reading is not None:
            await self.cancel_task(self._reading)
            self._reading = None
        await self._client.close()
        await super().cancel(frame)

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Send 16-bit mono audio; what is recognised comes by itself."""
        self._audio.put_nowait(audio)
        yield None

    async def _chunks(self) -> AsyncIterator[bytes]:
        while (chunk := await self._audio.get()) is not None:
            yield chunk

    async def _read(self) -> None:
        try:
            async for event in self._client.recognize(
                self._chunks(), rate=self.sample_rate, phrases=self._phrases, silence_ms=self._silence_ms
            ):
                if isinstance(event, Partial) and event.text:
                    await self.push_frame(InterimTranscriptionFrame(*self._said(event)))
                elif isinstance(event, Final) and event.text:
                    await self.push_frame(TranscriptionFrame(*self._said(event), finalized=True))
        except ServerError as error:
            await self.push_error(str(error), error)

    def _said(self, event: Partial | Final) -> tuple[str, str, str, Language, Partial | Final]:
        """The fields that both kinds of frames begin with."""
        return event.text, self._user_id, time_now_iso8601(), Language.EN, event
