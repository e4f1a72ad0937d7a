"""How much evidence a series shows when nothing is wrong: its own level, instead of one threshold for all.

Owns: the level arrays of the carry and `levels`. A level comes from the rate at which a normal series may pass it, in
points. Must not know residuals: it sees evidence only, channel by channel.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.scoring.rhythm import LEVEL_POINTS, MEMORY_BLOCKS, Rhythm
from forewarn.series import Float, TimeGrid

Arrays = dict[str, NDArray[Any]]
CHANNELS: Final = 2
"""A single point's evidence, and the evidence that the last few points have in common."""

_LEAST: Final = np.log(4.0)
"""No level is below four scales: a median deviation of Gaussian noise is passed fourfold once in 140 points."""
_MARGIN: Final = np.log(1.15)
"""What recurs with the same height stays below 1."""
_PSEUDO: Final = 8
"""Blocks with a peak at the least level that a fresh series is thought to have seen."""
_FAINT: Final = np.log(1e-3)


def fresh(S: int) -> Arrays:
    """The level arrays of S series that were never seen."""
    return {
        "peaks": np.full((S, CHANNELS, MEMORY_BLOCKS), np.float32(np.nan)),
        "peak": np.full((S, CHANNELS), -np.inf),
        "level": np.full((S, CHANNELS), _LEAST + _MARGIN),
    }


def levels(arrays: Mapping[str, NDArray[Any]], rhythm: Rhythm, grid: TimeGrid, evidence: Float) -> tuple[Float, Arrays]:
    """Logarithms of the levels [S, CHANNELS, B] in force at each bucket, and the level arrays after the block.

    `evidence` [S, CHANNELS, B] in logarithms, NaN = no data. A level is set when a block of time ends.
    """
    after: Arrays = {name: arrays[name] for name in fresh(0)}
    logs = np.empty_like(evidence)
    low, B = 0, grid.size
    while low < B:
        time = grid.start + low * grid.step
        edge = (time // rhythm.block + 1) * rhythm.block
        high = min(B, max(low + 1, -(-(edge - grid.start) // grid.step)))
        logs[:, :, low:high] = after["level"][:, :, None]
        part = evidence[:, :, low:high]
        peak = np.fmax.reduce(np.maximum(part, _FAINT), axis=2)
        after["peak"] = np.fmax(after["peak"], peak)
        if grid.start + high * grid.step >= edge:
            _end_block(after, rhythm, edge // rhythm.block - 1)
        low = high
    return logs, after


def _end_block(after: Arrays, rhythm: Rhythm, number: int) -> None:
    peaks = after["peaks"].copy()
    peaks[:, :, number % MEMORY_BLOCKS] = np.where(np.isfinite(after["peak"]), after["peak"], np.nan)
    after["peaks"] = peaks
    after["peak"] = np.full_like(after["peak"], -np.inf)
    known = np.count_nonzero(~np.isnan(peaks), axis=2)
    pseudo = np.where(np.arange(_PSEUDO) < (_PSEUDO - known // 7)[:, :, None], np.float32(_LEAST), np.float32(np.nan))
    usual = _quantile(np.concatenate([peaks, pseudo], axis=2), 0.5 ** (rhythm.points_in_block / LEVEL_POINTS))
    after["level"] = np.where(known > 0, np.fmax(_LEAST, _MARGIN + usual), after["level"])


def _quantile(values: NDArray[np.float32], q: float) -> Float:
    """The q-quantile along the last axis of what is not NaN."""
    ordered = np.sort(values, axis=-1)
    n = np.count_nonzero(~np.isnan(ordered), axis=-1)[..., None]
    at = q * np.maximum(n - 1, 0)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(n - 1, 0))
    a, b = np.take_along_axis(ordered, low, -1), np.take_along_axis(ordered, high, -1)
    return np.asarray((a + (at - low) * (b - a))[..., 0], np.float64)
