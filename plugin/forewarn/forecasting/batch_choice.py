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
from forewarn.forecasting.batch_robust import Bool, Index
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
    without = Fitting(values[rows], basis, form, replace(robust, adopt_after=0), step, slots)
    other = without.run()
    better = other.converged & ~other.constant & _loses(fitting, rows, without)
    return fit.with_rows(rows[better], other, np.flatnonzero(better)) if better.any() else fit


def _loses(fitting: Fitting, rows: Index, without: Fitting) -> Bool:
    """Whether the fit of these rows leaves more of the values than that `without` (the same rows from 0 on) does, [rows].

    By robust deviations of all values, so that a fault that takes less than half of them costs nothing; what may be one that
    goes on does not count.
    """
    worse = np.zeros(len(rows), dtype=np.bool_)
    for first in range(0, len(rows), _ROWS):
        part = np.arange(first, min(first + _ROWS, len(rows)))
        before = fitting.passing(rows[part])
        with np.errstate(over="ignore", invalid="ignore"):
            worse[part] = fitting.left(rows[part], before) > _WORSE * without.left(part, before)
    return worse
