"""`predict` against prophet's own predict, and the columns of `design_matrix` against prophet's own.

Both evaluate the same parameters, so only rounding may differ: 1e-6 of the scale of y leaves room for an offset of 1e9.
"""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prophet import Prophet
from prophet.make_holidays import make_holidays_df
from tests.generated import KINDS, START, generate

from forewarn.detector import DAY, MINUTE
from forewarn.forecast import CONSTANT, OK, ModelSpec
from forewarn.forecasting.batch import BatchEngine
from forewarn.forecasting.batch_passes import PLAIN
from forewarn.forecasting.choose import Forecasting
from forewarn.forecasting.civil_time import offsets
from forewarn.forecasting.design_matrix import changepoint_rows, holiday_years, instants, layout_for, seasonal_columns
from forewarn.forecasting.predict import predict
from forewarn.forecasting.public_holidays import holiday_days
from forewarn.forecasting.stan import StanEngine, prophet_of
from forewarn.forecasting.workers import WorkerPool
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

STEP = 15 * MINUTE
AUTUMN = START + 70 * DAY  # 10 October 2026: Berlin and New York change their clocks within the next four weeks
KEY = (SeriesKey("d"),)


def ds(at: Float, timezone: str = "UTC") -> Any:
    return ((at + offsets(at, timezone)) * 1000).astype(np.int64).astype("datetime64[us]")


def series(kind: str, days: int, start: int = AUTUMN, seed: int = 0) -> SeriesBatch:
    n = days * DAY // STEP
    values = generate(kind, np.random.default_rng([seed, KINDS.index(kind)]), n, STEP)
    return SeriesBatch(KEY, TimeGrid(start, STEP, n), values[None, :])


def changed(history: SeriesBatch, values: Float) -> SeriesBatch:
    return SeriesBatch(history.keys, history.grid, values)


def with_future(grid: TimeGrid) -> TimeGrid:
    return TimeGrid(grid.start - DAY, STEP, grid.size + 4 * DAY // STEP)


def compare(history: SeriesBatch, spec: ModelSpec, tolerance: float = 1e-6) -> None:
    """The forecast of the engine's rows against prophet's predict of the same fit, before, in and after the history."""
    (model,) = StanEngine(WorkerPool()).fit(history, spec)
    assert model.status == (OK,)
    fitted = prophet_of(history.values[0], history.grid, spec, model.layout)
    grid = with_future(history.grid)
    theirs = fitted.predict(pd.DataFrame({"ds": ds(instants(grid))}))["yhat"].to_numpy()
    np.testing.assert_allclose(predict(model, grid).expected[0], theirs, rtol=0, atol=tolerance * fitted.y_scale)


@pytest.mark.parametrize(
    ("kind", "days", "spec"),
    [
        ("smooth", 28, ModelSpec(timezone="Europe/Berlin", holidays=("DE-BY", "US"))),
        ("gappy", 28, ModelSpec(timezone="America/New_York", holidays=("US",))),
        ("step", 7, ModelSpec(timezone="Asia/Kathmandu")),
        ("counts", 14, ModelSpec(growth="flat")),
        ("linear_up", 14, ModelSpec(scaling="absmax", n_changepoints=0)),
        (
            "smooth",
            28,
            ModelSpec(timezone="Europe/Berlin", holidays=("DE-BY",), scaling="absmax", seasonality="multiplicative"),
        ),
    ],
)
def test_forecasts_equal_prophets_own(kind: str, days: int, spec: ModelSpec) -> None:
    compare(series(kind, days), spec)


def test_shares_of_the_trend_are_shares_of_what_was_fitted() -> None:
    """Under minmax prophet's own predict multiplies the trend with its floor added, which is not what it has fitted."""
    history = series("smooth", 14)
    spec = ModelSpec(seasonality="multiplicative")
    for engine in (StanEngine(WorkerPool()), BatchEngine(PLAIN)):
        (model,) = engine.fit(history, spec)
        off = history.values - predict(model, history.grid).expected
        sigma = model.arrays["sigma_obs"] * model.arrays["y_scale"]
        np.testing.assert_allclose(np.sqrt(np.mean(off**2)), sigma[0], rtol=0.01)


def test_negative_values_and_a_huge_offset_forecast_the_same() -> None:
    history = series("smooth", 7)
    compare(changed(history, -history.values), ModelSpec())
    compare(changed(history, history.values / history.values.std() + 1e9), ModelSpec())


def test_fewer_than_a_hundred_values_forecast_the_same() -> None:
    """There prophet takes another optimiser and lowers the number of changepoints."""
    history = series("smooth", 1)
    values = np.where(np.arange(history.grid.size) % 4, np.nan, history.values)
    compare(changed(history, values), ModelSpec())


def test_forecasts_equal_those_of_plain_prophet_with_its_own_holidays() -> None:
    """Nothing of ours inside: Prophet as a user would set it up, with ds in civil time (no clock changes in August)."""
    history = series("smooth", 14, start=START)
    spec = ModelSpec(engine="stan", timezone="Europe/Vienna", holidays=("AT",))  # 15 August: Assumption Day
    (model,) = Forecasting().fit(history, spec)
    assert model.layout["holidays"]["names"] == ["Assumption Day"]
    # Not add_country_holidays: its empty columns for the year's other holidays change where L-BFGS stops.
    holidays = make_holidays_df([2025, 2026, 2027], "AT").query("holiday == 'Assumption Day'")
    plain = Prophet(
        scaling="minmax", holidays=holidays, yearly_seasonality=False, weekly_seasonality=False, daily_seasonality=False
    )
    plain.uncertainty_samples = 0
    plain.add_seasonality("weekly", 7, 3).add_seasonality("daily", 1, 4)
    at = instants(history.grid)
    plain.fit(pd.DataFrame({"ds": ds(at, spec.timezone), "y": history.values[0]}), seed=1, sig_figs=18)
    grid = with_future(history.grid)
    theirs = plain.predict(pd.DataFrame({"ds": ds(instants(grid), spec.timezone)}))["yhat"].to_numpy()
    np.testing.assert_allclose(predict(model, grid).expected[0], theirs, rtol=0, atol=1e-6 * plain.y_scale)


@pytest.mark.parametrize("scaling", ["minmax", "absmax"])
@pytest.mark.parametrize("value", [0.0, -7.25, 1e9])
def test_equal_values_forecast_what_prophet_does(scaling: str, value: float) -> None:
    history = changed(series("nearconst", 4), np.full((1, 4 * DAY // STEP), value))
    spec = ModelSpec(scaling=scaling)
    (model,) = StanEngine(WorkerPool()).fit(history, spec)
    assert model.status == (CONSTANT,)
    fitted = prophet_of(history.values[0], history.grid, spec, model.layout)  # asks no Stan
    theirs = fitted.predict(pd.DataFrame({"ds": ds(instants(history.grid))}))["yhat"].to_numpy()
    forecast = predict(model, history.grid)
    np.testing.assert_allclose(forecast.expected[0], theirs, rtol=1e-12)
    np.testing.assert_allclose(forecast.sigma[0], 1e-9 * fitted.y_scale, rtol=1e-12)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_columns_equal_prophets_seasonality_and_holiday_features(zone: str) -> None:
    grid = TimeGrid(AUTUMN, STEP, 28 * DAY // STEP)
    spec = ModelSpec(timezone=zone, holidays=("DE-BY",))
    layout = layout_for(spec, 800 * DAY, grid, holiday_days(spec.holidays, *holiday_years(grid)), "")
    assert layout["holidays"]["names"] == ["All Saints' Day"]
    assert [s["name"] for s in layout["seasonalities"]] == ["yearly", "weekly", "daily"]
    days = [pd.Timestamp(day) for day in layout["holidays"]["days"]["All Saints' Day"]]
    theirs = Prophet(holidays=pd.DataFrame({"holiday": "All Saints' Day", "ds": days}))
    for s in layout["seasonalities"]:
        theirs.add_seasonality(s["name"], s["period"], s["order"])
    at = instants(grid)
    features, *_ = theirs.make_all_seasonality_features(pd.DataFrame({"ds": ds(at, zone)}))
    # The angles are up to 1e6 radians, where sin and cos keep ten digits.
    np.testing.assert_allclose(seasonal_columns(at, layout), features.to_numpy(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("n_changepoints", [25, 3, 0])
@pytest.mark.parametrize("n", [2, 3, 30, 99, 100, 2688])
def test_changepoints_equal_prophets(n: int, n_changepoints: int) -> None:
    at = instants(TimeGrid(START, STEP, n))
    theirs = Prophet(n_changepoints=n_changepoints)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.preprocess(pd.DataFrame({"ds": ds(at), "y": np.arange(float(n))}))
    ours = at[changepoint_rows(n, n_changepoints)]
    np.testing.assert_array_equal(ds(ours), theirs.changepoints.to_numpy())


def test_dropping_outliers_recovers_the_clean_fit() -> None:
    history = series("linear_up", 7)
    rng = np.random.default_rng(5)
    noisy = history.values.copy()
    noisy[0, rng.random(history.grid.size) < 0.02] *= 10
    spec, pool = ModelSpec(), WorkerPool()

    def error(engine: StanEngine, values: Float) -> float:
        (model,) = engine.fit(changed(history, values), spec)
        off = predict(model, history.grid).expected - clean
        return float(np.sqrt(np.mean(off**2)) / np.std(history.values - clean))

    (model,) = StanEngine(pool).fit(history, spec)
    clean = predict(model, history.grid).expected
    assert error(StanEngine(pool), noisy) > 1.0
    assert error(StanEngine(pool, drop_outliers=True), noisy) < 0.25


def test_the_spec_reaches_prophet() -> None:
    """A stiff prior leaves a straight line where a loose one follows the step."""
    history = series("step", 7)
    loose, stiff = (
        StanEngine(WorkerPool()).fit(history, replace(ModelSpec(n_changepoints=10), changepoint_prior_scale=tau))[0]
        for tau in (0.5, 1e-4)
    )
    assert loose.arrays["delta"].shape == (1, 10)
    assert np.abs(stiff.arrays["delta"]).max() < 0.1 * np.abs(loose.arrays["delta"]).max()
