"""Durations and quantities, as people write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.config import format_duration, parse_duration
from forewarn.config.units import TABLES, Quantity, convert, parse_quantity


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("90s", 90_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("7d", 604_800_000),
        ("1w1d", 691_200_000),
        ("250ms", 250),
        ("1s500ms", 1500),
        ("0s", 0),
        (" 5m ", 300_000),
    ],
)
def test_a_duration_is_read(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize(
    "text", ["", "5", "0", "m", "5 m", "5M", "1.5h", "-5m", "30m1h", "5m5m", "5mm", "5x", "1h 30m", "4000d", "٥m"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|ten years"):
        parse_duration(text)


@settings(deadline=None)
@given(st.integers(0, 3650 * 86_400_000))
def test_a_duration_that_was_written_is_read_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds)) == milliseconds


def test_a_duration_is_written_shortly() -> None:
    assert [format_duration(ms) for ms in (0, 5_400_000, 86_400_000, 1_209_600_000, 61_001)] == [
        "0s",
        "1h30m",
        "1d",
        "14d",
        "1m1s1ms",
    ]
    with pytest.raises(ValueError, match="not negative"):
        format_duration(-1)


@settings(deadline=None)
@given(
    st.sampled_from(sorted(TABLES)).flatmap(lambda kind: st.tuples(*[st.sampled_from(sorted(TABLES[kind]))] * 2)),
    st.just(0.0) | st.floats(1e-280, 1e6) | st.floats(-1e6, -1e-280),  # in no unit so small that it loses its digits
)
def test_converting_there_and_back_changes_nothing(units: tuple[str, str], number: float) -> None:
    there = convert(Quantity(number, units[0]), units[1])
    assert convert(Quantity(there, units[1]), units[0]) == pytest.approx(number, rel=1e-12, abs=0)


@pytest.mark.parametrize(
    ("quantity", "unit", "why"),
    [
        ("2s", "B", "cannot be converted"),
        ("2s", "", "`unit` is not set"),
        ("2s", "orders", "cannot be"),
        ("2 pies", "s", "cannot be"),
    ],
)
def test_what_has_no_common_measure_is_refused(quantity: str, unit: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        convert(parse_quantity(quantity), unit)


@pytest.mark.parametrize("text", ["", "s", "two s", "1,5 s", "1e999", "nan", "--1"])
def test_what_does_not_start_with_a_number_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        parse_quantity(text)
