"""Print what a service hears: finals, and the newest words while they are spoken.

    python subscribe.py [unix:PATH | HOST:PORT]

Reconnects by itself, and goes on after the last final.
"""

import sys

from rtstream.client import Client, Final, Gap, Partial

with Client(*sys.argv[1:2]) as client:
    for event in client.subscribe(from_start=True):
        match event:
            case Final(text=text, start=start) if text:
                print(f"{start:8.2f} s  {text}", flush=True)
            case Partial(text=text):
                print(f"\r{text}", end="\r", file=sys.stderr)
            case Gap(missed=missed):
                print(f"({missed or 'some'} finals are no longer held)", flush=True)
