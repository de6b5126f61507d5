"""Why a service cannot be reached, for people: what to do, not what gRPC's channel went through."""

from __future__ import annotations

import os
import re

START = "start it with 'rtstream serve', or if it is installed with 'sudo systemctl start rtstream'"

_JOIN = "join its group, as a rule with 'sudo usermod -aG rtstream $USER', and log in anew"
_REASONS = (
    (r"connection refused|no such file or directory", f"no service listens there; {START}"),
    (r"permission denied", f"this user may not connect to that socket; {_JOIN}"),
    (
        r"domain name not found|name or service not known|hostname lookup|dns (resolution|query)",
        "no machine of that name is known; check the address",
    ),
    (r"handshake|ssl|certificate", "no trusted connection can be made; check TLS and the certificates on both sides"),
    (
        r"socket closed|reset|goaway|broken pipe",
        "the other side has closed the connection; if it always does, check TLS",
    ),
    (r"unreachable|no route", "that machine cannot be reached; check the address and the network"),
    (r"timed? ?out|deadline", "nothing answers there in time; check the address and the network, or the service's log"),
)
"""What gRPC's words stand for; they may change, and then the last resort below is said."""


def unreachable(target: str, details: str) -> str:
    """One line about ``target``, with ``details``, gRPC's own words, only if RTSTREAM_DEBUG=1 asks for them."""
    said = next((line for pattern, line in _REASONS if re.search(pattern, details, re.IGNORECASE)), None)
    line = (
        f"{target}: {said or f'no service can be reached there; check the address and TLS on both sides, or {START}'}"
    )
    return f"{line} ({details})" if os.environ.get("RTSTREAM_DEBUG") == "1" else line
