"""Keys and certificates in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtstream.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def read_pem(path: Path) -> bytes:
    """Read a PEM file. Raises ConfigError if it cannot be, or is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"TLS: {path}: {error.strerror}; check the path, owner and mode") from None
    if b"-----BEGIN " not in data:
        raise ConfigError(f"TLS: {path} is not a PEM file; convert it (openssl x509 -in FILE -out {path})")
    return data
