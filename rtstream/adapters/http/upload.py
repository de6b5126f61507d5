"""A multipart form with a file, received within limits; the file is kept in memory, never on a disk."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiohttp import BodyPartReader, MultipartReader

from rtstream.wire.failures import RequestFailedError, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiohttp import web

MOST_PARTS = 64
FIELD_BYTES = 1 << 16
"""Of all fields together, but for the file."""
PIECE = 1 << 16
SLOWEST = 16 << 10
"""Bytes a second, on the average, from ``idle_seconds`` on; a slower sender takes a place for too long."""


class Form:
    """What has been sent: ``fields`` by name, each once or several times, and the file, if there is one."""

    def __init__(self) -> None:
        self.fields: dict[str, list[str]] = defaultdict(list)
        self.file_name = ""
        self._descriptor: int | None = None

    @property
    def has_file(self) -> bool:
        """Whether there is a file."""
        return self._descriptor is not None

    def one(self, name: str, default: str = "") -> str:
        """The value of a field that comes but once."""
        return self.fields[name][-1] if name in self.fields else default

    def many(self, name: str) -> Sequence[str]:
        """All values of a field, whose name may end with ``[]``."""
        return [*self.fields.get(name, ()), *self.fields.get(f"{name}[]", ())]

    def take_file(self) -> int:
        """The descriptor of the file, which whoever takes it closes."""
        assert self._descriptor is not None
        descriptor, self._descriptor = self._descriptor, None
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    def begin_file(self, name: str) -> int:
        """Where to write the file."""
        self.file_name = os.path.basename(name)[:255] or "file"  # noqa: PTH119 - a name, not a path of ours
        self._descriptor = os.memfd_create("upload", os.MFD_CLOEXEC)
        return self._descriptor

    def close(self) -> None:
        """Let go of the file, if nobody took it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def form() -> Iterator[Form]:
    """A form, to be filled by :func:`receive`."""
    made = Form()
    try:
        yield made
    finally:
        made.close()


async def receive(request: web.Request, into: Form, most_bytes: int, idle_seconds: float) -> None:
    """Read a request's form. Raises RequestFailedError."""
    if request.content_type != "multipart/form-data":
        raise invalid("file", "send the recording as multipart/form-data, in the field 'file'")
    if (request.content_length or 0) > most_bytes + 2 * FIELD_BYTES:
        raise _too_large(most_bytes)
    receiving = _Receiving(into, most_bytes, idle_seconds)
    try:
        await receiving.run(await request.multipart())
    except TimeoutError:
        raise RequestFailedError("IDLE", f"nothing of the request came for {idle_seconds:g} s") from None
    except (ValueError, AssertionError, RuntimeError) as error:  # what aiohttp raises for what is no form
        if isinstance(error, UnicodeDecodeError):
            raise invalid("request", "a field is not UTF-8 text") from None
        raise invalid("request", "its body is no multipart form, or ends within one") from None


class _Receiving:
    def __init__(self, form_: Form, most_bytes: int, idle_seconds: float) -> None:
        self._form = form_
        self._most = most_bytes
        self._idle = idle_seconds
        self._left = FIELD_BYTES
        self._received = 0
        self._clock = asyncio.get_running_loop().time
        self._begin = self._clock()

    async def run(self, parts: MultipartReader) -> None:
        for _ in range(MOST_PARTS):
            async with asyncio.timeout(self._idle):
                part = await parts.next()
            if part is None:
                return
            if not isinstance(part, BodyPartReader) or not part.name:
                raise invalid("request", "each part of the form must have a name, and none may hold others")
            if part.name == "file":
                await self._file(part)
            else:
                data = bytearray()
                while chunk := await self._chunk(part):
                    self._left -= len(chunk)
                    if self._left < 0:
                        raise invalid(part.name, f"the fields have more than {FIELD_BYTES} bytes")
                    data += chunk
                self._form.fields[part.name].append(data.decode("utf-8"))
        raise invalid("request", f"the form has more than {MOST_PARTS} parts")

    async def _file(self, part: BodyPartReader) -> None:
        if self._form.has_file:
            raise invalid("file", "one file at a time")
        descriptor = self._form.begin_file(part.filename or "file")
        size = 0
        while chunk := await self._chunk(part):
            size += len(chunk)
            if size > self._most:
                raise _too_large(self._most)
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(descriptor, rest) :]

    async def _chunk(self, part: BodyPartReader) -> bytes:
        async with asyncio.timeout(self._idle):
            chunk = await part.read_chunk(PIECE)
        self._received += len(chunk)
        seconds = self._clock() - self._begin
        if seconds > self._idle and self._received < (seconds - self._idle) * SLOWEST:
            raise RequestFailedError("IDLE", f"the request comes too slowly, {self._received} bytes in {seconds:.0f} s")
        return bytes(chunk)


def _too_large(most: int) -> RequestFailedError:
    return RequestFailedError(
        "AUDIO_TOO_LONG",
        f"the file has more than {most} bytes; send it in parts, or compressed (http.max_upload_megabytes)",
        field="file",
    )
