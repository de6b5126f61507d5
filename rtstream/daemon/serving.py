"""The gRPC server of a service, as its settings ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtstream.daemon.settings import server_config
from rtstream.rpc.server import serve

if TYPE_CHECKING:
    from rtstream.daemon.service import Service
    from rtstream.rpc.server import Server


async def start_server(service: Service) -> Server:
    """Listen on all addresses. Raises ConfigError."""
    return await serve(service, server_config(service.config.server, service.config.recognition.max_streams))
