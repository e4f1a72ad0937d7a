"""Products whose elements have the same bits in any place and company: what forecasts of blocks and of single ticks need."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.generated import batch

from forewarn.detector import DAY, HOUR
from forewarn.forecast import ModelSpec
from forewarn.forecasting import fixed_product
from forewarn.forecasting.batch import BatchEngine
from forewarn.forecasting.fixed_product import product
from forewarn.forecasting.predict import predict
from forewarn.series import TimeGrid


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 150), st.integers(1, 40), st.integers(1, 250), st.booleans())
def test_a_part_of_a_product_has_the_bits_of_the_whole(seed: int, n: int, K: int, T: int, plain: bool) -> None:
    rng = np.random.default_rng(seed)
    beta, X = rng.normal(size=(n, K)), rng.normal(size=(T, K))
    compute = fixed_product._by_columns if plain else product
    whole = compute(beta, X)
    np.testing.assert_allclose(whole, beta @ X.T, atol=1e-12)
    rows = rng.permutation(n)[: rng.integers(1, n + 1)]
    first = int(rng.integers(0, T))
    last = int(rng.integers(first + 1, T + 1))
    assert np.array_equal(compute(beta[rows], X[first:last]), whole[rows, first:last])


def test_a_row_without_a_model_leaves_the_others_alone() -> None:
    beta = np.random.default_rng(1).normal(size=(5, 3))
    X = np.random.default_rng(2).normal(size=(7, 3))
    spoiled = beta.copy()
    spoiled[2] = np.nan
    found = product(spoiled, X)
    assert np.isnan(found[2]).all()
    assert np.array_equal(np.delete(found, 2, axis=0), product(np.delete(beta, 2, axis=0), X))


@pytest.mark.parametrize(("n", "K", "T"), [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_nothing_times_something_is_nothing(n: int, K: int, T: int) -> None:
    assert np.array_equal(product(np.ones((n, K)), np.ones((T, K))), np.zeros((n, T)))


def test_where_tiles_do_not_hold_forecasts_are_the_same_but_for_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    history = batch(1, 7 * DAY // HOUR, HOUR)
    ahead = TimeGrid(history.grid.end, HOUR, 24)
    (model,) = BatchEngine().fit(history, ModelSpec())
    tiled = predict(model, ahead).expected
    monkeypatch.setattr(fixed_product, "_holds", lambda _: False)
    by_columns = predict(model, ahead).expected
    np.testing.assert_allclose(by_columns, tiled, rtol=1e-12)
    single = predict(model.take([3]), TimeGrid(ahead.start + 5 * HOUR, HOUR, 2)).expected
    assert np.array_equal(single, by_columns[3:4, 5:7])
