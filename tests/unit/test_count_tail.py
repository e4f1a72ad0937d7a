"""Tails of count distributions against sums of their terms in sixty digits."""

from decimal import Decimal, getcontext
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.scoring.count_tail import count_tail

getcontext().prec = 60


def exact(k: int, mean: float, dispersion: float) -> tuple[float, float]:
    """The logarithms of both tails, term by term."""
    mu = Decimal(mean)
    spread = (mean * (1 + mean * dispersion)) ** 0.5
    size = int(k + mean + 60 * spread + (mean * dispersion + 1) * 120 + 400)
    if dispersion == 0:
        terms = [(-mu).exp()]
        for number in range(1, size):
            terms.append(terms[-1] * mu / number)
    else:
        r = 1 / Decimal(dispersion)
        terms = [(r * (r / (r + mu)).ln()).exp()]
        for number in range(1, size):
            terms.append(terms[-1] * (r + number - 1) / number * mu / (r + mu))
    return float(sum(terms[k:]).log10()), float(sum(terms[: k + 1]).log10())


@pytest.mark.parametrize(
    ("mean", "dispersion"),
    [*product([0.01, 0.3, 1.0, 4.5, 30.0], [0.0, 1e-6, 1e-3, 0.05, 0.5, 2.0, 10.0]), (400.0, 0.0), (400.0, 0.05)],
)
def test_both_tails_are_exact_to_six_digits(mean: float, dispersion: float) -> None:
    counts = sorted({0, 1, 2, 5, 20, *(int(mean * share) + extra for share in (0.3, 0.9, 1.0, 1.3, 3.0) for extra in (0, 1))})
    upper, lower = count_tail(counts, mean, dispersion)
    expected = [exact(k, mean, dispersion) for k in counts]
    np.testing.assert_allclose(upper, [one[0] for one in expected], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(lower, [one[1] for one in expected], rtol=1e-6, atol=1e-12)


def test_tails_that_no_float_could_hold_have_a_size() -> None:
    upper, _ = count_tail(2000, 1.0)
    assert upper == pytest.approx(exact(2000, 1.0, 0.0)[0], rel=1e-6)
    assert upper < -5000


def test_large_counts_near_their_mean_are_as_a_normal_distribution_has_them() -> None:
    upper, lower = count_tail(1_000_000, 1e6, [0.0, 1e-5])
    np.testing.assert_allclose(10**upper, 0.5, atol=1e-3)
    np.testing.assert_allclose(10**lower, 0.5, atol=1e-3)


def test_a_hurdle_gives_zeros_a_probability_of_their_own() -> None:
    upper, lower = count_tail([0, 1, 2], 0.5, 0.0, 0.9)
    positive = 1 - np.exp(-0.5)
    two_or_more = 1 - np.exp(-0.5) * 1.5
    np.testing.assert_allclose(10**upper, [1.0, 0.1, 0.1 * two_or_more / positive], rtol=1e-9)
    np.testing.assert_allclose(
        10**lower, [0.9, 1 - 0.1 * two_or_more / positive, 1 - 10 ** count_tail(3, 0.5, 0.0, 0.9)[0]], rtol=1e-9
    )


def test_a_hurdle_with_as_many_zeros_as_there_should_be_is_none() -> None:
    counts, rate = np.arange(12), 2.5
    zeros = (1 + 0.4 * rate) ** (-1 / 0.4)
    for one, other in zip(count_tail(counts, rate, 0.4), count_tail(counts, rate, 0.4, zeros), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_what_is_no_count_has_the_tails_of_the_counts_beside_it() -> None:
    upper, lower = count_tail([2.5, -1.0], 3.0)
    assert upper[0] == count_tail(3, 3.0)[0]
    assert lower[0] == count_tail(2, 3.0)[1]
    assert (upper[1], lower[1]) == (0.0, -np.inf)


def test_what_is_unknown_has_no_tail() -> None:
    upper, lower = count_tail([1.0, np.nan, 1.0, 1.0, 1.0], [1.0, 1.0, np.nan, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0, -1.0])
    assert np.isnan(upper).tolist() == np.isnan(lower).tolist() == [False, True, True, True, True]


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-3, 1e4), st.floats(0, 20), st.integers(0, 20_000))
def test_the_tails_are_ordered_and_overlap_in_the_value_itself(rate: float, dispersion: float, k: int) -> None:
    upper, lower = count_tail([k, k + 1], rate, dispersion)
    assert upper[1] <= upper[0] <= 0.0
    assert lower[0] <= lower[1] <= 0.0
    assert 10 ** upper[1] + 10 ** lower[0] == pytest.approx(1.0, rel=1e-9)
