"""Send this machine's microphone to a service that runs elsewhere, and print what it recognises.

    python microphone.py [HOST:PORT]                                        # the default microphone
    arecord -q -t raw -f S16_LE -r 16000 | python microphone.py HOST:PORT -  # any program's 16 kHz mono

Only the first way needs sounddevice.
"""

import sys
from collections.abc import Iterator

from rtstream.client import Client, Final, Partial

RATE = 16_000
CHUNK_BYTES = RATE // 10 * 2
"""A tenth of a second: a larger chunk would only make the words late."""


def microphone() -> Iterator[bytes]:
    """What the default microphone hears."""
    import sounddevice

    with sounddevice.RawInputStream(samplerate=RATE, channels=1, dtype="int16") as stream:
        while True:
            yield bytes(stream.read(CHUNK_BYTES // 2)[0])


def standard_input() -> Iterator[bytes]:
    """What another program records, to its end."""
    while chunk := sys.stdin.buffer.read(CHUNK_BYTES):
        yield chunk


with Client(*sys.argv[1:2]) as client:
    for event in client.recognize(standard_input() if sys.argv[2:] == ["-"] else microphone()):
        if isinstance(event, Final) and event.text:
            print(f"{event.start:8.2f} s  {event.text}", flush=True)
        elif isinstance(event, Partial):
            print(f"\r{event.text}", end="\r", file=sys.stderr)
