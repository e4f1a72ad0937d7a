"""How unlikely a count is, given the rate at which it is expected: tails of the Poisson and negative binomial distributions.

Owns: `count_tail`. Pure array operations on any shape, in logarithms, so that tails of 1e-300 and beyond have a size. Must not
estimate anything: rate, dispersion and the share of zeros are given.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from forewarn.series import Float

_POISSON: Final = 1e-8
"""A dispersion below this is none."""
_CLOSE: Final = 1e-14
_MOST_STEPS: Final = 20_000
_STIRLING: Final = 12.0
"""From here on Stirling's series with five terms is exact to the last digit; below, the recurrence leads up to it."""


def count_tail(
    values: ArrayLike, rate: ArrayLike, dispersion: ArrayLike = 0.0, zeros: ArrayLike | None = None
) -> tuple[Float, Float]:
    """log10 of P(X >= value) and of P(X <= value), float64, for arguments that broadcast; NaN where any of them is.

    X is negative binomial with mean `rate` > 0 and variance rate + dispersion * rate ** 2 (dispersion 0: Poisson). With
    `zeros` it is a hurdle: 0 with that probability, and otherwise as the same distribution is when it is not 0. Values are
    rounded up for the upper and down for the lower tail; below 0 the lower tail is empty (-inf).
    """
    shape = np.broadcast_shapes(*(np.shape(one) for one in (values, rate, dispersion, 0.0 if zeros is None else zeros)))
    x, mu, alpha = (np.broadcast_to(np.asarray(one, np.float64), shape).ravel() for one in (values, rate, dispersion))
    known = np.isfinite(x) & np.isfinite(mu) & np.isfinite(alpha) & (mu > 0) & (alpha >= 0)
    share = None if zeros is None else np.broadcast_to(np.asarray(zeros, np.float64), shape).ravel()
    if share is not None:
        known &= (share >= 0) & (share <= 1)
    upper, lower = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
    x, mu, alpha = x[known], mu[known], alpha[known]
    top, bottom = np.maximum(np.ceil(x), 0.0), np.floor(x)
    high, _ = _around(top, mu, alpha)
    _, low = _around(np.maximum(bottom + 1.0, 0.0), mu, alpha)
    if share is not None:
        high, low = _hurdle(top, bottom, high, low, share[known], _log_pmf(np.zeros_like(mu), mu, alpha))
    upper[known], lower[known] = high / np.log(10.0), low / np.log(10.0)
    return upper.reshape(shape), lower.reshape(shape)


def _hurdle(top: Float, bottom: Float, high: Float, low: Float, zeros: Float, at_zero: Float) -> tuple[Float, Float]:
    """The tails of a distribution whose zeros have a probability of their own; all in natural logarithms but `zeros`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.log1p(-zeros) - np.log(-np.expm1(at_zero))
        upper = np.where(top <= 0, 0.0, scale + high)
        above = scale + np.where(bottom < 0, 0.0, np.log(-np.expm1(np.minimum(low, 0.0))))  # of what is larger than bottom
        small = np.log(zeros + np.exp(scale) * np.maximum(np.exp(low) - np.exp(at_zero), 0.0))
        lower = np.where(above < -0.7, np.log1p(-np.exp(above)), small)
    return upper, np.where(bottom < 0, -np.inf, lower)


def _around(k: Float, mu: Float, alpha: Float) -> tuple[Float, Float]:
    """Logarithms of P(X >= k) and P(X < k) for whole k >= 0.

    Incomplete beta functions, I_q(k, r) and I_p(r, k), by the continued fraction that converges fast on that side of the mean
    (Numerical Recipes 6.4), the other one from it; for Poisson the limit of the former as r grows, and a finite sum.
    """
    above, below = np.zeros_like(mu), np.full_like(mu, -np.inf)
    some = k > 0
    k, mu, alpha = k[some], mu[some], alpha[some]
    plain = alpha < _POISSON
    r = 1.0 / np.maximum(alpha, _POISSON)
    q, p = mu / (r + mu), r / (r + mu)
    head = _log_pmf(k, mu, alpha)
    right = np.where(plain, k + 1.0 > mu, q < (k + 1.0) / (k + r + 2.0))
    direct = np.empty_like(mu)
    direct[right] = head[right] + _beta_fraction(k[right], r[right], q[right], np.where(plain, mu, np.nan)[right])
    left = ~right & ~plain
    direct[left] = (
        head[left] + np.log(k[left] / r[left]) + _beta_fraction(r[left], k[left], p[left], np.full(left.sum(), np.nan))
    )
    left = ~right & plain
    direct[left] = head[left] + _sum_before(k[left], mu[left])
    other = np.log1p(-np.exp(np.minimum(direct, -1e-300)))
    above[some], below[some] = np.where(right, direct, other), np.where(right, other, direct)
    return above, below


def _beta_fraction(a: Float, b: Float, x: Float, limit: Float) -> Float:
    """Log of the continued fraction of I_x(a, b) by Lentz's method; where `limit` is no NaN, b is infinite and b x that."""
    result = np.empty_like(a)
    at = np.arange(a.size)
    b_x = np.where(np.isnan(limit), b * x, limit)
    x = np.where(np.isnan(limit), x, 0.0)
    c, d = np.ones_like(a), 1.0 / (1.0 - (a * x + b_x) / (a + 1.0))
    h = d.copy()
    for m in range(1, _MOST_STEPS):
        if not at.size:
            break
        term = m * (b_x - m * x) / ((a + 2 * m - 1.0) * (a + 2 * m))
        d, c = 1.0 / (1.0 + term * d), 1.0 + term / c
        h = h * d * c
        term = -(a + m) * ((a + m) * x + b_x) / ((a + 2 * m) * (a + 2 * m + 1.0))
        d, c = 1.0 / (1.0 + term * d), 1.0 + term / c
        h = h * d * c
        going = np.abs(d * c - 1.0) > _CLOSE
        if not going.all():
            result[at[~going]] = np.log(h[~going])
            at = at[going]
            a, b_x, x, c, d, h = (array[going] for array in (a, b_x, x, c, d, h))
    result[at] = np.log(h)
    return result


def _sum_before(k: Float, mu: Float) -> Float:
    """Logarithm of P(X < k) / P(X = k) for Poisson, k below the mean: terms that fall off like (k / mean) ** n at least."""
    total, term, left = np.zeros_like(k), np.ones_like(k), k.copy()
    while bool(np.any(term * np.maximum(left, 0.0) > _CLOSE * total)):
        term = term * np.maximum(left, 0.0) / mu
        total, left = total + term, left - 1.0
    return np.log(total)


def _log_pmf(k: Float, mu: Float, alpha: Float) -> Float:
    """Logarithm of P(X = k); ratios of gamma functions by Stirling's series, so that nothing cancels where r is large."""
    plain = alpha < _POISSON
    r = 1.0 / np.maximum(alpha, _POISSON)
    poisson = k * np.log(mu) - mu - _log_gamma(k + 1.0)
    rising = _log_rising(r, k)
    binomial = rising - _log_gamma(k + 1.0) - r * np.log1p(mu / r) + k * (np.log(mu) - np.log(r + mu))
    return np.where(plain, poisson, binomial)


def _log_rising(r: Float, k: Float) -> Float:
    """Logarithm of gamma(r + k) / gamma(r)."""
    low = np.maximum(_STIRLING - r, 0.0)
    small = low > 0
    far = (r - 0.5) * np.log1p(k / r) + k * (np.log(r + k) - 1.0) + _correction(r + k) - _correction(np.maximum(r, _STIRLING))
    near = _log_gamma(r + k) - _log_gamma(np.where(small, r, 1.0))
    return np.where(small, near, far)


def _log_gamma(x: Float) -> Float:
    """Logarithm of gamma(x) for x > 0."""
    shift = np.zeros_like(x)
    x = x.copy()
    for _ in range(int(_STIRLING)):
        small = x < _STIRLING
        shift[small] += np.log(x[small])
        x[small] += 1.0
    stirling = (x - 0.5) * np.log(x) - x + 0.5 * np.log(2.0 * np.pi)
    return np.asarray(stirling + _correction(x) - shift, np.float64)


def _correction(x: Float) -> Float:
    """What Stirling's formula leaves of ln gamma(x), for x >= 12."""
    y = 1.0 / (x * x)
    return (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y / 1188)))) / x
