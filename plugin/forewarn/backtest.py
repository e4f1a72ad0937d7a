"""Backtest: the online functions over the past of one series, row by row as it came. Only the past is ever used.

Owns the mapping of CSV rows to buckets and back; everything that scores is the stream's own code, as in a live tick.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.anomaly import Anomaly
from forewarn.budget import Tally, counted
from forewarn.detector import DAY, MINUTE, Detector, Selection
from forewarn.errors import SourceRejected
from forewarn.forecast import Forecast
from forewarn.ports import Problem
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid, read_only
from forewarn.stream import Rooms, Step, Stream, advance, fresh

FIRST_ROWS: Final = 50
"""The step is learnt from this many rows at the start, which for that reason are not scored themselves: what comes later may
not change how earlier rows were scored.
"""
HEADER: Final = ("timestamp", "score", "expected", "lower", "upper")

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


@dataclass(frozen=True, slots=True)
class Job:
    """Files that are one continuous series, in order, and where the scores of each go."""

    name: str
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]


def find_jobs(paths: Sequence[Path], out: Path) -> list[Job]:
    """One job per CSV below the paths; `X.train.csv` and `X.test.csv` side by side are one series, train first.

    Raises SourceRejected for a path that does not exist, holds no CSV, or would write the same output as another.
    """
    target: dict[Path, Path] = {}
    named: dict[Path, str] = {}
    for path in paths:
        if not path.exists():
            raise SourceRejected(str(path), "no such file or folder")
        found = sorted(path.rglob("*.csv")) if path.is_dir() else [path]
        if not found:
            raise SourceRejected(str(path), "holds no .csv file")
        for file in found:
            name = file.relative_to(path if path.is_dir() else path.parent)
            target[file], named[file] = out / name, str(name)
    jobs: list[Job] = []
    taken: dict[Path, Path] = {}
    for file, scores in target.items():
        if taken.setdefault(scores, file) != file:
            raise SourceRejected(str(file), f"would write the same scores as {taken[scores]}")
        if file.name.endswith(".test.csv") and file.with_name(file.name[:-9] + ".train.csv") in target:
            continue
        pair = [file]
        if file.name.endswith(".train.csv") and (test := file.with_name(file.name[:-10] + ".test.csv")) in target:
            pair.append(test)
        jobs.append(Job(named[file], tuple(pair), tuple(target[one] for one in pair)))
    return jobs


@dataclass(frozen=True, slots=True)
class Done:
    """What a job did."""

    name: str
    rows: int
    scored: int
    alarms: int
    noise: Noise


def run_job(job: Job, time: str, value: str, detector: Detector, make_rooms: MakeRooms) -> Done:
    """Scores the files of a job and writes one CSV for each, whole or not at all."""
    stamps: list[str] = []
    values: list[float] = []
    sizes: list[int] = []
    for path in job.inputs:
        before = len(stamps)
        for stamp, number in _rows(path, time, value):
            stamps.append(stamp)
            values.append(number)
        sizes.append(len(stamps) - before)
    times = parse_times(stamps, job.inputs[0])
    name = job.inputs[0].name.split(".")[0]
    one = replace(detector, name=name, selection=Selection(path=str(job.inputs[0])))
    rows = score_rows(times, np.array(values, np.float64), one, make_rooms)
    start = 0
    for path, size in zip(job.outputs, sizes, strict=True):
        _write(path, stamps[start : start + size], rows, start)
        start += size
    return Done(job.name, len(stamps), int(np.isfinite(rows.score).sum()), int((rows.score >= 1).sum()), rows.noise)


def _rows(path: Path, time: str, value: str) -> Iterator[tuple[str, float]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        for column in (time, value):
            if column not in (reader.fieldnames or ()):
                raise SourceRejected(str(path), f"has no column {column!r}; it has {', '.join(reader.fieldnames or ())}")
        for row in reader:
            text = (row[value] or "").strip()
            try:
                number = float(text) if text else np.nan
            except ValueError:
                raise SourceRejected(str(path), f"line {reader.line_num}: {value} is no number: {text!r}") from None
            yield (row[time] or "").strip(), number if np.isfinite(number) else np.nan


def parse_times(stamps: Sequence[str], path: Path) -> Int:
    """Stamps as UTC ms: epoch seconds or milliseconds (by magnitude), or ISO dates; without a zone they are UTC."""
    if not stamps:
        return np.zeros(0, np.int64)
    try:
        numbers = np.array(stamps, np.float64)
        return np.where(np.abs(numbers) < 1e11, numbers * 1000, numbers).astype(np.int64)
    except ValueError:
        pass
    try:
        moments = (datetime.fromisoformat(stamp) for stamp in stamps)
        zoned = (moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in moments)
        return np.array([round(moment.timestamp() * 1000) for moment in zoned], np.int64)
    except ValueError as error:
        raise SourceRejected(str(path), f"a time is neither epoch nor ISO: {error}") from None


def _write(path: Path, stamps: Sequence[str], rows: ScoredRows, start: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    columns = [array[start : start + len(stamps)].tolist() for array in (rows.score, rows.expected, rows.lower, rows.upper)]
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for stamp, *numbers in zip(stamps, *columns, strict=True):
            writer.writerow([stamp, *("" if number != number else f"{number:.6g}" for number in numbers)])  # noqa: PLR0124 - NaN
    part.replace(path)
