"""The service: what it is made of, and its state as others see it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import structlog

from rtstream import __version__
from rtstream.audio.devices import list_devices
from rtstream.audio.open_source import open_source
from rtstream.audio.source import parse_source
from rtstream.daemon.audio_clock import AudioClock
from rtstream.daemon.audio_queue import AudioQueue
from rtstream.daemon.engine import Engine
from rtstream.daemon.faults import Faults
from rtstream.daemon.listener import Listener
from rtstream.daemon.load_meter import LoadMeter
from rtstream.daemon.metrics import Metrics
from rtstream.daemon.on_final import OnFinal
from rtstream.daemon.reload import changes
from rtstream.daemon.segments import ChangeableSegmenter
from rtstream.daemon.settings import (
    capture_request,
    microphone_config,
    phrases,
    store_limits,
    translated_speech,
    vad_settings,
)
from rtstream.daemon.shared import Shared
from rtstream.daemon.speech import SpeechTeller
from rtstream.daemon.streams import ClientStream
from rtstream.daemon.translating import start_translation, translation_counters
from rtstream.daemon.watchdog import Progress
from rtstream.events import Event, Fault, Final, Flushed, Partial, Translation
from rtstream.languages import ENGLISH
from rtstream.publish.broker import Broker
from rtstream.publish.live_audio import LiveAudio
from rtstream.publish.store import Store
from rtstream.recognizer.phrases import parse_phrases
from rtstream.rpc.hub import NotReadyError, StreamLimitError
from rtstream.translation.source import english_text
from rtstream.wire.values import Device, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.config import Config
    from rtstream.daemon.models import LoadedModel
    from rtstream.events import ServiceEvent, Speech
    from rtstream.recognizer.pipeline import Pipeline
    from rtstream.recognizer.recognizer import Recognizer
    from rtstream.translation.worker import TranslationWorker
    from rtstream.wire.values import Phase, StreamSettings

log = structlog.get_logger()

PAGE = os.sysconf("SC_PAGE_SIZE")
LAST_SECONDS = 2.0
"""That the store has at least, to take what was said last."""
CUT_SHARE = 0.7
"""Of the time for draining, after which audio that is not recognised yet is given up."""


class Service:
    """A :class:`~rtstream.rpc.hub.Hub`, whose life :mod:`rtstream.daemon.run` leads.

    Raises AudioError, ConfigError, GateMissingError.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.phase: Phase = "starting"
        self.faults = Faults()
        self.metrics = Metrics(self.status)
        self.engine = Engine(
            config.recognition.workers,
            LoadMeter(self.metrics.decode_seconds.observe),
            prepares=config.recognition.prepare,
        )
        self.audio = LiveAudio()
        """The source's own, for who listens to it."""
        self.listener: Listener | None = None
        self.progress: Progress | None = None
        self._model: LoadedModel | None = None
        self._began = time.monotonic()
        self._clock = AudioClock(config.audio.backlog_seconds)
        self._channel: AudioQueue | None = None
        self._pipeline: Pipeline | None = None
        self._translation: TranslationWorker | None = None
        self._vad = vad_settings(config.vad)
        self._segmenter = ChangeableSegmenter(self._vad)
        self._counts = dict.fromkeys(("finals", "partials", "streams_opened", "streams_refused"), 0)
        self._english = {False: 0, True: 0}  # translations of speech: of partials, of finals
        self._streams = 0
        self.muted = config.audio.muted
        """Whether the audio of the source is dropped."""
        self._on_final = OnFinal(lambda: self.config.service, self.publish)
        self._recognised = self._stored = True
        self._memory = _Memory()
        self._devices = Shared(list_devices)
        self._source = open_source(
            parse_source(config.audio.source), capture_request(config.audio), microphone_config(config.audio)
        )
        self._broker = self._open_broker()

    @property
    def broker(self) -> Broker:
        """Where the events of the service's own source are published."""
        return self._broker

    @property
    def languages(self) -> tuple[str, ...]:
        """Into which the service translates."""
        return tuple(dict.fromkeys(self.config.translation.languages))

    @property
    def complete(self) -> bool:
        """Whether nothing that was heard had to be given up."""
        cut = self._channel is not None and self._channel.cut_short
        return self._recognised and self._stored and not cut

    def publish(self, event: ServiceEvent) -> None:
        """Publish an event of the service's own, with its time; from any thread."""
        event = self._clock.timed(event)
        match event:
            case Final():
                self._counts["finals"] += 1
                if self.config.log.transcripts:
                    log.info("final", text=event.text, segment=event.segment, source=event.source)
            case Partial():
                self._counts["partials"] += 1
            case Translation(language="en", final=final):
                self._english[final] += 1
            case Fault() if not self.faults.note(event):
                return
        self._broker.publish(event)
        if isinstance(event, Final):
            self._on_final.submit(event)
        if self._translation is not None and isinstance(event, Event):
            english = english_text(event, by_speech=ENGLISH in self.languages)
            if english is not None:
                self._translation.submit(english)

    def listen(self, model: LoadedModel) -> None:
        """Begin to recognise: the source's audio and that of clients."""
        self._translation = start_translation(self.config, self.publish)
        speech = SpeechTeller(self.publish)

        def make_pipeline() -> Pipeline:
            speech.abandon()
            # Anew after a failure: numbers go on.
            self._segmenter = ChangeableSegmenter(self._vad, self._segmenter.next)
            self._pipeline = model.pipeline(_own(model, self.config), self._segmenter, speech.hear)
            return self._pipeline

        self._channel = AudioQueue(
            self.engine,
            make_pipeline,
            lambda event: None if event is None or isinstance(event, Flushed) else self.publish(event),
            seconds=self.config.audio.backlog_seconds,
            first=True,
        )
        self.listener = Listener(
            self._source, self._channel, self.publish, self._clock, self.audio.put, muted=self.muted
        )
        self.progress = Progress(self._source, self.engine, lambda: self._broker.alive)
        self._model = model
        self.phase = "ready"
        self.listener.start()

    def mute(self, muted: bool) -> None:  # noqa: FBT001 - it is what it says
        """Drop the audio of the source from now on, or recognise it again."""
        self.muted = muted
        if self.listener is not None:
            self.listener.mute(muted)

    def reload(self, config: Config) -> tuple[list[str], list[str]]:
        """Take new settings, as far as that is possible; gives the names of those taken and of those that are not.

        Raises ConfigError, GateMissingError, and then nothing has changed.
        """
        taken, kept = changes(self.config, config)
        heard = {key: getattr(config.recognition, key) for key in ("language", "phrases")}
        recognition = self.config.recognition.model_copy(update=heard)
        recognizer = None
        if self._model is not None and any(f"recognition.{key}" in taken for key in heard):
            recognizer = _own(self._model, self.config.model_copy(update={"recognition": recognition}))
        if any(name.startswith("vad.") for name in taken):
            self._vad = vad_settings(config.vad)
            self._segmenter.change(self._vad)
        store = {key: getattr(config.publish, key) for key in ("store_max_age_hours", "store_max_megabytes")}
        publish = self.config.publish.model_copy(update=store)
        self.config = self.config.model_copy(
            update={
                "log": config.log,
                "vad": config.vad,
                "service": config.service,
                "publish": publish,
                "recognition": recognition,
            }
        )
        if recognizer is not None and self._pipeline is not None:
            self._pipeline.change(recognizer)
        if any(name.startswith("publish.") for name in taken):
            self._broker.retain(**store_limits(publish))
        return taken, kept

    def drain(self, seconds: float) -> None:
        """Listen no more, then recognise, translate and publish what was heard; what takes too long is told.

        Waits for all that, up to ``seconds``.
        """
        deadline = time.monotonic() + seconds
        if self.listener is not None and self._channel is not None:
            failures = self._channel.failures
            self.listener.close(min(1.0, seconds / 4))
            # The last part of the time is for the final of what was recognised until then.
            if not self._channel.wait(max(0.0, deadline - time.monotonic()) * CUT_SHARE):
                self._channel.cut()
                # Where nothing waits, what is given up may still be the piece that is being recognised.
                self._recognised = self._channel.wait(max(0.0, deadline - time.monotonic()))
            self._recognised &= self._channel.failures == failures
        if self._translation is not None:
            self._translation.finish(max(0.0, deadline - time.monotonic()))
        self._on_final.finish(deadline - time.monotonic())
        # A disk that hangs must not keep the process for ever.
        self._stored = self._broker.close(max(LAST_SECONDS, deadline - time.monotonic()))

    def cut(self) -> None:
        """Drain no longer than the piece of work takes that is being done."""
        if self._channel is not None:
            self._channel.cut()
        if self._translation is not None:
            self._translation.cut()

    def close(self) -> None:
        """Let go of the engine."""
        self.engine.close()

    def status(self) -> Status:
        """How the service is, now."""
        listener, channel, model = self.listener, self._channel, self._model
        device = listener.device if listener is not None else None
        faults = self.faults.active
        troubled = bool(faults) or (device is not None and device.state in {"stalled", "lost"})
        load = self.engine.load
        counters = {
            **self._counts,
            "audio_samples": listener.samples if listener is not None else 0,
            "overflow_samples": listener.lost["overflow"] if listener is not None else 0,
            "device_samples": listener.lost["device"] if listener is not None else 0,
            "behind_samples": channel.lost_samples if channel is not None else 0,
            "recognised_samples": load.samples,
            "recognition_cpu_milliseconds": round(load.cpu_seconds * 1000),
            "partials_replaced": self._broker.partials_replaced,
            "subscribers_ended": self._broker.subscribers_ended,
            "finals_unstored": self._broker.finals_unstored,
            "finals_lost": self._broker.finals_lost,
            "faults": self.faults.count,
            **translation_counters(self._translation, self._english),
        }
        return Status(
            version=__version__,
            phase="degraded" if self.phase == "ready" and troubled else self.phase,
            model=model.name if model is not None else "",
            engine=model.engine if model is not None else "",
            device=device,
            uptime_seconds=time.monotonic() - self._began,
            audio_age_seconds=listener.audio_age if listener is not None else None,
            real_time_factor=load.real_time_factor,
            rss_bytes=self._memory.resident_bytes(),
            subscribers=self._broker.subscribers,
            streams=self._streams,
            counters=counters,
            faults=faults,
            languages=self.languages,
            backlog_seconds=channel.waiting_seconds if channel is not None else 0.0,
            recognized_languages=model.languages if model is not None else (),
        )

    async def devices(self) -> Sequence[Device]:
        """What could be captured from. Raises AudioError."""
        used = self.listener.device if self.listener is not None else None
        return [
            Device(
                device.name,
                device.index,
                device.channels,
                device.rate,
                device.default,
                used=used is not None and used.state in {"capturing", "muted"} and used.device == device.name,
            )
            for device in await self._devices.get()
        ]

    async def open_stream(self, settings: StreamSettings) -> ClientStream:
        """Begin to recognise a client's audio. Raises StreamLimitError, NotReadyError, or ConfigError for settings."""
        model, most = self._model, self.config.recognition.max_streams
        if model is None or self.phase != "ready":
            raise NotReadyError(f"the service is {self.phase}; try again later")
        if self._streams >= most:
            self._counts["streams_refused"] += 1
            raise StreamLimitError(f"{most} client streams are being recognised, more are not allowed; try again later")
        both = parse_phrases([*self.config.recognition.phrases, *settings.phrases])
        recognizer = model.for_client(
            settings.chunk_ms,
            both,
            self.config.recognition.languages if settings.languages is None else settings.languages,
            "all" if settings.translate else "nothing",
            partials=settings.partials,
            words=settings.words,
        )
        vad = self._vad.with_silence(settings.silence_ms)

        def closed() -> None:
            self._streams -= 1

        def make_pipeline() -> Pipeline:
            teller.abandon()
            return model.pipeline(
                recognizer, ChangeableSegmenter(vad), tell_audio=teller.hear if settings.speech else None
            )

        def tell(speech: Speech) -> None:
            stream.tell(speech)

        teller = SpeechTeller(tell)
        stream = ClientStream(self.engine, make_pipeline, closed)
        self._streams += 1
        self._counts["streams_opened"] += 1
        return stream

    def _open_broker(self) -> Broker:
        settings = self.config.publish
        store = settings.store
        return Broker(
            open_store=None if store is None else lambda: Store(store, **store_limits(self.config.publish)),
            queue_size=settings.queue_size,
            held_finals=settings.held_finals,
            on_fault=self._note_fault,
        )

    def _note_fault(self, fault: Fault) -> None:
        """Hear of a fault that the broker publishes itself."""
        self.faults.note(fault)


def _own(model: LoadedModel, config: Config) -> Recognizer:
    """The recognizer of the service's own source. Raises ConfigError."""
    return model.own(phrases(config.recognition), config.recognition.languages, translated_speech(config.translation))


class _Memory:
    """Of this process. The file stays open: it is read at every look, also when no file can be opened."""

    def __init__(self) -> None:
        self._file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def resident_bytes(self) -> int:
        return int(os.pread(self._file, 256, 0).split()[1]) * PAGE
