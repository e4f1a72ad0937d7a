"""How much speaks against a point being normal, before asking what this series is used to.

Owns: the evidence of a single point and of the last few points together, and what a detector's own policy lets through
(direction, minimum deviation). Pure array operations in logarithms. Must not remember anything.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import Detector
from forewarn.series import Float

_LOCAL: Final = 0.65
"""Share of the deviation from the recent residuals; that from the expectation alone has the rest."""
_MOST: Final = np.log(1e6)
_BELOW: Final = np.log(0.99)


def deviation(sizes: Float, usual: Float) -> Float:
    """Logarithms of the evidence [S, B] from the sizes of both residuals and their usual sizes' logarithms [S, 2, B].

    The weighted geometric mean of both, each in units of its scale: 0 (-inf) if either is, so that a value that is as
    expected is never evidence, nor one that has been off for long.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(sizes)
    both = logs - usual
    return together(both[:, 0], both[:, 1])


def together(residual: Float, local: Float) -> Float:
    """Logarithms of the evidence of both residuals together, from that of each."""
    return np.asarray(np.minimum((1.0 - _LOCAL) * residual + _LOCAL * local, _MOST), np.float64)


def by_side(evidence: Float, residual: Float, before: Float) -> Float:
    """[S, 2, before+B] by points: the evidence of points above (0) and below (1) the expectation, -inf on the other side."""
    width = before.shape[2]
    sides = np.empty((*before.shape[:2], width + residual.shape[1]))
    sides[:, :, :width] = before
    sides[:, 0, width:] = np.where(residual > 0, evidence, -np.inf)
    sides[:, 1, width:] = np.where(residual < 0, evidence, -np.inf)
    return sides


def sustained(sides: Float, width: int) -> Float:
    """[S, B] by points: the least evidence of the last `width` points, if they all lie on one side; otherwise -inf."""
    B = sides.shape[2] - width + 1
    # All rows in one line: windows across the end of a row are cut off afterwards.
    least = np.full(sides.size, -np.inf)
    flat = np.ascontiguousarray(sides).reshape(-1)
    within = sides.size - width + 1
    np.minimum(flat[:within], flat[1 : within + 1], out=least[:within])
    for shift in range(2, width):
        np.minimum(least[:within], flat[shift : shift + within], out=least[:within])
    least = least.reshape(sides.shape)[:, :, :B]
    return np.asarray(np.maximum(least[:, 0], least[:, 1]), np.float64)


def policy(
    detector: Detector, score: Float, size: Float, direction: NDArray[np.int8], expected: Float
) -> tuple[Float, NDArray[np.bool_], NDArray[np.bool_]]:
    """Logarithms of scores [S, B] held below 1 where the detector does not care, and where: too small, other side.

    Below the minimum deviation a score still grows with the deviation, so that nothing jumps but at the minimum itself.
    """
    small = np.zeros(score.shape, np.bool_)
    least = detector.min_deviation
    if least.absolute > 0 or least.relative > 0:
        bound = np.maximum(least.absolute, least.relative * np.abs(expected))
        small = size < bound
        with np.errstate(divide="ignore", invalid="ignore"):
            held = _BELOW + np.log(size / bound)
        score = np.where(small, np.minimum(score, held), score)
    other = np.zeros(score.shape, np.bool_)
    if detector.direction != "both":
        other = direction == (-1 if detector.direction == "above" else 1)
        score = np.where(other, np.minimum(score, _BELOW), score)
    return score, small, other
