"""The values of buckets from rows in memory, to the last bit as `file_statement` has DuckDB compute them.

Owns: `values_in_buckets`. Exact where order does not matter; sums go through the values in order of size with Kahan's
correction, as DuckDB's fsum does; percentiles lie between two neighbours, as the statement has it.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import Detector
from forewarn.series import Float, TimeGrid
from forewarn.sources.demands import needs_number

Columns = dict[str, NDArray[Any]]
"""`entity` and `bucket`, and `n` (NaN: no number), `v` (< 0: no value) or `hit`."""
Values = tuple[NDArray[np.int64], NDArray[np.int64], Float]

_LONGEST_SUM: Final = 400
"""Values of a bucket that are added here at most; a step for each of them is slower than DuckDB above."""


def values_in_buckets(detector: Detector, grid: TimeGrid, columns: Columns) -> Values | None:
    """(entity, bucket, value) of all buckets with rows; None where they are better computed by the statement."""
    keys = columns["entity"].astype(np.int64) * grid.size + columns["bucket"]
    if needs_number(detector):
        return _of_numbers(detector, grid, keys, columns["n"])
    if detector.function == "cardinality":
        known = columns["v"] >= 0
        pairs = np.unique(np.stack([keys[known], columns["v"][known]]), axis=1)[0]
        found = np.unique(keys)
        counts = np.searchsorted(pairs, found, "right") - np.searchsorted(pairs, found)
        return (*_split(found, grid), counts.astype(np.float64))
    found, row, counts = np.unique(keys, return_inverse=True, return_counts=True)
    values = counts.astype(np.float64)
    if detector.function == "rate":
        values = values * 1000.0 / grid.step
    elif detector.function == "ratio":
        values = np.bincount(row[columns["hit"]], minlength=len(found)) / values
    return (*_split(found, grid), _of_enough(detector, values, counts))


def _split(keys: NDArray[np.int64], grid: TimeGrid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return keys // grid.size, keys % grid.size


def _of_numbers(detector: Detector, grid: TimeGrid, keys: NDArray[np.int64], numbers: Float) -> Values | None:
    order = np.lexsort((numbers, keys))  # NaN last
    keys, numbers = keys[order], numbers[order]
    found, first = np.unique(keys, return_index=True)
    counts = np.add.reduceat(~np.isnan(numbers), first, dtype=np.int64)
    some = counts > 0
    values = np.full(len(found), np.nan)
    if detector.function in ("sum", "avg"):
        if counts.max() > _LONGEST_SUM:
            return None
        values = _sums(numbers, first, counts)
        values = (
            values if detector.function == "sum" else np.divide(values, counts, out=np.full(len(found), np.nan), where=some)
        )
    elif detector.percentile is not None:
        place = (counts[some] - 1) * (detector.percentile / 100)
        below = np.floor(place)
        low = numbers[first[some] + below.astype(np.int64)]
        high = numbers[first[some] + np.ceil(place).astype(np.int64)]
        values[some] = low + (high - low) * (place - below)
    else:
        values[some] = numbers[first[some] + (counts[some] - 1 if detector.function == "max" else 0)]
    return (*_split(found, grid), _of_enough(detector, values + 0.0, counts))  # no negative zero


def _of_enough(detector: Detector, values: Float, held: NDArray[np.int64]) -> Float:
    """The values of buckets that hold enough of what their value is made of; no data for the others."""
    return values if detector.min_count == 1 else np.where(held < detector.min_count, np.nan, values)


def _sums(numbers: Float, first: NDArray[np.int64], counts: NDArray[np.int64]) -> Float:
    """The sums of `counts` values from `first` on, one after the other, but side by side for all buckets."""
    longest = np.argsort(-counts, kind="stable")
    at, total, error = first[longest], np.zeros(len(first)), np.zeros(len(first))
    left = np.searchsorted(-counts[longest], -np.arange(1, counts.max() + 1), "right")
    for rank, buckets in enumerate(left.tolist()):
        difference = numbers[at[:buckets] + rank] - error[:buckets]
        added = total[:buckets] + difference
        error[:buckets] = (added - total[:buckets]) - difference
        total[:buckets] = added
    values = np.empty(len(first))
    values[longest] = total
    return values
