"""rtstream: a streaming speech recognition daemon for always-on devices."""

__version__ = "0.1.0"
