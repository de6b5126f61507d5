"""What the server serves, for tools such as grpcurl: reflection as v1, which they ask first, and as v1alpha."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

if TYPE_CHECKING:
    from collections.abc import Sequence

METHOD = "ServerReflectionInfo"
ALPHA: str = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].full_name
V1 = ALPHA.replace(".v1alpha.", ".v1.")


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Serve the descriptors of ``services``, and of reflection itself.

    The two versions are the same messages under another package, of which grpcio-reflection has but the older one.
    """
    pool = descriptor_pool.Default()
    _describe_v1(pool)
    servicer = ReflectionServicer((*services, ALPHA, V1), pool=pool)
    add_ServerReflectionServicer_to_server(servicer, server)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(V1, {METHOD: handler}),))


def _describe_v1(pool: descriptor_pool.DescriptorPool) -> None:
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name = file.name.replace("v1alpha", "v1")
    file.package = file.package.replace("v1alpha", "v1")
    for message in file.message_type:
        for field in filter(lambda field: field.HasField("type_name"), message.field):
            field.type_name = field.type_name.replace(".v1alpha.", ".v1.")
    for method in (method for service in file.service for method in service.method):
        method.input_type = method.input_type.replace(".v1alpha.", ".v1.")
        method.output_type = method.output_type.replace(".v1alpha.", ".v1.")
    pool.Add(file)
