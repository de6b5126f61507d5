"""The client for programs without an event loop: scripts, threads, notebooks.

It uses gRPC's own threads: gRPC for asyncio wants a single event loop in a process, which may be another's.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, TypeVar

import grpc

from rtstream.client.calls import ANSWER_SECONDS, HEARTBEAT_SECONDS, MISSED_HEARTBEATS
from rtstream.client.connection import open_blocking_channel
from rtstream.client.requests import (
    Container,
    Flush,
    recognition_config,
    recognize_request,
    spoken_languages,
    subscribe_request,
)
from rtstream.client.resuming import Following
from rtstream.client.server_error import ServerError, ended, server_error, silent
from rtstream.client.target import DEFAULT_TARGET, parse_target
from rtstream.client.transcript import Transcript
from rtstream.errors import AudioError
from rtstream.publish.seconds import Final, Translation, read_event, read_item
from rtstream.wire.convert import read_event as read_message
from rtstream.wire.status import read_devices, read_status
from rtstream.wire.v1 import rtstream_pb2 as pb
from rtstream.wire.v1.rtstream_pb2_grpc import SpeechServiceStub
from rtstream.wire.values import StreamSettings

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Iterator
    from types import TracebackType
    from typing import Any

    from rtstream.client.connection import ClientTls
    from rtstream.client.resuming import ConnectionState
    from rtstream.publish.items import Position
    from rtstream.publish.seconds import Event, RecognizedEvent
    from rtstream.wire.values import Device, Status

WATCHES = 8
"""Looks at a silent connection before it is taken for dead."""

Request = TypeVar("Request")
Response = TypeVar("Response")


class Client:
    """A connection to the service at ``target``: ``unix:PATH`` or ``HOST:PORT``; without a port 7660.

    ``token``: a bearer token; ``tls``: None for an unencrypted connection. Connects when first needed, and again when
    the connection is lost. Any thread may use it. Use it as a context manager, or :meth:`close` it. Every method raises
    ServerError. Making one raises ConfigError for an impossible target, or TLS files that cannot be used.
    """

    def __init__(self, target: str = DEFAULT_TARGET, *, token: str | None = None, tls: ClientTls | None = None) -> None:
        self.target = parse_target(target)
        self._closed = threading.Event()
        self._channel = open_blocking_channel(self.target, tls)
        self._stub = SpeechServiceStub(self._channel)
        self._metadata = () if token is None else (("authorization", f"Bearer {token}"),)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, and end all calls: a subscription that another thread reads ends without an error."""
        self._closed.set()
        self._channel.close()

    def subscribe(
        self,
        *,
        resume_after: Position | None = None,
        from_start: bool = False,
        max_age_seconds: float | None = None,
        partials: bool = True,
        words: bool = False,
        languages: Collection[str] | None = None,
        reconnect: bool = True,
        wait: bool = False,
        on_connection: Callable[[ConnectionState, str], None] | None = None,
    ) -> Iterator[Event]:
        """Iterate over what the service publishes, for ever: see :meth:`AsyncClient.subscribe`."""
        request = subscribe_request(
            from_start=from_start,
            max_age_seconds=max_age_seconds,
            partials=partials,
            words=words,
            languages=languages,
            heartbeat_seconds=HEARTBEAT_SECONDS,
        )
        following = Following(
            self.target, request, resume_after, reconnect=reconnect, wait=wait, on_connection=on_connection
        )
        while not self._closed.is_set():
            try:
                for message in self._messages(following.request()):
                    item = following.take(message)
                    if item is not None:
                        yield read_item(item)
            except ServerError as error:
                if not following.goes_on(error):
                    raise
            self._closed.wait(following.pause())

    def recognize(
        self,
        audio: Iterable[bytes | Flush],
        *,
        rate: int = 16_000,
        channels: int = 1,
        floats: bool = False,
        container: Container | None = None,
        partials: bool = True,
        words: bool = False,
        phrases: Iterable[str] = (),
        chunk_ms: int | None = None,
        silence_ms: int | None = None,
        speech: bool = False,
        language: str | Iterable[str] | None = None,
        translate: bool = False,
    ) -> Iterator[RecognizedEvent]:
        """Send audio as it comes and iterate over what is recognised in it: see :meth:`AsyncClient.recognize`.

        ``audio`` is read in a thread of its own. What it raises is raised here, after the last final.
        """
        settings = StreamSettings(
            partials, words, chunk_ms, tuple(phrases), silence_ms, speech, spoken_languages(language), translate
        )
        sender = _Sender(
            recognition_config(rate, channels, floats=floats, container=container, settings=settings), audio
        )
        call = self._stub.Recognize(iter(sender), metadata=self._metadata)
        with self._call(call):
            for response in call:
                event = read_message(response)
                if event is not None:
                    yield read_event(event)  # type: ignore[arg-type]  # no DeviceState comes here
        if sender.error is not None:
            raise sender.error

    def transcribe(
        self,
        path: str | os.PathLike[str],
        *,
        words: bool = False,
        phrases: Iterable[str] = (),
        language: str | Iterable[str] | None = None,
        translate: bool = False,
    ) -> Transcript[Final, Translation]:
        """The finals of a recording: see :meth:`AsyncClient.transcribe`. Raises AudioError too."""
        from rtstream.client.recordings import blocking_chunks  # noqa: PLC0415 - soundfile, which others do without

        events = self.recognize(
            blocking_chunks(path),
            floats=True,
            partials=False,
            words=words,
            phrases=phrases,
            language=language,
            translate=translate,
        )
        transcript: Transcript[Final, Translation] = Transcript()
        try:
            for event in events:
                if isinstance(event, Final):
                    transcript.append(event)
                elif isinstance(event, Translation):
                    transcript.translations.append(event)
        except AudioError as error:
            error.finals = transcript
            raise
        return transcript

    def status(self) -> Status:
        """How the service is."""
        return read_status(self._ask(self._stub.GetStatus, pb.GetStatusRequest()))

    def mute(self, *, muted: bool = True) -> None:
        """Have the service drop the audio of its own source, or recognise it again."""
        self._ask(self._stub.Mute, pb.MuteRequest(muted=muted))

    def devices(self) -> list[Device]:
        """What the service could capture from."""
        return read_devices(self._ask(self._stub.ListDevices, pb.ListDevicesRequest()))

    def _ask(self, method: Callable[..., Response], request: Request) -> Response:
        try:
            return method(request, metadata=self._metadata, timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            raise self._error(error) from None

    def _messages(self, request: pb.SubscribeRequest) -> Iterator[pb.SubscribeResponse]:
        patience = MISSED_HEARTBEATS * HEARTBEAT_SECONDS
        call = self._stub.Subscribe(request, metadata=self._metadata)
        watch = _Watch(patience, call.cancel)
        try:
            with self._call(call), watch:
                yield from watch.over(call)
        except ServerError:
            if self._closed.is_set():
                return
            if watch.expired:
                raise silent(self.target, patience) from None
            raise
        raise ended(self.target)

    @contextmanager
    def _call(self, call: Any) -> Iterator[None]:  # noqa: ANN401 - gRPC's stubs do not name it
        """End the call, and raise ServerError for what goes wrong with it."""
        try:
            yield
        except grpc.RpcError as error:
            raise self._error(error) from None
        finally:
            call.cancel()

    def _error(self, error: Any) -> ServerError:  # noqa: ANN401 - an RpcError that is a Call too: no type says so
        return server_error(self.target, error.code(), error.details(), error.trailing_metadata())


class _Sender:
    """The messages of a stream; ``error``: what its audio raised, which ends it there."""

    def __init__(self, config: pb.RecognitionConfig, audio: Iterable[bytes | Flush]) -> None:
        self.error: Exception | None = None
        self._config = config
        self._audio = audio

    def __iter__(self) -> Iterator[pb.RecognizeRequest]:
        yield pb.RecognizeRequest(config=self._config)
        try:
            for chunk in self._audio:
                yield recognize_request(chunk)
        except Exception as error:  # noqa: BLE001 - gRPC's thread would print it and lose what was recognised
            self.error = error


class _Watch:
    """Calls ``expire``, from a thread of its own, when an answer was waited for ``seconds``."""

    def __init__(self, seconds: float, expire: Callable[[], object]) -> None:
        self.expired = False
        self._seconds = seconds
        self._expire = expire
        self._since: float | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rtstream heartbeats", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def over(self, answers: Iterator[Response]) -> Iterator[Response]:
        """The answers; what whoever reads them does meanwhile does not count."""
        while True:
            self._since = time.monotonic()
            answer = next(answers, None)
            self._since = None
            if answer is None:
                return
            yield answer

    def _run(self) -> None:
        while not self._done.wait(self._seconds / WATCHES):
            since = self._since
            if since is not None and time.monotonic() - since >= self._seconds:
                self.expired = True
                self._expire()
                return
