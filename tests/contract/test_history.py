"""What every History promises: coarse values come back by name, to the digits that float32 offsets keep. Over both adapters."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.strategies import series_batches

from forewarn.detector import DAY, MINUTE
from forewarn.errors import ModelMismatch, StoreRejected
from forewarn.history.memory import MemoryHistory
from forewarn.history.stored import StoreHistory
from forewarn.ports import History, Store
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

COARSE = 15 * MINUTE
START = 20_000 * DAY


@pytest.fixture(params=["memory", "stored"])
def history(request: pytest.FixtureRequest, embedded: Store) -> History:
    return MemoryHistory() if request.param == "memory" else StoreHistory(embedded, chunk=2, cache_blocks=3)


def keys(count: int) -> tuple[SeriesKey, ...]:
    return tuple(SeriesKey("latency", (("service.name", f"{n:04d} é{{}}"),)) for n in range(count))


def day(
    of: tuple[SeriesKey, ...], number: int = 0, *, seed: int = 0, size: int = 96, values: Float | None = None
) -> SeriesBatch:
    if values is None:
        values = np.round(np.random.default_rng(seed).normal(200, 20, (len(of), size)))
    return SeriesBatch(of, TimeGrid(START + number * DAY, COARSE, values.shape[1]), values)


def one_row(history: History, values: list[float]) -> Float:
    batch = day(keys(1), values=np.array([values]))
    row: Float = history.read(history.write(batch, 1), batch.keys, batch.grid).values[0]
    return row


def test_what_was_written_is_read_in_the_order_asked(history: History) -> None:
    batch = day(keys(5))
    names = history.write(batch, 1)
    assert all(len(name) == 32 for name in names)
    wanted = (batch.keys[3], SeriesKey("unknown"), batch.keys[0], batch.keys[4])
    found = history.read(names, wanted, batch.grid)
    assert found.keys == wanted
    assert found.grid == batch.grid
    np.testing.assert_array_equal(found.values, batch.take(wanted).values)


def test_the_same_content_has_the_same_names(history: History) -> None:
    first = history.write(day(keys(5)), 1)
    assert history.write(day(keys(5)), 2) == first
    assert history.write(day(keys(5), seed=9), 1) != first
    assert history.write(day(keys(5), 1), 1) != first


def test_a_batch_without_series_or_buckets_is_nothing(history: History) -> None:
    assert history.write(day(()), 1) == ()
    names = history.write(day(keys(2), size=0), 1)
    assert np.isnan(history.read(names, keys(2), TimeGrid(START, COARSE, 3)).values).all()
    assert history.read((), keys(2), TimeGrid(START, COARSE, 3)).values.shape == (2, 3)
    assert history.read((), (), TimeGrid(START, COARSE, 0)).values.shape == (0, 0)


def test_blocks_are_put_together_and_their_gaps_are_no_data(history: History) -> None:
    three = keys(3)
    days = [day(three, 0, seed=1), day(three[::-1], 1, seed=2), day(three[:1], 3, seed=3)]
    names = [name for batch in days for name in history.write(batch, 1)]
    grid = TimeGrid(START + 12 * 60 * MINUTE, COARSE, 4 * 96)
    found = history.read(names, three, grid)
    for number in range(-1, 5):
        part = found.between(START + number * DAY, START + (number + 1) * DAY)
        match = [batch for batch in days if batch.grid.start == START + number * DAY]
        expected = match[0].take(three).between(part.grid.start, part.grid.end).values if match else np.nan
        np.testing.assert_array_equal(part.values, np.broadcast_to(expected, part.values.shape))


def test_of_overlapping_blocks_the_later_name_wins(history: History) -> None:
    two = keys(2)
    early = history.write(day(two, seed=1), 1)
    late_batch = day(two, seed=2, size=40)
    late = history.write(late_batch, 2)
    grid = TimeGrid(START, COARSE, 96)
    np.testing.assert_array_equal(history.read((*early, *late), two, grid).values[:, :40], late_batch.values)
    np.testing.assert_array_equal(history.read((*late, *early), two, grid).values, day(two, seed=1).values)


def test_a_name_that_was_never_written_is_refused(history: History) -> None:
    with pytest.raises(StoreRejected, match="no block"):
        history.read(("0" * 32,), keys(1), TimeGrid(START, COARSE, 1))


def test_another_step_than_the_blocks_is_refused(history: History) -> None:
    names = history.write(day(keys(1)), 1)
    with pytest.raises(ValueError, match="step"):
        history.read(names, keys(1), TimeGrid(START, 2 * COARSE, 4))


def test_infinities_are_refused(history: History) -> None:
    with pytest.raises(ValueError, match="infinity"):
        history.write(day(keys(1), values=np.array([[1.0, np.inf]])), 1)


def test_zero_stays_zero_and_counts_stay_counts(history: History) -> None:
    counts = [0.0, 3.0, 16_777_216.0, 0.0, 7.0, 12.0]
    assert one_row(history, counts).tolist() == counts
    thirds = [0.0, 1 / 3, 1e9 / 3, 0.0, 0.1]
    found = one_row(history, thirds)
    assert found[0] == found[3] == 0.0
    np.testing.assert_allclose(found, thirds, rtol=2**-23)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(values=st.lists(st.floats(-1e300, 1e300) | st.just(np.nan) | st.just(0.0), min_size=1, max_size=30))
def test_values_of_any_size_come_back_within_the_error_that_is_stated(history: History, values: list[float]) -> None:
    found, sent = one_row(history, values), np.array(values)
    known = sent[~np.isnan(sent)]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(sent))
    if known.size:
        median = np.sort(known)[(known.size - 1) // 2]
        largest = np.abs(known - median).max()
        # 2^-24 of the offset; twice that covers the rounded reference; the rest is float64 and the least float32.
        allowed = 2**-23 * np.abs(sent - median) + 2**-23 * abs(median) * 2**-24 + 2**-52 * np.abs(sent) + 2**-140 * largest
        assert (np.abs(found - sent) <= allowed)[~np.isnan(sent)].all()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(batch=series_batches())
def test_any_batch_comes_back_nearly(history: History, batch: SeriesBatch) -> None:
    found = history.read(history.write(batch, 1), batch.keys, batch.grid)
    spread = np.nan_to_num(np.abs(batch.values)).max(axis=1, initial=0.0, keepdims=True)
    np.testing.assert_array_equal(np.isnan(found.values), np.isnan(batch.values))
    assert (np.nan_to_num(np.abs(found.values - batch.values)) <= 2**-22 * spread).all()


def test_reading_what_the_cache_no_longer_holds_gives_the_same(embedded: Store) -> None:
    history, uncached = StoreHistory(embedded, chunk=3, cache_blocks=2), StoreHistory(embedded, cache_blocks=0)
    days = [day(keys(7), number, seed=number) for number in range(4)]
    names = [name for batch in days for name in history.write(batch, 1)]
    assert len(names) == 12
    grid = TimeGrid(START, COARSE, 4 * 96)
    for reader in (history, history, uncached):
        np.testing.assert_array_equal(reader.read(names, keys(7), grid).values, np.hstack([batch.values for batch in days]))


def test_a_cached_block_is_read_from_the_store_once(embedded: Store) -> None:
    history = StoreHistory(embedded)
    names = history.write(day(keys(3)), 1)
    grid = TimeGrid(START, COARSE, 96)
    before = history.read(names, keys(3), grid).values
    embedded.sweep((), 2)
    np.testing.assert_array_equal(history.read(names, keys(3), grid).values, before)
    with pytest.raises(StoreRejected):
        StoreHistory(embedded).read(names, keys(3), grid)


def test_blocks_of_anything_else_are_refused(embedded: Store) -> None:
    name = embedded.put_block(b"not a block of arrays", 1)
    with pytest.raises(ModelMismatch):
        StoreHistory(embedded).read((name,), keys(1), TimeGrid(START, COARSE, 1))


def test_both_adapters_give_the_same_numbers(embedded: Store) -> None:
    batch = day(keys(4), values=np.random.default_rng(1).normal(0, 1e-7, (4, 96)))
    memory, stored = MemoryHistory(), StoreHistory(embedded, chunk=3)
    results = [each.read(each.write(batch, 1), batch.keys, batch.grid).values for each in (memory, stored)]
    np.testing.assert_array_equal(results[0], results[1])
