"""Which model there is, and whether it is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from rtstream.adapters.http.failures import error_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rtstream.rpc.hub import Hub

SERVING = {"ready", "degraded"}


def health(hub: Hub) -> Callable[[web.Request], Awaitable[web.Response]]:
    """``GET /health``: 200 when the service recognises, else 503; tells nothing that is secret."""

    async def answer(request: web.Request) -> web.Response:  # noqa: ARG001 - aiohttp's signature
        phase = hub.status().phase
        serving = phase in SERVING
        return web.json_response({"status": "ok" if serving else phase, "phase": phase}, status=200 if serving else 503)

    return answer


class ModelList:
    """``GET /v1/models`` and ``/v1/models/NAME``."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def all(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp's signature
        """The one model, as soon as it is loaded."""
        return web.json_response({"object": "list", "data": self._models()})

    async def one(self, request: web.Request) -> web.Response:
        """A model by its name."""
        name = request.match_info["model"]
        found = next((model for model in self._models() if model["id"] == name), None)
        if found is None:
            return error_response(404, f"there is no model '{name}' here", "model_not_found", "model")
        return web.json_response(found)

    def _models(self) -> list[dict[str, object]]:
        status = self._hub.status()
        if not status.model:
            return []
        about = {"created": 0, "owned_by": "rtstream", "languages": list(status.recognized_languages)}
        return [{"id": status.model, "object": "model", **about}]
