"""How long ago: as people write it on a command line."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta

import click

UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400}
SPAN = re.compile(r"(\d+(?:\.\d+)?) *(min|[smhd])")


class Age(click.ParamType[float]):
    """Seconds of "2h", "1h30min" or "3d", or since "14:00" (the last one) or "2026-11-30T14:00", local time."""

    name = "age"

    def convert(self, value: object, _param: click.Parameter | None, _ctx: click.Context | None) -> float:
        """What the user wrote. Fails as click's own types do."""
        text = str(value).strip()
        if re.fullmatch(rf"(?:{SPAN.pattern} *)+", text):
            return sum(float(number) * UNITS[unit] for number, unit in SPAN.findall(text))
        try:
            since = _moment(text)
        except ValueError:
            self.fail(f"{text!r} is not possible; give 2h, 1h30min or 3d, or a time: 14:00, or 2026-11-30T14:00")
        if since > time.time():
            self.fail(f"{text!r} is still to come")
        return time.time() - since


def _moment(text: str) -> float:
    """A time of day, the last one, or a date with or without one; in Unix seconds. Raises ValueError."""
    if re.fullmatch(r"\d?\d:\d\d(?::\d\d)?", text):
        now = datetime.now().astimezone()
        hours, *rest = map(int, text.split(":"))
        at = now.replace(hour=hours, minute=rest[0], second=(*rest, 0)[1], microsecond=0)
        return (at if at <= now else at - timedelta(days=1)).timestamp()
    return datetime.fromisoformat(text).astimezone().timestamp()
