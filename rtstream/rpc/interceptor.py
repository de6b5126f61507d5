"""What every call passes: tokens, the limits of calls and of what they hold, and the last resort for errors."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc.aio import AbortError, ServerInterceptor

from rtstream.rpc.connections import client_of
from rtstream.rpc.guarded import Guarded
from rtstream.rpc.operations import uncancelled
from rtstream.rpc.places import Places
from rtstream.wire.failures import RequestFailedError, abort, invalid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from grpc.aio import ServicerContext

    from rtstream.rpc.security import Tokens

log = structlog.get_logger()

HEALTH = "/grpc.health.v1.Health/"
"""May be asked without a token: load balancers and probes have none, and it tells nothing of what is said."""
HEALTH_CALLS, HEALTH_CALLS_PER_CLIENT = 64, 16
LARGE = "/rtstream.v1.SpeechService/Transcribe"
"""Its request is as large as a message may be, and is held until it is answered."""
RECOGNIZE = "/rtstream.v1.SpeechService/Recognize"
SMALL_BYTES = 1 << 18
"""Of any other request, and of a stream's first: 500 phrases take a tenth of it."""
SMALL_CALLS = 32
"""Of a client, that are being received or answered at once; four times as many of all."""
SMALL_SECONDS = 30.0
"""In which such a request must have come: a machine that computes with all it has may look for it late."""
FEWEST_MESSAGES = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """How much there may be at a time.

    ``streams`` and ``streams_per_client`` bound the calls that stay, and apart from them those that are answered at
    once; calls to the health service have places of their own. ``recognitions``: of the calls that stay, those that
    send audio, each of which may hold a message.
    ``message_bytes`` is the largest message; of those that are being received or held for an answer about
    ``bytes_in_flight`` may be there at a time, and the others wait at their clients. ``idle_seconds``: that a request
    may take to come. ``farewell_seconds``: that a call that has failed keeps its place while its status is not taken.
    """

    streams: int = 256
    streams_per_client: int = 64
    recognitions: int = 64
    message_bytes: int = 4 << 20
    bytes_in_flight: int = 32 << 20
    idle_seconds: float = 30.0
    farewell_seconds: float = 10.0


class Gate(ServerInterceptor):
    """Lets calls in, or ends them with a clear status, before anything of their messages is read.

    A client is whoever has the same token, or without tokens the same address: all of this machine's, and a Unix
    socket's, are one client each. When a token is taken out of the file the calls that came with it end.

    A call that has failed counts until its status is sent, for ``farewell_seconds`` at most: a client that does not
    read would keep its place for good. What gRPC then still holds for it is one message and the status, and a
    connection may have only so many calls.
    """

    def __init__(self, limits: Limits | None = None, *, tokens: Tokens | None = None) -> None:
        limits = self._limits = limits or Limits()
        self._tokens = tokens
        self._streams = Places("streams", limits.streams, limits.streams_per_client)
        self._large = Places("Transcribe calls", limits.streams, limits.streams_per_client)
        self._small = Places("calls", 4 * SMALL_CALLS, SMALL_CALLS)
        self._recognitions = Places("Recognize calls", limits.recognitions, limits.streams_per_client)
        self._health = Places("health calls", HEALTH_CALLS, HEALTH_CALLS_PER_CLIENT)
        messages = max(FEWEST_MESSAGES, limits.bytes_in_flight // limits.message_bytes)
        self._large_messages = asyncio.Semaphore(messages)
        self._peers: Counter[str] = Counter()
        self._guarded = Guarded(tokens)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def streams(self) -> int:
        """Streams that are open now."""
        return self._streams.open.total() + self._health.open.total()

    @property
    def peers(self) -> set[str]:
        """Connections with a call, by the name of their other end."""
        return set(self._peers)

    async def ended(self, seconds: float) -> None:
        """Wait until every call that came in is over with all that it has to put away, up to ``seconds``."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def watch_tokens(self) -> None:
        """End the calls of tokens that are no longer valid, again and again."""
        await self._guarded.watch()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler of a call."""
        if task := asyncio.current_task():  # gRPC's own, one for each call; it goes on after the handler
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None  # gRPC answers UNIMPLEMENTED
        method = handler_call_details.method
        sides = (handler.request_streaming, handler.response_streaming)
        served = getattr(handler, "_".join("stream" if streaming else "unary" for streaming in sides))
        parse = handler.request_deserializer

        async def guarded(requests: Any, context: Any) -> None:  # noqa: ANN401 - an iterator of bytes
            with self._counted(unquote(context.peer())):
                async with AsyncExitStack() as held:
                    try:
                        client, token = self._client(method, context)
                        request = await self._request(method, sides, client, requests, held)
                        parsed = self._all(method, request, parse) if sides[0] else _parsed(parse, request)
                        del request
                        await self._serve(token, served, parsed, context, sides)
                    except RequestFailedError as failure:
                        await self._farewell(context, failure)

        # All alike: of what gRPC calls a unary request it would read the message first, and then ask for us.
        wrapped: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            guarded,  # a coroutine that writes is as good as an iterator
            None,
            handler.response_serializer,
        )
        return wrapped

    async def _request(
        self,
        method: str,
        sides: tuple[bool, bool],
        client: str,
        requests: Any,  # noqa: ANN401 - gRPC's iterator
        held: AsyncExitStack,
    ) -> Any:  # noqa: ANN401 - bytes, or an iterator of them
        """What a call brings, once it has its place, which is left with ``held``. Raises RequestFailedError."""
        if method.startswith(HEALTH):
            held.enter_context(self._health.taken(client))
            return _checked(await _received(requests, SMALL_SECONDS))
        if method == LARGE:
            held.enter_context(self._large.taken(client))
            await held.enter_async_context(self._large_messages)
            return self._bounded(method, await _received(requests, self._limits.idle_seconds))
        if sides[0]:
            held.enter_context(self._streams.taken(client))
            if method == RECOGNIZE:
                held.enter_context(self._recognitions.taken(client))
            return requests
        with ExitStack() as receiving:
            receiving.enter_context(self._small.taken(client))
            request = _checked(await _received(requests, SMALL_SECONDS))
            if sides[1]:
                held.enter_context(self._streams.taken(client))  # it stays, but only now that it has come whole
            else:
                held.push(receiving.pop_all())
        return request

    async def _all(
        self, method: str, requests: AsyncIterator[bytes], parse: Callable[[bytes], object]
    ) -> AsyncIterator[object]:
        first = True
        async for data in requests:
            yield _parsed(parse, _checked(data) if first else self._bounded(method, data))
            first = False

    def _bounded(self, method: str, data: bytes) -> bytes:
        """A message with audio that is no larger than it may be. Raises RequestFailedError."""
        most = self._limits.message_bytes
        if len(data) > most:
            advice = "through Recognize, in pieces" if method == LARGE else "in smaller pieces, of a second or so"
            told = f"the message has {len(data)} bytes, {most} are allowed; send the audio {advice}"
            raise RequestFailedError("AUDIO_TOO_LONG", told)
        return data

    async def _serve(
        self,
        token: str | None,
        served: Any,  # noqa: ANN401 - any method
        request: object,
        context: ServicerContext[Any, Any],
        sides: tuple[bool, bool],
    ) -> None:
        """Run the method itself, and end the call with a status if it fails."""
        try:
            await self._guarded.run(token, _answer(served, request, context, sides))
        except (RequestFailedError, AbortError, grpc.RpcError):
            raise
        except Exception:
            log.exception("a call failed")
            raise RequestFailedError("INTERNAL", "an error of the service; its log has the details") from None

    async def _farewell(self, context: ServicerContext[Any, Any], failure: RequestFailedError) -> None:
        """End a call with a status, as :func:`abort`; returns if the client does not take it in time."""
        try:
            async with asyncio.timeout(self._limits.farewell_seconds):
                await uncancelled(abort(context, failure))
        except TimeoutError:
            log.info("a client does not read and has lost its place", reason=failure.reason, peer=context.peer())

    def _client(self, method: str, context: ServicerContext[Any, Any]) -> tuple[str, str | None]:
        """Who calls, and if by a token, what that stands for. Raises RequestFailedError."""
        if self._tokens is None or method.startswith(HEALTH):
            return _host(unquote(context.peer())), None
        token = self._tokens.check(context.invocation_metadata() or ())
        return token, token

    @contextmanager
    def _counted(self, peer: str) -> Iterator[None]:
        self._peers[peer] += 1
        try:
            yield
        finally:
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]


async def _answer(served: Any, request: object, context: Any, sides: tuple[bool, bool]) -> None:  # noqa: ANN401
    if sides[1]:
        await context.send_initial_metadata(())  # tells the client that it is in
    result = served(request, context)
    if inspect.isasyncgen(result):
        async for response in result:
            await context.write(response)
        return
    response = await result
    if not sides[1]:
        await context.write(response)


def _checked(data: bytes) -> bytes:
    """A request that is no larger than it may be. Raises RequestFailedError."""
    if len(data) > SMALL_BYTES:
        raise invalid("request", f"it has {len(data)} bytes; {SMALL_BYTES} are the most here")
    return data


async def _received(requests: AsyncIterator[bytes], seconds: float) -> bytes:
    """A message. Raises RequestFailedError."""
    try:
        async with asyncio.timeout(seconds):
            data: bytes | None = await uncancelled(anext(aiter(requests), None))
    except TimeoutError:
        raise RequestFailedError("IDLE", f"the request did not come within {seconds:g} s") from None
    if data is None:
        raise invalid("request", "there is none")
    return data


def _parsed(parse: Callable[[bytes], object], data: bytes) -> object:
    try:
        return parse(data)
    except DecodeError:  # gRPC itself would log a traceback for each
        raise invalid(
            "request", "its bytes are not a message of this method; check the client's version of the proto"
        ) from None


def _host(peer: str) -> str:
    """``ipv4:127.0.0.1:4711`` without its port."""
    family, _, rest = peer.partition(":")
    return client_of(rest.rpartition(":")[0]) if family in {"ipv4", "ipv6"} else "unix"
