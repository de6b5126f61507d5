"""The captions page and its parts: static files, which a browser may not run anything else beside."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

INDEX = "index.html"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page_routes() -> dict[str, Callable[[web.Request], Awaitable[web.Response]]]:
    """What answers for the page, by path. It needs no token: it asks for one, and holds nothing of what is said."""
    routes = {}
    for file in files("rtstream.adapters.http").joinpath("page").iterdir():
        kind = next((kind for suffix, kind in KINDS.items() if file.name.endswith(suffix)), None)
        if kind is not None:
            routes["/" if file.name == INDEX else f"/{file.name}"] = _answer(file.read_text("utf-8"), kind)
    return routes


def _answer(text: str, kind: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:  # noqa: ARG001 - aiohttp's signature
        return web.Response(text=text, content_type=kind, headers=HEADERS)

    return answer
