"""The engine "stan": the prophet package, one series at a time.

Owns: everything that knows prophet and pandas, which are imported on first use. Its rows have the layout of
`design_matrix.py`. Must not predict: `predict.py` does, from the parameters alone.
"""

import logging
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import EngineUnavailable, ModelError
from forewarn.forecast import CONSTANT, NO_DATA, NOT_CONVERGED, OK, SEASONALITY, TOO_SHORT, Model, ModelSpec
from forewarn.forecasting.civil_time import offsets
from forewarn.forecasting.design_matrix import column_count, holiday_years, instants, layout_for
from forewarn.forecasting.extent import Extent
from forewarn.forecasting.fallback import median
from forewarn.forecasting.predict import predict
from forewarn.forecasting.public_holidays import holiday_days
from forewarn.forecasting.workers import WorkerPool
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

NAME: Final = "stan"
_OUTLIER: Final = 4.0
"""Residuals beyond this many robust standard deviations are dropped before the second fit."""
_SEED: Final = 1

_SCALARS: Final = ("k", "m", "sigma_obs", "y_floor", "y_scale", "t_start", "t_scale", "history_end")
_PARAMS: Final = ("k", "m", "delta", "beta", "sigma_obs")

Arrays = dict[str, Float]


@dataclass(frozen=True, slots=True, eq=False)
class SeriesTask:
    """One series to fit: values [T] on the grid, NaN = missing, and what to fit."""

    values: Float
    grid: TimeGrid
    spec: ModelSpec
    layout: Mapping[str, Any]
    drop_outliers: bool


class StanEngine:
    """Prophet's own posterior mode, found by Stan; fits are spread over the workers.

    With `drop_outliers` the points more than 4 robust standard deviations off the fit are dropped and the rest is fitted
    again, which doubles the cost.
    """

    name: Final = NAME

    def __init__(self, workers: WorkerPool, *, drop_outliers: bool = False) -> None:
        self._workers = workers
        self._drop_outliers = drop_outliers

    def fit(self, history: SeriesBatch, spec: ModelSpec) -> tuple[Model, ...]:
        """One row for every key, in one model per set of seasonalities; rows that Stan could not fit say not_converged.

        Raises ModelError for a growth other than linear and flat or an unknown seasonality, EngineUnavailable if prophet
        cannot be loaded.
        """
        if spec.growth not in ("linear", "flat"):
            raise ModelError(f"growth {spec.growth!r} is not supported, expected linear or flat")
        if spec.seasonality not in SEASONALITY:
            raise ModelError(f"seasonality {spec.seasonality!r} is not supported, expected one of {', '.join(SEASONALITY)}")
        grid = history.grid
        holidays = holiday_days(spec.holidays, *holiday_years(grid)) if spec.holidays else ()
        layouts: dict[tuple[tuple[str, int], ...], dict[str, Any]] = {}
        rows_of: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
        tasks = []
        for row, covered in enumerate(Extent.of(history.values).covered(grid.step).tolist()):
            layout = layout_for(spec, covered, grid, holidays, "")
            kind = tuple((s["name"], s["order"]) for s in layout["seasonalities"])
            layout = layouts.setdefault(kind, layout)
            rows_of[kind].append(row)
            tasks.append(SeriesTask(history.values[row], grid, spec, layout, self._drop_outliers))
        fitted = self._workers.map(fit_series, tasks)
        models = []
        for kind, rows in rows_of.items():
            keys = tuple(history.keys[row] for row in rows)
            parts = [fitted[row] or (NOT_CONVERGED, None) for row in rows]
            models.append(_model(keys, grid, layouts[kind], parts))
        return tuple(models)


def fit_series(task: SeriesTask) -> tuple[str, Arrays | None]:
    """The status of one series and its arrays without the axis of the series; None where there is no model."""
    observed = ~np.isnan(task.values)
    if observed.sum() < 2:
        return (TOO_SHORT if observed.any() else NO_DATA), None
    y = task.values[observed]
    with np.errstate(over="ignore"):
        scale = y.max() - y.min() if task.spec.scaling == "minmax" else np.abs(y).max()
    if y.max() == y.min():
        return CONSTANT, _constant(task, y, instants(task.grid)[observed])
    if not np.isfinite(scale):
        return NOT_CONVERGED, None
    arrays = _fit(task, task.values)
    if arrays is not None and task.drop_outliers:
        residuals = task.values - _expected(task, arrays)
        spread = 1.4826 * median(np.abs(residuals)[None, :])[0]
        kept = np.where(np.abs(residuals) <= _OUTLIER * max(spread, 1e-6 * scale), task.values, np.nan)
        if np.isnan(kept).sum() > np.isnan(task.values).sum() and np.nanmax(kept) > np.nanmin(kept):
            arrays = _fit(task, kept)
    return (OK, arrays) if arrays is not None else (NOT_CONVERGED, None)


def prophet_of(values: Float, grid: TimeGrid, spec: ModelSpec, layout: Mapping[str, Any]) -> Any:
    """A fitted prophet.Prophet of the values [T]; its `ds` are instants in UTC, its seasonality is civil.

    Raises RuntimeError if Stan does not converge.
    """
    prophet_class = _civil_prophet()
    import pandas  # noqa: PLC0415 - vendor, loaded on use

    holidays = None
    if layout["holidays"]["names"]:
        pairs = [(name, day) for name in layout["holidays"]["names"] for day in layout["holidays"]["days"][name]]
        holidays = pandas.DataFrame(pairs, columns=["holiday", "ds"])
    with _quiet():
        model = prophet_class(
            timezone=layout["timezone"],
            growth=layout["growth"],
            n_changepoints=spec.n_changepoints,
            yearly_seasonality=False,
            weekly_seasonality=False,
            daily_seasonality=False,
            holidays=holidays,
            seasonality_prior_scale=spec.seasonality_prior_scale,
            holidays_prior_scale=spec.holidays_prior_scale,
            changepoint_prior_scale=spec.changepoint_prior_scale,
            uncertainty_samples=0,
            scaling=spec.scaling,
            seasonality_mode=layout["seasonality_mode"],
        )
        for seasonality in layout["seasonalities"]:
            model.add_seasonality(seasonality["name"], seasonality["period"], seasonality["order"])
        observed = ~np.isnan(values)
        frame = pandas.DataFrame({"ds": _microseconds(instants(grid)[observed]), "y": values[observed]})
        # A worker lives for weeks, and what Stan leaves in cmdstanpy's own folder stays until the process ends.
        with TemporaryDirectory(prefix="forewarn-stan-") as folder:
            model.fit(frame, seed=_SEED, sig_figs=18, output_dir=folder)
    return model


def _fit(task: SeriesTask, values: Float) -> Arrays | None:
    try:
        model = prophet_of(values, task.grid, task.spec, task.layout)
    except RuntimeError:  # what cmdstanpy raises when neither L-BFGS nor Newton ends well
        return None
    arrays = _parameters(model, column_count(task.layout))
    return arrays if all(np.isfinite(array).all() for array in arrays.values()) else None


def _parameters(model: Any, columns: int) -> Arrays:
    """The arrays of one row from a fitted Prophet; `columns` is K, for which Prophet has a dummy where it is 0."""
    changes = _milliseconds(model.changepoints)
    params = {
        name: np.asarray(values, dtype=np.float64).reshape(-1) for name, values in model.params.items() if name in _PARAMS
    }
    start, end = _milliseconds(model.history["ds"].iloc[[0, -1]])
    return {
        "delta": params["delta"][: changes.size],
        "changepoints": changes,
        "beta": params["beta"][:columns],
        **_scalars(
            k=params["k"][0],
            m=params["m"][0],
            sigma_obs=params["sigma_obs"][0],
            y_floor=model.y_min if model.scaling == "minmax" else 0.0,
            y_scale=model.y_scale,
            t_start=start,
            t_scale=end - start,
            history_end=end,
        ),
    }


def _constant(task: SeriesTask, y: Float, at: Float) -> Arrays:
    """What Prophet makes of equal values without asking Stan: its starting point, and hardly any noise."""
    minmax = task.spec.scaling == "minmax"
    scale = 1.0 if minmax or y[0] == 0 else abs(y[0])
    return {
        "delta": np.zeros(0),
        "changepoints": np.zeros(0),
        "beta": np.zeros(column_count(task.layout)),
        **_scalars(
            k=0.0,
            m=0.0 if minmax else y[0] / scale,
            sigma_obs=1e-9,
            y_floor=y[0] if minmax else 0.0,
            y_scale=scale,
            t_start=at[0],
            t_scale=at[-1] - at[0],
            history_end=at[-1],
        ),
    }


def _scalars(**values: float) -> Arrays:
    return {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}


def _expected(task: SeriesTask, arrays: Arrays) -> Float:
    """The model's own values [T] on the grid of the task."""
    model = _model((SeriesKey(""),), task.grid, task.layout, [(OK, arrays)])
    expected: Float = predict(model, task.grid).expected[0]
    return expected


def _model(
    keys: tuple[SeriesKey, ...], grid: TimeGrid, layout: Mapping[str, Any], parts: Sequence[tuple[str, Arrays | None]]
) -> Model:
    """One model of the rows; shorter lists of changepoints are padded, rows without a model are NaN."""
    S = len(keys)
    K = column_count(layout)
    D = max((arrays["delta"].size for _, arrays in parts if arrays), default=0)
    stacked = {name: np.full(S, np.nan) for name in _SCALARS}
    stacked |= {"delta": np.zeros((S, D)), "changepoints": np.full((S, D), np.nan), "beta": np.full((S, K), np.nan)}
    for row, (_, arrays) in enumerate(parts):
        for name, values in (arrays or {}).items():
            if name in _SCALARS:
                stacked[name][row] = values
            else:
                stacked[name][row, : values.size] = values
    return Model(NAME, keys, (grid.start, grid.end), grid.step, layout, stacked, tuple(status for status, _ in parts))


@cache
def _civil_prophet() -> Any:
    """Prophet whose trend runs in UTC while seasonalities and holidays see the wall clock: with local `ds` the hour that
    a clock repeats in autumn would be there twice and the trend would bend.
    """
    try:
        with _quiet():
            from prophet import Prophet  # noqa: PLC0415 - loads for a second or two
    except ImportError as error:
        raise EngineUnavailable(f"the package prophet cannot be loaded: {error}") from error

    class CivilProphet(Prophet):
        def __init__(self, timezone: str, **settings: Any) -> None:
            super().__init__(**settings)
            self.timezone = timezone

        def make_all_seasonality_features(self, df: Any) -> Any:
            at = _milliseconds(df["ds"])
            return super().make_all_seasonality_features(df.assign(ds=_microseconds(at + offsets(at, self.timezone))))

    return CivilProphet


@contextmanager
def _quiet() -> Iterator[None]:
    """Prophet and cmdstanpy report every fit, and prophet the plotting libraries that it misses; none of it is news."""
    import pandas.errors  # noqa: PLC0415 - vendor, loaded on use

    with warnings.catch_warnings():
        # prophet 1.5.0 under pandas 3 raises it in fit and predict; older versions of pandas do not have it.
        warnings.simplefilter("ignore", getattr(pandas.errors, "Pandas4Warning", DeprecationWarning))
        for name in ("prophet", "prophet.plot", "prophet.models", "cmdstanpy"):
            logging.getLogger(name).disabled = True  # cmdstanpy sets its level when it is imported, deep inside
        yield


def _microseconds(at: Float) -> NDArray[np.datetime64]:
    """`ds` of the instants: the middle of a bucket of an odd number of ms lies on half a ms."""
    return np.round(at * 1000.0).astype(np.int64).astype("datetime64[us]")


def _milliseconds(ds: Any) -> Float:
    milliseconds: Float = ds.to_numpy().astype("datetime64[us]").astype(np.int64) / 1000.0
    return milliseconds
