"""Where a client finds the service, parsed before gRPC sees it: gRPC would go to port 443 where none is named."""

from __future__ import annotations

import ipaddress
import re

from rtstream.errors import ConfigError

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 7660
DEFAULT_TARGET = f"{DEFAULT_HOST}:{DEFAULT_PORT}"

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)")
_BRACKETED = re.compile(r"\[(?P<host>.+)\](?::(?P<port>\d+))?")
_NAMED = re.compile(r"(?P<host>[\w.-]*)(?::(?P<port>\d+))?")


def parse_target(text: str) -> str:
    """``unix:PATH`` or ``HOST:PORT``, so that gRPC need not guess.

    What is missing is added: the port 7660, or this machine (``:7661``). An IPv6 host may lack its brackets, a socket's
    absolute path its ``unix:``. Raises ConfigError for anything else.
    """
    given = text.strip()
    if given.startswith(("unix:", "/")):
        path = given.removeprefix("unix:").removeprefix("//") if given.startswith("unix:") else given
        if not path:
            raise _impossible(text, "it names no socket; give unix:PATH, such as unix:/run/rtstream/rtstream.sock")
        return f"unix:{path}"
    if url := _URL.match(given):
        where = parse_target(url["authority"] or DEFAULT_TARGET)
        tls = ", with --tls" if url["scheme"].lower() in {"https", "grpcs"} else ""
        raise _impossible(text, f"it is a URL; write {where}{tls}")
    if given.isascii() and given.isdigit():
        given = f":{given}"
    bracketed = _BRACKETED.fullmatch(given)
    if found := bracketed or _NAMED.fullmatch(given):
        host, port = found["host"] or DEFAULT_HOST, int(found["port"] or DEFAULT_PORT)
    else:
        host, port = given, DEFAULT_PORT
    if (bracketed or not found) and not _is_ipv6(host):
        raise _impossible(text, f"give unix:PATH, or HOST:PORT such as {DEFAULT_TARGET}")
    if not 0 < port < 1 << 16:
        raise _impossible(text, "a port is 1 to 65535")
    return f"{f'[{host}]' if ':' in host else host}:{port}"


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _impossible(text: str, advice: str) -> ConfigError:
    return ConfigError(f"address {text!r} is not possible: {advice}")
