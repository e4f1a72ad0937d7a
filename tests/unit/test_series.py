"""Keys print and parse, ids are stable, grids are half-open, batches take and cut."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.generated import START
from tests.strategies import key_sets, series_batches, series_keys, time_grids

from forewarn.detector import HOUR, MINUTE
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid, read_only, stable_id


@given(series_keys)
def test_a_printed_key_is_read_back(key: SeriesKey) -> None:
    assert SeriesKey.parse(str(key)) == key


@given(series_keys, series_keys)
def test_different_keys_print_differently_and_have_different_ids(one: SeriesKey, other: SeriesKey) -> None:
    assume(one != other)
    assert str(one) != str(other)
    assert one.id != other.id


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (SeriesKey("web"), "web"),
        (SeriesKey("web", (("service.name", "checkout"),)), "web{service.name=checkout}"),
        (SeriesKey("web", (("a", ""), ("b", "x=y,{z}\\"))), r"web{a=,b=x\=y\,\{z\}\\}"),
    ],
)
def test_the_printed_form_is_the_one_that_people_write(key: SeriesKey, text: str) -> None:
    assert str(key) == text
    assert SeriesKey.parse(text) == key


@pytest.mark.parametrize(
    "text",
    ["web{", "web{a}", "web{a=b", "web}", "web{a=b}c", "web{a=b=c}", "a,b", "a=b", "web{}", "web{a=b,}", "web\\", "web{{a=b}"],
)
def test_what_is_no_key_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ValueError, match="is not a series key") as refused:
        SeriesKey.parse(text)
    assert repr(text) in str(refused.value)


def test_the_id_of_a_key_never_changes() -> None:
    """Stored documents are found by it: a change of this value is a migration."""
    key = SeriesKey("checkout-latency", (("service.name", "checkout"),))
    parts = b"6:series16:checkout-latency12:service.name8:checkout"
    assert key.id == hashlib.blake2b(parts, digest_size=16).hexdigest() == "a57db84e15b163d3cb412ff196c4cee0"


@given(st.lists(st.text(max_size=5) | st.integers(), max_size=4), st.lists(st.text(max_size=5) | st.integers(), max_size=4))
def test_an_id_tells_where_its_parts_end(one: list[str | int], other: list[str | int]) -> None:
    assume([str(part) for part in one] != [str(part) for part in other])
    assert stable_id(*one) != stable_id(*other)


def test_text_that_is_no_unicode_has_an_id_too() -> None:
    assert len(stable_id("\ud800")) == 32


@given(key_sets(max_size=6))
def test_keys_have_one_order(keys: tuple[SeriesKey, ...]) -> None:
    assert all(one < other for one, other in pairwise(keys))
    assert tuple(sorted(set(keys))) == keys


@given(time_grids())
def test_a_grid_names_its_buckets_by_their_start_and_ends_after_the_last(grid: TimeGrid) -> None:
    times = grid.times()
    assert times.dtype == np.int64
    assert len(times) == grid.size
    assert grid.end == grid.start + grid.size * grid.step
    for number, time in enumerate(times.tolist()):
        assert grid.index(time) == grid.index(time + grid.step - 1) == number
    assert grid.index(grid.start - 1) == -1
    assert grid.index(grid.end) == grid.size


@given(st.integers(-(10**13), 10**13), st.integers(0, 10**9), st.sampled_from([1, 7, MINUTE, HOUR]))
def test_a_grid_between_two_moments_holds_exactly_the_whole_buckets(start: int, length: int, step: int) -> None:
    grid = TimeGrid.between(start, start + length, step)
    assert start <= grid.start < start + step
    if grid.size:
        assert grid.end <= start + length < grid.end + step
    else:
        assert grid.start + step > start + length


@pytest.mark.parametrize(("start", "step", "size"), [(0, 0, 1), (0, -1, 1), (0, MINUTE, -1), (1, MINUTE, 1)])
def test_an_impossible_grid_is_refused(start: int, step: int, size: int) -> None:
    with pytest.raises(ValueError, match="a grid"):
        TimeGrid(start, step, size)


@given(time_grids(), st.integers(-10, 70), st.integers(-10, 70))
def test_a_slice_of_a_grid_holds_the_buckets_that_lie_in_both(grid: TimeGrid, first: int, last: int) -> None:
    start, end = grid.start + first * grid.step, grid.start + last * grid.step
    wanted = [time for time in grid.times().tolist() if start <= time < end]
    assert grid.slice(start, end).times().tolist() == wanted


@settings(deadline=None)
@given(series_batches())
def test_taking_all_keys_of_a_batch_gives_it_back(batch: SeriesBatch) -> None:
    again = batch.take(batch.keys)
    assert again.keys == batch.keys
    np.testing.assert_array_equal(again.values, batch.values)


@settings(deadline=None)
@given(series_batches(min_series=2))
def test_taking_keys_reorders_rows_and_gives_nan_for_unknown_ones(batch: SeriesBatch) -> None:
    stranger = SeriesKey("nobody", (("never", "seen"),))
    assume(stranger not in batch.keys)
    wanted = (batch.keys[-1], stranger, batch.keys[0])
    taken = batch.take(wanted)
    assert taken.keys == wanted
    np.testing.assert_array_equal(taken.values[0], batch.values[-1])
    np.testing.assert_array_equal(taken.values[2], batch.values[0])
    assert np.isnan(taken.values[1]).all()


@settings(deadline=None)
@given(series_batches(), st.integers(-5, 45), st.integers(-5, 45))
def test_a_part_of_a_batch_keeps_values_with_their_times(batch: SeriesBatch, first: int, last: int) -> None:
    grid = batch.grid
    part = batch.between(grid.start + first * grid.step, grid.start + last * grid.step)
    columns = [grid.index(time) for time in part.grid.times().tolist()]
    np.testing.assert_array_equal(part.values, batch.values[:, columns])


def test_values_are_shared_and_can_no_longer_be_changed() -> None:
    values = np.zeros((1, 2))
    batch = SeriesBatch((SeriesKey("a"),), TimeGrid(START, MINUTE, 2), values)
    assert batch.values is values
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 1.0


@pytest.mark.parametrize("values", [np.zeros((1, 3)), np.zeros((2, 2)), np.zeros(2), np.zeros((1, 2), dtype=np.float32)])
def test_values_of_another_shape_or_type_are_refused_with_what_was_expected(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected float64 \[1, 2\]"):
        SeriesBatch((SeriesKey("a"),), TimeGrid(START, MINUTE, 2), values)


def test_read_only_freezes_in_place() -> None:
    array = np.arange(3)
    read_only(array)
    assert not array.flags.writeable
