"""Which fit of a row is kept: one that knows of faults and shifts, or one that does not, whichever explains its values better.

Owns: that no fault or shift is believed which makes a fit worse: what was taken for faults may be the habit of a series, and
without it seasonality runs anywhere. Fits nothing itself.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from forewarn.forecasting.batch_fit import Fit, Form
from forewarn.forecasting.batch_passes import Fitting, Robustness
from forewarn.forecasting.batch_profile import Slots
from forewarn.forecasting.batch_robust import Index
from forewarn.forecasting.batch_statistics import Basis
from forewarn.series import Float

_WORSE: Final = 1.5
"""Times the deviation without faults and shifts that a fit with them may have: what is no worse is believed."""
_ROWS: Final = 64
"""Rows whose residuals are held at a time."""


def fit_rows(values: Float, basis: Basis, form: Form, robust: Robustness, step: int, slots: Slots | None) -> Fit:
    """The fit of `values` [S, T] in buckets of `step` ms, NaN = missing, on the basis; `slots` None: without profile."""
    fitting = Fitting(values, basis, form, robust, step, slots)
    fit = fitting.run()
    if not (robust.passes and robust.adopt_after):
        return fit
    rows = np.flatnonzero([bool(shifts or faults) for shifts, faults in zip(fit.shifts, fit.faults, strict=True)])
    if not len(rows):
        return fit
    before = fitting.passing(rows)
    left = _by_blocks(fitting, rows, before)
    # A fit that leaves no more than one which was bent by everything needs no other one to be held against.
    doubtful = np.flatnonzero(left > fitting.plain(rows))
    if not len(doubtful):
        return fit
    rows, before, left = rows[doubtful], before[doubtful], left[doubtful]
    without = Fitting(values[rows], basis, form, replace(robust, adopt_after=0), step, slots)
    other = without.run()
    worse = left > _WORSE * _by_blocks(without, np.arange(len(rows)), before)
    better = np.flatnonzero(worse & other.converged & ~other.constant)
    return fit.with_rows(rows[better], other, better) if len(better) else fit


def _by_blocks(fitting: Fitting, rows: Index, before: Index) -> Float:
    """What a fit leaves of all values before the bucket [rows] from which on there may be a fault that goes on, [rows].

    By robust deviations, so that a fault that takes less than half of the values costs nothing.
    """
    left = np.zeros(len(rows))
    for first in range(0, len(rows), _ROWS):
        part = slice(first, first + _ROWS)
        with np.errstate(over="ignore", invalid="ignore"):
            left[part] = fitting.left(rows[part], before[part])
    return left
