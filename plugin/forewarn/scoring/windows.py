"""Medians and minima over sliding windows of points, and points without their holes.

Owns: `preceding_median`, `Packing`. Pure array operations whose result for one row and point depends on nothing but that
point's window, so that rows can be split, permuted and cut anywhere. Must not know what the numbers mean.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.series import Float

_CHUNK = 8192
"""Points whose windows are sorted at once: 21 lanes of so many float64 stay in the second-level cache."""


def _merge_exchange(size: int) -> list[tuple[int, int]]:
    """Batcher's merge-exchange sorting network for `size` lanes (Knuth, TAOCP 3, 5.2.2 M)."""
    pairs: list[tuple[int, int]] = []
    top = 1 << max(0, (size - 1).bit_length() - 1)
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            pairs += [(i, i + d) for i in range(size - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return pairs


@lru_cache(maxsize=32)
def _median_network(size: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """The comparators (low lane, high lane, low needed, high needed) that bring the median of `size` lanes to the middle.

    Comparators that cannot reach the middle lane are left out; of the others only the outputs that can.
    """
    needed = {size // 2}
    kept: list[tuple[int, int, bool, bool]] = []
    for low, high in reversed(_merge_exchange(size)):
        if low in needed or high in needed:
            kept.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return tuple(reversed(kept))


def preceding_median(extended: Float, width: int) -> Float:
    """[S, W+N] -> [S, N]: the median of the `width` (odd) points before each of the last N points."""
    S, N = extended.shape[0], extended.shape[1] - width
    result = np.empty((S, N))
    rows = max(1, _CHUNK // max(N, 1))
    for first in range(0, S, rows):
        part = extended[first : first + rows]
        lanes = [part[:, lane : lane + N].copy() for lane in range(width)]
        for low, high, keep_low, keep_high in _median_network(width):
            a, b = lanes[low], lanes[high]
            if keep_low and keep_high:
                lanes[low] = np.minimum(a, b)
                np.maximum(a, b, out=b)
            elif keep_low:
                np.minimum(a, b, out=a)
            else:
                np.maximum(a, b, out=b)
        result[first : first + rows] = lanes[width // 2]
    return result


@dataclass(frozen=True, slots=True)
class Packing:
    """Where the points that have data lie in a block [S, B]: packed to the left, row by row, in order of time.

    Windows of points, unlike windows of buckets, then need not know about holes. What stands behind a row's last point is
    never looked at.
    """

    valid: NDArray[np.bool_]
    order: NDArray[np.int64] | None
    """Bucket of each packed point; None where nothing is missing."""
    count: NDArray[np.int64]
    """Points of each row."""

    @classmethod
    def of(cls, valid: NDArray[np.bool_]) -> "Packing":
        """The packing of the points where `valid` [S, B]."""
        count = valid.sum(axis=1, dtype=np.int64)
        if bool(valid.all()):
            return cls(valid, None, count)
        return cls(valid, np.argsort(~valid, axis=1, kind="stable").astype(np.int64), count)

    def pack(self, array: NDArray[Any], blank: float = 0.0) -> NDArray[Any]:
        """[S, B] by buckets to [S, B] by points, `blank` behind the last point of a row."""
        if self.order is None:
            return array
        packed = np.take_along_axis(array, self.order, axis=1)
        packed[np.arange(array.shape[1]) >= self.count[:, None]] = blank
        return packed

    def unpack(self, array: NDArray[Any], blank: float) -> NDArray[Any]:
        """[S, B] by points to [S, B] by buckets, `blank` where there is no data."""
        if self.order is None:
            return array
        spread = np.empty_like(array)
        np.put_along_axis(spread, self.order, array, axis=1)
        spread[~self.valid] = blank
        return spread

    def last(self, extended: NDArray[Any], width: int) -> NDArray[Any]:
        """The last `width` points of each row of [width before the block | the block's points]."""
        if self.order is None:
            return extended[:, extended.shape[1] - width :].copy()
        return np.take_along_axis(extended, self.count[:, None] + np.arange(width), axis=1)
