"""Small lassos for many series in lockstep: feature-sign active sets, one array operation per step for all of them.

Owns: minimising 1/2 x'Qx - c'x + lam |x|_1 for N problems at once, W <= ~30 variables each. Knows nothing of time series.
After Lee, Battle, Raina, Ng, "Efficient sparse coding algorithms" (2006), started empty: few deltas are ever active.
Nothing here loops over series; Python loops run over the variables of an active set and over steps.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.forecasting.batch_pivots import STRICT, TINY, settle
from forewarn.series import Float

Index = NDArray[np.int64]
Bool = NDArray[np.bool_]

STEPS: Final = 500
"""More steps than any problem needs (35 seen in practice); a problem that is not done by then is reported."""
_PIVOT: Final = 1e-11
"""Least pivot, relative to the diagonal: several changepoints inside one gap are collinear."""
_FEW: Final = 4
"""Problems up to which one after the other costs less than all of them in lockstep."""
_BUCKETS: Final = (3, 6, 10, 16)
"""Active counts at which the padded systems are cut, so that one busy series does not pad all others."""


def lasso(
    Q: Float,
    c: Float,
    lam: Float,
    x: Float,
    sign: Float,
    gradient: Callable[[Index, Float], Float],
    least: Float,
    steps: int = STEPS,
) -> Bool:
    """Solves N problems in place and returns which of them reached their optimum, [N].

    `Q` [N, W, W], `c` [N, W], `lam` [N] > 0; the last variable is a dummy (Q = 1 on its diagonal, 0 elsewhere, c = 0).
    `x` [N, W] is the start and becomes the solution, `sign` [N, W] in {-1, 0, 1} its assumed signs (0 = inactive).
    `gradient(rows, x)` is c - Qx of these rows; `least` [N, W] or [W] is how much of a pivot may be round-off.
    Optimal means |c - Qx| <= lam (1 + 1e-9) + 1e-14 where x = 0, and signs that agree where it is not. A problem that
    float64 cannot hold ends at once, not optimal; its x may be NaN.
    """
    N, W = c.shape
    barred = np.zeros((N, W), dtype=np.bool_)
    barred[:, W - 1] = True
    done = np.zeros(N, dtype=np.bool_)
    live = np.arange(N)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        few = False
        for _ in range(steps):
            if len(live) <= _FEW and not few:
                few = True
                for row in live.tolist():
                    floor = np.maximum(_PIVOT * Q[row].diagonal(), least[row] if least.ndim == 2 else least)
                    done[row] = settle(Q[row], c[row], float(lam[row]), x[row], sign[row], floor, steps)
                live = live[~done[live]]
                if not len(live):
                    break
            settled = []
            for rows, width in _buckets(live, sign):
                agreed = _step(rows, width, Q, c, lam, x, sign, barred, least)
                settled.append(rows[agreed])
            rows = np.concatenate(settled)
            if len(rows):
                g = gradient(rows, x[rows])
                done[rows] = _extend(rows, lam, sign, barred, g)
                ended = done.copy()
                ended[rows] |= ~np.isfinite(g).all(axis=1)
                live = live[~ended[live]]
                if not len(live):
                    break
    return done


def _buckets(live: Index, sign: Float) -> list[tuple[Index, int]]:
    """The live rows, cut by their number of active variables."""
    active = np.add.reduce(sign[live] != 0, axis=1)
    most = int(active.max())
    if len(live) < 64:  # the calls would cost more than the padding
        return [(live, most)]
    edges = [e for e in _BUCKETS if e < most] + [most]
    kind = np.searchsorted(edges, active)
    return [(rows, edge) for i, edge in enumerate(edges) if len(rows := live[kind == i])]


def _step(rows: Index, width: int, Q: Float, c: Float, lam: Float, x: Float, sign: Float, barred: Bool, least: Float) -> Bool:
    """Moves to the minimum for the assumed signs if it has them ([n] True), else to the best point on the way there."""
    n, W = len(rows), c.shape[1]
    if width == 0:
        return np.ones(n, dtype=np.bool_)
    idle = sign[rows] == 0
    # The active variables, then dummies; [width, n] so that the vectors of all problems lie side by side.
    order = np.argsort(idle, axis=1, kind="stable")[:, :width]
    order[np.arange(width) >= W - np.add.reduce(idle, axis=1)[:, None]] = W - 1
    index = np.ascontiguousarray(order.T)
    flat = rows * W + index
    sa, xa = sign.reshape(-1)[flat], x.reshape(-1)[flat]
    A = np.empty((width + 1, width, n))
    A[:width] = Q.reshape(-1)[(flat * W)[:, None, :] + index[None, :, :]]
    A[width] = c.reshape(-1)[flat] - lam[rows] * sa
    pivots, z = _factor_solve(A, least.reshape(-1)[flat if least.ndim == 2 else index])
    agreed: Bool = np.logical_and.reduce((z * sa > 0) | (sa == 0), axis=0)
    lost = ~np.logical_and.reduce(np.isfinite(z), axis=0)
    agreed |= lost
    z[:, lost] = np.nan
    target = z
    off = np.flatnonzero(~agreed)
    if len(off):
        every = len(off) == n
        pick = slice(None) if every else off
        target = z.copy()
        target[:, pick] = _search(A[:, :, pick], pivots[:, pick], z[:, pick], xa[:, pick], sa[:, pick], lam[rows[pick]])
        new = np.sign(target[:, pick])
        # A variable that was just added and could not move would be added again at once: leave it out of this problem.
        stuck = (xa[:, pick] == 0) & (sa[:, pick] != 0) & (new == 0)
        barred.reshape(-1)[flat[:, pick][stuck]] = True
        sign.reshape(-1)[flat[:, pick]] = new
    x.reshape(-1)[flat] = target
    return agreed


def _factor_solve(A: Float, least: Float) -> tuple[Float, Float]:
    """The pivots [k, n], none below `least`, and the solution [k, n] of LDL' z = rhs for A [k + 1, k, n], whose last row is
    the right-hand side; L (unit lower triangle) takes the place of A.
    """
    k = A.shape[1]
    least = np.maximum(_PIVOT * np.einsum("iin->in", A[:k]), least)
    pivots = np.empty(A.shape[1:])
    for j in range(k):
        np.maximum(A[j, j], least[j], out=pivots[j])
        column = A[j + 1 :, j] / pivots[j]
        if j + 1 < k:
            A[j + 1 :, j + 1 :] -= A[j + 1 :, j, None] * column[None, : k - j - 1]
        A[j + 1 :, j] = column
    z = A[k].copy()
    for j in range(k - 1, 0, -1):
        z[:j] -= A[j, :j] * z[j]
    return pivots, z


def _search(A: Float, pivots: Float, z: Float, x: Float, s: Float, lam: Float) -> Float:
    """The best point between x and z among z and the points where a variable changes sign; [k, n].

    Along d = z - x the objective is h (a^2/2 - a) + lam (|x + a d|_1 - a s'd) + constant with h = d'Qd, because z is the
    minimum for the signs s. A step that does not lower it (round-off) stays at x.
    """
    k, n = z.shape
    d = z - x
    h = np.zeros(n)
    for i in range(k):
        t = d[i] + np.add.reduce(A[i + 1 : k, i] * d[i + 1 :], axis=0)
        h += pivots[i] * t * t
    crosses = x * z < 0
    a = np.ones((k + 1, n))
    np.divide(-x, d, out=a[:k], where=crosses)
    points = np.abs(x[None] + a[:, None] * d[None]).sum(axis=1)
    value = h * (a * a / 2 - a) + lam * (points - a * (s * d).sum(axis=0))
    best = value.argmin(axis=0)
    column = np.arange(n)
    step = np.where(value[best, column] < lam * np.abs(x).sum(axis=0), a[best, column], 0.0)
    result = x + step * d
    result[crosses & (a[:k] == step)] = 0.0
    return result


def _extend(rows: Index, lam: Float, sign: Float, barred: Bool, g: Float) -> Bool:
    """True where the Karush-Kuhn-Tucker conditions hold, [n]; elsewhere the variable that violates them most is added."""
    excess = np.where((sign[rows] != 0) | barred[rows], -np.inf, np.abs(g))
    worst = excess.argmax(axis=1)
    column = np.arange(len(rows))
    optimal: Bool = excess[column, worst] <= lam[rows] * (1 + STRICT) + TINY
    adding = ~optimal
    sign[rows[adding], worst[adding]] = np.sign(g[column, worst][adding])
    return optimal
