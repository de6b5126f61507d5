"""Speech to text of Pipecat by an rtstream service: ``Pipeline([transport.input(), RtstreamSTTService(), ...])``.

Audio goes to the service as it comes and words come back while they are spoken; nothing leaves your machines. Needs
``pipecat-ai`` 1.8 or later, which asks for a protobuf below 7, though it runs with 7 (1.14.0 did): install rtstream
after it. What silence ends a segment is ``silence_ms``; the pipeline's own turn detection goes on as before. Every
transcript names its language.
"""

from __future__ import annotations

import asyncio
import time
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

RETRY_SECONDS = 1.0


class RtstreamSTTService(STTService):
    """``target``, ``token`` and ``tls`` are AsyncClient's; ``phrases``: names and words to find where they are said.

    ``language``: what may be spoken, "es" or "en,es", or "auto" for any language that the model knows; None: as the
    service does. An STTUpdateSettingsFrame changes it for what is said from then on.
    """

    def __init__(
        self,
        target: str = "127.0.0.1:7660",
        *,
        token: str | None = None,
        tls: ClientTls | None = None,
        phrases: tuple[str, ...] = (),
        silence_ms: int | None = None,
        language: Language | str | None = None,
        **options: object,
    ) -> None:
        super().__init__(settings=STTSettings(model="rtstream", language=language), **options)
        self._client = AsyncClient(target, token=token, tls=tls)
        self._phrases = phrases
        self._silence_ms = silence_ms
        self._audio: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._reading: asyncio.Task[None] | None = None
        self._retry_at = 0.0

    async def start(self, frame: StartFrame) -> None:
        """Open the stream."""
        await super().start(frame)
        self._open()

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
        """Send 16-bit mono audio; what is recognised comes by itself. Without a service it is dropped."""
        if self._reading is not None and self._reading.done() and time.monotonic() >= self._retry_at:
            self._open()
        if self._reading is not None and not self._reading.done():
            self._audio.put_nowait(audio)
        yield None

    async def _update_settings(self, delta: STTSettings) -> dict[str, object]:
        changed = await super()._update_settings(delta)
        if "language" in changed and self._reading is not None:
            self._audio.put_nowait(None)
            self._open()
        return changed

    def _open(self) -> None:
        """Begin a stream, which gives its first words when the one before has given its last."""
        self._audio = asyncio.Queue()
        self._reading = self.create_task(self._read(self._audio, self._settings.language, self._reading))

    async def _read(
        self, audio: asyncio.Queue[bytes | None], language: str | None, before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:
            await before
        try:
            async for event in self._client.recognize(
                _chunks(audio),
                rate=self.sample_rate,
                phrases=self._phrases,
                silence_ms=self._silence_ms,
                language=language,
            ):
                if isinstance(event, Partial) and event.text:
                    await self.push_frame(InterimTranscriptionFrame(*self._said(event)))
                elif isinstance(event, Final) and event.text:
                    await self.push_frame(TranscriptionFrame(*self._said(event), finalized=True))
        except (ServerError, ValueError) as error:  # ValueError: what is no language
            if isinstance(error, ServerError) and error.reason == "IDLE":
                return  # muted for long: audio that comes opens another
            self._retry_at = time.monotonic() + RETRY_SECONDS
            hopeless = not (isinstance(error, ServerError) and error.passing)
            await self.push_error(str(error), error, force_treat_as_permanent=hopeless)

    def _said(self, event: Partial | Final) -> tuple[str, str, str, Language | None, Partial | Final]:
        """The fields that both kinds of frames begin with."""
        language = Language(event.language) if event.language in set(Language) else None
        return event.text, self._user_id, time_now_iso8601(), language, event


async def _chunks(audio: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    while (chunk := await audio.get()) is not None:
        yield chunk
