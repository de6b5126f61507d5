"""What every request passes: whence it comes, its token, and the last resort for errors."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from rtstream.adapters.http.failures import error_response, failure_response
from rtstream.adapters.listener import client_name
from rtstream.rpc.guarded import Guarded
from rtstream.wire.failures import RequestFailedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.typedefs import Handler, Middleware

    from rtstream.rpc.security import Tokens

log = structlog.get_logger()

CLIENT = web.RequestKey("client", str)
"""Who asks: the client that a token stands for, or an address."""
STARTED = web.RequestKey("started", web.StreamResponse)
DEEPGRAM_SCHEME = "token"
SUBPROTOCOL_TOKEN = "openai-insecure-api-key."  # noqa: S105 - what precedes a token where browsers can send no header


async def begin(request: web.Request, response: web.StreamResponse) -> None:
    """Begin to answer: from here on nothing else can be the answer, whatever fails."""
    await response.prepare(request)
    request[STARTED] = response


class HttpGate:
    """Lets requests in. ``open_paths`` need no token: they tell nothing of what is said.

    Without tokens whoever reaches the address may ask, so no web page of somebody else's may have a browser do it: a
    request must name this machine (else a name of theirs could lead here), and come from no other page.
    """

    def __init__(self, tokens: Tokens | None, hosts: Sequence[str], open_paths: frozenset[str]) -> None:
        self.guarded = Guarded(tokens)
        self._tokens = tokens
        own = socket.gethostname().lower()
        self._hosts = {"localhost", own, f"{own}.local", *(host.lower() for host in hosts)}
        self._open_paths = open_paths

    @property
    def middleware(self) -> Middleware:
        """For aiohttp's application."""

        @web.middleware
        async def pass_gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                return await self._serve(request, handler)
            except RequestFailedError as failure:
                return _instead(request, failure_response(failure))
            except web.HTTPException as error:
                if error.status < 400:
                    raise
                return _said(request, error)
            except (ConnectionError, TimeoutError):
                raise
            except Exception:
                log.exception("a request failed", path=request.path)
                told = "an error of the service; its log has the details"
                return _instead(request, error_response(500, told, "internal"))

        return pass_gate

    async def _serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._check_host(request)
        token = None
        if request.path not in self._open_paths and self._tokens is not None:
            token = self._tokens.check(_authorization(request))
        assert request.transport is not None
        request[CLIENT] = token or client_name(request.transport)
        answers: list[web.StreamResponse] = []

        async def serve() -> None:
            answers.append(await handler(request))

        await self.guarded.run(token, serve())
        return answers[0]

    def _check_host(self, request: web.Request) -> None:
        host = request.headers.get("Host", "")
        origin = request.headers.get("Origin")
        try:
            page = urlsplit(origin or "")
            name, page_name = urlsplit(f"//{host}").hostname or "", page.hostname
        except ValueError:
            raise web.HTTPBadRequest(text="the headers Host and Origin must name a host") from None
        if origin is not None and page.netloc != host and page_name not in self._hosts:
            raise web.HTTPForbidden(text=f"a page of {origin} may not ask here")
        if self._tokens is None and host and name not in self._hosts and not _is_address(name):
            raise web.HTTPForbidden(
                text=f"this machine is not known to be called '{name}': use its address, or add the name to http.hosts"
            )


def _authorization(request: web.Request) -> list[tuple[str, str]]:
    """The header with the token, wherever it is."""
    if (given := request.headers.get("Authorization")) is not None:
        scheme, _, token = given.partition(" ")
        return [("authorization", f"Bearer {token}" if scheme.lower() == DEEPGRAM_SCHEME else given)]
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    for protocol in map(str.strip, offered.split(",")):
        if protocol.startswith(SUBPROTOCOL_TOKEN):
            return [("authorization", f"Bearer {protocol.removeprefix(SUBPROTOCOL_TOKEN)}")]
    return []


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return name.endswith(".localhost")
    return True


def _instead(request: web.Request, answer: web.Response) -> web.StreamResponse:
    """Give this answer, or cut off the one that has begun."""
    if STARTED not in request:
        return answer
    if request.transport is not None:
        request.transport.abort()
    return request[STARTED]


def _said(request: web.Request, error: web.HTTPException) -> web.Response:
    """What aiohttp refuses by itself, in our form."""
    told = {
        404: f"there is nothing at {request.path}; see docs/http.md",
        405: f"{request.method} is not possible at {request.path}",
        413: "the request is too large",
    }
    response = error_response(
        error.status, told.get(error.status) or error.text or error.reason, error.reason.lower().replace(" ", "_")
    )
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
