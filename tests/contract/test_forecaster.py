"""What every forecasting engine keeps of the `Forecaster` and `Predictor` ports, through `Forecasting`."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
from tests.generated import START, batch

from forewarn import blocks
from forewarn.detector import DAY, MINUTE
from forewarn.errors import ModelError, ModelMismatch
from forewarn.forecast import CONSTANT, NO_DATA, OK, STATUSES, TOO_SHORT, Forecast, Model, ModelSpec, assemble
from forewarn.forecasting.choose import Forecasting
from forewarn.forecasting.predict import predict
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid

ENGINES = ("stan", "batch", "seasonal_median", "rolling_median")
STEP = 15 * MINUTE
DAYS = 14
KINDS = ("ar1", "counts", "gappy", "smooth")
ZONE = "Europe/Berlin"


@pytest.fixture(scope="module")
def forecasting() -> Iterator[Forecasting]:
    room = Forecasting()
    yield room
    room.close()


@pytest.fixture(scope="module")
def history() -> SeriesBatch:
    return batch(seed=1, n=DAYS * DAY // STEP, step=STEP, kinds=KINDS)


@pytest.fixture(scope="module", params=ENGINES)
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    return ModelSpec(engine=request.param, timezone=ZONE, holidays=("DE-BY",))


@pytest.fixture(scope="module")
def models(forecasting: Forecasting, history: SeriesBatch, spec: ModelSpec) -> tuple[Model, ...]:
    return forecasting.fit(history, spec)


def forecast_of(models: tuple[Model, ...], keys: tuple[SeriesKey, ...], grid: TimeGrid) -> Forecast:
    return assemble(keys, grid, [predict(model, grid) for model in models])


def odd_batch(rows: dict[str, np.ndarray]) -> SeriesBatch:
    n = len(next(iter(rows.values())))
    return SeriesBatch(
        tuple(SeriesKey("odd", (("case", case),)) for case in rows), TimeGrid(START, STEP, n), np.array(list(rows.values()))
    )


def test_every_series_gets_one_row_of_the_engine_asked_for(
    models: tuple[Model, ...], history: SeriesBatch, spec: ModelSpec
) -> None:
    assert sorted(key for model in models for key in model.keys) == sorted(history.keys)
    for model in models:
        assert model.engine == spec.engine
        assert model.status == (OK,) * len(model.keys)
        assert model.window == (history.grid.start, history.grid.end)
        assert model.step == STEP
        assert model.layout["timezone"] == ZONE
        assert model.layout["why"] == "asked for"


def test_the_forecast_follows_the_history_and_sigma_says_how_closely(models: tuple[Model, ...], history: SeriesBatch) -> None:
    following = TimeGrid(history.grid.end, STEP, DAY // STEP)
    forecast = forecast_of(models, history.keys, following)
    assert np.isfinite(forecast.expected).all()
    assert (forecast.sigma > 0).all()
    inside = forecast_of(models, history.keys, history.grid)
    residuals = history.values - inside.expected
    assert (np.nanstd(residuals, axis=1) < 1.2 * np.nanstd(history.values, axis=1)).all()
    ratio = np.nanmedian(np.abs(residuals), axis=1) / np.median(inside.sigma, axis=1)
    assert ((ratio > 0.2) & (ratio < 2.0)).all()


def test_the_same_history_gives_the_same_model(
    forecasting: Forecasting, models: tuple[Model, ...], history: SeriesBatch, spec: ModelSpec
) -> None:
    """Alone or beside others, in any order; to the precision that an optimiser of many series at once keeps."""
    key = history.keys[-1]
    again = forecasting.fit(history.take([key]), spec)
    grid = TimeGrid(history.grid.start, STEP, history.grid.size + 96)
    alone, beside = forecast_of(again, (key,), grid), forecast_of(models, history.keys, grid)
    np.testing.assert_allclose(alone.expected[0], beside.expected[-1], rtol=0, atol=1e-6 * np.nanstd(history.values[-1]))
    twice = forecasting.fit(history.take([key]), spec)
    np.testing.assert_array_equal(forecast_of(twice, (key,), grid).expected, alone.expected)
    assert blocks.encode({}, twice[0].arrays) == blocks.encode({}, again[0].arrays)


def test_a_model_survives_being_stored(models: tuple[Model, ...], history: SeriesBatch) -> None:
    following = TimeGrid(history.grid.end, STEP, 96)
    for model in models:
        meta, arrays = blocks.decode(blocks.encode({"layout": model.layout}, model.arrays))
        assert json.loads(json.dumps(meta["layout"])) == model.layout
        stored = Model(model.engine, model.keys, model.window, model.step, meta["layout"], arrays, model.status)
        np.testing.assert_array_equal(predict(stored, following).expected, predict(model, following).expected)


@pytest.mark.parametrize("step", [MINUTE, 5 * MINUTE, 60 * MINUTE])
def test_a_bucket_has_one_forecast_however_it_is_asked_for(models: tuple[Model, ...], history: SeriesBatch, step: int) -> None:
    """To the last bit: a block of buckets and a tick at a time must score the same."""
    grid = TimeGrid(history.grid.end - 40 * step // STEP * STEP, step, 60)
    for model in models:
        whole = predict(model, grid)
        for first, size in ((0, 1), (1, 12), (13, 47)):
            part = predict(model, TimeGrid(grid.start + first * step, step, size))
            np.testing.assert_array_equal(part.expected, whole.expected[:, first : first + size])
            np.testing.assert_array_equal(part.sigma, whole.sigma[:, first : first + size])
        row = predict(model.take([len(model.keys) - 1]), grid)
        np.testing.assert_array_equal(row.expected[0], whole.expected[-1])
        np.testing.assert_array_equal(row.sigma[0], whole.sigma[-1])


def test_series_that_cannot_be_modelled_say_so(forecasting: Forecasting, spec: ModelSpec) -> None:
    n = 4 * DAY // STEP
    rng = np.random.default_rng(2)
    two = np.full(n, np.nan)
    two[[0, -1]] = 1.0, 2.0
    gap = rng.normal(5.0, 1.0, n)
    gap[60 : n - 60] = np.nan
    history = odd_batch({"empty": np.full(n, np.nan), "two": two, "equal": np.full(n, -3.5), "zero": np.zeros(n), "gap": gap})
    models = forecasting.fit(history, spec)
    forecast = forecast_of(models, history.keys, TimeGrid(history.grid.end, STEP, 96))
    assert forecast.status == (NO_DATA, TOO_SHORT, CONSTANT, CONSTANT, OK)
    assert forecast.engine == ("none", "too_short", spec.engine, spec.engine, spec.engine)
    assert np.isnan(forecast.expected[:2]).all()
    np.testing.assert_allclose(forecast.expected[2], -3.5)
    np.testing.assert_allclose(forecast.expected[3], 0.0, atol=1e-12)
    assert (forecast.sigma[2:] > 0).all()
    shown = forecast.expected[4][np.isfinite(forecast.expected[4])]
    assert shown.size
    assert (np.abs(shown - 5.0) < 5.0).all()


def test_extreme_values_give_finite_forecasts_or_a_status(forecasting: Forecasting, spec: ModelSpec) -> None:
    n = 4 * DAY // STEP
    noise = np.random.default_rng(3).normal(size=n)
    history = odd_batch(
        {
            "huge": 1e300 * (1.0 + 0.01 * noise),
            "whole range": np.where(noise > 0, 1.7e308, -1.7e308),
            "tiny": 1e-300 * (1.0 + 0.01 * noise),
            "one step": np.where(np.arange(n) == n // 2, 1.0, 0.0),
            "offset": 1e9 + noise,
        }
    )
    forecast = forecast_of(forecasting.fit(history, spec), history.keys, TimeGrid(history.grid.end, STEP, 4))
    for row, status in enumerate(forecast.status):
        assert status in STATUSES
        assert status != OK or (np.isfinite(forecast.expected[row]).all() and (forecast.sigma[row] > 0).all())
    assert forecast.status[0] == OK
    assert forecast.status[4] == OK


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_infinite_values_are_refused(forecasting: Forecasting, spec: ModelSpec, infinity: float) -> None:
    values = np.ones(400)
    values[7] = infinity
    with pytest.raises(ValueError, match="infinit"):
        forecasting.fit(odd_batch({"infinite": values}), spec)


def test_no_series_give_no_models(forecasting: Forecasting, spec: ModelSpec) -> None:
    assert forecasting.fit(SeriesBatch((), TimeGrid(START, STEP, 96), np.empty((0, 96))), spec) == ()


def test_a_grid_without_buckets_gives_rows_without_models(forecasting: Forecasting, spec: ModelSpec) -> None:
    (model,) = forecasting.fit(SeriesBatch((SeriesKey("d"),), TimeGrid(START, STEP, 0), np.empty((1, 0))), spec)
    assert (model.engine, model.status) == ("none", (NO_DATA,))


def test_an_unknown_engine_is_refused(forecasting: Forecasting, history: SeriesBatch) -> None:
    with pytest.raises(ModelError, match="'oracle' is unknown"):
        forecasting.fit(history, ModelSpec(engine="oracle"))


def test_an_unknown_time_zone_is_refused(forecasting: Forecasting, history: SeriesBatch) -> None:
    with pytest.raises(ModelError, match="Atlantis"):
        forecasting.fit(history, ModelSpec(engine="seasonal_median", timezone="Sea/Atlantis"))


def test_an_unknown_country_is_refused(forecasting: Forecasting, history: SeriesBatch) -> None:
    with pytest.raises(ModelError, match="'XX'"):
        forecasting.fit(history, ModelSpec(engine="stan", holidays=("XX",)))


@pytest.mark.parametrize(("engine", "arrays"), [("oracle", {}), ("stan", {"k": np.zeros(1)})])
def test_models_that_this_version_cannot_read_are_a_mismatch(engine: str, arrays: dict[str, np.ndarray]) -> None:
    layout = {"growth": "linear", "timezone": "UTC", "seasonalities": [], "holidays": {"names": [], "days": {}}}
    model = Model(engine, (SeriesKey("d"),), (START, START + DAY), STEP, layout, arrays, (OK,))
    with pytest.raises(ModelMismatch):
        predict(model, TimeGrid(START, STEP, 3))
