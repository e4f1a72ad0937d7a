"""Thinning loses no extreme, invents no value, and keeps to the grid that it was given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forewarn.detector import DAY
from forewarn.errors import RequestError
from forewarn_datasource.thinning import COLUMNS, Rows, common_step, thin, width_for

STEP = 60_000
VALUES = st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6))


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    buckets = draw(st.lists(st.integers(0, 200), min_size=0, max_size=60, unique=True).map(sorted))
    columns = [draw(hnp.arrays(np.float64, len(buckets), elements=VALUES)) for _ in COLUMNS]
    return Rows(np.array(buckets, dtype=np.int64) * STEP, *columns)


def known(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]


@given(rows(), st.integers(1, 30))
@settings(deadline=None)
def test_extremes_of_every_column_survive_on_a_grid_of_the_width(data: Rows, times: int) -> None:
    width = times * STEP
    thinned = thin(data, STEP, width)
    assert np.all(np.diff(thinned.start) > 0)
    assert not (thinned.start % width).any()
    for name, extreme in (("actual", np.min), ("actual", np.max), ("score", np.max), ("lower", np.min), ("upper", np.max)):
        before, after = known(getattr(data, name)), known(getattr(thinned, name))
        assert before.size == after.size == 0 or extreme(before) == extreme(after), name
    expected, mean = known(data.expected), known(thinned.expected)
    assert expected.size == mean.size == 0 or expected.min() - 1e-6 <= mean.min() <= mean.max() <= expected.max() + 1e-6


@given(rows(), st.integers(2, 30))
@settings(deadline=None)
def test_every_shown_value_was_there_at_most_one_slot_away(data: Rows, times: int) -> None:
    width = times * STEP
    thinned = thin(data, STEP, width)
    for start, value in zip(thinned.start, thinned.actual, strict=True):
        if not np.isnan(value):
            assert np.abs(data.start[data.actual == value] // width - start // width).min() <= 1


def test_a_spike_stays_beside_its_score() -> None:
    count = 240
    actual = np.random.default_rng(1).normal(100, 1, count)
    score = np.full(count, 0.3)
    actual[77], score[77] = 900.0, 8.0
    flat = np.full(count, 100.0)
    thinned = thin(Rows(np.arange(count) * STEP, actual, flat, flat - 3, flat + 3, score), STEP, 10 * STEP)
    assert thinned.start.size == 24
    assert thinned.actual[7] == 900.0
    assert thinned.score[7] == 8.0


def test_rows_at_their_own_step_are_left_as_they_are() -> None:
    data = Rows(np.array([0, STEP]), *(np.array([1.0, 2.0]) for _ in COLUMNS))
    assert thin(data, STEP, STEP) is data


def test_rows_of_an_older_shorter_step_are_put_on_the_grid_of_today() -> None:
    data = Rows(np.arange(4) * STEP, *(np.arange(4.0) for _ in COLUMNS))
    assert thin(data, 4 * STEP, 4 * STEP).start.tolist() == [0, 4 * STEP]
    assert thin(data, 2 * STEP, 2 * STEP).score.tolist() == [1.0, 3.0]


@given(st.integers(1, DAY), st.integers(0, 31 * DAY), st.integers(1, 5000), st.integers(0, DAY))
def test_the_width_is_a_multiple_of_the_step_that_keeps_to_points_and_interval(
    step: int, span: int, points: int, interval: int
) -> None:
    width = width_for(step, span, points, interval)
    assert width % step == 0
    assert width >= step
    assert width >= interval
    assert span / width <= points + 1e-6
    assert width == step or width - step < max(span / points, interval)


def test_a_common_step_is_the_least_one_and_not_longer_than_a_day() -> None:
    assert common_step([STEP, 5 * STEP]) == 5 * STEP
    assert common_step([4 * STEP, 6 * STEP]) == 12 * STEP
    with pytest.raises(RequestError, match="separately"):
        common_step([7 * STEP, 11 * STEP, 13 * STEP, 17 * STEP])
