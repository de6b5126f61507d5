"""Options that every command has which talks to a service, and the client that they describe."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtstream.client.target import DEFAULT_PORT, DEFAULT_TARGET, parse_target
from rtstream.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.client.samples import SampleClient

TARGET_HELP = (
    f"unix:PATH or HOST:PORT; without a port {DEFAULT_PORT}.  [default: $RTSTREAM_SERVER, or {DEFAULT_TARGET}]"
)


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """What the user chose. The token itself is read from the environment or a file, since a command line is public."""

    token_file: Path | None = None
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None

    def client(self, target: str | None) -> SampleClient:
        """A client of ``target``, by default the environment's or this machine's. Raises ConfigError."""
        from rtstream.client.connection import ClientTls  # noqa: PLC0415 - gRPC, which --help does without
        from rtstream.client.samples import SampleClient  # noqa: PLC0415

        encrypted = self.tls or any((self.ca, self.certificate, self.key, self.server_name))
        tls = ClientTls(self.ca, self.certificate, self.key, self.server_name) if encrypted else None
        try:
            where = parse_target(target or os.environ.get("RTSTREAM_SERVER") or DEFAULT_TARGET)
        except ConfigError as error:
            raise error if target else ConfigError(f"$RTSTREAM_SERVER: {error}") from None
        return SampleClient(where, token=self._token(), tls=tls)

    def _token(self) -> str | None:
        if self.token_file is None:
            return os.environ.get("RTSTREAM_TOKEN") or None
        try:
            lines = [line.strip() for line in self.token_file.read_text("utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not text"
            raise ConfigError(f"{self.token_file}: {reason}; name a file that holds the token") from None
        token = next((line for line in lines if line and not line.startswith("#")), None)
        if token is None:
            raise ConfigError(f"{self.token_file}: holds no token; write it there, on a line of its own")
        return token


def connection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a click command, whose function gets them as ``connection``, a ConnectionOptions."""
    file = click.Path(path_type=Path, dir_okay=False)

    @click.option(
        "--token-file", type=file, help="File with the bearer token.  [default: the token in $RTSTREAM_TOKEN]"
    )
    @click.option("--tls", is_flag=True, help="Encrypted, with the certificates that the system trusts.")
    @click.option("--ca", type=file, help="Encrypted; PEM file of who signed the service's certificate.")
    @click.option("--cert", "certificate", type=file, help="PEM file of your own certificate, for mTLS.")
    @click.option("--key", type=file, help="PEM file of its key.")
    @click.option("--server-name", metavar="NAME", help="Name in the service's certificate, if not the address's.")
    @wraps(command)
    def with_options(
        *args: Any,  # noqa: ANN401 - what click passes
        token_file: Path | None,
        tls: bool,
        ca: Path | None,
        certificate: Path | None,
        key: Path | None,
        server_name: str | None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        options = ConnectionOptions(token_file, tls, ca, certificate, key, server_name)
        command(*args, connection=options, **kwargs)

    return with_options
