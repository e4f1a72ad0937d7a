"""Civil time and the decisions behind the columns of a model."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.generated import START

from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.errors import ModelError
from forewarn.forecast import ModelSpec
from forewarn.forecasting.civil_time import civil_days, offsets
from forewarn.forecasting.design_matrix import (
    changepoint_rows,
    column_count,
    fourier_columns,
    hinges,
    holiday_columns,
    instants,
    layout_for,
    prior_scales,
    seasonal_columns,
    seasonalities_for,
    week_slots,
)
from forewarn.forecasting.public_holidays import holiday_days
from forewarn.series import TimeGrid

ZONES = (
    "Africa/Casablanca",  # suspends daylight saving time for a month
    "America/New_York",
    "America/Sao_Paulo",  # changed at midnight, until 2019
    "Antarctica/Troll",  # two hours
    "Asia/Kathmandu",  # +5:45
    "Australia/Lord_Howe",  # half an hour
    "Europe/Berlin",
    "Europe/London",
    "Pacific/Apia",  # left out a day in 2011
    "UTC",
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ZONES), st.lists(st.integers(0, 4_102_444_800_000), min_size=1, max_size=50))
def test_offsets_equal_those_of_zoneinfo_at_every_instant(zone: str, times: list[int]) -> None:
    per_point = [datetime.fromtimestamp(time / 1000, ZoneInfo(zone)).utcoffset() for time in times]
    expected = [round(offset.total_seconds() * 1000) for offset in per_point if offset is not None]
    assert offsets(np.array(times), zone).tolist() == expected


@pytest.mark.parametrize("zone", ZONES)
def test_offsets_change_at_the_very_millisecond(zone: str) -> None:
    """Around each change of the years 2010 to 2030, in one array."""
    hours = (
        np.arange(np.datetime64("2010"), np.datetime64("2030"), np.timedelta64(1, "h"))
        .astype("datetime64[ms]")
        .astype(np.int64)
    )
    found = offsets(hours, zone)
    changes = hours[1:][np.diff(found) != 0]
    near = (changes[:, None] + np.array([-HOUR, -HOUR + 1, -1, 0, 1, HOUR - 1])).ravel()
    expected = [datetime.fromtimestamp(time / 1000, UTC).astimezone(ZoneInfo(zone)).utcoffset() for time in near.tolist()]
    assert offsets(near, zone).tolist() == [round(offset.total_seconds() * 1000) for offset in expected if offset is not None]
    assert changes.size > 0 or zone in ("Asia/Kathmandu", "UTC")


def test_civil_days_follow_the_wall_clock() -> None:
    night = np.datetime64("2026-10-25T00:30", "ms").astype(np.int64)  # the clock goes back at 01:00 UTC
    days = civil_days(np.array([night, night + HOUR]), "Europe/Berlin")
    assert days[0] == days[1]
    assert np.mod(days[0], 1.0) * 24 == pytest.approx(2.5)


def test_times_beyond_the_calendar_keep_the_nearest_offset() -> None:
    assert offsets(np.array([253_500_000_000_000]), "Asia/Tokyo").tolist() == [9 * HOUR]


def test_an_unknown_zone_is_named() -> None:
    with pytest.raises(ModelError, match="Nowhere/Land"):
        offsets(np.array([0]), "Nowhere/Land")


@pytest.mark.parametrize(
    ("covered", "step", "expected"),
    [
        (DAY, 5 * MINUTE, {}),
        (2 * DAY, 5 * MINUTE, {"daily": 4}),
        (14 * DAY, 5 * MINUTE, {"weekly": 3, "daily": 4}),
        (14 * DAY - 5 * MINUTE, 5 * MINUTE, {"weekly": 3, "daily": 4}),
        (12 * DAY, 5 * MINUTE, {"daily": 4}),
        (730 * DAY, HOUR, {"yearly": 10, "weekly": 3, "daily": 4}),
        (60 * DAY, DAY, {"weekly": 3}),
        (60 * DAY, 6 * HOUR, {"weekly": 3, "daily": 2}),
        (800 * DAY, 7 * DAY, {"yearly": 10}),
    ],
)
def test_the_span_decides_the_seasonalities(covered: int, step: int, expected: dict[str, int]) -> None:
    assert {s["name"]: s["order"] for s in seasonalities_for(covered, step)} == expected


def test_fourier_columns_are_waves_of_their_period() -> None:
    days = np.array([20_000.0, 20_000.25, 20_000.5])
    columns = fourier_columns(days, [{"name": "daily", "period": 1.0, "order": 2}])
    np.testing.assert_allclose(columns, [[0, 1, 0, 1], [1, 0, 0, -1], [0, -1, 0, 1]], atol=1e-9)


def test_hinges_give_the_trend_that_changes_slope_at_its_changepoints() -> None:
    t, s = np.linspace(0, 1, 11), np.array([0.25, 0.5])
    slopes = np.diff(hinges(t, s) @ np.array([2.0, -3.0])) / 0.1
    np.testing.assert_allclose(slopes, [0, 0, 1, 2, 2, -1, -1, -1, -1, -1], atol=1e-12)


def test_changepoints_lie_in_the_first_four_fifths() -> None:
    rows = changepoint_rows(1000, 25)
    assert rows.size == 25
    assert rows[0] > 0
    assert rows[-1] == 799
    assert changepoint_rows(2, 25).size == 0


def test_holidays_are_civil_days_and_columns_keep_the_order_of_the_layout() -> None:
    grid = TimeGrid(START + 60 * DAY, HOUR, 40 * 24)  # 30 September to 9 November 2026
    spec = ModelSpec(timezone="Europe/Berlin", holidays=("DE-BY",), holidays_prior_scale=3.0)
    layout = layout_for(spec, grid.size * HOUR, grid, holiday_days(spec.holidays, 2026, 2029), "test")
    assert layout["holidays"]["names"] == ["All Saints' Day", "German Unity Day"]
    assert layout["holidays"]["days"]["German Unity Day"] == [f"{year}-10-03" for year in range(2026, 2030)]
    X = seasonal_columns(instants(grid), layout)
    assert X.shape == (grid.size, column_count(layout))
    assert column_count(layout) == 2 * (3 + 4) + 2
    unity = instants(grid)[X[:, -1] == 1]
    assert unity.size == 24
    assert unity[0] == datetime(2026, 10, 2, 22, 30, tzinfo=UTC).timestamp() * 1000
    assert prior_scales(layout, spec).tolist() == [10.0] * 14 + [3.0] * 2


def test_holiday_columns_are_zero_outside_their_days() -> None:
    holidays = {"names": ["feast"], "days": {"feast": ["1970-01-02"]}}
    assert holiday_columns(np.array([0.9, 1.0, 1.99, 2.0]), holidays)[:, 0].tolist() == [0, 1, 1, 0]


def test_holidays_of_several_countries_carry_the_country() -> None:
    days = dict(holiday_days(("DE", "US"), 2026, 2026))
    assert days["US: Independence Day"] == (date(2026, 7, 3), date(2026, 7, 4))[-len(days["US: Independence Day"]) :]
    assert date(2026, 10, 3) in days["DE: German Unity Day"]


def test_week_slots_cut_the_civil_week() -> None:
    assert week_slots(np.array([0.0, 0.5, 6.99, 7.0, 8.5]), 14).tolist() == [0, 1, 13, 0, 3]


def test_predicting_loads_no_engine() -> None:
    """The datasource imports it."""
    script = (
        "import sys\n"
        "from forewarn.forecasting import predict\n"
        "found = {name.partition('.')[0] for name in sys.modules} & {'prophet', 'pandas', 'holidays', 'cmdstanpy'}\n"
        "sys.exit(', '.join(found) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
