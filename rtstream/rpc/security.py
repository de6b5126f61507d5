"""Who may come in: addresses, TLS and bearer tokens."""

from __future__ import annotations

import errno
import hashlib
import hmac
import ipaddress
import os
import re
import socket
import ssl
import stat
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import structlog

from rtstream.errors import ConfigError
from rtstream.wire.failures import RequestFailedError
from rtstream.wire.pem import read_pem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

log = structlog.get_logger()

_HOST = re.compile(r"[\w.:%-]+")
SHORTEST_TOKEN = 16
"""Characters; a shorter one could be guessed."""
NAME_LENGTH = 16
WRITING_SECONDS = 1.0
"""A file that was emptied so lately is being written: many programs do that in two steps."""
PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EINTR, errno.EAGAIN})
"""Why a file cannot be read now, although nothing is wrong with it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a Unix socket's ``path``, or ``host`` and ``port``; port 0: any free one."""

    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``unix:PATH`` or ``HOST:PORT``, an IPv6 host in brackets. Raises ConfigError."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:").removeprefix("//")
            if path and len(os.fsencode(path)) < 108:  # what the kernel's sockaddr_un holds
                return cls(path=path)
        else:
            host, colon, port = text.rpartition(":")
            host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
            if colon and _HOST.fullmatch(host) and port.isdecimal() and int(port) < 1 << 16:
                return cls(host=host, port=int(port))
        raise ConfigError(f"address {text!r} is not possible: give unix:PATH, or HOST:PORT such as 127.0.0.1:7660")

    @property
    def public(self) -> bool:
        """Whether other machines may reach it."""
        if self.path or self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True  # a name: whatever it stands for

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def check_public(address: Address, *, encrypted: bool, insecure_public: bool) -> None:
    """Raise ConfigError if other machines could reach an address and read what goes there."""
    if address.public and not encrypted and not insecure_public:
        raise ConfigError(
            f"{address}: other machines could listen in, unencrypted; set up TLS, or listen on 127.0.0.1, or say "
            "insecure_public if the network is yours alone"
        )


def identity(path: Path) -> tuple[int, int] | None:
    """What tells a socket from another one at its path; None where there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def make_way(address: Address) -> None:
    """Remove the socket that a killed service left; raises ConfigError if one still listens there, or no folder is.

    gRPC itself would take the path away even from a service that is alive.
    """
    path = Path(address.path)
    if not path.parent.is_dir():
        raise ConfigError(f"{address}: there is no folder {path.parent}; make it, or choose another path")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{address}: there is a file of that name which is no socket; choose another path")
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address.path)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:  # this alone proves that nobody is there: a queue that is full is somebody's
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise ConfigError(
                f"{address}: another service may listen there ({error.strerror or error}); end that one, or choose "
                "another path"
            ) from None
    raise ConfigError(f"{address}: another service listens there; end that one, or choose another path")


@contextmanager
def created_with(mode: int) -> Iterator[None]:
    """Make Unix sockets of this mode: they must never be open to more than is meant, not even for a moment."""
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)


@dataclass(frozen=True, slots=True)
class ServerTls:
    """PEM files of a server. With ``client_ca`` clients must show a certificate that it signed (mTLS)."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Read the files, again for every connection if they changed. Raises ConfigError naming the file."""
        current = [self._stamp()]
        configuration = self._configuration()

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            # On a thread of gRPC; None keeps what is there.
            try:
                stamp = self._stamp()
                if stamp == current[0]:
                    return None
                renewed = self._configuration()
                current[0] = stamp
            except ConfigError as error:
                log.warning("tls files changed and cannot be used: the old ones stay", error=str(error))
                return None
            log.info("tls files changed: new connections use them", certificate=str(self.certificate))
            return renewed

        return grpc.dynamic_ssl_server_credentials(
            configuration,
            fetch,  # type: ignore[arg-type]  # the stubs do not know of None
            require_client_authentication=self.client_ca is not None,
        )

    def context(self) -> ssl.SSLContext:
        """The same for what is no gRPC. Raises ConfigError."""
        latest = [(self._stamp(), self._context())]

        def renew(connection: ssl.SSLObject, *_: object) -> None:
            # At each handshake.
            try:
                if (stamp := self._stamp()) != latest[0][0]:
                    latest[0] = (stamp, self._context())
            except ConfigError as error:
                log.warning("tls files changed and cannot be used: the old ones stay", error=str(error))
            connection.context = latest[0][1]

        context = self._context()
        context.sni_callback = renew
        return context

    def _context(self) -> ssl.SSLContext:
        context = self._loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        if self.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=read_pem(self.client_ca).decode("latin-1"))
        return context

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        self._loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        return grpc.ssl_server_certificate_configuration(
            [(read_pem(self.key), read_pem(self.certificate))],
            None if self.client_ca is None else read_pem(self.client_ca),
        )

    def _loaded(self, context: ssl.SSLContext) -> ssl.SSLContext:
        try:
            context.load_cert_chain(self.certificate, self.key)
        except FileNotFoundError:
            missing = self.certificate if not self.certificate.exists() else self.key
            raise ConfigError(f"TLS: there is no file {missing}; check the path") from None
        except ssl.SSLError:
            raise ConfigError(
                f"TLS: {self.certificate} and {self.key} are not a PEM certificate and its key; check that they belong "
                "together and that the key has no passphrase"
            ) from None
        except OSError as error:
            raise ConfigError(f"TLS: {self.certificate}, {self.key}: {error.strerror}; check owner and mode") from None
        return context

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        files = [self.certificate, self.key, *([] if self.client_ca is None else [self.client_ca])]
        return tuple(_stamp(file) for file in files)


class _PassingError(ConfigError):
    """A file cannot be read now, and may be in a moment."""


class Tokens:
    """The bearer tokens in a file: one a line, empty lines and those that begin with # apart.

    The file is read again when it changes. While it is missing or wrong nobody is let in; what only passes (no file
    descriptor left, a file that is just being written) leaves the tokens as they are. Raises ConfigError at first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._digests: tuple[bytes, ...] = ()
        self._load(_stamp(path))

    def check(self, headers: Iterable[tuple[str, str | bytes]]) -> str:
        """A name for the client that the call's token stands for. Raises RequestFailedError."""
        self._renew()
        given = next((value for key, value in headers if key == "authorization"), None)
        if given is None:
            raise RequestFailedError(
                "TOKEN_MISSING", 'a token is needed: send the header "authorization: Bearer TOKEN"'
            )
        scheme, _, token = (given if isinstance(given, str) else given.decode("latin-1")).partition(" ")
        digest = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        # Every token is looked at, and each in constant time: how long it takes tells nothing.
        found = sum([hmac.compare_digest(digest, known) for known in self._digests])
        if not found or scheme.lower() != "bearer":
            raise RequestFailedError("TOKEN_WRONG", "the token is not one that this service knows; ask who runs it")
        return digest.hex()[:NAME_LENGTH]

    def clients(self) -> frozenset[str]:
        """The names of all clients that would be let in now."""
        self._renew()
        return frozenset(digest.hex()[:NAME_LENGTH] for digest in self._digests)

    def _renew(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        try:
            self._load(stamp)
        except _PassingError:
            return
        except ConfigError as error:
            self._digests = ()
            self._stamp = stamp
            log.warning("the token file changed and cannot be used: nobody is let in", error=str(error))
        else:
            log.info("the token file changed", tokens=len(self._digests))

    def _load(self, stamp: tuple[int, int, int]) -> None:
        try:
            lines = [line.strip() for line in self._path.read_text("utf-8").splitlines()]
        except OSError as error:
            kind = _PassingError if error.errno in PASSING else ConfigError
            raise kind(f"tokens: {self._path}: {error.strerror}; check the path, owner and mode") from None
        except UnicodeDecodeError:
            raise ConfigError(f"tokens: {self._path} is not text; write one token a line") from None
        if not any(lines) and abs(time.time() - self._path.stat().st_mtime) < WRITING_SECONDS:
            raise _PassingError(f"tokens: {self._path} is empty; write one token a line")
        tokens = [line for line in lines if line and not line.startswith("#")]
        if not tokens or min(map(len, tokens)) < SHORTEST_TOKEN:
            raise ConfigError(
                f"tokens: {self._path} must hold tokens of {SHORTEST_TOKEN} characters at least, one a line; "
                "make one with: openssl rand -hex 16"
            )
        if self._path.stat().st_mode & stat.S_IROTH:
            log.warning("everybody on this machine can read the tokens: chmod o-r", file=str(self._path))
        self._digests = tuple(hashlib.sha256(token.encode()).digest() for token in tokens)
        self._stamp = stamp


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file does."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)
