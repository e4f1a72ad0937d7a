"""What comes out of the passes over a chunk of series, and in which form values and seasonality were taken.

Owns: Fit and Form, which `batch.py` makes models of. Must not fit or decide anything.
"""

from dataclasses import dataclass

import numpy as np

from forewarn.forecasting.batch_robust import Bool, Index
from forewarn.series import Float


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Fitted rows: `theta` [S, P] in scaled units ((y - floor) / scale), sigma^2 = `v` there, `n` values of the history.

    `constant`: all values are equal; `converged`: the optimum was found. `profile` [S, slots] is in units of y, None
    if no row has one.
    """

    n: Float
    floor: Float
    scale: Float
    theta: Float
    v: Float
    constant: Bool
    converged: Bool
    profile: Float | None
    shifts: list[list[tuple[int, float]]]
    """For each row the buckets with which a new level was adopted, and its jump in units of y."""
    faults: list[list[tuple[int, int]]]
    """For each row the buckets [first, last) of faults that the fit has not seen."""

    def with_rows(self, rows: Index, other: "Fit", others: Index) -> "Fit":
        """The same, except for these rows: they are the rows `others` of another fit."""
        profile = self.profile
        if profile is not None or other.profile is not None:
            width = next(p.shape[1] for p in (profile, other.profile) if p is not None)
            profile = np.zeros((len(self.n), width)) if profile is None else profile.copy()
            profile[rows] = 0.0 if other.profile is None else other.profile[others]
        floor, scale, theta, v = (
            _replaced(mine, rows, theirs[others])
            for mine, theirs in (
                (self.floor, other.floor), (self.scale, other.scale), (self.theta, other.theta), (self.v, other.v)
            )
        )  # fmt: skip
        shifts, faults = self.shifts.copy(), self.faults.copy()
        for row, number in zip(rows.tolist(), others.tolist(), strict=True):
            shifts[row], faults[row] = other.shifts[number], other.faults[number]
        constant, converged = self.constant.copy(), self.converged.copy()
        constant[rows], converged[rows] = other.constant[others], other.converged[others]
        return Fit(self.n, floor, scale, theta, v, constant, converged, profile, shifts, faults)


def _replaced(plane: Float, rows: Index, by: Float) -> Float:
    whole = plane.copy()
    whole[rows] = by
    return whole


@dataclass(frozen=True, slots=True)
class Form:
    """How values become scaled ones (`minmax` or `absmax`), and whether the seasonal part is a share of the trend."""

    scaling: str
    multiplicative: bool = False
