"""rtstream: a streaming speech recognition service for always-on devices."""

__version__ = "0.1.0"
