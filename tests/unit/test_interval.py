"""The sigma of full models: noise, and the shifts of the trend that may come after the history."""

from typing import Any

import numpy as np
import pytest
from tests.generated import START

from forewarn.detector import DAY, MINUTE
from forewarn.forecast import OK, Model
from forewarn.forecasting.predict import predict
from forewarn.series import Float, SeriesKey, TimeGrid

STEP = 15 * MINUTE
HISTORY = TimeGrid(START, STEP, 7 * DAY // STEP)
LAST = HISTORY.end - STEP / 2


def model_of(delta: Float, sigma_obs: float = 0.05, y_scale: float = 40.0, growth: str = "linear", **more: Any) -> Model:
    D = np.count_nonzero(np.isfinite(delta))
    changes = np.full(delta.size, np.nan)
    changes[:D] = np.linspace(START + DAY, START + 5 * DAY, D)
    arrays = {
        "k": [0.3], "m": [0.1], "delta": [np.nan_to_num(delta)], "changepoints": [changes], "beta": np.zeros((1, 0)),
        "sigma_obs": [sigma_obs], "y_floor": [7.0], "y_scale": [y_scale], "t_start": [START + STEP / 2],
        "t_scale": [LAST - START - STEP / 2], "history_end": [LAST], **more,
    }  # fmt: skip
    layout = {"growth": growth, "timezone": "UTC", "seasonalities": [], "holidays": {"names": [], "days": {}}, "why": ""}
    rows = {name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()}
    return Model("stan", (SeriesKey("d"),), (HISTORY.start, HISTORY.end), STEP, layout, rows, (OK,))


def test_sigma_equals_a_simulation_of_the_shifts() -> None:
    """The process that Prophet samples: shifts of the slope at random steps, averaged over neighbours, summed twice."""
    delta = np.random.default_rng(1).laplace(0, 0.4, 25)
    model, H, N = model_of(delta), 96, 20_000
    dt = STEP / (LAST - START - STEP / 2)
    rng = np.random.default_rng(2)
    shifts = rng.laplace(0, np.abs(delta).mean() + 1e-8, (N, H)) * (rng.random((N, H)) < 25 * dt)
    shifts = (shifts + np.hstack([np.zeros((N, 1)), shifts[:, :-1]])) / 2
    paths = np.cumsum(np.cumsum(shifts, axis=1), axis=1) * dt + rng.normal(0, 0.05, (N, H))
    simulated = 40.0 * paths.std(axis=0)
    sigma = predict(model, TimeGrid(HISTORY.end, STEP, H)).sigma[0]
    np.testing.assert_allclose(sigma, simulated, rtol=0.06)  # 20,000 paths of rare, heavy-tailed shifts
    assert sigma[-1] > 1.5 * sigma[0]


def test_sigma_is_the_noise_inside_the_history_and_grows_after_it() -> None:
    model = model_of(np.full(25, 0.3))
    sigma = predict(model, TimeGrid(START, STEP, HISTORY.size + 50)).sigma[0]
    np.testing.assert_allclose(sigma[: HISTORY.size], 0.05 * 40.0)
    assert (np.diff(sigma[HISTORY.size :]) > 0).all()


@pytest.mark.parametrize("step", [MINUTE, 5 * MINUTE, 60 * MINUTE])
def test_sigma_depends_on_the_time_and_not_on_the_grid(step: int) -> None:
    """Prophet's own band starts at the first row that is asked for; ours at the end of history, also when asked late."""
    model = model_of(np.full(25, 0.3))
    later = HISTORY.end + DAY
    coarse = predict(model, TimeGrid(later, STEP, 40)).sigma[0]
    fine = predict(model, TimeGrid(later, step, 10 * 60 * MINUTE // step)).sigma[0]
    middles = later + step / 2 + step * np.arange(fine.size)
    known = later + STEP * (np.arange(40) + 0.5)
    between = (middles >= known[0]) & (middles <= known[-1])
    assert between.any()
    np.testing.assert_allclose(fine[between], np.interp(middles[between], known, coarse), rtol=1e-4)


def test_padding_and_flat_growth_add_no_uncertainty() -> None:
    grid = TimeGrid(HISTORY.end, STEP, 96)
    padded = model_of(np.concatenate([np.full(5, 0.3), np.full(20, np.nan)]))
    plain = model_of(np.full(5, 0.3))
    np.testing.assert_array_equal(predict(padded, grid).sigma, predict(plain, grid).sigma)
    np.testing.assert_array_equal(predict(padded, grid).expected, predict(plain, grid).expected)
    np.testing.assert_allclose(predict(model_of(np.full(25, 0.3), growth="flat"), grid).sigma, 0.05 * 40.0)
    np.testing.assert_allclose(predict(model_of(np.zeros(0)), grid).sigma, 0.05 * 40.0)


def test_rows_with_windows_of_their_own_predict_as_they_would_alone() -> None:
    rows = [model_of(np.full(3, 0.3), t_start=[START + d * DAY], t_scale=[(7 - d) * DAY]) for d in range(4)]
    arrays = {name: np.concatenate([row.arrays[name] for row in rows]) for name in rows[0].arrays}
    keys = tuple(SeriesKey("d", (("n", str(n)),)) for n in range(4))
    together = Model("stan", keys, (HISTORY.start, HISTORY.end), STEP, rows[0].layout, arrays, (OK,) * 4)
    grid = TimeGrid(START, STEP, 9 * DAY // STEP)
    for n, row in enumerate(rows):
        np.testing.assert_array_equal(predict(together, grid).expected[n], predict(row, grid).expected[0])


def test_a_profile_is_added_by_time_of_the_civil_week() -> None:
    profile = np.arange(7.0 * 24)[None, :]
    grid = TimeGrid(START, 60 * MINUTE, 7 * 24)
    bare, with_profile = model_of(np.zeros(0)), model_of(np.zeros(0), profile=profile)
    added = (predict(with_profile, grid).expected - predict(bare, grid).expected)[0]
    np.testing.assert_allclose(added, np.roll(profile[0], -2 * 24), atol=1e-9)  # weeks of slots start on a Thursday
