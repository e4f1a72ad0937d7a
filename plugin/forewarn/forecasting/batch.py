"""The engine "batch": Prophet's posterior mode for thousands of series per call, NumPy only.

Owns: which series share a time grid, the order of the passes over them, and the rows of the models. The mathematics is in
`batch_statistics`, `batch_lasso` and `batch_solver`; what makes a fit robust is in `batch_robust` and `batch_profile`.
Must not read clocks, sources or stores.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.forecast import CONSTANT, NO_DATA, NOT_CONVERGED, OK, SEASONALITY, TOO_SHORT, Model, ModelSpec
from forewarn.forecasting.batch_choice import fit_rows
from forewarn.forecasting.batch_fit import Fit, Form
from forewarn.forecasting.batch_frame import Frame
from forewarn.forecasting.batch_passes import Robustness
from forewarn.forecasting.batch_profile import Slots
from forewarn.forecasting.batch_threads import one_thread
from forewarn.forecasting.civil_time import civil_days
from forewarn.forecasting.design_matrix import holiday_years, instants, layout_for, seasonalities_for
from forewarn.forecasting.fallback import unmodelled
from forewarn.forecasting.public_holidays import holiday_days
from forewarn.series import Float, SeriesBatch, TimeGrid

Index = NDArray[np.int64]

_CHUNK_VALUES: Final = 1 << 22
"""Values fitted at once (32 MB): the working memory of a fit is a few times this, however many series there are."""
_PARTS: Final = 28
"""Parts of the window to which the first and last value of a series are rounded outward: series of one part share a grid."""
_PADDED: Final = ("changepoints", "shift_at", "shift_by", "fault_start", "fault_end")
"""Arrays of which a row may use only a part; the rest of it is NaN."""
WHY: Final = "linear or flat growth: the posterior mode of all series at once"


def applies(spec: ModelSpec) -> str | None:
    """None if the batch engine can fit `spec`, else why it cannot."""
    if spec.growth not in {"linear", "flat"}:
        return f"growth {spec.growth!r} has no convex form"
    if spec.scaling not in {"minmax", "absmax"}:
        return f"scaling {spec.scaling!r} is not known"
    if spec.seasonality not in SEASONALITY:
        return f"seasonality {spec.seasonality!r} is not known"
    return None


@dataclass(frozen=True, slots=True)
class _Part:
    """Series (rows of the history) that share buckets [first, last) of its grid and their seasonalities."""

    first: int
    last: int
    covered: int
    rows: Index


class BatchEngine:
    """Fits linear and flat growth with additive seasonalities and holidays; holds no state."""

    name: Final = "batch"

    def __init__(self, robust: Robustness | None = None) -> None:
        self._robust = robust if robust is not None else Robustness()

    def fit(self, history: SeriesBatch, spec: ModelSpec) -> tuple[Model, ...]:
        """See `ports.Forecaster.fit`; one model per set of seasonalities that the series have data for.

        Raises ValueError for +-inf in the history and for a specification that `applies` refuses.
        """
        why = applies(spec)
        if why is not None:
            raise ValueError(f"the batch engine does not apply: {why}")
        if not history.keys or not history.grid.size:
            return unmodelled(history, spec.timezone)
        with one_thread():
            return self._fit(history, spec)

    def close(self) -> None:
        """Nothing to release."""

    def _fit(self, history: SeriesBatch, spec: ModelSpec) -> tuple[Model, ...]:
        holidays = holiday_days(spec.holidays, *holiday_years(history.grid)) if spec.holidays else ()
        by_layout: dict[str, list[_Part]] = {}
        for part in _parts(history):
            by_layout.setdefault(repr(seasonalities_for(part.covered, history.grid.step)), []).append(part)
        models = []
        for parts in by_layout.values():
            layout = layout_for(spec, parts[0].covered, history.grid, holidays, WHY)
            models.append(_fit_layout(history, spec, self._robust, layout, parts))
        return tuple(models)


def _chunks(rows: Index, T: int) -> Iterator[Index]:
    size = max(16, _CHUNK_VALUES // max(1, T))
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def _parts(history: SeriesBatch) -> list[_Part]:
    """All rows of the history, grouped by the part of the grid that their values span and by their seasonalities."""
    S, T = history.values.shape
    first, last = np.zeros(S, dtype=np.int64), np.full(S, T, dtype=np.int64)
    for rows in _chunks(np.arange(S), T):
        with np.errstate(invalid="ignore", over="ignore"):
            odd = rows[~np.isfinite(history.values[rows].sum(axis=1))]
        values = history.values[odd]
        if np.isinf(values).any():
            raise ValueError("the history holds an infinite value")
        observed = ~np.isnan(values)
        some = observed.any(axis=1)
        first[odd] = np.where(some, observed.argmax(axis=1), 0)
        last[odd] = np.where(some, T - observed[:, ::-1].argmax(axis=1), 0)
    step = history.grid.step
    covered = (last - first) * step
    width = max(1, -(-T // _PARTS))
    low = first // width * width
    high = np.minimum(-(-last // width) * width, T)
    # What matters of `covered` is which seasonalities it supports.
    names = {int(c): len(seasonalities_for(int(c), step)) for c in np.unique(covered)}
    kind = np.array([names[int(c)] for c in covered])
    distinct, number = np.unique((kind * (T + 1) + low) * (T + 1) + high, return_inverse=True)
    found = []
    for i, code in enumerate(distinct.tolist()):
        begin, end = code // (T + 1) % (T + 1), code % (T + 1)
        rows = np.flatnonzero(number == i)
        found.append(_Part(begin, max(end, begin + 1), int(covered[rows].max()), rows))
    return found


def _fit_layout(
    history: SeriesBatch, spec: ModelSpec, robust: Robustness, layout: Mapping[str, Any], parts: list[_Part]
) -> Model:
    """One model of all series in `parts`, which have one layout but not one grid."""
    fitted = [_fit_part(history, spec, robust, layout, part) for part in parts]
    arrays, status, rows = *fitted[0], parts[0].rows
    if len(parts) > 1:
        rows = np.concatenate([part.rows for part in parts])
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        arrays = {name: array[order] for name, array in _joined([found for found, _ in fitted]).items()}
        joined = [status for _, part in fitted for status in part]
        status = [joined[i] for i in order.tolist()]
    keys = tuple(history.keys[row] for row in rows.tolist())
    window = (history.grid.start, history.grid.end)
    return Model("batch", keys, window, history.grid.step, layout, arrays, tuple(status))


def _joined(parts: list[dict[str, Float]]) -> dict[str, Float]:
    """The arrays of all parts, one below the other; short histories have fewer changepoints, and may have no profile."""
    joined = {}
    for name in {name: None for part in parts for name in part}:
        width = max((part[name].shape[1:] for part in parts if name in part), default=())
        fill = np.nan if name in _PADDED else 0.0
        whole = np.full((sum(len(part["m"]) for part in parts), *width), fill)
        at = 0
        for part in parts:
            n = len(part["m"])
            if name in part:
                whole[(slice(at, at + n), *(slice(size) for size in part[name].shape[1:]))] = part[name]
            at += n
        joined[name] = whole
    return joined


def _fit_part(
    history: SeriesBatch, spec: ModelSpec, robust: Robustness, layout: Mapping[str, Any], part: _Part
) -> tuple[dict[str, Float], list[str]]:
    """The arrays and statuses of the rows of one part, in their order."""
    whole = history.grid
    grid = TimeGrid(whole.start + part.first * whole.step, whole.step, part.last - part.first)
    at = instants(grid)
    frame = Frame.of(grid, layout, spec)
    basis, linear = frame.basis, spec.growth == "linear"
    S, R = len(part.rows), basis.R
    out = {
        "k": np.zeros(S), "m": np.full(S, np.nan),
        "changepoints": np.tile(at[frame.places], (S, 1)), "delta": np.zeros((S, basis.D)),
        "beta": np.zeros((S, basis.K)), "sigma_obs": np.full(S, np.nan), "y_floor": np.zeros(S), "y_scale": np.ones(S),
        "t_start": np.full(S, at[0]), "t_scale": np.full(S, float(at[-1] - at[0]) or 1.0), "history_end": np.full(S, at[-1]),
    }  # fmt: skip
    status = np.full(S, OK, dtype="U16")
    slots = Slots.of_days(civil_days(at, layout["timezone"]), grid.step) if robust.profile else None
    profiles = np.zeros((S, slots.count)) if slots is not None else np.zeros((S, 0))
    form = Form(spec.scaling, spec.seasonality == "multiplicative")
    shifts: list[tuple[tuple[float, float], ...]] = []
    faults: list[tuple[tuple[float, float], ...]] = []
    for chunk in _chunks(np.arange(S), grid.size):
        values = history.values[part.rows[chunk], part.first : part.last]
        fit = fit_rows(values, basis, form, robust, grid.step, slots)
        theta = fit.theta
        out["m"][chunk] = theta[:, 0]
        if linear:
            out["k"][chunk] = theta[:, 1]
        out["beta"][chunk], out["delta"][chunk] = frame.beta(theta), theta[:, R:]
        out["sigma_obs"][chunk] = np.sqrt(fit.v)
        out["y_floor"][chunk], out["y_scale"][chunk] = fit.floor, fit.scale
        out["history_end"][chunk] = at[_last(values)]
        status[chunk] = _status(fit)
        if fit.profile is not None:
            profiles[chunk] = fit.profile
        shifts += [tuple((at[bucket], jump) for bucket, jump in sorted(row)) for row in fit.shifts]
        faults += [tuple((at[first], at[last - 1]) for first, last in row) for row in fit.faults]
    out["m"][(status == NO_DATA) | (status == NOT_CONVERGED)] = np.nan
    if profiles.any():
        out["profile"] = profiles
    out |= _padded(("shift_at", "shift_by"), shifts) | _padded(("fault_start", "fault_end"), faults)
    return out, status.tolist()


def _padded(names: tuple[str, str], rows: list[tuple[tuple[float, float], ...]]) -> dict[str, Float]:
    """The pairs of each row as two arrays [S, n], padded with NaN; nothing if no row has any."""
    most = max(len(row) for row in rows)
    if not most:
        return {}
    whole = np.full((len(rows), most, 2), np.nan)
    for number, row in enumerate(rows):
        whole[number, : len(row)] = np.reshape(row, (-1, 2))
    return {name: whole[:, :, i].copy() for i, name in enumerate(names)}


def _last(values: Float) -> Index:
    """The column of the last value of each row [S]; the last column where there is none."""
    T = values.shape[1]
    last = np.full(len(values), T - 1, dtype=np.int64)
    open_ended = np.flatnonzero(np.isnan(values[:, -1]))
    last[open_ended] -= np.argmax(~np.isnan(values[open_ended, ::-1]), axis=1)
    return last


def _status(fit: Fit) -> NDArray[np.str_]:
    """What each row is worth, [n]."""
    return np.select([fit.n == 0, fit.n < 2, fit.constant, ~fit.converged], [NO_DATA, TOO_SHORT, CONSTANT, NOT_CONVERGED], OK)
