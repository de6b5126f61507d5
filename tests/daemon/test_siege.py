"""All attacks at once: see siege.py. On demand: what races under it is different each time."""

import os

import pytest

from tests.daemon.measure import Track
from tests.daemon.siege import FILES, Siege


@pytest.mark.slow
@pytest.mark.skipif("RTSTREAM_SIEGE" not in os.environ, reason="RTSTREAM_SIEGE=1 runs it, for two minutes")
def test_service_under_all_attacks_at_once_loses_no_final_stays_small_and_ends_with_0(bundle, tmp_path):
    report = Siege(tmp_path, bundle, Track().pcm).run(60)
    assert not report.errors
    assert report.code == 0
    assert report.heard == report.expected
    assert len(report.expected) > 5
    assert report.stored == len(report.expected)
    assert (report.gaps, report.lost, report.unanswered) == ([], 0, [])
    assert max(report.rss) < 1 << 30
    assert max(report.files) < FILES - 50
    assert max(report.threads) < 100
