"""A world whose documents come late: series in memory, each value with the time at which it is there, and ticks in real time.

Owns: LateMetrics, `watch` and what a fit would see. Everything behind the source is the product's own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.world import START, ArrayMetrics, make_parts

from forewarn.detector import DAY, HOUR, MINUTE, Detector, Selection
from forewarn.errors import SourceUnavailable
from forewarn.ports import MetricSource, Problem, Store
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid
from forewarn.stream import Stream
from forewarn.tick import Memory, Parts, run_tick

STEP = 5 * MINUTE
WITHIN = 6 * HOUR
LATE = 2**61
"""As an arrival: never."""
FIRST = START + 2 * DAY + 3 * HOUR
LAST = START + 3 * DAY + 16 * HOUR
PAUSE = (FIRST - START) // STEP + 60
"""The first bucket in which the hits of one host pause."""

LATENCY = Detector(
    "latency", Selection(index="world"), "avg", "latency", split_by=("host",), step=STEP, delay=MINUTE, fit_every=8 * HOUR
)
HITS = Detector(
    "hits", Selection(index="world"), "count", split_by=("host",), step=STEP, delay=MINUTE, fit_every=DAY, retire_after=7 * HOUR
)


@dataclass(eq=False)
class LateMetrics:
    """A MetricSource over series in memory, of which only that is there which came by `now`."""

    series: Mapping[SeriesKey, Float]
    arrives: Mapping[SeriesKey, NDArray[np.int64]] = field(default_factory=dict)
    """When each value is there, int64 UTC ms; a series that is not named is always in time."""
    now: int = 0
    refuses: Callable[[int], bool] = field(default=lambda _now: False)
    """Whether it refuses at `now` to be read again."""
    reached: int = FIRST
    """Up to where it was read since FIRST."""
    asked: list[tuple[int, TimeGrid]] = field(default_factory=list)

    def read(self, detector: Detector, grid: TimeGrid) -> SeriesBatch:
        """What has come."""
        self.asked.append((self.now, grid))
        if FIRST <= grid.start < self.reached and self.refuses(self.now):
            raise SourceUnavailable("world", "is too slow")
        self.reached = max(self.reached, grid.end)
        come = {key: self.arrives.get(key, np.zeros(len(values), np.int64)) <= self.now for key, values in self.series.items()}
        there = {key: np.where(come[key], values, np.nan) for key, values in self.series.items()}
        return ArrayMetrics(STEP, START, there).read(detector, grid)

    def check(self, _detector: Detector) -> list[Problem]:
        """Nothing can be wrong."""
        return []

    def close(self) -> None:
        """Nothing to release."""


def late_series() -> dict[SeriesKey, Float]:
    """Hosts with latencies and hits; one whose hits pause for longer than it takes to be retired, but for one bucket."""
    rng, size = np.random.default_rng(11), 4 * DAY // STEP
    rhythm = 100 + 40 * np.sin(2 * np.pi * np.arange(size) * STEP / DAY)
    series = {SeriesKey("latency", (("host", name),)): rhythm + rng.normal(0, 5, size) for name in "abc"}
    series |= {SeriesKey("hits", (("host", name),)): rng.poisson(rhythm).astype(np.float64) for name in "ab"}
    pausing = rng.poisson(rhythm).astype(np.float64)
    pausing[PAUSE : PAUSE + 200] = np.nan
    pausing[PAUSE + 100] = 50.0
    return series | {SeriesKey("hits", (("host", "pausing"),)): pausing}


def parts_over(store: Store, source: MetricSource, detectors: Sequence[Detector] = (LATENCY, HITS), **more: Any) -> Parts:
    """Parts whose detectors all read `source`."""
    parts = make_parts(store, detectors, {}, origin=FIRST, **more)
    return replace(parts, rooms={name: replace(rooms, source=source) for name, rooms in parts.rooms.items()})


def watch(parts: Parts, source: LateMetrics, nows: Sequence[int], forget: frozenset[int] = frozenset()) -> Memory:
    """Runs ticks at `nows`, each in time, dropping the memory before those numbered in `forget`."""
    memory: Memory | None = None
    for number, now in enumerate(nows):
        source.now = now
        memory = run_tick(parts, None if number in forget else memory, now, now, f"nonce-{number}")
    assert memory is not None
    return memory


def learnt_from(parts: Parts, stream: Stream, end: int, start: int = FIRST) -> dict[str, list[float | None]]:
    """What a fit at `end` would see of each series since `start`, coarsely."""
    rooms, detector, keys = parts.rooms[stream.detector.name], stream.detector, stream.registry.keys
    coarse = detector.coarse_step
    grid = TimeGrid.between(start, end, coarse)
    values = rooms.history.read(stream.history, keys, grid).values.copy()
    fine = TimeGrid.between(stream.tail.start, end, detector.step)
    recent = rooms.coarsen(SeriesBatch(keys, fine, stream.tail.values(np.arange(len(keys)), fine)), coarse)
    first = grid.index(recent.grid.start)
    values[:, first : first + recent.grid.size] = recent.values
    return {str(key): [None if np.isnan(v) else v for v in row.tolist()] for key, row in zip(keys, values, strict=True)}


def models(stream: Stream) -> dict[str, tuple[int, str, dict[str, list[Any]]]]:
    """The model in force of each series: when it was fitted, its engine, its numbers."""
    found = {}
    for row, key in enumerate(stream.registry.keys):
        model, _, at = stream.in_force.rows[key]
        numbers = {name: array[at].tolist() for name, array in model.arrays.items()}
        found[str(key)] = (int(stream.registry.fitted[row]), model.engine, numbers)
    return found
