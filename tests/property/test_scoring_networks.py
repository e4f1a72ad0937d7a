"""Short cuts of scoring against the long way: networks, medians by lanes, and the names of the carry's arrays."""

import warnings
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.scoring import level, runs, scale
from forewarn.scoring.rhythm import Rhythm
from forewarn.scoring.windows import _merging, _through, preceding_median, ranked


@pytest.mark.parametrize("step", [MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, DAY])
def test_the_names_are_those_of_the_fresh_arrays(step: int) -> None:
    rhythm = Rhythm.of(step)
    assert tuple(scale.fresh(rhythm, 0)) == scale.NAMES
    assert tuple(level.fresh(rhythm, 0)) == level.NAMES
    assert tuple(runs.fresh(0)) == runs.NAMES


@pytest.mark.parametrize("one", range(9))
@pytest.mark.parametrize("other", range(9))
def test_two_sorted_runs_are_merged_whatever_their_lengths(one: int, other: int) -> None:
    """By the zero-one principle: what merges all runs of zeros and ones merges all runs."""
    for zeros, noughts in product(range(one + 1), range(other + 1)):
        x = [0.0] * zeros + [1.0] * (one - zeros) + [0.0] * noughts + [1.0] * (other - noughts)
        lanes = [np.array([value]) for value in x]
        found = _through(_merging(one, other, 0, one + other - 1), lanes)
        assert [float(lane[0]) for lane in found] == sorted(x)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 300), st.sampled_from([3, 5, 7, 9, 13, 15, 21]))
def test_medians_of_windows_that_share_their_points_are_those_of_each_window(seed: int, S: int, N: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.choice([rng.normal(size=5), rng.normal(size=5), [np.inf, -np.inf, 0.0, 1.0, 1.0]]).take(
        rng.integers(0, 5, (S, width + N))
    )
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(values, width, axis=1)[:, :N], axis=2)
    np.testing.assert_array_equal(preceding_median(values, width), windows[:, :, width // 2])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 16))
def test_ranked_lanes_are_sorted_values(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-4, 4, (size, 6, 5)).astype(np.float64)
    first = int(rng.integers(0, size))
    last = int(rng.integers(first, size))
    np.testing.assert_array_equal(ranked(list(values), first, last), np.sort(values, axis=0)[first : last + 1])


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(3, 2, 7), (2100, 6), (2100, 1), (700, 3, 5), (700, 3, 14)]),
    st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    st.sampled_from([np.float32, np.float64]),
)
def test_a_masked_median_is_that_of_what_is_known(seed: int, shape: tuple[int, ...], missing: float, kind: type) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape).astype(kind)
    values[rng.random(shape) < missing] = np.nan
    found = scale.masked_median(values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows without any value
        np.testing.assert_allclose(found, np.nanmedian(values, axis=-1), rtol=1e-6)
    assert found.dtype == kind


def test_habits_are_the_same_where_whole_days_are_unknown() -> None:
    rng = np.random.default_rng(1)
    days = [rng.normal(size=(50, 2, 48)).astype(np.float32) for _ in range(14)]
    for day in days[9:]:
        day[:] = np.nan
    habit, seen = scale._habits(days)
    np.testing.assert_array_equal(habit, scale.masked_median(np.stack(days, axis=-1)))
    assert (seen == 9).all()
    assert seen.dtype == np.int8
