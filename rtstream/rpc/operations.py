"""Reads and writes of a call, which must not be cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")


async def uncancelled(operation: Awaitable[T]) -> T:
    """Wait for an operation of gRPC; when the waiting is cancelled the operation itself goes on to its end.

    gRPC's core keeps working on an operation whose coroutine is cancelled, on memory that grpc.aio then lets go of, and
    a first write that is cancelled leaves a call that can never be ended. All of a call's operations end with it.
    """
    task = asyncio.ensure_future(operation)
    task.add_done_callback(_heard)
    return await asyncio.shield(task)


def _heard(task: asyncio.Future[T]) -> None:
    if not task.cancelled():
        task.exception()  # else asyncio complains that nobody asked
