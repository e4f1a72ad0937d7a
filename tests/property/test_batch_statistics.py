"""What the batch engine keeps of a series, against the sums that it stands for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.forecasting.batch_statistics import Basis, Statistics, statistics
from forewarn.series import Float

T = 700


def _basis(T: int = T, D: int = 12, K: int = 6, flat: bool = False) -> Basis:
    t = np.arange(T) / (T - 1)
    angle = 2 * np.pi * np.outer(np.arange(T) / 96, np.arange(1, K // 2 + 1))
    X = np.hstack([np.sin(angle), np.cos(angle)])
    return Basis.of(None if flat else t, X, np.linspace(0.05, 0.8, D), np.full(K, 10.0), 0.05)


def _masks(rng: np.random.Generator, kind: str) -> Float:
    observed = np.ones((4, T), dtype=np.bool_)
    if kind == "isolated":
        observed &= rng.random(observed.shape) > 0.01
    elif kind == "half":
        observed &= rng.random(observed.shape) > 0.5
    elif kind == "long gap":
        observed[:, 100:400] = False
    elif kind == "gap and dust":
        observed &= rng.random(observed.shape) > 0.03
        observed[1:, 33:301] = False
    elif kind == "young":
        observed[:, : int(0.95 * T)] = False
    elif kind == "every other":
        observed[:, 1::2] = False
    elif kind == "nothing":
        observed[:2] = False
    return observed


@pytest.mark.parametrize("kind", ["isolated", "half", "long gap", "gap and dust", "young", "every other", "nothing"])
def test_the_gram_of_a_series_with_gaps_is_that_of_its_observed_rows(kind: str) -> None:
    basis = _basis()
    observed = _masks(np.random.default_rng(1), kind)
    for gram, mask in zip(basis.grams(observed), observed, strict=True):
        np.testing.assert_allclose(gram, basis.Z[mask].T @ basis.Z[mask], atol=1e-10)


def test_rows_with_equal_gaps_get_equal_grams_wherever_they_stand() -> None:
    basis = _basis()
    observed = np.repeat(_masks(np.random.default_rng(2), "half")[:2], 2, axis=0)[[0, 2, 1, 3]]
    grams = basis.grams(observed)
    assert (grams[0] == grams[2]).all()
    assert (grams[1] == grams[3]).all()
    np.testing.assert_allclose(grams[1], basis.Z[observed[1]].T @ basis.Z[observed[1]], atol=1e-10)


@settings(deadline=None, max_examples=25)
@given(st.floats(-18, 0), st.booleans())
def test_one_decomposition_inverts_the_ridge_block_for_every_variance(exponent: float, flat: bool) -> None:
    basis, v = _basis(flat=flat), 10.0**exponent
    block = basis.G[: basis.R, : basis.R] + v * np.diag(basis.penalty)
    inverse = (basis.V / (basis.d + v)) @ basis.V.T
    np.testing.assert_allclose(block @ inverse, np.eye(basis.R), atol=1e-8)
    W = basis.D + 1
    coupling = basis.G[basis.R :, : basis.R]
    Q = (basis.Gdd.reshape(-1) - (1 / (basis.d + v)) @ basis.products).reshape(W, W)
    direct = basis.G[basis.R :, basis.R :] - coupling @ np.linalg.solve(block, coupling.T)
    np.testing.assert_allclose(Q[: basis.D, : basis.D], direct, atol=1e-8)
    assert (Q[basis.D] == np.eye(W)[basis.D]).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(-6, 9), st.floats(-9, 9), st.sampled_from(["minmax", "absmax"]), st.booleans())
def test_statistics_are_the_moments_of_the_centred_scaled_values(
    seed: int, spread: float, offset: float, scaling: str, gaps: bool
) -> None:
    basis = _basis()
    rng = np.random.default_rng(seed)
    values = np.sign(offset) * 10 ** abs(offset) + 10**spread * rng.normal(size=(3, T))
    if gaps:
        values[rng.random(values.shape) < 0.2] = np.nan
    found = statistics(values, basis, scaling)
    for i, row in enumerate(values):
        seen = ~np.isnan(row)
        y = row[seen]
        floor = y.min() if scaling == "minmax" else 0.0
        scale = y.max() - y.min() if scaling == "minmax" else np.abs(y).max()
        centred = (y - y.mean()) / scale
        assert found.n[i] == seen.sum()
        assert (found.floor[i], found.scale[i]) == (floor, scale)
        rounding = 1e-15 * (1 + np.abs(y).max() / scale) * T
        assert found.centre[i] == pytest.approx((y.mean() - floor) / scale, abs=rounding)
        np.testing.assert_allclose(found.b[i], basis.Z[seen].T @ centred, atol=10 * rounding)
        assert found.yy[i] == pytest.approx(centred @ centred, abs=10 * rounding)


@pytest.mark.parametrize(
    ("row", "usable"),
    [
        (np.full(T, 7.0), False),
        (np.zeros(T), False),
        (np.full(T, np.nan), False),
        (np.where(np.arange(T) == 3, 1.0, np.nan), False),
        (np.where(np.arange(T) < 2, np.arange(T), np.nan), True),
        (np.where(np.arange(T) % 2, 1.7e308, -1.7e308), False),
        (np.where(np.arange(T) == 9, 1e300, 0.0), True),
        (np.where(np.arange(T) == 9, 1e-300, 0.0), True),
    ],
)
def test_what_cannot_be_optimised_is_marked_and_stays_finite(row: Float, usable: bool) -> None:
    found = statistics(row[None], _basis(), "minmax")
    assert found.usable[0] == usable
    for part in (found.n, found.floor, found.scale, found.centre, found.b, found.yy):
        assert np.isfinite(part).all()
    assert found.scale[0] > 0


def test_statistics_of_parts_are_those_of_the_whole() -> None:
    basis = _basis()
    values = np.random.default_rng(5).normal(size=(6, T))
    whole = statistics(values, basis, "minmax")
    joined = Statistics.concat([statistics(values[:2], basis, "minmax"), statistics(values[2:], basis, "minmax")])
    np.testing.assert_allclose(joined.b, whole.b, atol=1e-11)
    assert (joined.take(np.array([4])).scale == whole.scale[4:5]).all()
