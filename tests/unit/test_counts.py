"""Evidence against counts: the likelihood against the exact tails, and which series are counts."""

import itertools
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.detector import MINUTE
from forewarn.scoring import counts
from forewarn.scoring.count_tail import count_tail
from forewarn.scoring.rhythm import Rhythm
from forewarn.series import Float, TimeGrid

RHYTHM = Rhythm.of(5 * MINUTE)
NORMAL = 1.4826


def evidence(count: float, rate: float, dispersion: float) -> float:
    """In standard deviations of Gaussian noise."""
    usual = 0.5 * np.log(rate + dispersion * rate * rate) - np.log(NORMAL)
    values = np.array([[count]])
    return float(np.exp(counts.likelihood(values, values - rate, np.array([[usual]]))[0, 0]) / NORMAL)


@pytest.mark.parametrize("rate", [0.3, 1.0, 5.0, 30.0, 300.0])
@pytest.mark.parametrize("dispersion", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("times", [3.0, 4.0, 5.0, 7.0])
def test_a_burst_is_as_unlikely_as_the_exact_tail_says_it_is(rate: float, dispersion: float, times: float) -> None:
    count = float(np.ceil(rate + times * np.sqrt(rate + dispersion * rate * rate)))
    upper, _ = count_tail(count, rate, dispersion)
    exact = -NormalDist().inv_cdf(10 ** float(upper))
    assert evidence(count, rate, dispersion) == pytest.approx(exact, abs=0.35)


@pytest.mark.parametrize(("rate", "dispersion"), [(8.0, 0.0), (8.0, 0.1), (30.0, 0.1), (100.0, 0.05)])
def test_an_outage_is_as_unlikely_as_the_exact_tail_says_it_is_and_rarer_than_its_distance(
    rate: float, dispersion: float
) -> None:
    _, lower = count_tail(0.0, rate, dispersion)
    exact = -NormalDist().inv_cdf(10 ** float(lower))
    assert evidence(0.0, rate, dispersion) == pytest.approx(exact, abs=0.35)
    assert evidence(0.0, rate, dispersion) > rate / np.sqrt(rate + dispersion * rate * rate)


@settings(deadline=None)
@given(
    rate=st.floats(0.0, 900.0),
    usual=st.floats(-3.0, 5.0),
    steps=st.lists(st.integers(0, 60), min_size=2, max_size=20),
    up=st.booleans(),
)
def test_further_away_on_the_same_side_is_never_less_evidence(rate: float, usual: float, steps: list[int], up: bool) -> None:
    far = np.cumsum(np.array(steps, np.float64))
    values = np.ceil(rate) + far if up else np.maximum(np.floor(rate) - far, 0.0)
    logs = counts.likelihood(values[None], values[None] - rate, np.full((1, values.size), usual))[0]
    known = np.where(np.isneginf(logs), -1e9, logs)
    assert (np.diff(known) >= -1e-9).all()


def test_what_is_as_expected_is_no_evidence() -> None:
    values = np.array([[0.0, 1.0, 7.0, 400.0]])
    assert np.isneginf(counts.likelihood(values, np.zeros_like(values), np.zeros_like(values))).all()


def are_counts(values: Float, cuts: list[int]) -> np.ndarray:
    arrays, found, at = counts.fresh(len(values)), [], 0
    for cut in [*cuts, values.shape[1]]:
        grid = TimeGrid(at * RHYTHM.step, RHYTHM.step, cut - at)
        one, arrays = counts.counted(arrays, RHYTHM, grid, values[:, at:cut])
        found.append(one)
        at = cut
    return np.concatenate(found, axis=1)


def rows(size: int) -> Float:
    rng = np.random.default_rng(3)
    day = 1 + 0.5 * np.sin(np.arange(size) / 46)
    return np.array([
        rng.poisson(6 * day),
        rng.poisson(0.05 * day),
        rng.poisson(rng.gamma(5, 50 * day / 5)),
        np.round(21 + 3 * day + rng.normal(0, 0.4, size)),
        np.where(np.arange(size) % 700 < 3, 6.0, 12.0),
        rng.normal(50, 5, size),
        rng.poisson(50_000.0, size),
        -rng.poisson(6 * day),
    ], np.float64)  # fmt: skip


def test_counts_are_told_from_what_is_only_measured_in_whole_numbers() -> None:
    found = are_counts(rows(1200), [])
    #                                       counts, rare ones, overdispersed | degrees, instances, a gauge, large, negative
    assert found[:, 600:].mean(axis=1).tolist() == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_the_first_points_of_a_gauge_are_not_taken_for_counts() -> None:
    assert not are_counts(rows(60)[5:6], [])[:, 1:].any()


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(1, 899), max_size=6, unique=True), holes=st.lists(st.integers(0, 899), max_size=30))
def test_how_time_is_cut_does_not_change_what_is_a_count(cuts: list[int], holes: list[int]) -> None:
    values = rows(900)
    values[:, holes] = np.nan
    np.testing.assert_array_equal(are_counts(values, sorted(cuts)), are_counts(values, []))


def test_what_is_far_too_large_for_a_count_may_be_cut_anywhere_and_warns_of_nothing() -> None:
    values = rows(900)
    values[:, 100::97] = 5e9  # bytes, say: their squares are no 64-bit integers
    values[1, 300] = 1e300
    alone = are_counts(values, list(range(1, 900)))
    np.testing.assert_array_equal(alone, are_counts(values, []))
    arrays, parts = counts.fresh(len(values)), [0, 101, 198, 900]
    for low, high in itertools.pairwise(parts):
        _, arrays = counts.counted(arrays, RHYTHM, TimeGrid(low * RHYTHM.step, RHYTHM.step, high - low), values[:, low:high])
    _, whole = counts.counted(counts.fresh(len(values)), RHYTHM, TimeGrid(0, RHYTHM.step, 900), values)
    for name, array in whole.items():
        np.testing.assert_array_equal(array, arrays[name], err_msg=name)


def test_a_rate_beside_which_nothing_counts_warns_of_nothing() -> None:
    rate = np.array([[1e10, 1e16, 1e30, 1e140]])
    for usual in (-700.0, 0.0, 300.0):
        worth = counts.likelihood(np.zeros_like(rate), -rate, np.full_like(rate, usual))
        assert not np.isnan(worth).any()
        assert (worth < np.inf).all()
