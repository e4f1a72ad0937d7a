"""One series around an incident as a drawing: band, expected, actual, and what was anomalous, ready for an SVG.

Owns: Plot and its geometry. Pure functions of a Line; the template writes the elements, so that every text is escaped there.
Times on the axis are UTC.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.anomaly import Anomaly
from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.incident import HeadsUp
from forewarn.series import Float
from forewarn_datasource.answers import Line
from forewarn_datasource.pages.wording import amount, clock_time, day, number, scale
from forewarn_datasource.parameters import Window

WIDTH: Final = 480
HEIGHT: Final = 190
LEFT, RIGHT, TOP, BOTTOM = 46, 474, 10, 166
MOST_POINTS: Final = 400
"""Buckets of one plot; more of them are thinned, which keeps every peak."""
_STEPS: Final = (5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY)


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on an axis, and where: x or y in the drawing."""

    at: float
    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """An anomalous bucket: a point, and what a reader sees who points at it."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the time axis."""

    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Plot:
    """Paths and places in a box of WIDTH x HEIGHT. `points` counts the buckets that the line of actual values goes through."""

    unit: str
    points: int
    actual: str
    expected: str
    band: str
    marks: tuple[Mark, ...]
    episodes: tuple[Stretch, ...]
    crossing: Stretch | None
    limit: Tick | None
    now: float | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class _Scales:
    window: Window
    low: float
    high: float

    def x(self, time: float) -> float:
        span = max(1, self.window.end - self.window.start)
        return min(max(LEFT + (RIGHT - LEFT) * (time - self.window.start) / span, LEFT), RIGHT)

    def y(self, value: float) -> float:
        return min(max(BOTTOM - (BOTTOM - TOP) * (value - self.low) / (self.high - self.low), TOP), BOTTOM)


def draw(line: Line, window: Window, anomalies: Sequence[Anomaly], heads_up: HeadsUp | None, now: int) -> Plot | None:
    """The plot of a series; None where it has no value at all in the window."""
    rows = line.rows
    seen = ~np.isnan(rows.actual)
    known = [rows.actual, rows.expected, rows.lower, rows.upper]
    if not any(np.isfinite(values).any() for values in known):
        return None
    limit = [heads_up.limit] if heads_up is not None else []
    low, high = _extent(known, limit)
    factor, unit = scale(max(abs(low), abs(high)), line.record.unit)
    scales = _Scales(window, low, high)
    xs = [scales.x(time) for time in rows.start.tolist()]
    hits = np.flatnonzero((rows.score >= 1) & seen).tolist()
    return Plot(
        unit=unit,
        points=int(np.isfinite(rows.actual).sum()),
        actual=_path(xs, rows.actual, _runs(np.isfinite(rows.actual), rows.start), scales),
        expected=_path(xs, rows.expected, _runs(np.isfinite(rows.expected), rows.start), scales),
        band=_area(xs, rows.lower, rows.upper, _runs(np.isfinite(rows.lower + rows.upper), rows.start), scales),
        marks=tuple(
            Mark(round(xs[n], 1), round(scales.y(rows.actual[n]), 1), _words(line, n))
            for n in hits
            if math.isfinite(rows.actual[n])
        ),
        episodes=tuple(_stretch(scales, a.start, a.end) for a in anomalies if a.start < window.end and a.end > window.start),
        crossing=_crossing(scales, heads_up),
        limit=Tick(round(scales.y(limit[0]), 1), f"limit {amount(limit[0], line.record.unit)}") if limit else None,
        now=round(scales.x(now), 1) if window.start < now < window.end else None,
        x_ticks=_time_ticks(scales),
        y_ticks=_value_ticks(scales, factor),
    )


def _extent(known: Sequence[Float], limit: Sequence[float]) -> tuple[float, float]:
    """The range of the value axis; what was never below zero is not drawn below it because its band reaches there."""
    found = np.concatenate([*known, np.array(limit, dtype=np.float64)])
    found = found[np.isfinite(found)]
    low, high = float(found.min()), float(found.max())
    measured = known[0][np.isfinite(known[0])]
    if measured.size and measured.min() >= 0 and high > 0:
        low = max(low, 0.0)
    if low > 0 and low < 0.4 * high:
        low = 0.0
    margin = 0.06 * (high - low) or max(abs(high) * 0.1, 1.0)
    return (low if low == 0.0 and high > 0 else low - margin), high + margin


def _runs(wanted: NDArray[np.bool_], start: NDArray[np.int64]) -> list[tuple[int, int]]:
    """[first, last + 1) of every run of wanted buckets that follow each other: a bucket of which nothing is stored, not even
    a row, is a gap too.
    """
    places = np.flatnonzero(wanted)
    if not places.size:
        return []
    apart = np.diff(start)
    usual = int(apart.min()) if apart.size else 0
    joined = (np.diff(places) == 1) & (np.diff(start[places]) <= 1.5 * usual)
    breaks = np.flatnonzero(~joined) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(places, breaks)]


def _path(xs: Sequence[float], values: Float, runs: Sequence[tuple[int, int]], scales: _Scales) -> str:
    parts = []
    for first, last in runs:
        parts.append("M" + "L".join(f"{xs[n]:.1f} {scales.y(values[n]):.1f}" for n in range(first, last)))
        if last - first == 1:
            parts.append("h.1")  # with round caps this is a dot; a lone point draws nothing
    return "".join(parts)


def _area(xs: Sequence[float], lower: Float, upper: Float, runs: Sequence[tuple[int, int]], scales: _Scales) -> str:
    parts = []
    for first, last in runs:
        there = [f"{xs[n]:.1f} {scales.y(upper[n]):.1f}" for n in range(first, last)]
        back = [f"{xs[n]:.1f} {scales.y(lower[n]):.1f}" for n in reversed(range(first, last))]
        parts.append("M" + "L".join(there + back) + "Z")
    return "".join(parts)


def _words(line: Line, n: int) -> str:
    rows, unit = line.rows, line.record.unit
    text = f"{clock_time(int(rows.start[n]))} UTC: {amount(rows.actual[n], unit)}"
    return text if math.isnan(rows.expected[n]) else f"{text}, expected {amount(rows.expected[n], unit)}"


def _stretch(scales: _Scales, start: int, end: int) -> Stretch:
    left = scales.x(start)
    return Stretch(round(left, 1), round(max(1.5, scales.x(end) - left), 1))


def _crossing(scales: _Scales, heads_up: HeadsUp | None) -> Stretch | None:
    if heads_up is None or heads_up.state == "withdrawn" or heads_up.earliest >= scales.window.end:
        return None
    return _stretch(scales, heads_up.earliest, max(heads_up.earliest, heads_up.latest))


def _time_ticks(scales: _Scales) -> tuple[Tick, ...]:
    start, end = scales.window.start, scales.window.end
    step = next((step for step in _STEPS if (end - start) / step <= 6), _STEPS[-1])
    ticks = []
    for time in range(-(-start // step) * step, end + 1, step):
        x = scales.x(time)
        if LEFT + 12 <= x <= RIGHT - 14:
            midnight = time % DAY == 0
            ticks.append(Tick(round(x, 1), day(time) if midnight else clock_time(time), midnight))
    return tuple(ticks)


def _value_ticks(scales: _Scales, factor: float) -> tuple[Tick, ...]:
    low, high = scales.low / factor, scales.high / factor
    rough = (high - low) / 4
    if not (math.isfinite(rough) and rough > 0):
        return ()
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((m * power for m in (1.0, 2.0, 2.5, 5.0) if m * power >= rough), 10.0 * power)
    first = math.ceil(low / step)
    values = [n * step for n in range(first, first + 6) if n * step <= high]
    return tuple(Tick(round(scales.y(value * factor), 1), number(value)) for value in values)
