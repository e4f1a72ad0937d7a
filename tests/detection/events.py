"""Events drawn into a series, with their labels.

Owns: Canvas. Must not know what the series was before: sizes are in its `scale`, lengths in minutes, at least two points.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from forewarn.series import Float

Range = tuple[float, float]
_QUIET = 16
"""Points between two events, at least: closer ones would be one event to people."""


@dataclass(slots=True, eq=False)
class Canvas:
    """One series [T] in steps of `minutes`, its labels, and the size of its noise."""

    rng: np.random.Generator
    minutes: int
    values: Float
    scale: float = 1.0
    label: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.label = np.zeros(self.values.size, np.bool_)

    def box(self, first: int, points: int, size: float) -> None:
        """An offset of `size` scales."""
        self.values[first : first + points] += size * self.scale
        self.label[first : first + points] = True

    def scatter(self, a_day: float, lengths: Range, sizes: Range, up: float = 0.5) -> None:
        """Offsets at random times: boxes, decays and ragged ones; `up`: the share that goes up."""
        for first, points in self._places(a_day, lengths):
            size = self._log_uniform(sizes) * (1 if self.rng.random() < up else -1) * self.scale
            i = np.arange(points)
            shape = (
                np.ones(points),
                np.exp(-1.2 * i / points),
                self.rng.uniform(0.6, 1.4, points),
            )[int(self.rng.integers(0, 3))]
            self.values[first : first + points] += size * shape
            self.label[first : first + points] = True

    def creep(self, a_day: float, lengths: Range, sizes: Range) -> None:
        """Offsets that grow over half of their length and then stay; labelled from two scales on."""
        for first, points in self._places(a_day, lengths):
            size = self._log_uniform(sizes) * self.rng.choice([-1, 1])
            shape = size * np.minimum(1.0, 2.0 * np.arange(1, points + 1) / points)
            self.values[first : first + points] += shape * self.scale
            self.label[first : first + points] = np.abs(shape) >= 2.0

    def bursts(self, a_day: float, lengths: Range, rates: Range) -> None:
        """More counts: so many a point on average."""
        for first, points in self._places(a_day, lengths):
            more = self.rng.poisson(self._log_uniform(rates), points)
            more[0] = max(1, more[0])
            self.values[first : first + points] += more
            self.label[first : first + points] = True

    def factors(self, a_day: float, lengths: Range, ranges: tuple[Range, ...], counts: bool = False) -> None:
        """Multiples of what is normal, from one of the ranges."""
        for first, points in self._places(a_day, lengths):
            low, high = ranges[int(self.rng.integers(0, len(ranges)))]
            part = self.values[first : first + points] * self.rng.uniform(low, high)
            self.values[first : first + points] = np.round(part) if counts else part
            self.label[first : first + points] = True

    def holes(self, a_day: float, lengths: Range) -> None:
        """Missing data, single points and stretches, wherever they fall."""
        self.values[self.rng.random(self.values.size) < 0.002] = np.nan
        for first, points in self._places(a_day, lengths, free=False):
            self.values[first : first + points] = np.nan

    def _places(self, a_day: float, lengths: Range, free: bool = True) -> list[tuple[int, int]]:
        """Starts and lengths in points, in order of time; `free`: away from other events."""
        per_day = 24 * 60 / self.minutes
        count = self.rng.poisson(a_day * self.values.size / per_day)
        found: list[tuple[int, int]] = []
        for first in np.sort(self.rng.integers(1, self.values.size, count)).tolist():
            points = max(2, round(self._log_uniform(lengths) / self.minutes))
            end = first + points
            busy = self.label[max(0, first - _QUIET) : end + _QUIET].any()
            if end + _QUIET > self.values.size or (free and (busy or (found and first < sum(found[-1]) + _QUIET))):
                continue
            found.append((first, points))
        return found

    def _log_uniform(self, bounds: Range) -> float:
        return float(np.exp(self.rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))
