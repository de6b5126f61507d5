import time
from datetime import datetime, timedelta

import click
import pytest

from rtstream.cli.age import Age


def age(text):
    return Age().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("1h30min", 5400), ("1h 30m", 5400), ("45s", 45), ("1.5d", 129_600), ("0s", 0)],
)
def test_spans(text, seconds):
    assert age(text) == seconds


def test_times_of_day_are_the_last_ones_and_dates_are_local():
    before = datetime.now().astimezone() - timedelta(hours=1)
    assert age(f"{before:%H:%M:%S}") == pytest.approx(3600, abs=5)
    after = datetime.now().astimezone() + timedelta(minutes=2)
    assert age(f"{after:%H:%M}") == pytest.approx(86_400 - 90, abs=70)
    assert age(f"{before:%Y-%m-%dT%H:%M:%S}") == pytest.approx(3600, abs=5)
    assert age("2020-01-01") == pytest.approx(time.time() - datetime(2020, 1, 1).astimezone().timestamp(), abs=5)


@pytest.mark.parametrize("text", ["", "2", "h", "2 weeks", "-2h", "25:00", "14:60", "2026-13-01", "2999-01-01", "nan"])
def test_what_is_none_is_refused_with_an_example(text):
    with pytest.raises(click.BadParameter, match=r"2h|still to come"):
        age(text)
