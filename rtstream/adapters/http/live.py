"""What one client streams over WebSocket, recognised: for protocols in which a connection is one stream."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from rtstream.adapters.http.gate import begin
from rtstream.wire.failures import RequestFailedError, invalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

MESSAGE_BYTES = 4 << 20
PING_SECONDS = 30.0
END_CODE = {"INVALID_REQUEST": 1008, "INTERNAL": 1011}
TRY_AGAIN_LATER = 1013


async def accept(request: web.Request, protocols: Sequence[str] = ()) -> web.WebSocketResponse:
    """The WebSocket that a request asks for. Raises RequestFailedError where it asks for none."""
    socket = web.WebSocketResponse(heartbeat=PING_SECONDS, max_msg_size=MESSAGE_BYTES, protocols=protocols)
    if not socket.can_prepare(request):
        raise invalid("request", "it is for WebSocket alone")
    await begin(request, socket)
    return socket


async def converse(
    request: web.Request,
    serve: Callable[[web.WebSocketResponse], Awaitable[None]],
    tell: Callable[[web.WebSocketResponse, RequestFailedError], Awaitable[None]] | None = None,
) -> web.StreamResponse:
    """Serve a WebSocket, and close it with the reason of what fails, which ``tell`` says in a protocol's own way."""
    socket = await accept(request)
    with suppress(ConnectionError):  # the client has gone
        try:
            await serve(socket)
        except RequestFailedError as failure:
            if tell is not None:
                await tell(socket, failure)
            reason = str(failure).encode()[:120].decode(errors="ignore")  # all that fits
            await socket.close(code=END_CODE.get(failure.reason, TRY_AGAIN_LATER), message=reason.encode())
        else:
            await socket.close()
    return socket


async def receive(socket: web.WebSocketResponse, seconds: float) -> bytes | dict[str, Any] | None:
    """The client's next audio or JSON message, None when it has left. Raises RequestFailedError, for silence too."""
    try:
        message = await socket.receive(seconds)
    except TimeoutError:
        raise RequestFailedError("IDLE", f"nothing came for {seconds:g} s") from None
    if message.type is WSMsgType.BINARY:
        return bytes(message.data)
    if message.type is not WSMsgType.TEXT:
        return None
    try:
        found = json.loads(message.data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise invalid("message", "it must be audio, or a JSON object")
    return found


async def send(socket: web.WebSocketResponse, fields: Mapping[str, object]) -> None:
    """Send a JSON message."""
    await socket.send_str(json.dumps(fields, ensure_ascii=False))
