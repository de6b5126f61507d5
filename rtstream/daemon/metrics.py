"""Numbers for Prometheus, read from the service when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from rtstream.events import CaptureState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from rtstream.wire.values import Status

COUNTERS = {
    "audio_samples": "Audio that came from the source; 16000 samples are a second",
    "overflow_samples": "Audio lost because it was not taken from the device in time",
    "device_samples": "Audio lost while there was no device",
    "behind_samples": "Audio lost because recognition was behind",
    "finals": "Segments published, from the source",
    "partials": "Partial texts published, from the source",
    "recognised_samples": "Audio recognised, of all streams",
    "recognition_cpu_milliseconds": "CPU time of the recognising threads",
    "partials_replaced": "Partials that slow subscribers did not get, since newer ones were there",
    "subscribers_ended": "Subscribers that were ended because they read too slowly",
    "finals_unstored": "Finals that the store did not take at once",
    "finals_lost": "Finals that were dropped before anybody saw them",
    "streams_opened": "Recognize streams opened",
    "streams_refused": "Recognize streams refused because there were too many",
    "translations": "Finals translated, counted once for each language, as all below",
    "partial_translations": "Translations of partials published",
    "partial_translations_skipped": "Translations of partials left out, since something newer was there",
    "translations_lost": "Translations of finals that failed or were given up",
    "translation_milliseconds": "Time spent on translating texts; speech is translated by the recognising threads",
    "faults": "Faults published",
}
"""What the service counts from its start, in GetStatus and, as ``rtstream_NAME_total``, for Prometheus."""
LATENCY_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
STATES = get_args(CaptureState)
PHASES = ("starting", "loading", "ready", "degraded", "stopping")


class Metrics:
    """``registry`` is what is served; ``decode_seconds`` takes how long after its arrival a chunk was recognised."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Collector(status))
        self.decode_seconds = Histogram(
            "rtstream_decode_seconds",
            "From the arrival of a chunk's last audio to its events",
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )


class _Collector:
    """Turns the status into metrics."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Give the metrics as they are now."""
        status = self._status()
        info = GaugeMetricFamily("rtstream_info", "Version and model", labels=["version", "model", "engine"])
        info.add_metric([status.version, status.model, status.engine], 1)
        yield info
        yield _one_of("rtstream_phase", "Phase of the service", PHASES, status.phase)
        yield _one_of(
            "rtstream_device_state", "State of the source", STATES, status.device.state if status.device else ""
        )
        gauges = {
            "uptime_seconds": ("Since the start", status.uptime_seconds),
            "audio_age_seconds": ("Since audio came last", status.audio_age_seconds),
            "real_time_factor": ("CPU time per time of audio, lately", status.real_time_factor),
            "resident_memory_bytes": ("Memory of the process", status.rss_bytes),
            "subscribers": ("Subscribers now", status.subscribers),
            "streams": ("Recognize streams now", status.streams),
            "active_faults": ("Faults that have not recovered", len(status.faults)),
        }
        for name, (about, value) in gauges.items():
            if value is not None:
                yield GaugeMetricFamily(f"rtstream_{name}", about, value=value)
        for name, about in COUNTERS.items():
            yield CounterMetricFamily(f"rtstream_{name}", about, value=status.counters.get(name, 0))


def _one_of(name: str, about: str, values: tuple[str, ...], now: str) -> Metric:
    metric = GaugeMetricFamily(name, about, labels=["state"])
    for value in values:
        metric.add_metric([value], value == now)
    return metric
