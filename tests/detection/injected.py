"""Events of known kind and size in clean series: table B, recall and delay.

Owns: BASES, EVENTS, `groups`, `judge_group`, `table`. Every event has a series of its own, which was clean for weeks before.
Sizes are in standard deviations of the noise at that time; of a variance, times the usual; of a flatline and of missing data,
in hours; of a period, times as fast. The same base series bear everything; `none` bears nothing and shows what chance finds.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from tests.detection.group import Group, rng_of
from tests.detection.product import ScorerOf, run
from tests.detection.series import Clock
from tests.detection.tables import aligned, number
from tests.generated import START

from forewarn.detector import DAY, MINUTE
from forewarn.series import Float, TimeGrid

SHAPE: Final = {"spike": "spike", "dip": "dip", "shift": "level", "drift": "trend", "variance": "variance", "period": "period"}
"""What an episode should say that changed."""
STEPS: Final = (5, 60)
"""Minutes."""
DAYS: Final = {5: 23, 60: 38}
LEAD: Final = {5: 20, 60: 34}
"""The event begins within the day after so many."""
REPEATS: Final = 8
_ROWS: Final = 112
"""Series that run together: fewer than a tick may fit, as is usual in a fleet of which only some are due."""


@dataclass(frozen=True, slots=True)
class Event:
    """A kind of event: the sizes it comes in, and how long it has to be found, in hours; None: while it lasts."""

    sizes: tuple[float, ...]
    hours: float | None


EVENTS: Final[dict[str, Event]] = {
    "none": Event((0.0,), 24),
    "spike": Event((3, 5, 8, 12, 20), None),
    "dip": Event((3, 5, 8, 12, 20), None),
    "shift": Event((1, 2, 3, 5, 8), 12),
    "drift": Event((2, 4, 8, 16), 36),
    "variance": Event((2, 3, 5, 8), 12),
    "flatline": Event((1, 3, 6, 12, 24), None),
    "missing": Event((1, 3, 6, 12), None),
    "period": Event((1.1, 1.25, 1.5, 2), 48),
}
CELLS: Final = [(kind, size) for kind, event in EVENTS.items() for size in event.sizes]

Shape = tuple[Float, Float]
"""What is expected at each point, and the standard deviation there."""


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """A kind of clean series: its shape over time in days, its noise of unit size, and whether it counts."""

    shape: Callable[[Clock, Float], Shape]
    noise: Callable[[Clock], Float]
    daily: bool = True
    counts: bool = False


def _day(c: Clock, t: Float, harmonics: int = 2) -> Float:
    return Clock(c.rng, c.minutes, t).daily(harmonics)


def _gauge(c: Clock, t: Float) -> Shape:
    return 50.0 + 8.0 * _day(c, t), np.ones(t.size)


def _kpi(c: Clock, t: Float) -> Shape:
    mean = 1000.0 * np.exp(0.6 * _day(c, t, 4)) * np.where(c.weekend > 0, 0.85, 1.0)
    return mean, 0.04 * mean


def _flat(_: Clock, t: Float) -> Shape:
    return np.full(t.size, 20.0), np.ones(t.size)


def _counted(c: Clock, t: Float) -> Shape:
    mean = 30.0 * (1.0 + 0.6 * _day(c, t))
    return mean, np.sqrt(mean)


BASES: Final[dict[str, Base]] = {
    "gauge": Base(_gauge, Clock.noise),
    "kpi": Base(_kpi, lambda c: 0.8 * c.noise() + 0.6 * c.ar(0.5)),
    "flat": Base(_flat, Clock.noise, daily=False),
    "ar": Base(_gauge, lambda c: c.ar(1.5)),
    "heavy": Base(_gauge, lambda c: c.rng.standard_t(3, c.t.size)),
    "counts": Base(_counted, Clock.noise, counts=True),
}
"""Daily shapes with white noise, proportional noise, AR noise, t3 noise, counts; and a constant with noise."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a series bears: event of `kind` and `size`, in buckets [first, end), found in [first, until)."""

    base: str
    kind: str
    size: float
    first: int
    end: int
    until: int


@dataclass(frozen=True, eq=False)
class Cases:
    """A group with the cases of its rows."""

    group: Group
    rows: tuple[Case, ...]


def groups(base: str, minutes: int, seed: int = 1) -> list[Cases]:
    """All cases of a base at one step, in groups that run together."""
    made = list(_cases(base, minutes, seed))
    grid = TimeGrid(START, minutes * MINUTE, DAYS[minutes] * 24 * 60 // minutes)
    found = []
    for low in range(0, len(made), _ROWS):
        part = made[low : low + _ROWS]
        values = np.array([row for _, row in part])
        group = Group("injected", f"{base}{low // _ROWS}", grid, values, np.zeros(values.shape, np.bool_))
        found.append(Cases(group, tuple(case for case, _ in part)))
    return found


def parts(base: str) -> int:
    """How many groups a base makes."""
    cells = sum(kind != "period" or BASES[base].daily for kind, _ in CELLS)
    return -(-REPEATS * cells // _ROWS)


def _cases(base: str, minutes: int, seed: int) -> Iterator[tuple[Case, Float]]:
    per_hour = 60 / minutes
    t = np.arange(DAYS[minutes] * 24 * 60 // minutes) * minutes * MINUTE / DAY
    for repeat in range(REPEATS):
        for kind, size in CELLS:
            if kind == "period" and not BASES[base].daily:
                continue
            c = Clock(rng_of(seed, "injected", base, minutes, repeat), minutes, t)
            first = int((LEAD[minutes] + c.rng.random()) * 24 * per_hour)
            hours = size if kind in ("flatline", "missing") else {"spike": 0.25, "dip": 0.25, "variance": 12}.get(kind, 1e9)
            end = min(t.size, first + max(2, round(hours * per_hour)))
            limit = EVENTS[kind].hours
            until = min(t.size, end + 6 if limit is None else first + round(limit * per_hour))
            if kind in ("flatline", "missing"):
                until = end
            yield Case(base, kind, size, first, end, until), _drawn(BASES[base], c, kind, size, slice(first, end))


def _drawn(base: Base, c: Clock, kind: str, size: float, at: slice) -> Float:
    """The values of one series with its event."""
    t = c.t.copy()
    if kind == "period":
        t[at] = t[at.start] + (t[at] - t[at.start]) * size
    mean, sigma = base.shape(c, t)
    noise = base.noise(c)
    away = np.arange(1, at.stop - at.start + 1)
    if kind in ("spike", "shift"):
        noise[at] += size
    elif kind == "dip":
        noise[at] -= size
    elif kind == "drift":
        noise[at] += size * np.minimum(1.0, away * c.minutes * MINUTE / DAY)
    elif kind == "variance":
        noise[at] *= size
    y = mean + sigma * noise
    if base.counts:
        y = np.maximum(np.round(y), 0.0)
    if kind == "flatline":
        y[at] = y[at.start - 1]
    elif kind == "missing":
        y[at] = np.nan
    return y


@dataclass(frozen=True, slots=True)
class Found:
    """A case, and after how many buckets it was found; None: not."""

    case: Case
    minutes: int
    delay: int | None
    shape: str = ""
    """What the longest episode that began in its time says that changed."""


def judge_group(cases: Cases, make: ScorerOf, cached: bool) -> list[Found]:
    """Runs the product over a group; an alarm, or an episode that opens, while the event can be found finds it."""
    group = cases.group
    outcome = run(group, make, cached, episodes=True)
    starts: defaultdict[int, list[int]] = defaultdict(list)
    shapes: defaultdict[int, list[tuple[int, int, str]]] = defaultdict(list)
    for episode in outcome.episodes:
        opened, one = group.grid.index(episode.opened), episode.anomaly
        starts[episode.row].append(opened)
        if "shape" in one.explanation:
            shapes[episode.row].append((opened, one.end - one.start, str(one.explanation["shape"])))
    found = []
    for row, case in enumerate(cases.rows):
        alarms = case.first + np.flatnonzero(outcome.score[row, case.first : case.until] >= 1.0)
        hits = [*alarms[:1].tolist(), *(at for at in starts[row] if case.first <= at < case.until)]
        told = [(length, shape) for opened, length, shape in shapes[row] if case.first <= opened < case.until]
        delay = min(hits) - case.first if hits else None
        found.append(Found(case, group.grid.step // MINUTE, delay, max(told, default=(0, ""))[1]))
    return found


def table(found: Sequence[Found]) -> tuple[str, dict[str, Any]]:
    """Recall by kind, size and base, with the median delay of what was found, and how much of it is named rightly; the same for
    JSON.
    """
    report: dict[str, Any] = {}
    texts = []
    for minutes in sorted({one.minutes for one in found}):
        rows = []
        for kind, size in CELLS:
            some = [one for one in found if (one.minutes, one.case.kind, one.case.size) == (minutes, kind, size)]
            if not some:
                continue
            delays = [one.delay for one in some if one.delay is not None]
            recall = len(delays) / len(some)
            delay = float(np.median(delays)) * minutes / 60 if delays else np.nan
            by_base = {name: [one.delay is not None for one in some if one.case.base == name] for name in BASES}
            cells = [number(float(np.mean(of))) if of else "-" for of in by_base.values()]
            told = [one.shape for one in some if one.shape]
            named = sum(shape == SHAPE.get(kind) for shape in told) / len(told) if told and kind in SHAPE else None
            said = number(np.nan if named is None else named)
            rows.append([f"{kind} {size:g}", str(len(some)), number(recall), number(delay), said, *cells])
            report[f"{kind}-{size:g}-{minutes}m"] = {
                "recall": recall, "delay_hours": None if np.isnan(delay) else delay, "named": named,
            }  # fmt: skip
        head = ["event", "n", "recall", "delay h", "named", *BASES]
        texts.append(
            f"B. Injected events, {minutes}-minute steps: recall, median delay in hours, recall by base\n{aligned(head, rows)}"
        )
    return "\n\n".join(texts) + "\n", report
