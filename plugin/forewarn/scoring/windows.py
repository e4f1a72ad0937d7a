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

_CHUNK = 4096
"""Groups of windows that are worked on at once: some 30 lanes of so many float64 nearly stay in the second-level cache."""
_WORTH_SHARING = 1024
"""Windows from which on sharing costs less than the calls for it."""

_Network = tuple[tuple[tuple[int, int, bool, bool], ...], tuple[int, ...]]
"""Comparators (low lane, high lane, low needed, high needed), and the lanes of the wanted ranks in their order."""


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


def _odd_even_merge(x: list[int], y: list[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """Batcher's merge of two sorted runs of lanes of any lengths (Knuth, TAOCP 3, 5.3.4): comparators, lanes in order."""
    if not x or not y:
        return [], [*x, *y]
    if len(x) == len(y) == 1:
        return [(x[0], y[0])], [x[0], y[0]]
    pairs, odd = _odd_even_merge(x[::2], y[::2])
    more, even = _odd_even_merge(x[1::2], y[1::2])
    pairs, order = pairs + more, odd[:1]
    for k, lane in enumerate(even):
        if k + 1 < len(odd):
            pairs.append((lane, odd[k + 1]))
            order += [lane, odd[k + 1]]
        else:
            order.append(lane)
    return pairs, order + odd[len(even) + 1 :]


def _pruned(pairs: list[tuple[int, int]], wanted: list[int]) -> _Network:
    """The network without what no wanted lane depends on."""
    needed = set(wanted)
    kept: list[tuple[int, int, bool, bool]] = []
    for low, high in reversed(pairs):
        if low in needed or high in needed:
            kept.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return tuple(reversed(kept)), tuple(wanted)


@lru_cache(maxsize=256)
def _sorting(size: int, first: int, last: int) -> _Network:
    """Brings the ranks first..last of `size` lanes in order."""
    return _pruned(_merge_exchange(size), list(range(first, last + 1)))


@lru_cache(maxsize=256)
def _merging(one: int, other: int, first: int, last: int) -> _Network:
    """The same for `one` sorted lanes followed by `other` sorted lanes."""
    pairs, order = _odd_even_merge(list(range(one)), list(range(one, one + other)))
    return _pruned(pairs, order[first : last + 1])


def ranked(lanes: list[Float], first: int, last: int) -> list[Float]:
    """The ranks first..last (from 0) of what stands at each place of the lanes, which are arrays of one shape."""
    return _through(_sorting(len(lanes), first, last), lanes)


def _through(network: _Network, lanes: list[Float]) -> list[Float]:
    lanes = lanes.copy()
    for low, high, keep_low, keep_high in network[0]:
        a, b = lanes[low], lanes[high]
        if keep_low:
            lanes[low] = np.minimum(a, b)
        if keep_high:
            lanes[high] = np.maximum(a, b)
    return [lanes[lane] for lane in network[1]]


def preceding_median(extended: Float, width: int) -> Float:
    """[S, W+N] -> [S, N]: the median of the `width` (odd) points before each of the last N points.

    Neighbouring windows have most of their points in common: those are sorted once for a group of them, of which only the
    few that can be a median go on to its halves, with the points that these have in common besides.
    """
    S, N = extended.shape[0], extended.shape[1] - width
    if not N:
        return np.empty((S, 0))
    groups = -(-N // min(N, max(1, 2 * width // 7 if S * N >= _WORTH_SHARING else 1)))
    size = -(-N // groups)
    if groups * size > N:
        extended = np.concatenate([extended, np.zeros((S, groups * size - N))], axis=1)
    result = np.empty((S, N))
    rows = max(1, (_CHUNK if size > 1 else 2 * _CHUNK) // groups)  # without sharing, fewer lanes are in use at a time
    for first in range(0, S, rows):
        part = np.ascontiguousarray(extended[first : first + rows].T)
        points = [part[place : place + (groups - 1) * size + 1 : size] for place in range(size + width - 1)]
        shared, extra = points[size - 1 : width], size - 1
        low, high = max(0, width // 2 - extra), min(len(shared) - 1, width // 2)
        medians = np.empty((groups, size, part.shape[1]))
        _halve(points, width, (0, size), ranked(shared, low, high), low, medians)
        result[first : first + rows] = medians.reshape(-1, part.shape[1])[:N].T
    return result


def _halve(
    points: list[Float], width: int, windows: tuple[int, int], candidates: list[Float], below: int, result: Float
) -> None:
    """Writes the medians of some windows of each group into `result` [groups, size, rows].

    Of the points that these have in common, `candidates` are those in order that may be a median, behind `below` that
    are too small for that.
    """
    begin, end = windows
    if end - begin == 1:
        result[:, begin] = candidates[0]
        return
    middle = (begin + end) // 2
    for first, last, more in (
        (begin, middle, points[middle - 1 : end - 1]),
        (middle, end, points[begin + width : middle + width]),
    ):
        extra = last - first - 1
        low, high = max(0, width // 2 - extra), min(width - extra - 1, width // 2)
        network = _merging(len(candidates), len(more), low - below, high - below)
        chosen = _through(network, candidates + ranked(more, 0, len(more) - 1))
        _halve(points, width, (first, last), chosen, low, result)


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
        """The last `width` points of each row [S, ..., width before the block + the block's points]."""
        if self.order is None:
            return extended[..., extended.shape[-1] - width :].copy()
        place = (self.count[:, None] + np.arange(width)).reshape(len(extended), *(1,) * (extended.ndim - 2), width)
        return np.take_along_axis(extended, place, axis=-1)
