"""``/mute``: ``GET`` tells whether the service's own source is muted, ``PUT`` mutes it, ``DELETE`` unmutes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from rtstream.adapters.http.failures import error_response

if TYPE_CHECKING:
    from rtstream.rpc.hub import Hub


class Mute:
    """Serves the requests; none has a body. ``allowed``: whether whoever may ask may mute."""

    def __init__(self, hub: Hub, *, allowed: bool) -> None:
        self._hub = hub
        self._allowed = allowed

    async def serve(self, request: web.Request) -> web.Response:
        """Answer one with the state that there is then, for all: ``{"muted": true}``."""
        if request.method in {"PUT", "DELETE"}:
            if not self._allowed:
                return error_response(403, "http.mute = false: only 'rtstream mute' and 'unmute' do that", "forbidden")
            self._hub.mute(request.method == "PUT")
        return web.json_response({"muted": self._hub.muted}, headers={"Cache-Control": "no-store"})
