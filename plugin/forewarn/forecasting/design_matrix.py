"""The columns of Prophet's model, from the mathematics (Taylor and Letham 2018; orders and periods as in Prophet 1.5).

Owns: which seasonalities a span of data supports, the model layout, Fourier and holiday columns, changepoints, hinges.
Must not do: fitting, predicting, or loading a vendor: it is imported by the datasource.

Parameters that the engines "stan" and "batch" store, one row a series (float64; times are instants in UTC ms):

    k, m [S]                 slope per unit of scaled time, offset in scaled y
    changepoints [S, D]      instants; a row with fewer than D of them is padded with NaN
    delta [S, D]             changes of slope there; 0 where padded
    beta [S, K]              coefficients of `seasonal_columns` in the order of the layout
    sigma_obs [S]            noise in scaled y
    y_floor, y_scale [S]     y = y_floor + y_scale * scaled y
    t_start, t_scale [S]     scaled t = (instant - t_start) / t_scale
    history_end [S]          the last observed instant, from where uncertainty grows
    profile [S, P]           optional, units of y: added to yhat by P equal slots of the civil week, see `week_slots`
    shift_at, shift_by       optional, for the record [S, n]: instants from which a new level was adopted, jumps in units of y
    fault_start, fault_end   optional, for the record [S, n]: first and last instants of faults that the fit did not see

Layout: {"growth", "seasonalities": [{"name", "period", "order"}], "seasonality_mode", "timezone",
"holidays": {"names", "days"}, "why"}. Layouts of older models lack the mode: they are additive, see `is_multiplicative`.
A row that has no model (status no_data, not_converged) has NaN in m.

An instant is the MIDDLE of a bucket, so that a model of 15-minute buckets lines up with 5-minute and hourly ones, and a
daily bucket falls on its own civil day also west of Greenwich.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import DAY
from forewarn.forecast import ModelSpec
from forewarn.forecasting.civil_time import civil_days
from forewarn.series import Float, TimeGrid

YEARLY: Final = ("yearly", 365.25, 10)
WEEKLY: Final = ("weekly", 7.0, 3)
DAILY: Final = ("daily", 1.0, 4)
CHANGEPOINT_RANGE: Final = 0.8
HOLIDAY_YEARS_AHEAD: Final = 3
"""Holidays of the fit's year and of this many after it are stored: a model predicts at least two years ahead."""

_WEEKLY_SPAN: Final = 13 * DAY
"""Two weeks less a day: 14 days of buckets never span 14 days, and the first or last of them may be missing."""


def instants(grid: TimeGrid) -> Float:
    """The instants of the buckets, float64 [T]: their middles in UTC ms."""
    middles: Float = grid.times() + np.float64(grid.step / 2)
    return middles


def seasonalities_for(covered: int, step: int) -> list[dict[str, Any]]:
    """The seasonalities that `covered` ms of data (first to last observed bucket, both inside) in buckets of `step` support.

    Daily from 2 days on, weekly from 13 (Prophet's own rule of 14 switches it off for 14 days of buckets), yearly from
    730; none with a period of at most one bucket. Orders are Prophet's, lowered where the buckets are too coarse to tell
    its waves apart.
    """
    chosen = []
    for (name, period, order), least in ((YEARLY, 730 * DAY), (WEEKLY, _WEEKLY_SPAN), (DAILY, 2 * DAY)):
        if covered >= least and step < period * DAY:
            resolved = int(period * DAY / step / 2)
            chosen.append({"name": name, "period": period, "order": max(1, min(order, resolved))})
    return chosen


def layout_for(
    spec: ModelSpec, covered: int, grid: TimeGrid, holidays: Sequence[tuple[str, Sequence[date]]], why: str
) -> dict[str, Any]:
    """The layout of a model of series that have `covered` ms of data on `grid`.

    `holidays` are (name, days) as from `public_holidays.holiday_days`; those without a day inside the grid are left out,
    since nothing can be learnt about them.
    """
    known = {}
    if holidays:
        inside = np.unique(np.floor(civil_days(instants(grid), spec.timezone)).astype(np.int64))
        known = {name: [day.isoformat() for day in days] for name, days in holidays if np.isin(_numbers(days), inside).any()}
    return {
        "growth": spec.growth,
        "seasonalities": seasonalities_for(covered, grid.step),
        "seasonality_mode": spec.seasonality,
        "timezone": spec.timezone,
        # Prophet orders its columns by name + suffix; the same order makes its beta ours without a permutation.
        "holidays": {"names": sorted(known, key=lambda name: f"{name}_delim_+0"), "days": known},
        "why": why,
    }


def holiday_years(grid: TimeGrid) -> tuple[int, int]:
    """The first and last year whose holidays a model fitted on `grid` needs."""
    first, last = np.array([grid.start - DAY, grid.end + DAY], dtype="datetime64[ms]").astype("datetime64[Y]").astype(np.int64)
    return int(first) + 1970, int(last) + 1970 + HOLIDAY_YEARS_AHEAD


def _numbers(days: Sequence[Any]) -> NDArray[np.int64]:
    return np.array(days, dtype="datetime64[D]").astype(np.int64)


def fourier_columns(days: Float, seasonalities: Sequence[Mapping[str, Any]]) -> Float:
    """Fourier columns [T, 2 * sum of orders] at civil `days` [T]: for each seasonality and i = 1..order the pair
    sin(2 pi i d / period), cos(2 pi i d / period).
    """
    columns = np.empty((2 * sum(s["order"] for s in seasonalities), days.size))
    at = 0
    for seasonality in seasonalities:
        angle = days * (2.0 * np.pi / seasonality["period"])
        wave = np.cos(angle) + 1j * np.sin(angle)
        power = wave
        for i in range(seasonality["order"]):  # powers of the first wave: sines and cosines take most of the time
            if i:
                power = power * wave
            columns[at], columns[at + 1] = power.imag, power.real
            at += 2
    return columns.T


def holiday_columns(days: Float, holidays: Mapping[str, Any]) -> Float:
    """Indicator columns [T, H]: 1 on the civil days of each holiday in `holidays["names"]`."""
    dates = np.floor(days).astype(np.int64)
    columns = np.zeros((days.size, len(holidays["names"])))
    for column, name in enumerate(holidays["names"]):
        columns[:, column] = np.isin(dates, _numbers(holidays["days"][name]))
    return columns


def seasonal_columns(at: Float, layout: Mapping[str, Any]) -> Float:
    """X [T, K] at the instants `at` [T]: the Fourier columns of the layout, then its holidays."""
    days = civil_days(at, layout["timezone"])
    fourier = fourier_columns(days, layout["seasonalities"])
    if not layout["holidays"]["names"]:
        return fourier
    return np.hstack([fourier, holiday_columns(days, layout["holidays"])])


def is_multiplicative(layout: Mapping[str, Any]) -> bool:
    """Whether the seasonal part is a share of the trend: yhat = trend * (1 + X beta) instead of trend + X beta."""
    return bool(layout.get("seasonality_mode") == "multiplicative")


def column_count(layout: Mapping[str, Any]) -> int:
    """K, the number of columns of `seasonal_columns`."""
    return sum(2 * int(s["order"]) for s in layout["seasonalities"]) + len(layout["holidays"]["names"])


def prior_scales(layout: Mapping[str, Any], spec: ModelSpec) -> Float:
    """The standard deviations [K] of the normal priors of beta, in the order of `seasonal_columns`."""
    waves = 2 * sum(s["order"] for s in layout["seasonalities"])
    return np.repeat([spec.seasonality_prior_scale, spec.holidays_prior_scale], [waves, len(layout["holidays"]["names"])])


def changepoint_rows(observed: int, n_changepoints: int) -> NDArray[np.int64]:
    """Numbers of the observed rows at which Prophet puts its changepoints: evenly over the first 80 %, without the first."""
    eligible = int(np.floor(observed * CHANGEPOINT_RANGE))
    count = max(0, min(n_changepoints, eligible - 1))
    return np.linspace(0, eligible - 1, count + 1).round().astype(np.int64)[1:]


def hinges(t: Float, s: Float) -> Float:
    """max(0, t - s_j), [T, D]: the trend is m + k t + hinges @ delta."""
    return np.maximum(0.0, t[:, None] - s[None, :])


def week_slots(days: Float, slots: int) -> NDArray[np.int64]:
    """The slot of each of the civil `days` [T] when the civil week is cut into `slots` equal parts; weeks are counted from
    1970-01-01, so slot 0 starts on a Thursday at midnight.
    """
    return np.minimum((np.mod(days, 7.0) / 7.0 * slots + 1e-9).astype(np.int64), slots - 1)
