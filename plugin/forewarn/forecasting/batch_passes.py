"""One chunk of series on one basis: the plain fit, then the passes that make it robust.

Owns: the order of faults, shifts, profile, outliers and refit, and the warm start from pass to pass. Times and models are
`batch.py`'s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from forewarn.detector import HOUR
from forewarn.forecasting.batch_fit import Fit, Form
from forewarn.forecasting.batch_levels import Levels
from forewarn.forecasting.batch_multiplicative import expected, rescaled, solve_products
from forewarn.forecasting.batch_profile import Slots, profiles
from forewarn.forecasting.batch_robust import SAMPLE, Blocks, Index, outliers, resting, spread
from forewarn.forecasting.batch_solver import Solution, solve
from forewarn.forecasting.batch_statistics import Basis, Statistics, statistics
from forewarn.series import Float


@dataclass(frozen=True, slots=True)
class Robustness:
    """How a fit treats what is not normal; all of it off is Prophet's own posterior mode.

    `passes` refits drop points more than `cut` robust deviations off; shifts of the level are adopted after `adopt_after`
    ms (0: never looked for); `profile` adds the median of the residuals by time of the week where it predicts better.
    """

    passes: int = 2
    cut: float = 4.0
    adopt_after: int = 36 * HOUR
    profile: bool = True


PLAIN: Final = Robustness(passes=0, adopt_after=0, profile=False)


_LOOKS: Final = 3
"""Times that faults are looked for."""
_CLEARER: Final = 0.9
"""Share of its scale that must be left of a row without its faults at most for more of them to be looked for."""
_ROWS: Final = 64
"""Rows whose values are worked on at a time: their planes stay in the cache, and a fit needs no second copy of the data."""


class Fitting:
    """What is known so far of each row of `values` [S, T] in buckets of `step` ms, while the passes go over them.

    NaN = missing; `slots` None: without profile.
    """

    def __init__(self, values: Float, basis: Basis, form: Form, robust: Robustness, step: int, slots: Slots | None) -> None:
        S, T = values.shape
        self._values, self._basis, self._form, self._robust, self._step = values, basis, form, robust, step
        self._slots = slots if robust.profile else None
        self._n, self._floor, self._scale = np.zeros(S), np.zeros(S), np.ones(S)
        self._theta, self._v = np.zeros((S, basis.R + basis.D)), np.zeros(S)
        self._constant, self._converged = np.zeros(S, dtype=np.bool_), np.zeros(S, dtype=np.bool_)
        relative = form.multiplicative and form.scaling == "absmax"
        self._levels = Levels(S, Blocks.of(T, step, robust.adopt_after), relative=relative)
        if robust.passes:
            self._dropped = np.zeros((S, T), dtype=np.bool_)
            self._rest, self._least = np.full(S, np.nan), np.zeros(S)
            self._plain = np.zeros(S)
            self._profile = np.zeros((S, slots.count if slots is not None else 0))

    def run(self) -> Fit:
        """All passes, once."""
        robust, T, S = self._robust, self._values.shape[1], len(self._values)
        everything = np.arange(S)
        # The last hours wait until the rest has said what to expect of them: an incident there would bend the whole fit.
        tail = robust.adopt_after // self._step if robust.passes else 0
        head = self._basis.head(T - tail) if 0 < tail < T // 3 else self._basis
        self._fit(everything, head, lambda rows: (rows, self._seen(rows)[:, : len(head.Z)]), warm=False)
        if head is not self._basis:
            again = np.flatnonzero(~self._converged)
            self._fit(again, self._basis, lambda rows: (rows, self._values[rows]), warm=False)
        if robust.passes:
            # From here on values are in units of the first fit: no square of a residual overflows.
            self._origin, self._unit, self._floor, self._scale = self._floor, self._scale, np.zeros(S), np.ones(S)
            fitted = np.flatnonzero(self._converged)
            if robust.adopt_after:
                self._levels.scale(self._origin, self._unit)
                self._take_out_faults(fitted)
            self._fit(fitted, self._basis, self._first_pass, warm=True)
            for _ in range(1, robust.passes):
                self._fit(fitted, self._basis, self._later_pass, warm=True)
            self._floor = self._origin + self._unit * self._floor
            self._scale = self._unit * self._scale
            self._profile *= self._unit[:, None]
        some = robust.passes > 0 and bool(self._profile.any())
        moved = self._levels.record(self._values, self._unit) if robust.passes else [[] for _ in range(S)]
        return Fit(
            self._n, self._floor, self._scale, self._theta, self._v, self._constant, self._converged,
            self._profile if some else None, moved, self._levels.faults,
        )  # fmt: skip

    def passing(self, rows: Index) -> Index:
        """The bucket [rows] from which on a row may not be on its level any more (T: there is none)."""
        return self._levels.passing[rows]

    def plain(self, rows: Index) -> Float:
        """The robust deviation [rows] in units of y that the first fit left, which knew neither faults nor shifts."""
        scale: Float = self._plain[rows] * self._unit[rows]
        return scale

    def left(self, rows: Index, before: Index) -> Float:
        """After `run` with passes: the robust deviation [rows] in units of y of all values of these rows before a bucket
        [rows], faults included, from the fit on the levels that it knows of.
        """
        origin, unit = self._origin[rows, None], self._unit[rows, None]
        plane = self._expected(rows, self._basis.Z) * self._scale[rows, None] + self._floor[rows, None]
        if self._slots is not None:
            plane += self._profile[rows][:, self._slots.of]
        plane -= origin
        plane /= unit
        self._levels.lower(rows, plane)
        given = (self._values[rows] - origin) / unit
        residuals = given - plane
        residuals[np.arange(residuals.shape[1]) >= before[:, None]] = np.nan
        scale: Float = self._spread(rows, given, residuals) * unit[:, 0]
        return scale

    def _fit(self, rows: Index, basis: Basis, given_by: Callable[[Index], tuple[Index, Float]], *, warm: bool) -> None:
        """Fits those of the rows that `given_by` returns to the values [n, T] that it returns with them."""
        complete: list[tuple[Index, Statistics]] = []
        holed: list[tuple[Index, Statistics]] = []
        for first in range(0, len(rows), _ROWS):
            block = rows[first : first + _ROWS]
            block, given = given_by(block)
            if not len(block):
                continue
            if self._form.multiplicative:
                self._solve_products(block, basis, given, warm=warm)
                continue
            with np.errstate(over="ignore", invalid="ignore"):
                gaps = np.isnan(given.sum(axis=1))
            for kind, part in ((complete, np.flatnonzero(~gaps)), (holed, np.flatnonzero(gaps))):
                if len(part):
                    chosen = given if len(part) == len(given) else given[part]
                    kind.append((block[part], statistics(chosen, basis, self._form.scaling)))
        for parts in (complete, holed):
            if parts:
                to = np.concatenate([part for part, _ in parts])
                self._solve(to, basis, Statistics.concat([found for _, found in parts]), warm=warm)

    def _solve(self, rows: Index, basis: Basis, found: Statistics, *, warm: bool) -> None:
        start = None
        if warm:
            ratio = self._scale[rows] / found.scale
            start = Solution(self._theta[rows] * ratio[:, None], self._v[rows] * ratio**2, self._converged[rows], 0)
        else:
            self._n[rows] = found.n
        self._keep(rows, found, solve(basis, found, start), warm=warm)

    def _solve_products(self, rows: Index, basis: Basis, given: Float, *, warm: bool) -> None:
        found = statistics(given, basis, self._form.scaling)
        start = None
        if warm:
            ratio = self._scale[rows] / found.scale
            start = Solution(rescaled(basis, self._theta[rows], ratio), self._v[rows] * ratio**2, self._converged[rows], 0)
        else:
            self._n[rows] = found.n
        with np.errstate(over="ignore", invalid="ignore"):
            y = (given - found.floor[:, None]) / found.scale[:, None]
        self._keep(rows, found, solve_products(basis, y, found, start), warm=warm)

    def _keep(self, rows: Index, found: Statistics, solution: Solution, *, warm: bool) -> None:
        if warm:  # what the outliers leave may be constant; then the fit before was the better one
            good = np.flatnonzero(solution.converged)
            rows, found, solution = rows[good], found.take(good), solution.take(good)
        self._floor[rows], self._scale[rows], self._constant[rows] = found.floor, found.scale, found.constant
        self._theta[rows], self._v[rows], self._converged[rows] = solution.theta, solution.v, solution.converged

    def _seen(self, rows: Index) -> Float:
        """The values [rows, T]; notes the medians of their blocks on the way."""
        values = self._values[rows]
        if self._robust.passes and self._robust.adopt_after:
            self._levels.note(rows, values)
        return values

    def _take_out_faults(self, rows: Index) -> None:
        """Finds the faults in these rows, which have bent the first fit; fits the rest again, and looks again with that."""
        scale = self._sampled_scale(rows)
        self._plain[rows] = scale
        for _ in range(_LOOKS):
            changed = self._levels.find_faults(rows, scale)
            rows, scale = rows[changed], scale[changed]
            self._fit(rows, self._basis, self._without_faults, warm=True)
            now = self._sampled_scale(rows)
            clearer = now < _CLEARER * scale
            rows, scale = rows[clearer], now[clearer]

    def _sampled_scale(self, rows: Index) -> Float:
        """The robust deviation [rows] of what the last fit leaves, from a sample of the buckets."""
        every = slice(None, None, max(1, self._values.shape[1] // SAMPLE))
        given = (self._values[rows, every] - self._origin[rows, None]) / self._unit[rows, None]
        residuals = given - self._expected(rows, self._basis.Z[every]) * self._scale[rows, None] - self._floor[rows, None]
        return spread(residuals, given, *resting(given))

    def _expected(self, rows: Index, columns: Float) -> Float:
        """What the last fit gives on rows of the design matrix, [rows, T] in its scaled units."""
        if self._form.multiplicative:
            return expected(self._basis, self._theta[rows], columns)
        plane: Float = self._theta[rows] @ columns.T
        return plane

    def _without_faults(self, rows: Index) -> tuple[Index, Float]:
        """The values [rows, T] without faults that have ended or may go on."""
        given = self._residuals(rows)[0]
        self._levels.forget(rows, given)
        return rows, given

    def _parts(self, rows: Index) -> tuple[Float, Float]:
        """The trend and the seasonal part of the last fit, averages over the blocks [rows, B]."""
        blocks, basis = self._levels.blocks, self._basis
        columns = basis.Z[blocks.offset :].reshape(blocks.count, blocks.length, basis.R + basis.D).mean(axis=1)
        without = self._theta[rows].copy()
        without[:, basis.R - basis.K : basis.R] = 0.0
        trend = without @ columns.T
        scale = self._scale[rows, None]
        return trend * scale, (self._expected(rows, columns) - trend) * scale

    def _first_pass(self, rows: Index) -> tuple[Index, Float]:
        """The values [rows, T] without outliers, passing shifts and profile, on their newest level."""
        given, residuals = self._residuals(rows)
        self._rest[rows], self._least[rows] = resting(given)
        scale = self._spread(rows, given, residuals)
        if self._robust.adopt_after:
            touched = np.flatnonzero(self._levels.find_shifts(rows, scale, *self._parts(rows)))
            if len(touched):
                raw = given[touched]
                self._levels.move(rows, given, residuals)
                scale[touched] = self._spread(rows[touched], raw, residuals[touched])
        self._dropped[rows] = outliers(residuals, scale, self._robust.cut)
        given[self._dropped[rows]] = np.nan
        return rows, given

    def _later_pass(self, rows: Index) -> tuple[Index, Float]:
        """The same with the fit of the pass before, and without the profile, for the rows that this changes.

        Only now: the residuals of a fit that saw the outliers have a pattern of their own, which a profile would keep.
        """
        given, residuals = self._residuals(rows)
        raw = given.copy()
        jumped = self._levels.jumped(rows)
        again = rows[jumped]
        if len(again):
            self._levels.measure_again(again, self._scale[again] * np.sqrt(self._v[again]), *self._parts(again))
        self._levels.move(rows, given, residuals)
        scale = self._spread(rows, raw, residuals)
        changed = jumped
        if self._slots is not None:
            found = profiles(residuals, scale, self._slots)
            self._profile[rows] = found
            chosen = np.flatnonzero(np.any(found != 0, axis=1))
            changed[chosen] = True
            profile = found[chosen][:, self._slots.of]
            given[chosen] -= profile
            residuals[chosen] -= profile
            scale[chosen] = self._spread(rows[chosen], raw[chosen], residuals[chosen])
        out = outliers(residuals, scale, self._robust.cut)
        changed = changed | np.any(out != self._dropped[rows], axis=1)
        self._dropped[rows] = out
        given[out] = np.nan
        return rows[changed], given[changed]

    def _spread(self, rows: Index, values: Float, residuals: Float) -> Float:
        return spread(residuals, values, self._rest[rows], self._least[rows])

    def _residuals(self, rows: Index) -> tuple[Float, Float]:
        """The values of these rows in units of the first fit, and what the last fit leaves of them, [rows, T]."""
        given = self._values[rows]
        given -= self._origin[rows, None]
        given /= self._unit[rows, None]
        residuals = self._expected(rows, self._basis.Z)
        residuals *= -self._scale[rows, None]
        residuals -= self._floor[rows, None]
        residuals += given
        return given, residuals
