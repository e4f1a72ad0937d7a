"""A small world for tests of whole ticks: series in memory, real rooms, a real store, and what a reader can see of it.

The source is a double (the real ones have their own suites); everything behind it is the product's own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from forewarn.codec import anomaly_json, incident_json
from forewarn.detector import DAY, HOUR, MINUTE, Detector, Selection, Threshold
from forewarn.errors import SourceUnavailable
from forewarn.history.stored import StoreHistory
from forewarn.incident import IncidentSettings
from forewarn.incidents.correlation import Correlation
from forewarn.pattern import PATTERN_FIELD
from forewarn.ports import MetricSource, MinedSource, Notifier, Problem, Store
from forewarn.results import Notification
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid
from forewarn.tick import Memory, Parts, run_tick
from forewarn.wiring import build_forecaster, build_rooms

START = 1_780_272_000_000  # 2026-06-01T00:00Z, a Monday
STEP = 30 * MINUTE


@dataclass(eq=False)
class ArrayMetrics:
    """A MetricSource over series in memory: NaN where a bucket has no documents; counts add up, others are averaged."""

    step: int
    start: int
    series: Mapping[SeriesKey, Float]
    down: Callable[[int], bool] = field(default=lambda _end: False)
    reads: int = 0

    def read(self, detector: Detector, grid: TimeGrid) -> SeriesBatch:
        """The keys with documents on the grid, sorted."""
        self.reads += 1
        if self.down(grid.end):
            raise SourceUnavailable("world", "is down")
        ratio = grid.step // self.step
        found: dict[SeriesKey, Float] = {}
        for key in sorted(key for key in self.series if key.detector == detector.name):
            fine = np.full(grid.size * ratio, np.nan)
            low = max(grid.start, self.start)
            high = min(grid.end, self.start + self.step * len(self.series[key]))
            if high > low:
                values = self.series[key][(low - self.start) // self.step : (high - self.start) // self.step]
                fine[(low - grid.start) // self.step : (high - grid.start) // self.step] = values
            table = fine.reshape(grid.size, ratio)
            empty = np.isnan(table).all(axis=1)
            total = np.nansum(table, axis=1)
            counts = np.maximum(1, (~np.isnan(table)).sum(axis=1))
            values = np.where(empty, np.nan, total if detector.zero_when_empty else total / counts)
            if not empty.all():
                found[key] = values
        return SeriesBatch(tuple(found), grid, np.array(list(found.values())).reshape(len(found), grid.size))

    def check(self, _detector: Detector) -> list[Problem]:
        """Nothing can be wrong."""
        return []

    def close(self) -> None:
        """Nothing to release."""


@dataclass(eq=False)
class Recorder:
    """A Notifier that remembers what it was handed."""

    name: str = "recorder"
    taken: list[Notification] = field(default_factory=list)

    def deliver(self, notification: Notification) -> None:
        """Takes everything."""
        self.taken.append(notification)


def counts_detector(**changes: Any) -> Detector:
    """Requests per service: counts, so that absence is 0."""
    settings: dict[str, Any] = {
        "split_by": ("service.name",),
        "step": STEP,
        "delay": MINUTE,
        "fit_every": 8 * HOUR,
        "fits_per_tick": 2,
        "warm_up": 6 * HOUR,
        "retire_after": 10 * HOUR,
    }
    return Detector("requests", Selection(index="world"), "count", **(settings | changes))


def latency_detector(**changes: Any) -> Detector:
    """A gauge in other buckets than the counts."""
    settings: dict[str, Any] = {"step": HOUR, "delay": 5 * MINUTE, "fit_every": DAY, "warm_up": 6 * HOUR}
    settings["threshold"] = Threshold(above=45.0)
    return Detector("latency", Selection(index="world"), "avg", "latency", **(settings | changes))


def world_series(seed: int = 7, days: int = 14) -> dict[SeriesKey, Float]:
    """Services with daily rhythm: one steady, one with a spike and a dip, one that starts late, one that pauses."""
    rng = np.random.default_rng(seed)
    size = days * DAY // STEP
    day = np.arange(size) * STEP / DAY
    rhythm = 100 + 60 * np.sin(2 * np.pi * day)
    series: dict[SeriesKey, Float] = {}
    for name in ("api", "cart", "late", "pausing"):
        series[SeriesKey("requests", (("service.name", name),))] = rng.poisson(rhythm).astype(np.float64)
    keys = list(series)
    end = size - int(DAY // STEP)
    series[keys[1]][end : end + 3] *= 5
    series[keys[1]][end + 20 : end + 26] = np.nan
    series[keys[2]][: end - 30] = np.nan
    series[keys[3]][end - 40 : end + 9] = np.nan
    hours = np.arange(days * 24)
    latency = 20 + 5 * np.sin(2 * np.pi * hours / 24) + rng.normal(0, 0.5, hours.size)
    latency[-34:-14] += np.arange(20) * 2.0
    latency[-30:-28] = np.nan
    series[SeriesKey("latency")] = latency
    return series


def make_parts(
    store: Store,
    detectors: Sequence[Detector],
    series: Mapping[SeriesKey, Float],
    notifiers: Sequence[Notifier] = (),
    **more: Any,
) -> Parts:
    """Parts over the given store, with everything in this process. Of `more`, `sources` and `mined` name the detectors that
    read something other than `series`; what Parts does not know stays here.
    """
    forecaster, history = build_forecaster(0), more.pop("history", None) or StoreHistory(store)
    down = more.pop("down", lambda _end: False)
    mined: Mapping[str, MinedSource] = more.pop("mined", {})
    sources: Mapping[str, MetricSource] = {**more.pop("sources", {}), **mined}
    rooms = {}
    for one in detectors:
        source = sources.get(one.name) or ArrayMetrics(one.step, START, series, down)
        rooms[one.name] = replace(build_rooms(one, source, history, forecaster), mined=mined.get(one.name))
    correlator = Correlation(IncidentSettings(), tuple(detectors))
    return Parts(tuple(detectors), rooms, store, correlator, notifiers=tuple(notifiers), **more)


def run(parts: Parts, nows: Sequence[int], forget: frozenset[int] = frozenset()) -> Memory:
    """Runs ticks at `nows`, each in time, dropping the memory before those numbered in `forget`, as a restart would."""
    memory: Memory | None = None
    for number, now in enumerate(nows):
        if number in forget:
            memory = None
        memory = run_tick(parts, memory, now, now, f"nonce-{number}")
    assert memory is not None
    return memory


def visible(store: Store) -> dict[str, Any]:
    """Everything that a reader can see, in comparable form."""
    store.refresh()
    everyone = store.series()
    ids = [record.key.id for record in everyone]
    records = {}
    for record in everyone:
        found = store.find(record.key.id)
        assert found is not None
        assert found.model is not None
        records[str(record.key)] = (
            record.status,
            record.engine,
            record.fitted_at,
            record.first_seen,
            record.retired,
            {name: array.tolist() for name, array in found.model.arrays.items()},
        )
    scores = {
        str(one.key): [
            [None if np.isnan(v) else v for v in column.tolist()]
            for column in (one.start, one.actual, one.expected, one.lower, one.upper, one.score)
        ]
        for one in store.scores(ids, 0, START * 2, 1_000_000)
    }
    anomalies = [anomaly_json(anomaly) for anomaly in store.anomalies(0, START * 2, limit=10_000)]
    incidents = [incident_json(incident) for incident in store.incidents(0, START * 2, limit=10_000)]
    names = {value for record in everyone for name, value in record.key.entity if name == PATTERN_FIELD}
    patterns = [
        # Up to when a pattern was seen and how often is published once a day, so it depends on when the first sight was.
        (one.id, one.namespace, one.level, one.text, one.example, one.first_seen)
        for one in store.patterns(sorted(names))
    ]
    return {"records": records, "scores": scores, "anomalies": anomalies, "incidents": incidents, "patterns": patterns}
