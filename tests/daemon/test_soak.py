"""What the soak looks at, and a short one; see soak.py."""

import numpy as np
import pytest

from tests.adapters.mosquitto import needs_mosquitto
from tests.daemon.measure import Track, slope
from tests.daemon.soak import Counting, costs, soak


def test_a_final_that_is_missing_or_comes_twice_is_a_hole():
    heard = Counting("one")
    for number in (4, 5, 7, 7, 8):
        heard.note("final", 0, number)
    heard.note("partial", 0)
    assert heard.holes == 2


def test_cost_and_growth_are_of_the_first_and_the_last_hour():
    hours = np.linspace(0, 6, 61)
    cost = np.where(hours < 1.5, 0.1, 0.2)
    rows = [(hour, 200 + 3 * hour, seconds, 9, 9) for hour, seconds in zip(hours, cost * hours * 3600, strict=True)]
    between, first, last = costs(rows)
    assert len(between) == 60
    assert (first, last) == (pytest.approx(0.1), pytest.approx(0.2))
    assert slope([row[:2] for row in rows]) == pytest.approx(3)


@pytest.mark.slow
@needs_mosquitto
def test_service_whose_clients_come_and_go_loses_nothing(bundle):
    rows, held = soak("onnx", bundle, 0.02, Track())
    assert held
    hours, _, seconds, files, threads = np.array(rows).T
    assert hours[-1] >= 0.02
    assert (np.diff(hours) > 0).all()
    assert (np.diff(seconds) > 0).all()
    assert min(*files, *threads) > 0
