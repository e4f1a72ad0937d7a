"""The product's own code over a group of series, fast enough to judge thousands of them.

Owns: `run` and the cache of forecasts. `full` moves the stream on with the default engine, as a live tick would. `cached` takes
the forecasts of such a run and scores anew: the same scores (see the tests), seconds instead of minutes. Must not change what
it runs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tests.detection.group import Group

from forewarn.anomaly import Anomaly
from forewarn.detector import Detector
from forewarn.forecast import Calibration, Forecast, Model
from forewarn.history.memory import MemoryHistory
from forewarn.naming import Lookback, named
from forewarn.ports import Problem, Scorer
from forewarn.scoring.scorer import ResidualScorer
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid
from forewarn.stream import Rooms, advance, fresh
from forewarn.wiring import build_forecaster, build_rooms

CACHE: Final = Path(__file__).resolve().parent.parent.parent / "build" / "detection-cache"
ScorerOf = Callable[[Detector], Scorer]
Change = tuple[int, Anomaly]
_CELLS: Final = 400_000
"""Series x buckets that are scored at once, about; no cut changes a score."""


@dataclass(frozen=True, slots=True)
class Episode:
    """An anomaly in its last state, the row of its series (-1: it is about many), and the bucket after which it was known."""

    row: int
    opened: int
    anomaly: Anomaly


@dataclass(frozen=True, eq=False)
class Outcome:
    """Per series and bucket [S, T]: score and its reason; and the episodes by (row, start)."""

    score: Float
    reason: NDArray[np.int8]
    episodes: tuple[Episode, ...]


@dataclass(frozen=True, eq=False)
class ArraySource:
    """A MetricSource over a batch in memory."""

    batch: SeriesBatch

    def read(self, _detector: Detector, grid: TimeGrid) -> SeriesBatch:
        """The series that have data on the grid."""
        part = self.batch.between(grid.start, grid.end)
        some = ~np.isnan(part.values).all(axis=1)
        if part.grid == grid and some.all():
            return part
        values = np.full((int(some.sum()), grid.size), np.nan)
        first = grid.index(part.grid.start)
        values[:, first : first + part.grid.size] = part.values[some]
        return SeriesBatch(tuple(self.batch.keys[row] for row in np.flatnonzero(some)), grid, values)

    def check(self, _detector: Detector) -> list[Problem]:
        """Nothing can be wrong with an array."""
        return []

    def close(self) -> None:
        """Nothing to release."""


def without(name: str) -> Mapping[str, Any]:
    """What to put in place of which constants of the scoring room to switch one ingredient off."""
    nothing = np.log(1e-9)
    settings: Mapping[str, Mapping[str, Any]] = {
        "recent residuals": {"evidence._LOCAL": 0.0},
        "expectation": {"evidence._LOCAL": 1.0},
        "own level": {"level._quantiles": _fours},
        "margin": {"level._MARGIN": 0.0},
        "lasting evidence": {"evidence.sustained": lambda sides, width: np.full(_points(sides, width), -np.inf)},
        "bound of its level": {"level._MOST_LASTING": np.inf, "level._MOST_SPARED": np.inf},
        "sparing of events": {"rhythm._FEW": np.inf},
        "time of day": {"scale._HABIT": 0.0},
        "habituation": {"runs._RECORD": nothing},
        "continuation": {"runs._CALM": 0},
        "floor of scales": {"scale._FLOOR": nothing},
        "count likelihood": {"counts._LARGEST": -1.0},
    }
    return settings[name]


INGREDIENTS: Final = (
    "recent residuals", "expectation", "own level", "margin", "lasting evidence", "bound of its level", "sparing of events",
    "time of day", "habituation", "continuation", "floor of scales", "count likelihood",
)  # fmt: skip
"""What `without` can switch off."""


def _fours(values: Float, shares: Sequence[Any]) -> tuple[Float, ...]:
    return tuple(np.full(values.shape[:-1], np.log(4.0)) for _ in shares)


def _points(sides: Float, width: int) -> tuple[int, int]:
    return sides.shape[0], sides.shape[2] - width + 1


def scorer_of(ablate: str | None = None) -> ScorerOf:
    """Makes the product's scorer, on request with one of its ingredients switched off, in this process, for good."""
    for place, value in (without(ablate) if ablate else {}).items():
        module, constant = place.split(".")
        setattr(import_module(f"forewarn.scoring.{module}"), constant, value)
    return ResidualScorer


def run(group: Group, make: ScorerOf, cached: bool, folder: Path = CACHE, episodes: bool = False) -> Outcome:
    """Scores of a group; where forecasts are asked from the cache and not there, they are made first."""
    path = folder / f"{group.name}-{group.digest}.npz"
    if not cached or not path.exists():
        outcome = _full(group, make, path)
        if not cached:
            return outcome
    with np.load(path) as saved:
        return rescore(group, make, saved["expected"], saved["sigma"], saved["slots"].tolist(), episodes)


def _rooms(detector: Detector, batch: SeriesBatch) -> Rooms:
    """As for a live detector, with history in memory and fits in this process."""
    return build_rooms(detector, ArraySource(batch), MemoryHistory(), build_forecaster(0))


def _full(group: Group, make: ScorerOf, path: Path) -> Outcome:
    batch, detector = group.batch, group.detector
    rooms = replace(_rooms(detector, batch), scorer=make(detector))
    shape = batch.values.shape
    expected, sigma, score = (np.full(shape, np.nan) for _ in range(3))
    reason = np.zeros(shape, np.int8)
    slots: set[int] = set()
    changes: list[Change] = []
    stream = fresh(detector, rooms, group.grid.start)
    while stream.watermark < group.grid.end:
        stream, chunk = advance(stream, rooms, group.grid.end)
        for step in chunk.steps:
            rows = np.array([batch.rows[key] for key in step.actual.keys])
            first = group.grid.index(step.actual.grid.start)
            columns = slice(first, first + step.actual.grid.size)
            expected[rows, columns], sigma[rows, columns] = step.forecast.expected, step.forecast.sigma
            score[rows, columns], reason[rows, columns] = step.scores.score, step.scores.reason
            changes += step.changes
        slots |= {fit.slot for fit in chunk.fits}
        if chunk.day is not None and chunk.day.grid.size:
            stream = replace(stream, history=(*stream.history, *rooms.history.write(chunk.day, chunk.end)))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.part.npz")
    np.savez(part, expected=expected, sigma=sigma, slots=np.array(sorted(slots), np.int64))
    part.replace(path)
    return Outcome(score, reason, _last_states(changes, batch.rows, detector))


def rescore(
    group: Group, make: ScorerOf, expected: Float, sigma: Float, slots: Sequence[int], episodes: bool = False
) -> Outcome:
    """Scores (and, on request, episodes) of a group from forecasts [S, T] whose models were renewed at `slots`."""
    batch, detector = group.batch, group.detector
    rooms = _rooms(detector, batch)
    scorer = make(detector)
    S, T = batch.values.shape
    score, reason = np.full((S, T), np.nan), np.zeros((S, T), np.int8)
    carry = scorer.start(batch.keys, group.grid.start)
    changes: list[Change] = []
    opened: tuple[Anomaly, ...] = ()
    silences: tuple[Anomaly, ...] = ()
    watched = None if rooms.watch is None else rooms.watch.start(group.grid.start)
    lookback = None if rooms.namer is None else Lookback.fresh(rooms.namer.window)
    rows = list(range(S))
    status = ("ok",) * S
    calibration: Calibration | None = None
    for low, high in _cuts(group.grid, slots, max(1, _CELLS // S)):
        grid = TimeGrid(group.grid.start + low * group.grid.step, group.grid.step, high - low)
        if calibration is None or grid.start in slots:
            model = Model("cached", batch.keys, (0, grid.start), group.grid.step, {}, {}, status)
            calibration = scorer.calibrate(carry, rows, model, grid.start)
        actual = SeriesBatch(batch.keys, grid, batch.values[:, low:high].copy())
        forecast = Forecast(batch.keys, grid, expected[:, low:high].copy(), sigma[:, low:high].copy(), status, status)
        scores, carry = scorer.score(actual, forecast, calibration, carry)
        score[:, low:high], reason[:, low:high] = scores.score, scores.reason
        if episodes:
            before = [(grid.start, one) for one in opened]
            was = opened
            opened, made = rooms.episodes.fold(opened, actual, forecast, scores, detector.delay)
            if rooms.namer is not None and lookback is not None:
                seen = lookback.followed_by(actual.values, forecast.expected)
                made, opened = named(rooms.namer, seen, was, made, opened, actual, detector.delay)
                lookback = seen.last(rooms.namer.window)
            changes += made
            if rooms.watch is not None and watched is not None:
                others = [*before, *made]
                silences, silent, watched = rooms.watch.fold(silences, others, actual, forecast, watched, detector.delay)
                changes += silent
    return Outcome(score, reason, _last_states(changes, batch.rows, detector))


def _cuts(grid: TimeGrid, slots: Iterable[int], most: int) -> list[tuple[int, int]]:
    """[low, high) in buckets: cut where models are renewed, and where it would get too much."""
    edges = sorted({0, grid.size} | {index for slot in slots if 0 < (index := grid.index(slot)) < grid.size})
    return [(a, min(a + most, high)) for low, high in pairwise(edges) for a in range(low, high, most)]


def _last_states(changes: Iterable[Change], rows: Mapping[SeriesKey, int], detector: Detector) -> tuple[Episode, ...]:
    found: dict[str, Episode] = {}
    for at, anomaly in changes:
        first = found.get(anomaly.id)
        opened = at - detector.delay - detector.step if first is None else first.opened
        found[anomaly.id] = Episode(rows.get(anomaly.key, -1), opened, anomaly)
    return tuple(sorted(found.values(), key=lambda one: (one.row, one.anomaly.start, one.anomaly.id)))
