"""Speech to text of LiveKit Agents by an rtstream service: ``AgentSession(stt=RtstreamSTT("127.0.0.1:7660"), ...)``.

Audio goes to the service as it comes and words come back while they are spoken; nothing leaves your machines. Needs
``livekit-agents``. One stream of the service (``recognition.max_streams``) for each participant that is heard. Every
transcript names its language.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from livekit import rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectionError,
    APIConnectOptions,
    LanguageCode,
    NotGivenOr,
    stt,
    utils,
)

from rtstream.client import AsyncClient, ClientTls, Final, Flush, Partial, ServerError, Speech

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RATE = 16_000


class RtstreamSTT(stt.STT):
    """``target``, ``token`` and ``tls`` are AsyncClient's; ``phrases``: names and words to find where they are said.

    ``language``: what may be spoken where a call does not say it, "es" or "en,es", or "auto" for any language that the
    model knows; None: as the service does.
    """

    def __init__(
        self,
        target: str = "127.0.0.1:7660",
        *,
        token: str | None = None,
        tls: ClientTls | None = None,
        phrases: tuple[str, ...] = (),
        language: str | None = None,
    ) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))
        self._client = AsyncClient(target, token=token, tls=tls)
        self._phrases = phrases
        self._language = language

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        """A whole recording at once."""
        frame = rtc.combine_audio_frames(buffer)
        try:
            events = self._client.recognize(
                [bytes(frame.data)],
                rate=frame.sample_rate,
                channels=frame.num_channels,
                partials=False,
                phrases=self._phrases,
                language=self._spoken(language),
            )
            finals = [event async for event in events if isinstance(event, Final) and event.text]
        except ServerError as error:
            raise _failure(error) from error
        seconds: Counter[str] = Counter()
        for final in finals:
            seconds[final.language] += final.end - final.start
        languages = [LanguageCode(name) for name, _ in seconds.most_common()]
        data = stt.SpeechData(
            languages[0] if languages else LanguageCode(""),
            " ".join(final.text for final in finals),
            confidence=min((final.confidence or 0.0 for final in finals), default=0.0),
            source_languages=languages,
        )
        return stt.SpeechEvent(type=stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[data])

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        """Audio as it comes."""
        return _Stream(self, self._client, self._phrases, self._spoken(language), conn_options)

    def _spoken(self, language: NotGivenOr[str]) -> str | None:
        """What may be spoken in a call, as tags: LiveKit takes "spanish" too."""
        asked = language if utils.is_given(language) else self._language
        return None if asked is None else ",".join(LanguageCode(name) for name in asked.split(","))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.close()


class _Stream(stt.RecognizeStream):
    def __init__(
        self,
        owner: RtstreamSTT,
        client: AsyncClient,
        phrases: tuple[str, ...],
        language: str | None,
        conn_options: APIConnectOptions,
    ) -> None:
        super().__init__(stt=owner, conn_options=conn_options, sample_rate=RATE)
        self._client = client
        self._phrases = phrases
        self._language = language

    async def _run(self) -> None:
        try:
            async for event in self._client.recognize(
                self._audio(), rate=RATE, speech=True, phrases=self._phrases, language=self._language
            ):
                match event:
                    case Speech(state="started"):
                        self._tell(stt.SpeechEventType.START_OF_SPEECH)
                    case Partial(text=text) if text:
                        self._tell(stt.SpeechEventType.INTERIM_TRANSCRIPT, event)
                    case Final():
                        if event.text:
                            self._tell(stt.SpeechEventType.FINAL_TRANSCRIPT, event)
                        self._tell(stt.SpeechEventType.END_OF_SPEECH)
                    case _:
                        pass
        except ServerError as error:
            raise _failure(error) from error

    async def _audio(self) -> AsyncIterator[bytes | Flush]:
        """What is pushed, 16 kHz mono, until the input ends."""
        async for item in self._input_ch:
            yield Flush() if isinstance(item, self._FlushSentinel) else bytes(item.data)

    def _tell(self, kind: stt.SpeechEventType, said: Partial | Final | None = None) -> None:
        alternatives = []
        if said is not None:
            confidence = (said.confidence or 0.0) if isinstance(said, Final) else 0.0
            data = stt.SpeechData(
                LanguageCode(said.language),
                said.text,
                start_time=said.start + self.start_time_offset,
                end_time=said.end + self.start_time_offset,
                confidence=confidence,
            )
            alternatives.append(data)
        self._event_ch.send_nowait(stt.SpeechEvent(type=kind, alternatives=alternatives))


def _failure(error: ServerError) -> APIConnectionError:
    """LiveKit tries again what may pass, and not what is refused."""
    return APIConnectionError(str(error), retryable=error.passing)
