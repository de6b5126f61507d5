"""``GET /events``: what the service publishes, as server-sent events, from where a client left off."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

from rtstream.adapters.http.failures import failure_body
from rtstream.adapters.http.gate import begin
from rtstream.events import AudioLost, DeviceState, Fault, Final, Partial, Speech, Translation
from rtstream.publish.items import Gap, Position
from rtstream.publish.lines import item_fields, read_position
from rtstream.rpc.subscribing import Wanted, made_languages, pass_on
from rtstream.wire.failures import RequestFailedError, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtstream.adapters.http.config import HttpConfig
    from rtstream.publish.items import Item
    from rtstream.rpc.hub import Hub

HEARTBEAT_SECONDS = 15.0
PATIENCE_SECONDS = 1.0
RETRY_MS = 1_000
LONGEST_ID = 200
ALWAYS = frozenset({Final, Translation, AudioLost, DeviceState, Fault})
FLAGS = {"1": True, "true": True, "0": False, "false": False}


class Events:
    """Serves the requests."""

    def __init__(self, hub: Hub, config: HttpConfig) -> None:
        self._hub = hub
        self._idle_seconds = config.idle_seconds
        self._may_mute = config.mute

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one, until the client leaves or the service ends. Raises RequestFailedError."""
        wanted = read_wanted(request, self._hub.languages)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        await begin(request, response)
        status = self._hub.status()
        hello = {
            "version": status.version,
            "model": status.model,
            "languages": list(self._hub.languages),
            "recognized_languages": list(status.recognized_languages),
            "muted": self._hub.muted,
            "may_mute": self._may_mute,
        }
        await response.write(f"retry: {RETRY_MS}\n{_event('service', hello)}".encode())

        async def write(news: Item | Position) -> None:
            await response.write(_block(news, words=wanted.words).encode())

        with suppress(ConnectionError):  # the client has gone
            try:
                await pass_on(wanted, self._hub.broker, write, PATIENCE_SECONDS, self._idle_seconds)
            except RequestFailedError as failure:
                await _part(request, response, failure)
        return response


def read_wanted(request: web.Request, made: tuple[str, ...]) -> Wanted:
    """What a request asks for, of a service that translates into ``made``. Raises RequestFailedError.

    ``from=start``, ``since=SECONDS``, ``after=EPOCH:N`` or the header Last-Event-ID, which is stronger: else from now
    on. ``languages=es,fr``: of translations; ``words=1``; ``partials=0``.
    """
    query = request.query
    if unknown := sorted(set(query) - {"from", "since", "after", "languages", "words", "partials"}):
        raise invalid(unknown[0], "it is no parameter; there are from, since, after, languages, words, partials")
    last = request.headers.get("Last-Event-ID") or query.get("after")
    position = None
    if last:
        position = read_position(last)
        if position is None or len(last) > LONGEST_ID:
            raise invalid("after", "it must be the id of an event, EPOCH:NUMBER")
    if query.get("from", "start") != "start":
        raise invalid("from", "it can only be start")
    partials = _flag(query.get("partials", "1"), "partials")
    kinds = ALWAYS | ({Partial, Speech} if partials else set())
    resumed = position is not None
    return Wanted(
        position,
        from_start="from" in query and not resumed,
        max_age=None if resumed or "from" in query else _age(query.get("since")),
        kinds=kinds,
        words=_flag(query.get("words", "0"), "words"),
        heartbeat=HEARTBEAT_SECONDS,
        languages=made_languages([tag for tag in query.get("languages", "").split(",") if tag], made),
        partial_translations=partials,
    )


def _age(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        age = float(text)
    except ValueError:
        age = -1.0
    if not 0 <= age < 1e9:
        raise invalid("since", f"'{text}' is not possible; give seconds")
    return age


def _flag(text: str, name: str) -> bool:
    if (value := FLAGS.get(text)) is None:
        raise invalid(name, f"'{text}' is not possible; give 0 or 1")
    return value


async def _part(request: web.Request, response: web.StreamResponse, failure: RequestFailedError) -> None:
    """Say why the stream ends; a client that does not take that is cut off."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await response.write(_event("end", failure_body(failure)).encode())
            await response.write_eof()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()


def _block(news: Item | Position, *, words: bool) -> str:
    """An item as an event; finals have an id. A heartbeat is no event, but an id for who has none yet."""
    if isinstance(news, Position):
        return f": heartbeat\nid: {news.epoch}:{news.sequence}\n\n"
    fields = item_fields(news, words=words)
    number = None if isinstance(news, Gap) else news.position
    return _event(str(fields["type"]), fields, number)


def _event(kind: str, fields: Mapping[str, object], number: Position | None = None) -> str:
    identity = "" if number is None else f"id: {number.epoch}:{number.sequence}\n"
    return f"event: {kind}\n{identity}data: {json.dumps(fields, ensure_ascii=False)}\n\n"
