"""Backtest: the online functions over the past of one series, row by row as it came. Only the past is ever used.

Owns the mapping of rows to buckets and back; everything that scores is the stream's own code, as in a live tick. Must not know
files: those are in `backtest_files.py`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.anomaly import Anomaly
from forewarn.budget import Tally, counted
from forewarn.detector import DAY, MINUTE, Detector
from forewarn.errors import SourceRejected
from forewarn.forecast import Forecast
from forewarn.ports import Problem
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid, read_only
from forewarn.stream import Rooms, Step, Stream, advance, fresh

FIRST_ROWS: Final = 50
"""The step is learnt from this many rows at the start, which for that reason are not scored themselves: what comes later may
not change how earlier rows were scored.
"""
MOST_EMPTY: Final = 1_000_000, 100
"""So many buckets, or so many for each row, a series may cover: one mistaken time would otherwise take all of the memory."""

MakeRooms = Callable[[Detector, "RowSource"], Rooms]
Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RowSource:
    """A MetricSource over one series in memory: one value per bucket, NaN where no row fell."""

    key: SeriesKey
    grid: TimeGrid
    values: Float

    def read(self, detector: Detector, grid: TimeGrid) -> SeriesBatch:
        """The part of the series on `grid`, at its own step only."""
        if grid.step != self.grid.step:
            raise SourceRejected(detector.selection.name, f"has a step of {self.grid.step} ms, not {grid.step} ms")
        low, high = max(grid.start, self.grid.start), min(grid.end, self.grid.end)
        values = np.full((1, grid.size), np.nan)
        if high > low:
            first = grid.index(low)
            values[0, first : first + (high - low) // grid.step] = self.values[self.grid.index(low) : self.grid.index(high)]
        return SeriesBatch((self.key,), grid, values) if not np.isnan(values).all() else SeriesBatch((), grid, values[:0])

    def check(self, _detector: Detector) -> list[Problem]:
        """Nothing can be wrong with an array."""
        return []

    def close(self) -> None:
        """Nothing to release."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How often a series alarmed, against how often one without faults should: `expected` false episodes in `days` of data.

    With a budget of incidents nothing is `expected` of a single series. `episodes` were opened, and `founded` of them would
    have been reason enough for an incident.
    """

    days: float = 0.0
    expected: float | None = None
    episodes: int = 0
    founded: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRows:
    """Per row of the input, in its order, float64 [N]: NaN = not scored. Alarm where score >= 1."""

    score: Float
    expected: Float
    lower: Float
    upper: Float
    noise: Noise = Noise()

    def __post_init__(self) -> None:
        for array in (self.score, self.expected, self.lower, self.upper):
            read_only(array)


def learn_step(times: Int) -> int:
    """The step in ms: the median distance of the first rows, repeated and backward ones left out; a minute for one row."""
    ahead = np.diff(times[:FIRST_ROWS])
    ahead = ahead[ahead > 0]
    return int(np.median(ahead)) if ahead.size else MINUTE


def score_rows(times: Int, values: Float, detector: Detector, make_rooms: MakeRooms) -> ScoredRows:
    """Scores every row of a series: `times` int64 UTC ms and `values` float64 [N], in the order in which they came.

    The first row of a bucket is its value, if no later bucket had one by then. A row that comes again or late is scored
    against the state of its bucket as it was before that bucket, and does not change it.
    """
    out = {name: np.full(len(times), np.nan) for name in ("score", "expected", "lower", "upper")}
    usable = np.flatnonzero(~np.isnan(values))
    if not usable.size:
        return ScoredRows(out["score"], out["expected"], out["lower"], out["upper"])
    step = learn_step(times)
    bucket = times // step
    latest = np.maximum.accumulate(bucket[usable])
    first_rows = usable[np.concatenate([[True], bucket[usable][1:] > latest[:-1]])]
    grid = TimeGrid(int(bucket[first_rows[0]]) * step, step, int(bucket[first_rows[-1]] - bucket[first_rows[0]]) + 1)
    _require_dense(grid, times[usable], usable, detector)
    line = np.full(grid.size, np.nan)
    line[bucket[first_rows] - bucket[first_rows[0]]] = values[first_rows]
    detector = replace(detector, step=step, revise_within=0)  # every row is there from the start
    rooms = make_rooms(detector, RowSource(SeriesKey(detector.name), grid, line))
    column = np.full(len(times), -1, np.int64)
    column[first_rows] = bucket[first_rows] - bucket[first_rows[0]]
    row_at = np.full(grid.size, -1, np.int64)
    row_at[column[first_rows]] = first_rows
    again = np.setdiff1d(usable, first_rows)
    stream = fresh(detector, rooms, grid.start)
    tally, opened = Tally(), dict[str, Anomaly]()
    for part in _steps(stream, rooms, grid.end):
        tally = counted(tally, tuple(opened.values()), part.changes)
        opened |= {anomaly.id: anomaly for _, anomaly in part.changes}
        opened = {name: anomaly for name, anomaly in opened.items() if anomaly.state == "open"}
        low, high = grid.index(part.actual.grid.start), grid.index(part.actual.grid.end)
        rows = row_at[low:high]
        held = rows >= 0
        for name, array in (
            ("score", part.scores.score),
            ("expected", part.forecast.expected),
            ("lower", part.scores.lower),
            ("upper", part.scores.upper),
        ):
            out[name][rows[held]] = array[0][held]
        inside = again[(times[again] >= part.actual.grid.start) & (times[again] < part.actual.grid.end)]
        for row in inside.tolist():
            found = _score_again(part, rooms, int(bucket[row]) * step, float(values[row]))
            for name, value in zip(("score", "expected", "lower", "upper"), found, strict=True):
                out[name][row] = value
    for array in out.values():
        array[:FIRST_ROWS] = np.nan
    days = np.count_nonzero(np.isfinite(out["score"][first_rows])) * step / DAY
    expected = days * DAY / rooms.false_alarm_every if detector.incidents_per_week is None else None
    noise = Noise(days, expected, int(tally.episodes), int(tally.founded))
    return ScoredRows(out["score"], out["expected"], out["lower"], out["upper"], noise)


def _require_dense(grid: TimeGrid, times: Int, rows: NDArray[np.intp], detector: Detector) -> None:
    """Refuses a series that has hardly a row on its grid, and names the row after its longest way."""
    fixed, each = MOST_EMPTY
    if grid.size > max(fixed, each * times.size):
        after = int(np.diff(times).argmax()) + 1
        far = timedelta(milliseconds=int(times[after] - times[after - 1]))
        raise SourceRejected(
            detector.selection.name,
            f"{times.size:,} rows cover {grid.size:,} buckets of {grid.step / 1000:g} s (the distance of the first rows): row "
            f"{rows[after] + 1} is {far.days:,} days after the one before it; is its time right?",
        )


def _steps(stream: Stream, rooms: Rooms, until: int) -> Iterator[Step]:
    while stream.watermark < until:
        stream, chunk = advance(stream, rooms, until)
        yield from chunk.steps
        if chunk.day is not None and chunk.day.grid.size:
            stream = replace(stream, history=(*stream.history, *rooms.history.write(chunk.day, chunk.end)))


def _score_again(part: Step, rooms: Rooms, start: int, value: float) -> tuple[float, float, float, float]:
    """A further value for the bucket at `start` of a step, scored with what was known before that bucket."""
    carry = part.before
    grid = part.actual.grid
    first = grid.index(start)
    if first:
        before = part.actual.between(grid.start, start)
        _, carry = rooms.scorer.score(before, _columns(part, 0, first), part.calibration, carry)
    one = SeriesBatch(part.actual.keys, TimeGrid(start, grid.step, 1), np.array([[value]]))
    forecast = _columns(part, first, first + 1)
    scores, _ = rooms.scorer.score(one, forecast, part.calibration, carry)
    return (
        float(scores.score[0, 0]),
        float(forecast.expected[0, 0]),
        float(scores.lower[0, 0]),
        float(scores.upper[0, 0]),
    )


def _columns(part: Step, low: int, high: int) -> Forecast:
    grid = part.forecast.grid
    return replace(
        part.forecast,
        grid=TimeGrid(grid.start + low * grid.step, grid.step, high - low),
        expected=part.forecast.expected[:, low:high],
        sigma=part.forecast.sigma[:, low:high],
    )
