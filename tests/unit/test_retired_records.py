"""What readers get to know of a series that was retired and has come back."""

import numpy as np
from tests.world import START, STEP, make_parts, run, visible

from forewarn.detector import DAY, HOUR, MINUTE, Detector, Selection
from forewarn.series import SeriesKey
from forewarn.stores.sqlite import SqliteStore

LOAD = Detector(
    "load",
    Selection(index="m"),
    "avg",
    "v",
    split_by=("host",),
    step=STEP,
    delay=MINUTE,
    fit_every=7 * DAY,
    retire_after=3 * HOUR,
)
ORIGIN = START + 5 * DAY
GONE, BACK = ORIGIN + 2 * HOUR, ORIGIN + 8 * HOUR


def retired(ends: list[int]) -> bool:
    """Whether a host is shown as retired after ticks up to these times; no fit falls on that time."""
    keys = [SeriesKey("load", (("host", name),)) for name in "ab"]
    series = {key: np.random.default_rng(row).normal(50.0, 5.0, 6 * DAY // STEP) for row, key in enumerate(keys)}
    series[keys[0]][(GONE - START) // STEP : (BACK - START) // STEP] = np.nan
    store = SqliteStore(":memory:")
    try:
        run(make_parts(store, [LOAD], series, origin=ORIGIN), [end + MINUTE for end in ends])
        _, _, fitted, _, is_retired, _ = visible(store)["records"][str(keys[0])]
        assert fitted == ORIGIN
        return bool(is_retired)
    finally:
        store.close()


def test_a_series_that_is_back_is_shown_as_such_before_it_is_fitted_again_however_time_was_cut() -> None:
    gone, back = GONE + 5 * HOUR, BACK + 2 * HOUR
    assert retired([gone])
    assert not retired([gone, back])
    assert not retired([back])
