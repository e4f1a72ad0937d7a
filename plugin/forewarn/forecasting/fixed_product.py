"""Matrix products in which an element has the same bits wherever it stands and whatever stands beside it.

Owns: the tiles of one fixed shape that make a BLAS product so. A BLAS treats the edges of a matrix otherwise than its
inside, so that the last bit of a forecast would depend on the block it is asked for; tiles are padded to a shape without
edges, and whether that holds on this machine is tried before they are used. Where it does not, columns are added one by one.
"""

from functools import lru_cache
from typing import Final

import numpy as np

from forewarn.forecasting.batch_threads import one_thread
from forewarn.series import Float

TILE: Final = 64
_COLUMNS: Final = 96
"""Rows and columns of a tile: multiples of every register block that a BLAS uses."""


def product(beta: Float, X: Float) -> Float:
    """`beta` [n, K] times the transpose of `X` [T, K]: [n, T]."""
    (n, K), T = beta.shape, len(X)
    if not K or not n or not T:
        return np.zeros((n, T))
    with one_thread():
        if not _holds(K):
            return _by_columns(beta, X)
        down, across = -(-n // TILE), -(-T // _COLUMNS)
        left = np.zeros((down * TILE, K))
        left[:n] = beta
        right = np.zeros((across, K, _COLUMNS))
        for i in range(across):
            part = X[i * _COLUMNS : (i + 1) * _COLUMNS]
            right[i, :, : len(part)] = part.T
        out = np.empty((down * TILE, across * _COLUMNS))
        tiles = out.reshape(down, TILE, across, _COLUMNS).transpose(0, 2, 1, 3)
        tiles[...] = np.matmul(left.reshape(down, 1, TILE, K), right)
    return out[:n, :T]


def _by_columns(beta: Float, X: Float) -> Float:
    total = np.zeros((len(beta), len(X)))
    for k in range(X.shape[1]):
        total += beta[:, k, None] * X[None, :, k]
    return total


@lru_cache(maxsize=256)
def _holds(K: int) -> bool:
    """Whether the elements of a tile with K columns have the same bits after rows and columns changed their places."""
    rng = np.random.default_rng(K)
    left, right = rng.normal(size=(TILE, K)), rng.normal(size=(K, _COLUMNS))
    expected = np.matmul(left[None, None], right[None])[0, 0]
    for rows, columns in ((1, 0), (0, 1), (7, 5), (32, 48), (63, 95)):
        moved = np.matmul(np.roll(left, rows, axis=0)[None, None], np.roll(right, columns, axis=1)[None])[0, 0]
        if not np.array_equal(np.roll(moved, (-rows, -columns), axis=(0, 1)), expected):
            return False
    return True
