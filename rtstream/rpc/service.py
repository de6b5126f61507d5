"""The methods of SpeechService."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rtstream.audio.source import PAUSE_SECONDS
from rtstream.errors import AudioError
from rtstream.rpc.operations import uncancelled
from rtstream.rpc.recognizing import recognize, transcribe
from rtstream.rpc.subscribing import Wanted, pass_on
from rtstream.wire.convert import position_message, subscribe_response
from rtstream.wire.failures import RequestFailedError
from rtstream.wire.status import devices_message, status_message
from rtstream.wire.v1 import rtstream_pb2 as pb
from rtstream.wire.v1.rtstream_pb2_grpc import SpeechServiceServicer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from grpc.aio import ServicerContext

    from rtstream.publish.items import Item, Position
    from rtstream.rpc.hub import Hub

PATIENCE_SECONDS = 1.0
"""What a subscriber whose queue has overflowed still gets to read on."""


class SpeechService(SpeechServiceServicer):
    """Serves a hub. ``longest_seconds``: of a recording for Transcribe.

    ``idle_seconds``: that a client may send no audio, or leave an event unread. ``pause_seconds``: without audio, after
    which what was said until then gets its final.
    Errors leave the methods as RequestFailedError, which the server's Gate turns into a status.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        idle_seconds: float = 30.0,
        pause_seconds: float = PAUSE_SECONDS,
        longest_seconds: float = 300.0,
    ) -> None:
        self._hub = hub
        self._pause_seconds = pause_seconds
        self._idle_seconds = idle_seconds
        self._longest_seconds = longest_seconds

    async def Subscribe(self, request: pb.SubscribeRequest, context: ServicerContext[Any, Any]) -> None:  # noqa: N802
        """See the proto, as for all methods."""
        wanted = Wanted.read(request, self._hub.languages)

        async def write(news: Item | Position) -> None:
            await uncancelled(context.write(subscribe_response(news, words=wanted.words)))

        await pass_on(wanted, self._hub.broker, write, PATIENCE_SECONDS, self._idle_seconds)

    async def Recognize(  # noqa: N802
        self, requests: AsyncIterator[pb.RecognizeRequest], context: ServicerContext[Any, Any]
    ) -> None:
        """See the proto."""
        await recognize(aiter(requests), context.write, self._hub, self._idle_seconds, self._pause_seconds)

    async def Transcribe(  # noqa: N802
        self,
        request: pb.TranscribeRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002 - gRPC's signature, as below
    ) -> pb.TranscribeResponse:
        """See the proto."""
        return await transcribe(request, self._hub, self._longest_seconds)

    async def GetStatus(  # noqa: N802
        self,
        request: pb.GetStatusRequest,  # noqa: ARG002
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> pb.GetStatusResponse:
        """See the proto."""
        response = status_message(self._hub.status())
        response.position.CopyFrom(position_message(self._hub.broker.last))
        return response

    async def Mute(  # noqa: N802
        self,
        request: pb.MuteRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> pb.MuteResponse:
        """See the proto."""
        self._hub.mute(request.muted)
        return pb.MuteResponse()

    async def ListDevices(  # noqa: N802
        self,
        request: pb.ListDevicesRequest,  # noqa: ARG002
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> pb.ListDevicesResponse:
        """See the proto."""
        try:
            return devices_message(await self._hub.devices())
        except AudioError as error:
            raise RequestFailedError("NO_DEVICES", str(error)) from None
