"""One small lasso with few calls: active sets as pivots of a tableau, one rank-one update for a variable that joins or leaves.

Owns: the way of a single problem to its optimum, where the lockstep of `batch_lasso` spends its time on calls for arrays of
one row. Decides nothing alone: what it cannot settle it leaves to the lockstep, which goes on from where it stands.
Source of the pivots: Goodnight, "A tutorial on the SWEEP operator" (1979).
"""

from typing import Final

import numpy as np

from forewarn.series import Float

_SETTLED: Final = 1e-7
"""Share of lam that round-off may leave of an active variable's gradient; more is a matter for the lockstep."""
STRICT: Final = 1e-9
"""Relative violation of an inactive variable's bound that is round-off."""
TINY: Final = 1e-14
"""The same, absolute."""


def settle(Q: Float, c: Float, lam: float, x: Float, sign: Float, least: Float, steps: int) -> bool:
    """Moves `x` [W] to the minimum of 1/2 x'Qx - c'x + lam |x|_1; returns whether it is there, as `batch_lasso.lasso` has it.

    `x`, `sign` and `least` [W] are what they are there; the last variable is the dummy. False: a pivot is too small, a step
    does not lead down, or round-off has its say; x and sign are then a point on the way.
    """
    D = len(c) - 1
    if not D:
        return True
    table = np.empty((D, D + 1))
    table[:, :D], table[:, D] = Q[:D, :D], c[:D]
    x, sign, least = x[:D], sign[:D], least[:D]
    if not all(_pivot(table, j, least[j]) for j in sign.nonzero()[0].tolist()):
        return False
    for _ in range(steps):
        # The minimum for the assumed signs where a variable is active, its gradient there where it is not.
        u = table[:, D] - lam * table[:, :D].dot(sign)
        active = sign != 0
        if ((u * sign > 0) == active).all():
            x[:] = np.where(active, u, 0.0)
            slope = np.where(active, 0.0, np.abs(u))
            j = int(slope.argmax())
            if slope[j] <= lam * (1 + STRICT) + TINY:
                return _confirmed(Q[:D, :D], c[:D], lam, x, sign, table)
            if not _pivot(table, j, least[j]):
                break
            sign[j] = 1.0 if u[j] > 0 else -1.0
            continue
        there = _down(Q[:D, :D], lam, x, sign, np.where(active, u, 0.0))
        if there is None:
            break
        x[:] = there
        np.sign(x, out=sign)
        if not all(_pivot(table, j, 0.0) for j in (active & (x == 0)).nonzero()[0].tolist()):
            break
    return False


def _pivot(table: Float, j: int, least: float) -> bool:
    """Lets variable j join the active ones, or leave them; nothing changes if its pivot is smaller than `least`."""
    pivot = float(table[j, j])
    if not pivot >= least:
        return False
    column = table[:, j] / -pivot
    row = table[j].copy()
    table += column[:, None] * row
    table[:, j] = column
    np.divide(row, pivot, out=table[j])
    table[j, j] = 1.0 / pivot
    return True


def _confirmed(Q: Float, c: Float, lam: float, x: Float, sign: Float, table: Float) -> bool:
    """Takes the round-off of the pivots out of x, once, and returns whether the optimum is there by Q itself."""
    active = sign.nonzero()[0]
    if len(active):
        left = (c - Q.dot(x) - lam * sign)[active]
        x[active] += table[active[:, None], active].dot(left)
    g = c - Q.dot(x) - lam * sign
    bounds = np.where(sign != 0, _SETTLED * lam, lam * (1 + STRICT)) + TINY
    return bool(((np.abs(g) <= bounds) & ((x * sign > 0) == (sign != 0))).all())


def _down(Q: Float, lam: float, x: Float, sign: Float, z: Float) -> Float | None:
    """The best point between x and z among z and those where a variable changes its sign; None where none lies lower than x.

    Along d = z - x the objective is h (a^2/2 - a) + lam (|x + a d|_1 - a s'd) + constant with h = d'Qd.
    """
    d = z - x
    crossing = (x * z < 0).nonzero()[0]
    a = np.append(-x[crossing] / d[crossing], 1.0)
    points = x + a[:, None] * d
    points[np.arange(len(crossing)), crossing] = 0.0
    h = float(d.dot(Q.dot(d)))
    value = h * (a * a / 2 - a) + lam * (np.abs(points).sum(axis=1) - a * float(sign.dot(d)))
    best = int(value.argmin())
    there: Float = points[best]
    # A variable that was just added and cannot move would be added again at once.
    if not value[best] < lam * float(np.abs(x).sum()) or ((sign != 0) & (x == 0) & (there == 0)).any():
        return None
    return there
