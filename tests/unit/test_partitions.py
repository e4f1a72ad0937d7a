"""The calendar of dated results: months and days in UTC."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.detector import DAY
from forewarn.errors import StoreRejected
from forewarn.stores.partitions import Partitions

LEAP_DAY = 1_709_164_800_000  # 2024-02-29
times = st.integers(-(10**12), 10**13)
calendars = st.sampled_from(["month", "day"]).map(Partitions.of)


@given(calendars, times)
def test_every_time_lies_in_exactly_one_partition(calendar: Partitions, time: int) -> None:
    start = calendar.floor(time)
    assert start <= time < calendar.after(start)
    assert calendar.floor(start) == start
    assert calendar.after(calendar.after(start), -1) == start
    assert calendar.floors(np.array([[time, start]], dtype=np.int64)).tolist() == [[start, start]]


@given(calendars, times)
def test_a_name_is_parsed_back_and_no_other_is(calendar: Partitions, time: int) -> None:
    start = calendar.floor(time)
    name = calendar.name(start)
    assert calendar.parse(name) == start
    assert [calendar.parse(other) for other in ("", "backup", f"{name}.x", f"{name}-1", name + " ", name[:4])] == [None] * 6


@given(calendars, times, st.integers(0, 100 * DAY))
def test_the_partitions_of_a_range_follow_each_other(calendar: Partitions, start: int, length: int) -> None:
    touching = calendar.touching(start, start + length)
    if not length:
        assert touching == []
        return
    assert touching[0] == calendar.floor(start)
    assert touching[-1] == calendar.floor(start + length - 1)
    assert [calendar.after(one) for one in touching[:-1]] == touching[1:]


def test_names_are_those_of_the_indices() -> None:
    assert Partitions.of("month").name(LEAP_DAY) == "2024.02"
    assert Partitions.of("day").name(LEAP_DAY) == "2024.02.29"
    assert Partitions.of("day").parse("2024.02") is None
    assert Partitions.of("month").parse("2024.02.29") is None
    assert Partitions.of("day").parse("2023.02.29") is None


def test_other_words_are_refused() -> None:
    with pytest.raises(StoreRejected, match="month or by day"):
        Partitions.of("week")
