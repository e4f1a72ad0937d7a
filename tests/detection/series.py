"""Generated labelled series: the "other data" that nobody has tuned for.

Owns: FAMILIES, `families`, the shapes they are made of and how many there are. Deterministic by seed. Sizes of events are in
standard deviations of the noise around them, from what is hard to see to what nobody overlooks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from tests.detection.events import Canvas
from tests.detection.group import Group, rng_of
from tests.generated import START

from forewarn.detector import DAY, MINUTE
from forewarn.series import Float, TimeGrid

STEPS: Final = (1, 5, 15, 60)
"""Minutes."""
DAYS: Final = {1: 30, 5: 42, 15: 60, 60: 150}
SERIES: Final = {1: 6, 5: 10, 15: 12, 60: 12}
LEARNING: Final = 7 * DAY
"""What nobody is judged on, weekend steps excepted: they are about the first weeks."""
_FREQUENT: Final = {1: 1.0, 5: 1.0, 15: 0.6, 60: 0.25}
"""How far events a day are fewer where an hour is a bucket: a day has 24 points only."""


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """Where the points of one series lie: days since START, [T], step in minutes."""

    rng: np.random.Generator
    minutes: int
    t: Float

    @property
    def weekend(self) -> Float:
        """1 on Saturdays and Sundays, [T]."""
        return (self.t.astype(np.int64) % 7 < 2).astype(np.float64)  # START is a Saturday

    def noise(self) -> Float:
        """White, Gaussian, standard deviation 1, [T]."""
        return self.rng.normal(0.0, 1.0, self.t.size)

    def ar(self, hours: float) -> Float:
        """AR(1) with a memory of so many hours, standard deviation 1, [T]."""
        phi = float(np.exp(-self.minutes / 60.0 / hours))
        x = float(self.rng.normal())
        out = np.empty(self.t.size)
        for i, shock in enumerate((self.noise() * np.sqrt(1.0 - phi * phi)).tolist()):
            x = phi * x + shock
            out[i] = x
        return out

    def daily(self, harmonics: int = 3) -> Float:
        """A day's shape, about -1 to 1, [T]."""
        shape = np.zeros(self.t.size)
        for k in range(1, harmonics + 1):
            shape += np.sin(2 * np.pi * k * self.t + self.rng.uniform(0, 2 * np.pi)) * self.rng.uniform(0.5, 1.0) / k**1.5
        return shape / 1.5


def _smooth(c: Clock) -> Float:
    return 50.0 + c.rng.uniform(3, 12) * c.daily() - c.rng.uniform(0, 5) * c.weekend


def _frequent(c: Clock) -> Canvas:
    canvas = Canvas(c.rng, c.minutes, _smooth(c) + c.noise())
    canvas.scatter(c.rng.uniform(3, 10) * _FREQUENT[c.minutes], (5, 40), (6, 20))
    return canvas


def _long(c: Clock) -> Canvas:
    canvas = Canvas(c.rng, c.minutes, _smooth(c) + c.noise())
    per_day = 24 * 60 // c.minutes
    days = c.t[-1]
    first = int(c.rng.uniform(0.4, 0.6) * days * per_day)
    canvas.box(first, int(c.rng.uniform(2, 6) * per_day), c.rng.choice([-1, 1]) * c.rng.uniform(5, 15))
    canvas.scatter(0.7, (15, 60), (7, 15))
    return canvas


def _rare(c: Clock) -> Canvas:
    canvas = Canvas(c.rng, c.minutes, _smooth(c) + c.noise())
    canvas.scatter(0.2, (10, 120), (6, 15))
    return canvas


def _cron(c: Clock) -> Canvas:
    """Normal spikes at the same minute of every hour, of some hours or of a day, jittered; rare events beside them."""
    y = _smooth(c) + c.noise()
    hours = int(c.rng.choice([2, 6, 12, 24]))
    every = hours * 60 // c.minutes
    height, width = c.rng.uniform(8, 20), int(c.rng.integers(1, 3))
    for at in range(int(c.rng.integers(0, every)), y.size, every):
        first = max(0, at + int(c.rng.integers(0, 2)))
        y[first : first + width] += height * c.rng.uniform(0.85, 1.15)
    canvas = Canvas(c.rng, c.minutes, y)
    canvas.scatter(0.4, (20, 120), (6, 15))
    return canvas


def _heavy(c: Clock) -> Canvas:
    if c.rng.random() < 0.5:
        sigma = c.rng.uniform(0.3, 0.7)
        canvas = Canvas(c.rng, c.minutes, (5.0 + c.daily()) * np.exp(sigma * c.noise()))
        canvas.scale = 5.0 * sigma
    else:
        canvas = Canvas(c.rng, c.minutes, _smooth(c) + c.rng.standard_t(3, c.t.size))
        canvas.scale = 1.4
    canvas.scatter(0.7, (20, 90), (5, 15), up=0.8)
    return canvas


def _sparse(c: Clock) -> Canvas:
    rate = float(np.exp(c.rng.uniform(np.log(0.02), np.log(0.5)))) * np.clip(1.0 + c.daily(), 0.05, None)
    canvas = Canvas(c.rng, c.minutes, c.rng.poisson(rate).astype(np.float64))
    canvas.bursts(0.6, (5, 40), (3, 15))
    return canvas


def _counts(c: Clock) -> Canvas:
    """Overdispersed counts over a day's shape; bursts, and outages to nothing."""
    mean = float(np.exp(c.rng.uniform(np.log(3), np.log(60)))) * np.clip(1.0 + 0.8 * c.daily() - 0.3 * c.weekend, 0.05, None)
    size = c.rng.uniform(5, 30)
    y = c.rng.poisson(c.rng.gamma(size, mean / size)).astype(np.float64)
    canvas = Canvas(c.rng, c.minutes, y)
    canvas.factors(0.8, (10, 90), ((0.0, 0.1), (2.0, 4.0)), counts=True)
    return canvas


def _weekend(c: Clock) -> Canvas:
    """Steps between week and weekend, which nobody can know in the first weeks; events from the second day on."""
    working = (c.t % 1 > 8 / 24) & (c.t % 1 < 18 / 24) & (c.weekend == 0)
    if c.rng.random() < 0.5:
        y = 20.0 + c.rng.uniform(15, 40) * working
    else:
        y = 50.0 + 8 * c.daily() - c.rng.uniform(10, 30) * c.weekend
    canvas = Canvas(c.rng, c.minutes, y + c.noise())
    canvas.scatter(0.8, (10, 90), (7, 15))
    return canvas


def _drift(c: Clock) -> Canvas:
    """A level that wanders over weeks, and events that creep: labelled from two standard deviations on."""
    canvas = Canvas(c.rng, c.minutes, _smooth(c) + c.noise() + c.rng.uniform(5, 15) * c.ar(24 * 14) + c.rng.normal() * c.t / 5)
    canvas.creep(0.5, (60, 360), (6, 15))
    return canvas


def _walk(c: Clock) -> Canvas:
    """Close to a random walk: what is usual is the step from point to point."""
    hours = c.rng.uniform(48, 120)
    wander = c.ar(hours)
    steps = float(np.std(np.diff(wander)))
    canvas = Canvas(c.rng, c.minutes, 100.0 + (wander / steps) + 0.3 * c.noise())
    canvas.scale = 1.2
    canvas.scatter(0.7, (15, 90), (6, 20))
    return canvas


def _ar(c: Clock) -> Canvas:
    canvas = Canvas(c.rng, c.minutes, _smooth(c) + 0.9 * c.ar(c.rng.uniform(0.5, 3)) + 0.4 * c.noise())
    canvas.scatter(0.8, (15, 120), (5, 12))
    return canvas


def _kpi(c: Clock) -> Canvas:
    """Operators' curves: shape of day and week, noise in proportion, holes, events of all lengths, some over holes."""
    day = np.exp(c.rng.uniform(0.2, 0.9) * c.daily(4))
    factors = np.exp(c.rng.normal(0, 0.08, 7)) * np.where(np.arange(7) < 2, c.rng.uniform(0.6, 1.0), 1.0)
    week = factors[c.t.astype(np.int64) % 7]
    relative = c.rng.uniform(0.02, 0.06)
    level = 10 ** c.rng.uniform(0, 4) * np.exp(0.05 * c.ar(24 * 5))
    noise = 0.6 * c.ar(c.rng.uniform(0.3, 1.0)) + 0.6 * c.rng.standard_t(5, c.t.size)
    canvas = Canvas(c.rng, c.minutes, level * day * week * np.exp(relative * noise))
    size = relative * c.rng.uniform(4, 12)
    canvas.factors(c.rng.uniform(0.3, 1.5), (3, 300), ((max(0.0, 1 - 2 * size), 1 - size), (1 + size, 1 + 2 * size)))
    canvas.holes(0.3, (5, 60))
    return canvas


FAMILIES: Final[dict[str, Callable[[Clock], Canvas]]] = {
    "frequent": _frequent,
    "long": _long,
    "rare": _rare,
    "cron": _cron,
    "heavy": _heavy,
    "sparse": _sparse,
    "counts": _counts,
    "weekend": _weekend,
    "drift": _drift,
    "walk": _walk,
    "ar": _ar,
    "kpi": _kpi,
}
"""frequent (3-10 events a day), long (one event of days), rare, cron (normal spikes that recur), heavy (lognormal or t3 noise),
sparse (counts, mostly 0, bursts), counts (overdispersed), weekend (steps in the first weeks), drift (levels wander, events
creep), walk, ar, kpi."""


def family(name: str, minutes: int, seed: int = 1, count: int | None = None) -> Group:
    """The series of one family at one step."""
    size = DAYS[minutes] * 24 * 60 // minutes
    t = np.arange(size) * minutes * MINUTE / DAY
    rows = [FAMILIES[name](Clock(rng_of(seed, name, minutes, n), minutes, t)) for n in range(count or SERIES[minutes])]
    learning = 2 * DAY if name == "weekend" else LEARNING
    return Group(
        "other",
        name,
        TimeGrid(START, minutes * MINUTE, size),
        np.array([row.values for row in rows]),
        np.array([row.label for row in rows]),
        judged_from=learning // (minutes * MINUTE),
    )


def families(names: Sequence[str] = (), seed: int = 1) -> Iterator[Group]:
    """All groups of the named families (none named: all)."""
    for name in names or FAMILIES:
        for minutes in STEPS:
            yield family(name, minutes, seed)
