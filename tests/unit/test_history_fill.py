"""Coarse medians, and the first fill of a detector's history from its source."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import series_batches

from forewarn.detector import DAY, HOUR, MINUTE, Detector, Selection
from forewarn.errors import SourceUnavailable
from forewarn.history.coarse import coarsen
from forewarn.history.fill import fill
from forewarn.ports import Problem
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid

START = 20_000 * DAY
KEY = SeriesKey("d")


def detector(function: str, step: int = 5 * MINUTE, min_count: int = 1) -> Detector:
    return Detector("d", Selection(index="logs"), function, step=step, min_count=min_count)


class Recording:
    """A source whose value is the number of minutes since START, in the middle of the bucket; counts: ten a minute."""

    def __init__(self, since: int = START) -> None:
        self.since = since
        self.asked: list[TimeGrid] = []

    def read(self, detector: Detector, grid: TimeGrid) -> SeriesBatch:
        self.asked.append(grid)
        times = grid.times()
        value = times / MINUTE if detector.function != "count" else np.full(grid.size, 10.0 * grid.step / MINUTE)
        values = np.where(times >= self.since, value, np.nan)[None, :]
        known = bool(np.isfinite(values).any())
        return SeriesBatch((KEY,) * known, grid, values[: int(known)])

    def check(self, detector: Detector) -> list[Problem]:
        return [] if self.asked else [Problem(detector.name, "was not read")]

    def close(self) -> None:
        pass


@settings(deadline=None)
@given(series_batches(), st.integers(1, 6))
def test_a_coarse_bucket_is_the_median_of_its_values(batch: SeriesBatch, width: int) -> None:
    step = batch.grid.step * width
    coarse = coarsen(batch, step)
    assert coarse.keys == batch.keys
    assert coarse.grid == TimeGrid.between(batch.grid.start, batch.grid.end, step)
    for column, time in enumerate(coarse.grid.times().tolist()):
        inside = batch.between(time, time + step).values
        assert inside.shape[1] == width
        for row in range(len(batch.keys)):
            values = inside[row][~np.isnan(inside[row])]
            expected = np.median(values) if values.size else np.nan
            np.testing.assert_allclose(coarse.values[row, column], expected, rtol=1e-15, atol=1e-300)


def test_only_whole_coarse_buckets_are_made() -> None:
    grid = TimeGrid(START + 5 * MINUTE, 5 * MINUTE, 9)
    coarse = coarsen(SeriesBatch((KEY,), grid, np.arange(9.0)[None, :]), 15 * MINUTE)
    assert coarse.grid == TimeGrid(START + 15 * MINUTE, 15 * MINUTE, 2)
    assert coarse.values.tolist() == [[3.0, 6.0]]
    assert coarsen(SeriesBatch((KEY,), grid.slice(grid.start, grid.start + 5 * MINUTE), np.ones((1, 1))), HOUR).grid.size == 0


def test_a_step_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        coarsen(SeriesBatch((KEY,), TimeGrid(START, 10 * MINUTE, 3), np.ones((1, 3))), 15 * MINUTE)


@pytest.mark.parametrize("function", ["avg", "rate", "median", "p95"])
def test_what_is_the_same_when_coarse_is_read_coarsely(function: str) -> None:
    source = Recording()
    slices = list(fill(source, detector(function), START, START + 2 * DAY))
    assert {grid.step for grid in source.asked} == {15 * MINUTE}
    assert (
        [part.grid for part in slices]
        == source.asked
        == [TimeGrid(START + DAY, 15 * MINUTE, 96), TimeGrid(START, 15 * MINUTE, 96)]
    )
    assert slices[1].values[0, :3].tolist() == [START / MINUTE + n for n in (0, 15, 30)]


@pytest.mark.parametrize(("step", "expected"), [(MINUTE, 10.0), (5 * MINUTE, 50.0), (HOUR, 600.0)])
def test_counts_are_divided_down_to_the_bucket(step: int, expected: float) -> None:
    (part,) = fill(Recording(), detector("count", step), START, START + DAY)
    assert set(part.values.ravel().tolist()) == {expected}


@pytest.mark.parametrize(("function", "min_count"), [("max", 1), ("min", 1), ("cardinality", 1), ("ratio", 1), ("avg", 2)])
def test_everything_else_is_read_at_the_bucket_and_made_coarse(function: str, min_count: int) -> None:
    source = Recording()
    (part,) = fill(source, detector(function, min_count=min_count), START, START + DAY)
    assert source.asked == [TimeGrid(START, 5 * MINUTE, 288)]
    assert part.grid == TimeGrid(START, 15 * MINUTE, 96)
    assert part.values[0, :2].tolist() == [START / MINUTE + 5, START / MINUTE + 20]


@pytest.mark.parametrize("step", [MINUTE, 7 * MINUTE, 10 * MINUTE, HOUR, 7 * HOUR, 2 * DAY])
@pytest.mark.parametrize("slice_ms", [DAY, HOUR, MINUTE])
def test_slices_come_newest_first_and_cover_the_range_without_gap_or_overlap(step: int, slice_ms: int) -> None:
    one = detector("avg", step)
    start, end = START + 3 * MINUTE, START + 4 * DAY + 5 * HOUR
    whole = TimeGrid.between(start, end, one.coarse_step)
    if slice_ms == MINUTE:
        whole = whole.slice(max(whole.start, whole.end - 30 * one.coarse_step), whole.end)
    slices = list(fill(Recording(0), one, whole.start, end, slice_ms))
    assert slices[0].grid.end == whole.end
    assert slices[-1].grid.start == whole.start
    for newer, older in itertools.pairwise(slices):
        assert older.grid.end == newer.grid.start
    assert all(part.grid.size * one.coarse_step <= max(slice_ms, one.coarse_step) + one.coarse_step for part in slices)


def test_before_there_was_anything_slices_hold_no_series() -> None:
    slices = list(fill(Recording(START + DAY + HOUR), detector("avg"), START, START + 2 * DAY))
    assert [len(part.keys) for part in slices] == [1, 0]
    assert np.isnan(slices[0].values[0, :4]).all()
    assert list(fill(Recording(), detector("avg"), START, START + MINUTE)) == []


def test_slices_are_read_when_they_are_asked_for_and_errors_pass_through() -> None:
    class Failing(Recording):
        def read(self, detector: Detector, grid: TimeGrid) -> SeriesBatch:
            if self.asked:
                raise SourceUnavailable("logs", "timed out")
            return super().read(detector, grid)

    slices = fill(Failing(), detector("avg"), START, START + 2 * DAY)
    assert next(iter(slices)).grid.start == START + DAY
    with pytest.raises(SourceUnavailable):
        list(slices)
