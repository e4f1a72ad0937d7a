"""What holds for the batch engine whatever it is given: company, order, units, gaps and degenerate series."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.generated import KINDS, START, batch

from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.forecast import CONSTANT, NO_DATA, NOT_CONVERGED, OK, TOO_SHORT, Model, ModelSpec
from forewarn.forecasting.batch import BatchEngine, applies
from forewarn.forecasting.batch_passes import PLAIN
from forewarn.forecasting.choose import Forecasting
from forewarn.forecasting.design_matrix import hinges, instants, seasonal_columns
from forewarn.forecasting.predict import predict
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

STEP = 15 * MINUTE
T = 14 * DAY // STEP
GRID = TimeGrid(START, STEP, T)
TAUS = 0.05
SHARES = ModelSpec(scaling="absmax", seasonality="multiplicative")

Fitted = dict[SeriesKey, tuple[Float, float, str]]


def _history(values: Float, grid: TimeGrid = GRID) -> SeriesBatch:
    keys = tuple(SeriesKey("d", (("row", f"{row:03d}"),)) for row in range(len(values)))
    return SeriesBatch(keys, grid, np.array(values, dtype=np.float64))


def _forecasts(models: Iterable[Model], grid: TimeGrid) -> Fitted:
    """(expected on the grid and a day more, sigma_obs in units of y, status) of each key."""
    longer = TimeGrid(grid.start, grid.step, grid.size + DAY // grid.step)
    found = {}
    for model in models:
        expected = predict(model, longer).expected
        noise = model.arrays["sigma_obs"] * model.arrays["y_scale"]
        for row, key in enumerate(model.keys):
            found[key] = (expected[row], float(noise[row]), model.status[row])
    return found


def _fit(history: SeriesBatch, spec: ModelSpec | None = None, engine: BatchEngine | None = None) -> Fitted:
    engine = engine if engine is not None else BatchEngine()
    return _forecasts(engine.fit(history, spec if spec is not None else ModelSpec()), history.grid)


def _same(one: tuple[Float, float, str], other: tuple[Float, float, str], tolerance: float = 1e-4) -> None:
    """Equal forecasts to a small part of the noise: the last bits of a matrix product depend on its shape."""
    assert one[2] == other[2]
    np.testing.assert_allclose(one[0], other[0], rtol=1e-9, atol=tolerance * max(one[1], 1e-12))
    assert one[1] == pytest.approx(other[1], rel=1e-5)


@pytest.mark.parametrize("spec", [ModelSpec(), SHARES], ids=["additive", "multiplicative"])
@pytest.mark.parametrize("engine", [BatchEngine(), BatchEngine(PLAIN)], ids=["robust", "plain"])
def test_a_series_fitted_alone_equals_the_same_series_in_any_batch(engine: BatchEngine, spec: ModelSpec) -> None:
    together = batch(3, T, STEP, per_kind=2)
    fitted = _fit(together, spec, engine)
    assert set(fitted) == set(together.keys)
    for key in together.keys:
        _same(_fit(together.take([key]), spec, engine)[key], fitted[key])
    backwards = _fit(together.take(together.keys[::-1]), spec, engine)
    for key in together.keys:
        _same(backwards[key], fitted[key])


def test_the_same_history_gives_the_same_model_to_the_last_bit() -> None:
    history = batch(4, T, STEP)
    for one, other in zip(BatchEngine().fit(history, ModelSpec()), BatchEngine().fit(history, ModelSpec()), strict=True):
        assert one.keys == other.keys
        assert set(one.arrays) == set(other.arrays)
        for name, array in one.arrays.items():
            np.testing.assert_array_equal(array, other.arrays[name])


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.floats(-6, 6), st.floats(-1e6, 1e6), st.sampled_from(KINDS))
def test_a_change_of_unit_changes_the_forecast_by_the_same(seed: int, exponent: float, offset: float, kind: str) -> None:
    history = batch(seed, T, STEP, kinds=[kind])
    factor = 10.0**exponent
    moved = SeriesBatch(history.keys, history.grid, history.values * factor + offset)
    (key,) = history.keys
    before, after = _fit(history)[key], _fit(moved)[key]
    # What float64 loses of the values by moving them is lost.
    lost = 1e-9 * np.nanmax(np.abs(moved.values))
    np.testing.assert_allclose(after[0], before[0] * factor + offset, rtol=1e-9, atol=1e-3 * factor * before[1] + lost)


def _optimality(history: SeriesBatch, model: Model) -> tuple[float, float, float]:
    """The largest violations of the optimality conditions in units of lambda (ridge, deltas), and of sigma, relative;
    from the raw values and the columns alone.
    """
    a = model.arrays
    at = instants(history.grid)
    worst = np.zeros(3)
    for row, key in enumerate(model.keys):
        y = (history.values[history.rows[key]] - a["y_floor"][row]) / a["y_scale"][row]
        seen = ~np.isnan(y)
        t = (at - a["t_start"][row]) / a["t_scale"][row]
        s = (a["changepoints"][row] - a["t_start"][row]) / a["t_scale"][row]
        X, A = seasonal_columns(at, model.layout), hinges(t, s)
        ridge = np.column_stack([np.ones_like(t), t, X])
        theta = np.concatenate([[a["m"][row], a["k"][row]], a["beta"][row]])
        delta, v = a["delta"][row], a["sigma_obs"][row] ** 2
        left = (y - ridge @ theta - A @ delta)[seen]
        penalty = np.array([1 / 25] * 2 + [1 / 100] * X.shape[1])
        lam = v / TAUS
        g = A[seen].T @ left
        on = np.where(delta == 0, np.maximum(np.abs(g) - lam, 0), np.abs(g - lam * np.sign(delta)))
        sse, n = left @ left, seen.sum()
        violations = (
            np.abs(ridge[seen].T @ left - v * penalty * theta).max() / lam,
            on.max() / lam,
            abs(2 * sse / (n + np.sqrt(n * n + 16 * sse)) / v - 1),
        )
        worst = np.maximum(worst, violations)
    return float(worst[0]), float(worst[1]), float(worst[2])


@pytest.mark.parametrize("missing", ["nothing", "1 %", "half", "a week", "the first 60 %", "every other"])
def test_the_optimality_conditions_hold_on_the_observed_values(missing: str) -> None:
    history = batch(8, 28 * DAY // STEP, STEP, kinds=[k for k in KINDS if k != "gappy"])
    values = history.values.copy()
    rng = np.random.default_rng(1)
    size = values.shape[1]
    gone = {
        "nothing": np.zeros(values.shape, dtype=np.bool_),
        "1 %": rng.random(values.shape) < 0.01,
        "half": rng.random(values.shape) < 0.5,
        "a week": np.broadcast_to((np.arange(size) > 700) & (np.arange(size) < 1372), values.shape),
        "the first 60 %": np.broadcast_to(np.arange(size) < 0.6 * size, values.shape),
        "every other": np.broadcast_to(np.arange(size) % 2 == 1, values.shape),
    }[missing]
    values[gone] = np.nan
    masked = SeriesBatch(history.keys, history.grid, values)
    for model in BatchEngine(PLAIN).fit(masked, ModelSpec()):
        assert set(model.status) == {OK}
        ridge, deltas, variance = _optimality(masked, model)
        # v settles to 1e-6, and the conditions are as sharp as it is.
        assert ridge <= 1e-5
        assert deltas <= 1e-5
        assert variance <= 1e-5


def _growing(size: int, seed: int = 1) -> Float:
    """Waves of 40 % of a level that doubles."""
    t = np.arange(size)
    level = 100 * (1 + t / (28 * 96))
    noise: Float = np.random.default_rng(seed).normal(0, 2, (4, size))
    return level * (1 + 0.4 * np.sin(2 * np.pi * t / 96)) + noise


@pytest.mark.parametrize("growth", ["linear", "flat"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_seasonality_grows_with_the_trend_where_it_is_multiplicative(growth: str, missing: float) -> None:
    size = 28 * 96
    truth = _growing(size + 96)
    values = truth[:, :size] if growth == "linear" else truth[:, :size] / (1 + np.arange(size) / size)
    values = np.where(np.random.default_rng(2).random(values.shape) < missing, np.nan, values)
    history = _history(values, TimeGrid(START, STEP, size))
    errors = {}
    for spec in (ModelSpec(growth=growth), ModelSpec(growth=growth, scaling="absmax", seasonality="multiplicative")):
        (model,) = BatchEngine().fit(history, spec)
        assert model.status == (OK,) * 4
        expected = predict(model, TimeGrid(history.grid.end, STEP, 96)).expected
        errors[spec.seasonality] = float(np.abs(truth[:, size:] / (1 if growth == "linear" else 2) - expected).mean())
    assert errors["multiplicative"] < 2.5
    assert growth == "flat" or errors["additive"] > 4 * errors["multiplicative"]


def test_spikes_and_a_fault_are_kept_out_of_a_multiplicative_fit_too() -> None:
    size = 28 * 96
    truth = _growing(size + 96)
    values = truth[:, :size].copy()
    values[:, ::97] += 300.0
    values[:, -200:-100] -= 100.0
    history = _history(values, TimeGrid(START, STEP, size))
    errors = []
    for engine in (BatchEngine(), BatchEngine(PLAIN)):
        (model,) = engine.fit(history, SHARES)
        expected = predict(model, TimeGrid(history.grid.end, STEP, 96)).expected
        errors.append(np.abs(truth[:, size:] - expected).mean())
    assert errors[0] < 4.0
    assert errors[1] > 20.0


@pytest.mark.parametrize("days", [8, 12, 20])
def test_a_lasting_step_of_a_multiplicative_series_takes_its_waves_along(days: int) -> None:
    size = 28 * 96
    t = np.arange(size + 96)
    level = np.where(t >= size - days * 96, 200.0, 100.0)
    noise = np.random.default_rng(6).normal(0, 2, (3, t.size))
    truth = level * (1 + 0.4 * np.sin(2 * np.pi * t / 96)) + noise
    history = _history(truth[:, :size], TimeGrid(START, STEP, size))
    (model,) = BatchEngine().fit(history, SHARES)
    expected = predict(model, TimeGrid(history.grid.end, STEP, 96)).expected
    assert np.abs(truth[:, size:] - expected).mean() < 5.0
    np.testing.assert_allclose(model.arrays["shift_by"], 100.0, atol=3.0)
    assert "fault_start" not in model.arrays


def test_values_under_the_mask_do_not_matter() -> None:
    history = batch(9, T, STEP)
    values = history.values.copy()
    values[:, 400:500] = np.nan
    masked = SeriesBatch(history.keys, history.grid, values)
    spoiled = history.values.copy()
    spoiled[:, 400:500] = 1e9
    spoiled[np.isnan(values)] = np.nan
    one, other = _fit(masked), _fit(SeriesBatch(history.keys, history.grid, spoiled))
    for key in history.keys:
        _same(one[key], other[key])


DEGENERATE: dict[str, tuple[Float, str]] = {
    "constant": (np.full(T, 7.5), CONSTANT),
    "zero": (np.zeros(T), CONSTANT),
    "nothing": (np.full(T, np.nan), NO_DATA),
    "one value": (np.where(np.arange(T) == 600, 3.0, np.nan), TOO_SHORT),
    "two values": (np.where(np.isin(np.arange(T), (0, T - 1)), np.arange(T) + 1.0, np.nan), OK),
    "two equal values": (np.where(np.isin(np.arange(T), (0, T - 1)), 4.0, np.nan), CONSTANT),
    "offset 1e9": (1e9 + np.sin(np.arange(T) / 7.0), OK),
    "offset 1e15": (1e15 + np.round(4 * np.sin(np.arange(T) / 7.0)), OK),
    "huge": (1e300 * (1 + 0.1 * np.sin(np.arange(T) / 7.0)), OK),
    "tiny": (1e-300 * (1 + 0.1 * np.sin(np.arange(T) / 7.0)), OK),
    "beyond float64": (np.where(np.arange(T) % 2, 1.7e308, -1.7e308), NOT_CONVERGED),
    "negative": (-5.0 + np.cos(np.arange(T) / 9.0), OK),
    "one spike": (np.where(np.arange(T) == 700, 1e6, 0.0), OK),
    "one step": (np.where(np.arange(T) >= 700, 5.0, 1.0), OK),
    "noise-free line": (np.arange(T) * 0.25, OK),
    "noise-free wave": (10 + 3 * np.sin(2 * np.pi * np.arange(T) / 96), OK),
    "first and last missing": (np.where(np.isin(np.arange(T), (0, T - 1)), np.nan, np.sin(np.arange(T) / 5.0)), OK),
    "one long gap": (np.where((np.arange(T) > 100) & (np.arange(T) < 1200), np.nan, np.sin(np.arange(T) / 5.0)), OK),
    "only the last day": (np.where(np.arange(T) < T - 96, np.nan, np.sin(np.arange(T) / 5.0)), OK),
    "stopped": (np.where(np.arange(T) > 300, np.nan, np.sin(np.arange(T) / 5.0)), OK),
    "two values in the tail": (np.where(np.arange(T) < T - 2, np.nan, np.arange(T) % 3.0), OK),
    "a blip in a constant": (np.where(np.arange(T) % 500 == 99, 2.0, 1.0), OK),
}


@pytest.mark.parametrize("spec", [ModelSpec(), SHARES], ids=["additive", "multiplicative"])
@pytest.mark.parametrize("engine", [BatchEngine(), BatchEngine(PLAIN)], ids=["robust", "plain"])
def test_a_degenerate_series_has_finite_parameters_or_a_status_and_leaves_the_others_alone(
    engine: BatchEngine, spec: ModelSpec
) -> None:
    well = batch(5, T, STEP, kinds=["smooth", "counts", "gappy", "ar1"])
    names = list(DEGENERATE)
    keys = tuple(SeriesKey("odd", (("name", name),)) for name in names)
    odd = SeriesBatch(keys, GRID, np.array([DEGENERATE[name][0] for name in names]))
    mixed = _fit(SeriesBatch(odd.keys + well.keys, GRID, np.vstack([odd.values, well.values])), spec, engine)
    undisturbed = _fit(well, spec, engine)
    for key in well.keys:
        _same(mixed[key], undisturbed[key])
    for name, key in zip(names, keys, strict=True):
        expected, sigma, status = mixed[key]
        # Two values leave nothing over to tell sigma from: either answer is right.
        assert status == DEGENERATE[name][1] or (name == "two values" and status == NOT_CONVERGED), name
        if status in (NO_DATA, NOT_CONVERGED):
            assert np.isnan(expected).all(), name
        else:
            assert np.isfinite(expected).all(), name
            assert np.isfinite(sigma), name
            assert sigma > 0, name
        if status == CONSTANT:
            value = np.nanmax(DEGENERATE[name][0])
            np.testing.assert_allclose(expected, value, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
@pytest.mark.parametrize("with_gap", [False, True])
def test_infinite_values_are_refused(bad: float, with_gap: bool) -> None:
    values = np.ones((3, T))
    values[1, 5] = bad
    if with_gap:
        values[1, 6] = np.nan
    with pytest.raises(ValueError, match="infinite"):
        BatchEngine().fit(_history(values), ModelSpec())


@pytest.mark.parametrize("spec", [ModelSpec(growth="logistic"), ModelSpec(scaling="robust"), ModelSpec(seasonality="harmonic")])
def test_what_has_no_convex_form_is_refused_with_the_reason(spec: ModelSpec) -> None:
    reason = applies(spec)
    assert reason is not None
    with pytest.raises(ValueError, match="does not apply"):
        BatchEngine().fit(_history(np.ones((1, T))), spec)
    assert applies(ModelSpec()) is None
    assert applies(ModelSpec(growth="flat", scaling="absmax")) is None
    assert applies(SHARES) is None


def test_no_series_and_an_empty_grid_give_no_forecasts() -> None:
    assert BatchEngine().fit(_history(np.empty((0, T))), ModelSpec()) == ()
    (model,) = BatchEngine().fit(_history(np.empty((2, 0)), TimeGrid(START, STEP, 0)), ModelSpec())
    assert model.status == (NO_DATA, NO_DATA)


@pytest.mark.parametrize("size", [2, 3, 4, 10, 30, 99, 100])
def test_windows_of_any_length_are_fitted(size: int) -> None:
    rng = np.random.default_rng(size)
    history = _history(rng.normal(size=(5, size)), TimeGrid(START, HOUR, size))
    fitted = _fit(history)
    for expected, _, status in fitted.values():
        assert status == OK
        assert np.isfinite(expected).all()


def test_a_young_series_has_changepoints_and_time_of_its_own() -> None:
    history = batch(2, 28 * DAY // STEP, STEP, kinds=["smooth", "counts"])
    values = history.values.copy()
    born = 20 * DAY // STEP
    values[0, :born] = np.nan
    models = BatchEngine().fit(SeriesBatch(history.keys, history.grid, values), ModelSpec())
    by_key = {key: (model, row) for model in models for row, key in enumerate(model.keys)}
    young, row = by_key[history.keys[0]]
    first = history.grid.start + born * STEP
    assert first - DAY <= young.arrays["t_start"][row] <= first + STEP
    assert young.arrays["changepoints"][row].min() >= young.arrays["t_start"][row]
    assert [s["name"] for s in young.layout["seasonalities"]] == ["daily"]
    old, _ = by_key[history.keys[1]]
    assert [s["name"] for s in old.layout["seasonalities"]] == ["weekly", "daily"]


def test_seasonality_is_learnt_in_civil_time_across_a_change_of_the_clock() -> None:
    # Berlin puts its clocks back on 2026-10-25: opening hours stay at nine on the wall clock.
    start = START + 60 * DAY
    grid = TimeGrid(start, STEP, 24 * DAY // STEP)
    after = TimeGrid(grid.end, STEP, 3 * DAY // STEP)
    changed = START + 85 * DAY + HOUR

    def wall_hour(at: Float) -> Float:
        return (at + np.where(at < changed, 2 * HOUR, HOUR)) % DAY / HOUR

    def truth(at: Float) -> Float:
        return 5 + np.sin(2 * np.pi * (wall_hour(at) - 9) / 24)

    values = truth(instants(grid))[None] + np.random.default_rng(1).normal(0, 0.05, (1, grid.size))
    history = _history(values, grid)
    errors = {}
    for zone in ("Europe/Berlin", "UTC"):
        (model,) = BatchEngine().fit(history, ModelSpec(timezone=zone))
        errors[zone] = np.abs(predict(model, after).expected[0] - truth(instants(after)))[-2 * 96 :].mean()
    assert errors["Europe/Berlin"] < 0.03
    assert errors["UTC"] > 3 * errors["Europe/Berlin"]


def test_a_public_holiday_is_learnt_and_expected_again() -> None:
    # 2026-12-25 and 26 are holidays in Germany; the window ends between them.
    grid = TimeGrid(START + 118 * DAY, STEP, 28 * DAY // STEP)
    day = (instants(grid) // DAY).astype(np.int64)
    christmas = (START + 146 * DAY) // DAY
    values = 10 + np.random.default_rng(2).normal(0, 0.1, (3, grid.size)) - 4 * (day >= christmas - 1)
    assert not (day >= christmas).any()
    (model,) = BatchEngine(PLAIN).fit(
        _history(values - 4 * (day == christmas - 20), grid), ModelSpec(holidays=("DE",), timezone="UTC")
    )
    assert model.layout["holidays"]["names"] == []  # none of its days lies in the window: nothing could be learnt
    later = TimeGrid(grid.start + DAY, STEP, grid.size)
    values = 10 + np.random.default_rng(2).normal(0, 0.1, (3, later.size)) - 4 * (instants(later) // DAY == christmas)
    (model,) = BatchEngine(PLAIN).fit(_history(values, later), ModelSpec(holidays=("DE",), timezone="UTC"))
    assert model.layout["holidays"]["names"]
    dip = model.arrays["beta"][:, -len(model.layout["holidays"]["names"]) :].sum(axis=1) * model.arrays["y_scale"]
    assert (dip < -2.5).all()


def test_a_thousand_rows_of_many_kinds_are_one_model_in_the_order_of_their_keys() -> None:
    history = batch(1, 4 * DAY // HOUR, HOUR, per_kind=75)
    (model,) = BatchEngine().fit(history, ModelSpec())
    assert model.keys == history.keys
    assert model.engine == "batch"
    assert model.window == (history.grid.start, history.grid.end)
    assert set(model.status) <= {OK, CONSTANT}  # a sparse count may never have counted


def test_models_from_before_there_was_a_choice_are_additive() -> None:
    history = batch(6, T, STEP, kinds=["smooth", "counts"])
    (model,) = BatchEngine().fit(history, ModelSpec())
    layout = {name: part for name, part in model.layout.items() if name != "seasonality_mode"}
    old = replace(model, layout=layout)
    np.testing.assert_array_equal(predict(old, GRID).expected, predict(model, GRID).expected)


def test_auto_takes_the_batch_engine_for_multiplicative_seasonality_and_says_so() -> None:
    history = batch(6, T, STEP, kinds=["smooth"])
    (model,) = Forecasting().fit(history, SHARES)
    assert model.engine == "batch"
    assert model.layout["seasonality_mode"] == "multiplicative"
    assert model.layout["why"] == "the default engine"
