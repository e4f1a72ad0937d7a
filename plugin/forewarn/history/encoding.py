"""One block of history as bytes: float32 offsets from a reference of each series.

Owns the form and its accuracy. Must not know where blocks are kept.

A value v of a series with reference r comes back within 2^-24 |v - r| (relative to the offset, 6e-8), plus the rounding
of v itself in float64. The reference is the median with 24 significant bits, so that a value of exactly 0 comes back as 0,
and integers up to 2^24 come back as they were wherever the median is one, too.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn import blocks
from forewarn.errors import ModelMismatch
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

_KIND = "history"
_BITS = 24
"""Significant bits of a float32."""


@dataclass(frozen=True, eq=False)
class Part:
    """A decoded block: `offsets` float32 [S, T] times `scale` [S, 1] plus `reference` [S, 1] are the values."""

    keys: tuple[SeriesKey, ...]
    names: str
    """A hash of the keys: the same series in the same order have the same, day after day."""
    grid: TimeGrid
    offsets: NDArray[np.float32]
    scale: Float
    reference: Float

    def values(self, rows: NDArray[np.int64], columns: slice) -> Float:
        """The values of some rows and buckets, float64."""
        offsets = self.offsets[rows, columns].astype(np.float64)
        return np.asarray(offsets * self.scale[rows] + self.reference[rows], dtype=np.float64)


def compact(batch: SeriesBatch) -> Part:
    """The block that a batch becomes, with the accuracy of its bytes. Raises ValueError for infinities."""
    with np.errstate(over="ignore", invalid="ignore"):
        reference = _rounded(_medians(batch.values))[:, None]
        difference = batch.values - reference
    if np.isinf(batch.values).any() or np.isinf(difference).any():
        raise ValueError("history keeps finite values and NaN, got an infinity or a range beyond float64")
    largest = np.max(np.where(np.isnan(difference), 0.0, np.abs(difference)), axis=1, initial=0.0, keepdims=True)
    # A power of two changes no digit; with it, offsets fit into float32 whatever the unit of the values is.
    scale = np.ldexp(1.0, np.frexp(largest)[1] - 1)
    offsets = (difference / scale).astype(np.float32)
    return Part(batch.keys, _names(_plain(batch.keys)), batch.grid, offsets, scale, reference)


def encode(batch: SeriesBatch) -> bytes:
    """The bytes of a block; the same values always give the same. Raises ValueError for infinities."""
    part, grid = compact(batch), batch.grid
    meta = {"kind": _KIND, "keys": _plain(part.keys), "grid": [grid.start, grid.step, grid.size]}
    return blocks.encode(meta, {"offsets": part.offsets, "scale": part.scale, "reference": part.reference})


def decode(content: bytes) -> Part:
    """The block of `encode`; raises ModelMismatch for anything else."""
    meta, arrays = blocks.decode(content)
    try:
        if meta["kind"] != _KIND:
            raise ModelMismatch(f"not a block of history but of {meta['kind']}")
        keys = tuple(SeriesKey(detector, tuple((f, v) for f, v in entity)) for detector, entity in meta["keys"])
        start, step, size = meta["grid"]
        names, grid = _names(meta["keys"]), TimeGrid(start, step, size)
        part = Part(keys, names, grid, arrays["offsets"], arrays["scale"], arrays["reference"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelMismatch(f"not a block of history: {error!r}") from error
    if part.offsets.shape != (len(keys), size):
        raise ModelMismatch(f"a block of history holds {part.offsets.shape} for {len(keys)} series and {size} buckets")
    return part


def assemble(parts: Sequence[Part], keys: Sequence[SeriesKey], grid: TimeGrid) -> SeriesBatch:
    """The values of `keys` on `grid`; NaN where no part has them, and the last part's where several do.

    Raises ValueError for a part with another step.
    """
    values = np.full((len(keys), grid.size), np.nan)
    wanted = {key: row for row, key in enumerate(keys)}
    rows_of: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    for part in parts:
        if part.grid.step != grid.step:
            raise ValueError(f"a block of history has step {part.grid.step}, asked was for {grid.step}")
        common = part.grid.slice(grid.start, grid.end)
        if not common.size:
            continue
        if part.names not in rows_of:
            there = np.array([wanted.get(key, -1) for key in part.keys], dtype=np.int64)
            rows_of[part.names] = (np.flatnonzero(there >= 0), there[there >= 0])
        theirs, ours = rows_of[part.names]
        if theirs.size:
            source, target = part.grid.index(common.start), grid.index(common.start)
            values[ours, target : target + common.size] = part.values(theirs, slice(source, source + common.size))
    return SeriesBatch(tuple(keys), grid, values)


def _plain(keys: Sequence[SeriesKey]) -> list[list[Any]]:
    return [[key.detector, [list(pair) for pair in key.entity]] for key in keys]


def _names(plain: list[list[Any]]) -> str:
    return blake2b(json.dumps(plain).encode(), digest_size=16).hexdigest()


def _medians(values: Float) -> Float:
    """The median of each row's values that are not NaN; 0 where there is none."""
    ordered = np.sort(values, axis=1)
    count = np.count_nonzero(~np.isnan(values), axis=1)
    if not values.size:
        return np.zeros(len(values))
    middle = np.take_along_axis(ordered, (np.maximum(count - 1, 0) // 2)[:, None], axis=1)[:, 0]
    return np.where(count > 0, middle, 0.0)


def _rounded(numbers: Float) -> Float:
    """The numbers with 24 significant bits."""
    mantissa, exponent = np.frexp(numbers)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, _BITS)), exponent - _BITS), dtype=np.float64)
