"""Calls that end when the token with which they came is taken out of the file."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rtstream.wire.failures import RequestFailedError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from rtstream.rpc.security import Tokens

LOOK_SECONDS = 1.0


@dataclass(eq=False, slots=True)
class _Call:
    """A call that is being served; ``missed``: looks in which its token was not among those that are valid."""

    token: str
    task: asyncio.Task[Any]
    missed: int = 0
    revoked: bool = False


class Guarded:
    """Runs calls as long as their tokens are valid. ``tokens``: None where none are needed."""

    def __init__(self, tokens: Tokens | None) -> None:
        self._tokens = tokens
        self._calls: set[_Call] = set()

    async def run(self, token: str | None, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a call that came with what a token stands for. Raises RequestFailedError when that is revoked."""
        if token is None:
            await coroutine
            return
        call = _Call(token, asyncio.ensure_future(coroutine))
        self._calls.add(call)
        try:
            await call.task
        except asyncio.CancelledError:
            if not call.revoked:
                raise
            raise RequestFailedError("TOKEN_WRONG", "the token is no longer valid; ask who runs the service") from None
        finally:
            self._calls.discard(call)

    async def watch(self) -> None:
        """End the calls of tokens that are no longer valid, again and again."""
        while self._tokens is not None:
            await asyncio.sleep(LOOK_SECONDS)
            valid = self._tokens.clients()
            for call in list(self._calls):
                # Twice: an editor may write a file in two steps.
                call.missed = 0 if call.token in valid else call.missed + 1
                if call.missed == 2:
                    call.revoked = True
                    call.task.cancel()
