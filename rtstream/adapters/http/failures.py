"""Errors as OpenAI's clients know them: a status and ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtstream.wire.failures import Reason, RequestFailedError

STATUSES: Mapping[Reason, int] = {
    "TOKEN_MISSING": 401,
    "TOKEN_WRONG": 401,
    "TOO_MANY_STREAMS": 429,
    "SLOW_SUBSCRIBER": 429,
    "NOT_READY": 503,
    "STOPPING": 503,
    "INVALID_REQUEST": 400,
    "AUDIO_TOO_LONG": 413,
    "IDLE": 408,
    "NO_DEVICES": 503,
    "INTERNAL": 500,
}
RETRY_SECONDS = 2
"""After which it is worth while to try again what may have passed."""


def error_type(status: int) -> str:
    """OpenAI's name for a kind of error."""
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"


def error_body(status: int, message: str, code: str, param: str | None = None) -> dict[str, object]:
    """An error as JSON."""
    return {"error": {"message": message, "type": error_type(status), "param": param, "code": code}}


def failure_body(failure: RequestFailedError) -> dict[str, object]:
    """A failure as JSON."""
    return error_body(STATUSES[failure.reason], str(failure), failure.reason.lower(), failure.metadata.get("field"))


def error_response(status: int, message: str, code: str, param: str | None = None) -> web.Response:
    """An answer that says what is wrong."""
    headers = {"Retry-After": str(RETRY_SECONDS)} if status in {429, 503} else {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="rtstream"'
    return web.json_response(error_body(status, message, code, param), status=status, headers=headers)


def failure_response(failure: RequestFailedError) -> web.Response:
    """The answer to a request that has failed."""
    return error_response(STATUSES[failure.reason], str(failure), failure.reason.lower(), failure.metadata.get("field"))
