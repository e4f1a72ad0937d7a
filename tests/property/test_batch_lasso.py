"""The lockstep lasso against every sign pattern, and against itself in other company."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.forecasting.batch_lasso import lasso
from forewarn.series import Float

TINY = 1e-300
"""The least pivot: nothing here is the remainder of a larger number."""


def _problem(rng: np.random.Generator, W: int, rank: int) -> tuple[Float, Float]:
    """Q [W + 1, W + 1] of this rank and c, with the dummy variable at the end."""
    A = rng.normal(size=(max(rank, 1), W)) * 10.0 ** rng.uniform(-1, 1, W)
    Q = np.eye(W + 1)
    Q[:W, :W] = A.T @ A
    c = np.zeros(W + 1)
    c[:W] = A.T @ rng.normal(size=len(A))  # in the range of A', so that a minimum exists when columns are collinear
    return Q, c


def _run(Q: Float, c: Float, lam: Float, start: Float | None = None) -> tuple[Float, Float]:
    x = np.zeros_like(c) if start is None else start.copy()
    sign = np.sign(x)
    done = lasso(Q, c, lam, x, sign, lambda rows, at: c[rows] - np.einsum("nij,nj->ni", Q[rows], at), np.full(c.shape[1], TINY))
    return x, done


def _value(Q: Float, c: Float, lam: float, x: Float) -> float:
    return float(0.5 * x @ Q @ x - c @ x + lam * np.abs(x).sum())


def _brute_force(Q: Float, c: Float, lam: float) -> float:
    """The least objective over all sign patterns; a candidate counts wherever it lies, so it never undercuts the minimum."""
    W = len(c) - 1
    best = 0.0
    for pattern in product((-1.0, 0.0, 1.0), repeat=W):
        s = np.array([*pattern, 0.0])
        on = s != 0
        if on.any():
            x = np.zeros(W + 1)
            x[on] = np.linalg.lstsq(Q[np.ix_(on, on)], c[on] - lam * s[on], rcond=1e-12)[0]
            best = min(best, _value(Q, c, lam, x))
    return best


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 6), st.sampled_from([1e-6, 1e-2, 0.5, 5.0]))
def test_no_sign_pattern_beats_the_lasso(seed: int, W: int, rank: int, lam: float) -> None:
    Q, c = _problem(np.random.default_rng(seed), W, rank)
    x, done = _run(Q[None], c[None], np.array([lam]))
    assert done.all()
    scale = 1.0 + np.abs(c).max() ** 2
    assert _value(Q, c, lam, x[0]) <= _brute_force(Q, c, lam) + 1e-8 * scale


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 25), st.integers(1, 12))
def test_the_optimality_conditions_hold_and_the_company_does_not_matter(seed: int, W: int, N: int) -> None:
    rng = np.random.default_rng(seed)
    problems = [_problem(rng, W, W + 3) for _ in range(N)]
    Q, c = (np.array(part) for part in zip(*problems, strict=True))
    lam = 10.0 ** rng.uniform(-4, 1, N)
    x, done = _run(Q, c, lam)
    assert done.all()
    assert (x[:, W] == 0).all()
    g = (c - np.einsum("nij,nj->ni", Q, x))[:, :W]
    away = np.where(x[:, :W] == 0, np.maximum(np.abs(g) - lam[:, None], 0.0), np.abs(g - lam[:, None] * np.sign(x[:, :W])))
    assert (away.max(axis=1) <= 1e-7 * (lam + np.abs(c).max(axis=1))).all()
    for i in range(N):
        alone, _ = _run(Q[i : i + 1], c[i : i + 1], lam[i : i + 1])
        np.testing.assert_allclose(alone[0], x[i], rtol=1e-7, atol=1e-10 * np.abs(x[i]).max())


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 20))
def test_a_warm_start_reaches_the_same_optimum(seed: int, W: int) -> None:
    rng = np.random.default_rng(seed)
    Q, c = _problem(rng, W, W + 2)
    lam = np.array([0.1])
    cold, _ = _run(Q[None], c[None], lam)
    start = np.append(rng.normal(size=W) * (rng.random(W) < 0.5), 0.0)[None]
    warm, done = _run(Q[None], c[None], lam, start)
    assert done.all()
    assert _value(Q, c, 0.1, warm[0]) == pytest.approx(_value(Q, c, 0.1, cold[0]), rel=1e-9, abs=1e-9)


def test_many_active_variables_of_many_problems_are_solved_together() -> None:
    rng = np.random.default_rng(4)
    problems = [_problem(rng, 25, 30) for _ in range(300)]
    Q, c = (np.array(part) for part in zip(*problems, strict=True))
    lam = 10.0 ** rng.uniform(-8, 2, 300)
    x, done = _run(Q, c, lam)
    assert done.all()
    active = np.count_nonzero(x, axis=1)
    assert active.min() < 3
    assert active.max() == 25


def test_a_problem_that_is_not_done_in_the_steps_allowed_is_reported() -> None:
    Q, c = _problem(np.random.default_rng(1), 10, 14)
    x = np.zeros((1, 11))
    done = lasso(
        Q[None],
        c[None],
        np.array([1e-6]),
        x,
        np.zeros((1, 11)),
        lambda rows, at: c[None][rows] - at @ Q,
        np.full(11, TINY),
        steps=2,
    )
    assert not done.any()
    assert np.isfinite(x).all()
