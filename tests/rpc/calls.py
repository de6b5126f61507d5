"""What tests do with calls at a level below the client."""

import asyncio

import grpc
import grpc.aio

from rtstream.client.connection import Ending
from rtstream.wire.failures import read_failure
from rtstream.wire.v1 import rtstream_pb2 as pb


async def until(condition):
    """Wait for a condition that nothing tells of."""
    async with asyncio.timeout(300):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.005)


async def failure(call):
    """The status code of a call that fails, and what its details say."""
    ending = Ending(call)
    try:
        if hasattr(call, "read"):
            while await call.read() is not grpc.aio.EOF:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        error = await ending.error(error)
        return error.code(), read_failure(error.trailing_metadata())
    raise AssertionError("the call did not fail")


def audio(seconds=1.0, level=0):
    return pb.RecognizeRequest(audio=level.to_bytes(2, "little") * round(16_000 * seconds))


def config(**fields):
    return pb.RecognizeRequest(config=pb.RecognitionConfig(**fields))


async def recognize(stub, requests, **options):
    """All that a Recognize call gives for a list of requests."""
    call = stub.Recognize(iter(requests), **options)
    responses = []
    while (response := await call.read()) is not grpc.aio.EOF:
        responses.append(response)
    return responses
