"""Counters as rates: what an ever-growing number gained a second, wherever it is read.

Owns: CounterRates, a MetricSource around another one, and `rates`. A counter that falls was reset, and gained since then what
it shows now. Must not read anything itself.
"""

from dataclasses import dataclass

import numpy as np

from forewarn.detector import HOUR, Detector
from forewarn.ports import MetricSource, Problem
from forewarn.series import Float, SeriesBatch, TimeGrid


def reach(step: int) -> int:
    """How many buckets back the value before may lie: an hour, at least three. After longer, nobody knows when it gained."""
    return max(3, HOUR // step)


def rates(values: Float, step: int, back: int) -> Float:
    """Gain a second of counters [S, T] (NaN: no data) since the bucket before with data, at most `back` buckets ago; [S, T].

    NaN where there is none. A value that is lower than the one before counts whole: the counter began anew at 0.
    """
    size = values.shape[1]
    place = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(size)), axis=1)
    before = np.concatenate([np.full((values.shape[0], 1), -1), place[:, :-1]], axis=1)
    distance = np.arange(size) - before
    known = (before >= 0) & (distance <= back)
    old = np.take_along_axis(values, np.maximum(before, 0), axis=1) if size else values
    with np.errstate(invalid="ignore"):
        gain = np.where(values < old, values, values - old)
    return np.where(known, gain / (distance * (step / 1000.0)), np.nan)


@dataclass(frozen=True, slots=True)
class CounterRates:
    """The MetricSource of a detector that reads a counter."""

    source: MetricSource

    def read(self, detector: Detector, grid: TimeGrid) -> SeriesBatch:
        """The rates on `grid`: the counters are read from a little before it on, so that any cut of time gives the same."""
        back = reach(grid.step)
        read = self.source.read(detector, TimeGrid(grid.start - back * grid.step, grid.step, grid.size + back))
        values = rates(read.values, grid.step, back)[:, back:]
        rows = np.flatnonzero(~np.isnan(values).all(axis=1)).tolist() if grid.size else []
        return SeriesBatch(tuple(read.keys[row] for row in rows), grid, np.ascontiguousarray(values[rows]))

    def check(self, detector: Detector) -> list[Problem]:
        """What the source finds."""
        return self.source.check(detector)

    def close(self) -> None:
        """Releases connections."""
        self.source.close()
