"""What every call passes: tokens, the limits of streams, and the last resort for errors."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc.aio import AbortError, ServerInterceptor

from rtstream.rpc.failures import RequestFailedError, abort, invalid
from rtstream.rpc.operations import uncancelled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from grpc.aio import ServicerContext

    from rtstream.rpc.security import Tokens

log = structlog.get_logger()

HEALTH = "/grpc.health.v1.Health/"
"""May be asked without a token: load balancers and probes have none, and it tells nothing of what is said."""


class Gate(ServerInterceptor):
    """Lets calls in, or ends them with a clear status.

    ``streams`` and ``streams_per_client`` bound the calls that stay: streams of any kind, health watches included. A
    client is whoever has the same token, or without tokens the same address (a Unix socket is one client). Calls that
    are answered at once are not counted.

    A call that has failed counts until its status is sent, for ``farewell_seconds`` at most: a client that does not
    read would keep its place for good. What gRPC then still holds for it is one message and the status, and a
    connection may have only so many calls.
    """

    def __init__(
        self,
        *,
        tokens: Tokens | None = None,
        streams: int = 256,
        streams_per_client: int = 64,
        farewell_seconds: float = 10.0,
    ) -> None:
        self._tokens = tokens
        self._farewell_seconds = farewell_seconds
        self._streams = streams
        self._streams_per_client = streams_per_client
        self._open: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def streams(self) -> int:
        """Streams that are open now."""
        return self._open.total()

    async def ended(self, seconds: float) -> None:
        """Wait until every call that came in is over with all that it has to put away, up to ``seconds``."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

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
        kind = "_".join("stream" if streaming else "unary" for streaming in sides)
        served = getattr(handler, kind)
        parse = handler.request_deserializer

        async def guarded(request: Any, context: Any) -> Any:  # noqa: ANN401 - a message, or an iterator of them
            try:
                with self._admitted(method, context, counted=any(sides)):
                    return await self._serve(served, request, context, sides)
            except RequestFailedError as failure:
                await abort(context, failure)

        make: Any = getattr(grpc, f"{kind}_rpc_method_handler")
        wrapped: grpc.RpcMethodHandler[Any, Any] = make(
            guarded, lambda data: _parse(parse, data), handler.response_serializer
        )
        return wrapped

    async def _serve(self, served: Any, request: Any, context: Any, sides: tuple[bool, bool]) -> Any:  # noqa: ANN401
        """Run the method itself, and end the call with a status if it fails."""
        try:
            if sides[1]:
                await context.send_initial_metadata(())  # tells the client that it is in
            result = served(_parsed_all(request) if sides[0] else _parsed(request), context)
            if not inspect.isasyncgen(result):
                return await result
            async for response in result:
                await context.write(response)
        except RequestFailedError as failure:
            await self._farewell(context, failure)
        except (AbortError, asyncio.CancelledError, grpc.RpcError):
            raise
        except Exception:
            log.exception("a call failed")
            internal = RequestFailedError("INTERNAL", "an error of the daemon; its log has the details")
            await self._farewell(context, internal)
        return None

    async def _farewell(self, context: ServicerContext[Any, Any], failure: RequestFailedError) -> None:
        """End a call with a status, as :func:`abort`; returns if the client does not take it in time."""
        try:
            async with asyncio.timeout(self._farewell_seconds):
                await uncancelled(abort(context, failure))
        except TimeoutError:
            log.info("a client does not read and has lost its place", reason=failure.reason, peer=context.peer())

    @contextmanager
    def _admitted(self, method: str, context: ServicerContext[Any, Any], *, counted: bool) -> Iterator[None]:
        """A call that may come in; while it lasts it counts. Raises RequestFailedError."""
        client = _host(context.peer())
        if self._tokens is not None and not method.startswith(HEALTH):
            client = self._tokens.check(context.invocation_metadata() or ())
        if not counted:
            yield
            return
        if self.streams >= self._streams:
            raise RequestFailedError(
                "TOO_MANY_STREAMS",
                f"the daemon has all of its {self._streams} streams open; try again later",
                scope="all",
            )
        if self._open[client] >= self._streams_per_client:
            raise RequestFailedError(
                "TOO_MANY_STREAMS",
                f"this client has all of its {self._streams_per_client} streams open; close one first",
                scope="client",
            )
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]  # clients that left are forgotten


class _Unparsable:
    """In the place of a message whose bytes are none: gRPC itself would log a traceback for each."""


def _parse(parse: Callable[[bytes], object], data: bytes) -> object:
    try:
        return parse(data)
    except DecodeError:
        return _Unparsable()


def _parsed(request: object) -> object:
    if isinstance(request, _Unparsable):
        raise invalid("request", "its bytes are not a message of this method; check the client's version of the proto")
    return request


async def _parsed_all(requests: AsyncIterator[object]) -> AsyncIterator[object]:
    async for request in requests:
        yield _parsed(request)


def _host(peer: str) -> str:
    """``ipv4:127.0.0.1:4711`` without its port."""
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else "unix"
