"""The fallbacks: who gets them, what they say, and how they move with the data."""

from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.generated import START, batch
from tests.strategies import series_batches

from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.errors import ModelError
from forewarn.forecast import FULL_ENGINES, NO_DATA, NOT_CONVERGED, OK, TOO_SHORT, Forecast, Model, ModelSpec, assemble
from forewarn.forecasting.choose import Forecasting
from forewarn.forecasting.fallback import RollingMedian, SeasonalMedian, median
from forewarn.forecasting.predict import predict
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

STEP = 15 * MINUTE
PER_DAY = DAY // STEP


def one(values: Float, start: int = START, step: int = STEP) -> SeriesBatch:
    return SeriesBatch((SeriesKey("d"),), TimeGrid(start, step, values.size), values[None, :])


def fitted(history: SeriesBatch, grid: TimeGrid, **settings: str) -> Forecast:
    models = Forecasting().fit(history, ModelSpec(**settings))
    return assemble(history.keys, grid, [predict(model, grid) for model in models])


@dataclass(frozen=True)
class Refusing:
    """A full engine that never converges."""

    name: str = "stan"

    def fit(self, history: SeriesBatch, spec: ModelSpec) -> tuple[Model, ...]:
        S = len(history.keys)
        layout, arrays = {"why": "", "growth": spec.growth}, {"m": np.full(S, np.nan)}
        return (Model(self.name, history.keys, (0, 1), STEP, layout, arrays, (NOT_CONVERGED,) * S),)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (0.04, "too_short"),
        (0.1, "rolling_median"),
        (1.1, "rolling_median"),
        (1.25, "seasonal_median"),
        (2.9, "seasonal_median"),
    ],
)
def test_short_histories_step_down(days: float, expected: str) -> None:
    rng = np.random.default_rng(0)
    models = Forecasting().fit(one(rng.normal(size=round(days * PER_DAY))), ModelSpec())
    (model,) = models
    assert model.engine == expected
    assert model.status == ((TOO_SHORT,) if expected == "too_short" else (OK,))
    assert "history" in model.layout["why"]


def test_long_histories_get_a_full_engine_and_each_series_its_own() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 4 * PER_DAY))
    values[1, : 2 * PER_DAY] = np.nan
    values[2, : -PER_DAY // 2] = np.nan
    values[3] = np.nan
    history = SeriesBatch(tuple(SeriesKey("d", (("n", str(n)),)) for n in range(4)), TimeGrid(START, STEP, 4 * PER_DAY), values)
    engine = {key: model.engine for model in Forecasting().fit(history, ModelSpec()) for key in model.keys}
    assert engine[history.keys[0]] in FULL_ENGINES
    assert [engine[key] for key in history.keys[1:]] == ["seasonal_median", "rolling_median", "none"]


def test_few_values_over_many_days_are_no_full_model() -> None:
    values = np.full(10 * PER_DAY, np.nan)
    values[:: PER_DAY // 6] = 1.0 + np.arange(60) % 6
    (model,) = Forecasting().fit(one(values), ModelSpec())
    assert model.engine == "seasonal_median"


def test_what_does_not_converge_falls_back_and_says_so() -> None:
    history = batch(seed=0, n=4 * PER_DAY, step=STEP, kinds=("ar1", "smooth"))
    (model,) = Forecasting(engines=[Refusing()]).fit(history, ModelSpec(engine="stan"))
    assert (model.engine, model.status) == ("seasonal_median", (OK, OK))
    assert model.layout["why"] == "stan did not converge"


def test_the_time_of_day_median_ignores_an_incident() -> None:
    pattern = np.sin(2 * np.pi * np.arange(PER_DAY) / PER_DAY)
    values = np.tile(pattern, 5) + np.random.default_rng(1).normal(0, 0.01, 5 * PER_DAY)
    values[2 * PER_DAY + 10 : 2 * PER_DAY + 40] += 50
    forecast = fitted(one(values), TimeGrid(START + 5 * DAY, STEP, PER_DAY), engine="seasonal_median")
    np.testing.assert_allclose(forecast.expected[0], pattern, atol=0.05)
    assert 0.009 < forecast.sigma[0, 0] < 0.02


def test_two_weeks_learn_the_weekend() -> None:
    day = np.arange(14 * PER_DAY) // PER_DAY
    values = np.where(day % 7 < 2, 1.0, 9.0)  # START is a Saturday
    forecast = fitted(one(values), TimeGrid(START + 14 * DAY, STEP, 7 * PER_DAY), engine="seasonal_median")
    np.testing.assert_array_equal(forecast.expected[0], values[: 7 * PER_DAY])


def test_the_pattern_follows_the_wall_clock_over_a_clock_change() -> None:
    change = START + 85 * DAY  # Berlin goes back on 25 October 2026
    at = np.arange(6 * 24) * HOUR + change - 6 * DAY
    values = ((at // HOUR + 2) % 24 == 9).astype(float) + 0.001 * np.random.default_rng(0).normal(size=at.size)
    forecast = fitted(
        one(values, int(at[0]), HOUR), TimeGrid(change, HOUR, 48), engine="seasonal_median", timezone="Europe/Berlin"
    )
    assert (np.flatnonzero(forecast.expected[0] > 0.5) == [8, 32]).all()  # 09:00 is 08:00 UTC now


def test_hourly_buckets_in_a_zone_of_three_quarters_keep_their_own_values() -> None:
    values = np.tile(np.arange(24.0), 6)
    forecast = fitted(
        one(values, step=HOUR), TimeGrid(START + 6 * DAY, HOUR, 24), engine="seasonal_median", timezone="Asia/Kathmandu"
    )
    np.testing.assert_allclose(forecast.expected[0], np.arange(24.0), atol=1e-6)


def test_finer_buckets_lie_between_the_coarse_ones() -> None:
    values = np.tile(np.arange(24.0), 6)
    fine = fitted(one(values, step=HOUR), TimeGrid(START + 6 * DAY, 20 * MINUTE, 9), engine="seasonal_median")
    np.testing.assert_allclose(fine.expected[0, 1:8], np.arange(7) / 3, atol=1e-6)


def test_a_time_of_day_that_was_never_seen_has_no_forecast() -> None:
    values = np.tile(np.where(np.arange(PER_DAY) < 40, np.nan, 5.0), 6)
    forecast = fitted(one(values), TimeGrid(START + 6 * DAY, STEP, PER_DAY), engine="seasonal_median")
    assert np.isnan(forecast.expected[0, :40]).all()
    assert (forecast.expected[0, 40:] == 5.0).all()


def test_the_rolling_median_is_that_of_the_last_day() -> None:
    values = np.concatenate([np.full(3 * PER_DAY, 100.0), np.arange(float(PER_DAY)), np.full(10, np.nan)])
    forecast = fitted(one(values), TimeGrid(START + 5 * DAY, STEP, 2), engine="rolling_median")
    np.testing.assert_array_equal(forecast.expected, [[47.5, 47.5]])


def test_sparse_counts_have_a_spread_although_most_are_zero() -> None:
    history = batch(seed=3, n=4 * PER_DAY, step=STEP, kinds=("sparsecount",))
    for engine in ("seasonal_median", "rolling_median"):
        forecast = fitted(history, TimeGrid(history.grid.end, STEP, 4), engine=engine)
        assert (forecast.expected == 0).all()
        assert (forecast.sigma > 0.05).all()


@settings(max_examples=60, deadline=None)
@given(series_batches(min_series=1), st.sampled_from([SeasonalMedian(), RollingMedian()]), st.randoms(use_true_random=False))
def test_fallbacks_do_not_depend_on_the_other_rows(
    history: SeriesBatch, engine: SeasonalMedian | RollingMedian, random: Random
) -> None:
    order = list(history.keys)
    random.shuffle(order)
    grid = TimeGrid(history.grid.start, history.grid.step, 2 * history.grid.size)
    first, second = (
        assemble(history.keys, grid, [predict(model, grid) for model in engine.fit(given, ModelSpec())])
        for given in (history, history.take(order))
    )
    np.testing.assert_array_equal(first.expected, second.expected)
    np.testing.assert_array_equal(first.sigma, second.sigma)
    assert first.status == second.status


@settings(max_examples=60, deadline=None)
@given(
    series_batches(min_series=1, min_size=8),
    st.sampled_from([SeasonalMedian(), RollingMedian()]),
    st.sampled_from([2.0**-20, 0.5, 4.0, 2.0**30]),
    st.sampled_from([-1.0, 1.0]),
)
def test_fallbacks_scale_with_the_values(
    history: SeriesBatch, engine: SeasonalMedian | RollingMedian, factor: float, sign: float
) -> None:
    """Powers of two, so that equality is exact; values that do not vanish by them."""
    assume(not np.any((history.values != 0) & (np.abs(history.values) < 1e-290)))
    scaled = SeriesBatch(history.keys, history.grid, sign * factor * history.values)
    before, after = (
        assemble(history.keys, history.grid, [predict(model, history.grid) for model in engine.fit(given, ModelSpec())])
        for given in (history, scaled)
    )
    np.testing.assert_array_equal(after.expected, sign * factor * before.expected)
    varying = np.array([status == OK for status in before.status])
    np.testing.assert_allclose(after.sigma[varying], factor * before.sigma[varying], rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(series_batches(min_series=1, min_size=8), st.sampled_from([SeasonalMedian(), RollingMedian()]), st.floats(-1e6, 1e6))
def test_fallbacks_shift_with_the_values(history: SeriesBatch, engine: SeasonalMedian | RollingMedian, shift: float) -> None:
    shifted = SeriesBatch(history.keys, history.grid, history.values + shift)
    before, after = (
        assemble(history.keys, history.grid, [predict(model, history.grid) for model in engine.fit(given, ModelSpec())])
        for given in (history, shifted)
    )
    np.testing.assert_allclose(after.expected, before.expected + shift, rtol=1e-9, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(series_batches(min_series=1, min_size=1))
def test_medians_equal_numpys(history: SeriesBatch) -> None:
    for row, found in zip(history.values, median(history.values), strict=True):
        seen = row[~np.isnan(row)]
        assert np.isnan(found) if not seen.size else found == pytest.approx(np.median(seen), rel=1e-12)


def test_statuses_of_rows_without_values() -> None:
    history = one(np.full(40, np.nan))
    for engine in (SeasonalMedian(), RollingMedian()):
        (model,) = engine.fit(history, ModelSpec())
        assert model.status == (NO_DATA,)
        assert np.isnan(predict(model, history.grid).expected).all()


def test_the_default_engine_is_batch_and_says_why() -> None:
    history = batch(seed=0, n=4 * PER_DAY, step=STEP, kinds=("ar1",))
    (model,) = Forecasting().fit(history, ModelSpec())
    assert (model.engine, model.layout["why"]) == ("batch", "the default engine")


def test_a_growth_that_no_engine_has_is_refused() -> None:
    history = batch(seed=0, n=4 * PER_DAY, step=STEP, kinds=("ar1",))
    with pytest.raises(ModelError, match="'logistic'"):
        Forecasting().fit(history, ModelSpec(growth="logistic"))
