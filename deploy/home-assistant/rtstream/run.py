"""Start the service with the add-on's options, and tell Home Assistant where it is."""  # noqa: INP001 - a script

from __future__ import annotations

import json
import os
import socket
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

PORT = 10300
OPTIONS = Path("/data/options.json")
TRIES, PAUSE_SECONDS = 60, 5.0
MAX_PHRASES = 500
"""That the service takes."""


def environment(options: dict[str, Any]) -> dict[str, str]:
    """The service's settings for the add-on's options."""
    source = "mic" if options.get("microphone") else "fifo:/tmp/none?create=1"
    return {
        "RTSTREAM_AUDIO__SOURCE": source,
        "RTSTREAM_RECOGNITION__MODEL": options.get("model") or "base",
        "RTSTREAM_RECOGNITION__PHRASES": ",".join(str(phrase) for phrase in options.get("phrases", [])[:MAX_PHRASES]),
        # The add-on's own network, which Home Assistant alone shares unless the user opens the port.
        "RTSTREAM_WYOMING__LISTEN": f"tcp://0.0.0.0:{PORT}",
        "RTSTREAM_WYOMING__INSECURE_PUBLIC": "true",
        "RTSTREAM_WYOMING__EXTERNAL_VAD": str(options.get("end_of_speech") != "rtstream").lower(),
    }


def announce(api: str, token: str) -> None:
    """Have the Supervisor offer the service to Home Assistant, as soon as it listens."""
    last = ""
    for _ in range(TRIES):
        try:
            socket.create_connection(("127.0.0.1", PORT), 1.0).close()
            body = json.dumps({"service": "wyoming", "config": {"uri": f"tcp://{socket.gethostname()}:{PORT}"}})
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            request = urllib.request.Request(f"{api}/discovery", body.encode(), headers)  # noqa: S310 - the Supervisor
            urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
        except OSError as error:
            last = str(error)
            time.sleep(PAUSE_SECONDS)
        else:
            return
    print(f"add-on: Home Assistant could not be told of rtstream: {last}; add it by hand: Settings, Devices, Wyoming")  # noqa: T201


def main() -> None:
    """Run the service in place of this process; a child tells the Supervisor."""
    os.environ.update(environment(json.loads(OPTIONS.read_text())))
    token = os.environ.get("SUPERVISOR_TOKEN")
    if token and not os.fork():
        announce(os.environ.get("SUPERVISOR_API", "http://supervisor"), token)
        os._exit(0)
    os.execvp("rtstream", ["rtstream", "serve"])  # noqa: S606, S607 - the image's own


if __name__ == "__main__":
    sys.exit(main())
