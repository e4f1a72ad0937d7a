"""Medians over sliding windows equal NumPy's, and packing takes holes out without moving anything else."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from tests.strategies import finite, rows

from forewarn.scoring.scale import masked_median
from forewarn.scoring.windows import Packing, preceding_median


@settings(deadline=None)
@given(st.integers(0, 12).map(lambda half: 2 * half + 1), st.integers(1, 4), st.integers(1, 30), st.data())
def test_the_preceding_median_is_that_of_the_points_before(width: int, S: int, N: int, data: st.DataObject) -> None:
    extended = data.draw(rows((S, width + N), missing=False))
    got = preceding_median(extended, width)
    wanted = np.stack([np.median(extended[:, k : k + width], axis=1) for k in range(N)], axis=1)
    np.testing.assert_array_equal(got, wanted)


def test_many_rows_are_worked_on_in_parts_that_do_not_show() -> None:
    extended = np.random.default_rng(1).normal(size=(3000, 21 + 12))
    got = preceding_median(extended, 21)
    wanted = np.median(np.lib.stride_tricks.sliding_window_view(extended, 21, axis=1)[:, :12], axis=2)
    np.testing.assert_array_equal(got, wanted)


@settings(deadline=None)
@given(st_numpy.arrays(np.bool_, st.tuples(st.integers(1, 4), st.integers(1, 20))), st.integers(1, 5))
def test_packing_keeps_the_order_and_unpacking_undoes_it(valid: np.ndarray, width: int) -> None:
    values = np.where(valid, np.arange(valid.size).reshape(valid.shape) + 1.0, np.nan)
    packing = Packing.of(valid)
    packed = packing.pack(values, blank=-1.0)
    before = -np.arange(1.0, width + 1)[None].repeat(len(values), axis=0)
    last = packing.last(np.concatenate([before, packed], axis=1), width)
    for row, known, of_row, end, old in zip(values, valid, packed, last, before, strict=True):
        points = row[known].tolist()
        assert of_row[: len(points)].tolist() == points
        assert end.tolist() == [*old.tolist(), *points][-width:]
    np.testing.assert_array_equal(packing.unpack(packed, np.nan), values)


@settings(deadline=None)
@given(st_numpy.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 9)), elements=finite | st.just(np.nan)))
def test_the_masked_median_is_that_of_what_is_there(values: np.ndarray) -> None:
    for got, row in zip(masked_median(values), values, strict=True):
        some = row[~np.isnan(row)]
        wanted = np.nan if not some.size else 0.5 * (np.sort(some)[(some.size - 1) // 2] + np.sort(some)[some.size // 2])
        np.testing.assert_array_equal(got, wanted)
