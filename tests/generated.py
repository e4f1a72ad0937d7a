"""The fourteen kinds of series that tests, parity runs and benchmarks share.

Owns: KINDS, `generate`, `batch`. Values only; everything random comes from the generator that is handed in, so the same
state gives the same series. Kinds grow here, never in a test.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import DAY, HOUR
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

START: Final = 1_785_542_400_000
"""2026-08-01T00:00:00Z, a Saturday: the start of generated grids, a multiple of every step that divides a day."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What every kind starts from: `times` in ms from START, [n]; a level and its relative trend around 1, [n]."""

    rng: np.random.Generator
    times: NDArray[np.int64]
    step: int
    level: float
    trend: Float

    def sine(self, period: int, phase: float = 0.0) -> Float:
        """A unit sine of `period` ms, [n]."""
        return np.sin(2 * np.pi * self.times / period + phase)

    def noise(self, scale: float = 1.0) -> Float:
        """White Gaussian noise, [n]."""
        return self.rng.normal(0.0, scale, self.times.size)

    @property
    def weekend(self) -> NDArray[np.bool_]:
        """Whether the point lies on a Saturday or Sunday (UTC), [n]."""
        return (self.times // DAY) % 7 < 2  # START is a Saturday

    @property
    def hour(self) -> Float:
        """Hour of the UTC day, [n]."""
        return (self.times % DAY) / HOUR


def _smooth(s: _Shape) -> Float:
    phase = s.rng.uniform(0, 2 * np.pi)
    daily = 0.3 * s.sine(DAY, phase) + 0.1 * s.sine(DAY // 2, 2 * phase)
    return s.level * (s.trend + daily - 0.3 * s.weekend + s.noise(0.03))


def _business(s: _Shape) -> Float:
    open_ = (s.hour >= 8) & (s.hour < 18) & ~s.weekend
    return s.level * (s.trend * (0.2 + 0.8 * open_) + s.noise(0.03))


def _spiky(s: _Shape) -> Float:
    spikes = (s.rng.random(s.times.size) < 0.01) * s.rng.exponential(5.0, s.times.size)
    return s.level * (s.trend + 0.2 * s.sine(DAY) + s.noise(0.05) + spikes)


def _gappy(s: _Shape) -> Float:
    y = s.level * (s.trend + 0.3 * s.sine(DAY) + s.noise(0.05))
    y[s.rng.random(y.size) < 0.1] = np.nan
    for _ in range(3):
        first = int(s.rng.integers(0, y.size))
        y[first : first + max(1, y.size // 40)] = np.nan
    return y


def _nearconst(s: _Shape) -> Float:
    return s.level * (1.0 + 1e-4 * s.noise())


def _counts(s: _Shape) -> Float:
    mean = s.rng.uniform(3, 30) * np.clip(s.trend + 0.5 * s.sine(DAY), 0.05, None)
    return s.rng.poisson(mean).astype(np.float64)


def _heavytail(s: _Shape) -> Float:
    return s.level * (s.trend + 0.2 * s.sine(DAY)) * np.exp(s.noise(0.5))


def _step(s: _Shape) -> Float:
    shifted = np.arange(s.times.size) >= s.times.size * s.rng.uniform(0.3, 0.7)
    return s.level * (s.trend + 0.2 * s.sine(DAY) + 0.8 * shifted + s.noise(0.05))


def _ar1(s: _Shape) -> Float:
    phi = s.rng.uniform(0.9, 0.995)
    shocks = s.noise(0.1 * np.sqrt(1 - phi**2))
    wander, x = np.empty_like(shocks), 0.0
    for i, shock in enumerate(shocks.tolist()):
        x = phi * x + shock
        wander[i] = x
    return s.level * (s.trend + 0.2 * s.sine(DAY) + wander)


def _bigoffset(s: _Shape) -> Float:
    return 1e6 + s.trend + 0.5 * s.sine(DAY) + s.noise(0.1)


def _hetero(s: _Shape) -> Float:
    return s.level * (s.trend + 0.2 * s.sine(DAY) + s.noise() * (0.01 + 0.15 * (1 + s.sine(DAY, 1.0)) / 2))


def _sparsecount(s: _Shape) -> Float:
    return s.rng.poisson(0.05, s.times.size).astype(np.float64)


def _sawtooth(s: _Shape) -> Float:
    period = s.rng.uniform(5, 11) * HOUR  # no divisor of the day: what Fourier terms of day and week cannot follow
    return s.level * (s.trend + 0.5 * ((s.times / period) % 1.0) + s.noise(0.02))


def _linear_up(s: _Shape) -> Float:
    return s.level * (1.0 + np.linspace(0.0, 2.0, s.times.size) + 0.1 * s.sine(DAY) + s.noise(0.03))


_MAKERS: Final[dict[str, Callable[[_Shape], Float]]] = {
    "smooth": _smooth,
    "business": _business,
    "spiky": _spiky,
    "gappy": _gappy,
    "nearconst": _nearconst,
    "counts": _counts,
    "heavytail": _heavytail,
    "step": _step,
    "ar1": _ar1,
    "bigoffset": _bigoffset,
    "hetero": _hetero,
    "sparsecount": _sparsecount,
    "sawtooth": _sawtooth,
    "linear_up": _linear_up,
}
KINDS: Final = tuple(_MAKERS)
"""smooth (sines and a weekend drop), business (hours), spiky, gappy (10 % and three long gaps missing), nearconst, counts
(Poisson), heavytail (lognormal), step, ar1 (phi .9-.995), bigoffset (1e6), hetero, sparsecount (Poisson .05), sawtooth of a
period that no model has, linear_up."""


def generate(kind: str, rng: np.random.Generator, n: int, step: int = 5 * 60_000) -> Float:
    """`n` values of one series of `kind` at `step` ms from START, float64 [n]; NaN only where the kind is gappy.

    The level is 10^U(0, 4) and the trend has 0-4 changepoints. The first and the last point are observed.
    """
    level = 10.0 ** rng.uniform(0, 4)
    position = np.linspace(0.0, 1.0, n)
    trend = 1.0 + rng.normal(0.0, 0.2) * position
    for changepoint in rng.uniform(0.1, 0.9, rng.integers(0, 5)):
        trend = trend + rng.normal(0.0, 0.4) * np.clip(position - changepoint, 0.0, None)
    times = np.arange(n, dtype=np.int64) * step
    y = _MAKERS[kind](_Shape(rng, times, step, level, trend))
    for end in (0, -1):
        if n and np.isnan(y[end]):
            y[end] = level
    return y


def batch(
    seed: int, n: int, step: int = 5 * 60_000, kinds: Sequence[str] = KINDS, per_kind: int = 1, start: int = START
) -> SeriesBatch:
    """`per_kind` series of each kind as one batch [len(kinds) * per_kind, n], keys `generated{kind=...,n=...}`, sorted.

    The values of a series depend only on the seed, its kind and its number, not on what else is in the batch.
    """
    keys, rows = [], []
    for kind in sorted(kinds):
        for number in range(per_kind):
            keys.append(SeriesKey("generated", (("kind", kind), ("n", f"{number:04d}"))))
            rows.append(generate(kind, np.random.default_rng([seed, KINDS.index(kind), number]), n, step))
    return SeriesBatch(tuple(keys), TimeGrid(start, step, n), np.array(rows).reshape(len(keys), n))
