"""One series fitted by the batch engine and by Stan on the same grid, with the same changepoints, compared in nats and sigma.

Owns: Comparison, `compare`, and Stan's density written from its terms. What must hold of them is in the tests.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prophet import Prophet

from forewarn.forecast import OK, Model, ModelSpec
from forewarn.forecasting.design_matrix import instants, seasonal_columns
from forewarn.forecasting.predict import predict
from forewarn.series import Float, SeriesKey, TimeGrid


@dataclass(frozen=True)
class Comparison:
    """One series, both engines: objectives at their own sigma (ours, Stan's), Stan's lp__, Stan's objective at our sigma,
    yhat [T + n] in units of y, the history and `n` buckets more, our sigma there, and the values of all of them.
    """

    kind: str
    T: int
    ours: float
    stan: float
    lp: float
    stan_at_our_sigma: float
    yhat: Float
    theirs: Float
    sigma: float
    y: Float
    again: Callable[[], "Comparison"]
    """The same with Stan started close to our point: every delta moved by about 1e-4, which is thousands of nats away where
    there is little noise.
    """

    @property
    def seen(self) -> Any:
        return ~np.isnan(self.y[: self.T])

    @property
    def inside(self) -> float:
        """The largest difference of yhat on the observed points, in sigma."""
        return float(np.abs(self.yhat - self.theirs)[: self.T][self.seen].max() / self.sigma)

    @property
    def after(self) -> float:
        """The largest difference of yhat after the history, in sigma."""
        return float(np.abs(self.yhat - self.theirs)[self.T :].max() / self.sigma)

    @property
    def error_ratio(self) -> float:
        """Mean absolute error after the history, ours by Stan's."""
        return float(np.nanmean(np.abs(self.y - self.yhat)[self.T :]) / np.nanmean(np.abs(self.y - self.theirs)[self.T :]))


def log_posterior(
    y: Float, t: Float, X: Float, s: Float, k: float, m: float, delta: Float, beta: Float, sigma: float, spec: ModelSpec
) -> float:
    """Stan's density, term by term as in prophet.stan, without its constants; y scaled, rows with NaN left out."""
    A = (t[:, None] >= s[None, :]).astype(np.float64)
    trend = (k + A @ delta) * t + (m + A @ (-s * delta)) if spec.growth == "linear" else np.full_like(t, m)
    expected = trend * (1 + X @ beta) if spec.seasonality == "multiplicative" else trend + X @ beta
    left = (y - expected)[~np.isnan(y)]
    likelihood = -left.size * np.log(sigma) - left @ left / (2 * sigma**2)
    priors = -(k**2) / 50 - m**2 / 50 - np.abs(delta).sum() / 0.05 - 2 * sigma**2 - beta @ beta / 200
    return float(likelihood + priors)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # prophet under pandas 3
        yield


def _stan(y: Float, grid: TimeGrid, spec: ModelSpec, model: Model, row: int, start: Mapping[str, Any]) -> Prophet:
    """Prophet with our seasonalities and changepoints, fitted by Stan with all digits, from its own start or another."""
    a = model.arrays
    fitted = Prophet(
        growth=spec.growth,
        changepoints=list(_ds(a["changepoints"][row])) if spec.growth == "linear" else None,
        yearly_seasonality=False,
        weekly_seasonality=False,
        daily_seasonality=False,
        scaling=spec.scaling,
        seasonality_mode=spec.seasonality,
        uncertainty_samples=0,
    )
    for seasonality in model.layout["seasonalities"]:
        fitted.add_seasonality(seasonality["name"], seasonality["period"], seasonality["order"])
    fitted.fit(pd.DataFrame({"ds": _ds(instants(grid)), "y": y[: grid.size]}), sig_figs=18, seed=1, **start)
    return fitted


def _ds(at: Float) -> Any:
    return pd.to_datetime(at.astype(np.int64), unit="ms")


def compare(
    kind: str, y: Float, grid: TimeGrid, spec: ModelSpec, model: Model, row: int, *, from_ours: bool = False
) -> Comparison:
    """Row `row` of our `model`, fitted to the first `grid.size` of `y` [T + n], against Stan's fit of the same.

    The first and the last value of the history must be observed: Prophet's time runs from one to the other.
    """
    T = grid.size
    after = TimeGrid(grid.start, grid.step, len(y))
    a = {name: array[row] for name, array in model.arrays.items()}
    start = {}
    if from_ours:
        moved = a["delta"] + 1e-4 * np.random.default_rng(1).normal(size=a["delta"].size)
        start = {"init": {name: a[name] for name in ("k", "m", "beta", "sigma_obs")} | {"delta": moved}}
    with _quiet():
        prophet = _stan(y, grid, spec, model, row, start)
        theirs = prophet.predict(pd.DataFrame({"ds": _ds(instants(after))}))["yhat"].to_numpy()
    scale, floor = float(a["y_scale"]), float(a["y_floor"])
    t = (instants(grid) - a["t_start"]) / a["t_scale"]
    s = (a["changepoints"] - a["t_start"]) / a["t_scale"]
    assert prophet.y_scale == pytest.approx(scale, rel=1e-12)
    if spec.growth == "linear":
        np.testing.assert_allclose(prophet.changepoints_t, s, atol=1e-12)
    scaled, X = (y[:T] - floor) / scale, seasonal_columns(instants(grid), model.layout)
    p = {name: np.asarray(values, dtype=np.float64).reshape(-1) for name, values in prophet.params.items() if name != "trend"}
    linear = spec.growth == "linear"
    # Flat growth has a dummy changepoint in Stan; its delta leaves the likelihood and ends at 0, where the prior wants it.
    stan = (p["k"][0], p["m"][0], p["delta"] if linear else p["delta"][:0], p["beta"])
    ours = (float(a["k"]), float(a["m"]), a["delta"], a["beta"])
    sigma = float(a["sigma_obs"])
    key = SeriesKey("ours")
    mine = Model("batch", (key,), model.window, grid.step, model.layout, {n: v[None] for n, v in a.items()}, (OK,))
    return Comparison(
        kind=kind,
        T=T,
        ours=log_posterior(scaled, t, X, s, *ours, sigma, spec),
        stan=log_posterior(scaled, t, X, s, *stan, float(p["sigma_obs"][0]), spec),
        lp=float(p["lp__"][0]) if "lp__" in p else float("nan"),
        stan_at_our_sigma=log_posterior(scaled, t, X, s, *stan, sigma, spec),
        yhat=predict(mine, after).expected[0],
        theirs=theirs,
        sigma=sigma * scale,
        y=y,
        again=partial(compare, kind, y, grid, spec, model, row, from_ours=True),
    )
