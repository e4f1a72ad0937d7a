"""How often a series is fitted where the configuration does not say so."""

from pathlib import Path

import pytest

from forewarn.config import parse
from forewarn.detector import DAY, HOUR


@pytest.mark.parametrize(
    ("settings", "every", "fits"),
    [
        ("function: count", 4 * HOUR, 1000),
        ("function: count, engine: batch", 4 * HOUR, 1000),
        ("function: count, engine: stan", DAY, 120),
        ("function: count, engine: stan, fit_every: 8h, fits_per_tick: 7", 8 * HOUR, 7),
        ("function: count, bucket: 3h", 6 * HOUR, 1000),
        ("function: count, bucket: 1d", DAY, 1000),
    ],
)
def test_a_series_is_fitted_as_often_as_its_engine_can_bear_in_whole_buckets(settings: str, every: int, fits: int) -> None:
    text = f"store: sqlite:///f.db\ndetectors:\n  - {{name: d, path: x.csv, {settings}}}\n"
    (noun,) = parse(text, {}, Path()).detectors
    assert (noun.fit_every, noun.fits_per_tick) == (every, fits)
