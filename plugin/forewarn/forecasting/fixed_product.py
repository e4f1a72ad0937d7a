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
    out = np.empty((len(beta), len(X)))
    Columns(X).times(beta, out)
    return out


class Columns:
    """`X` [T, K] made ready for several products."""

    def __init__(self, X: Float) -> None:
        self._X = X
        T, K = X.shape
        self._tiles = np.zeros((0, K, _COLUMNS))
        if K and T and _tiles_hold(K):
            self._tiles = np.zeros((-(-T // _COLUMNS), K, _COLUMNS))
            for i, tile in enumerate(self._tiles):
                part = X[i * _COLUMNS : (i + 1) * _COLUMNS]
                tile[:, : len(part)] = part.T

    def times(self, beta: Float, out: Float) -> None:
        """Writes `beta` [n, K] times the transpose of X into `out` [n, T], whose rows are contiguous."""
        (n, K), T, across = beta.shape, len(self._X), len(self._tiles)
        if not n or not across:
            out[:] = _by_columns(beta, self._X)
            return
        whole = n - n % TILE if not T % _COLUMNS else 0
        if whole:
            _tiled(beta[:whole], self._tiles, out[:whole])
        if whole < n:
            rest = n - whole
            left = np.zeros((-(-rest // TILE) * TILE, K))
            left[:rest] = beta[whole:]
            padded = np.empty((len(left), across * _COLUMNS))
            _tiled(left, self._tiles, padded)
            out[whole:] = padded[:rest, :T]


def _tiled(left: Float, tiles: Float, out: Float) -> None:
    """Writes the products of whole tiles: `left` [n, K] and `tiles` [m, K, columns] give `out` [n, m * columns]."""
    n, K = left.shape
    places = out.reshape(n // TILE, TILE, len(tiles), _COLUMNS).transpose(0, 2, 1, 3)
    with one_thread():
        np.matmul(left.reshape(-1, 1, TILE, K), tiles, out=places)


def _by_columns(beta: Float, X: Float) -> Float:
    total = np.zeros((len(beta), len(X)))
    for k in range(X.shape[1]):
        total += beta[:, k, None] * X[None, :, k]
    return total


def _tiles_hold(K: int) -> bool:
    with one_thread():
        return _holds(K)


@lru_cache(maxsize=256)
def _holds(K: int) -> bool:
    """Whether the elements of a tile with K columns have the same bits after rows and columns changed their places."""
    rng = np.random.default_rng(K)
    left, right = rng.normal(size=(TILE, K)), rng.normal(size=(K, _COLUMNS))
    expected = np.matmul(left[None, None], right[None])[0, 0]
    place = np.empty((2 * TILE, 2 * _COLUMNS))  # also where the rows of a tile do not follow each other
    for rows, columns in ((1, 0), (0, 1), (7, 5), (32, 48), (63, 95)):
        moved = np.roll(left, rows, axis=0), np.roll(right, columns, axis=1)
        _tiled(np.tile(moved[0], (2, 1)), np.stack([moved[1]] * 2), place)
        for part in place.reshape(2, TILE, 2, _COLUMNS).transpose(0, 2, 1, 3).reshape(-1, TILE, _COLUMNS):
            if not np.array_equal(np.roll(part, (-rows, -columns), axis=(0, 1)), expected):
                return False
    return True
