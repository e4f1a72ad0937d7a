"""The batch engine's plain fit against Stan's on real metrics: gaps, incidents and all."""

import csv
from pathlib import Path

import numpy as np
import pytest
from tests.accuracy import corpus
from tests.parity.stan_comparison import Comparison, compare

from forewarn.detector import DAY, MINUTE
from forewarn.forecast import OK, ModelSpec
from forewarn.forecasting.batch import BatchEngine
from forewarn.forecasting.batch_passes import PLAIN
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("batch_parity")]

STEP = 15 * MINUTE
T = 13 * DAY // STEP
NEXT = DAY // STEP


def _medians(pairs: list[tuple[int, float]]) -> tuple[int, Float]:
    """The medians of the first 14 days' quarters of an hour, [T + a day], and their start; the history's ends observed."""
    times, values = (np.array(column) for column in zip(*pairs, strict=True))
    start = -(-int(times[0]) // STEP) * STEP
    found = np.full(T + NEXT, np.nan)
    bucket = (times - start) // STEP
    for number in range(T + NEXT):
        inside = values[bucket == number]
        if inside.size:
            found[number] = np.median(inside)
    for end in (0, T - 1):
        if np.isnan(found[end]):
            found[end] = np.nanmedian(found)
    return start, found


def _curves(data: Path) -> list[tuple[str, int, Float]]:
    curves = []
    for file in sorted((data / "kpi17").glob("*.train.csv"))[:8]:
        with file.open(newline="") as opened:
            pairs = [(1000 * int(row["timestamp"]), float(row["value"])) for row in csv.DictReader(opened)]
        curves.append((file.name.split(".")[0], *_medians(pairs)))
    for file in sorted((data / "nab" / "data" / "realAWSCloudwatch").glob("*.csv"))[:6]:
        pairs = corpus.rows(file)
        if pairs[-1][0] - pairs[0][0] > 13 * DAY:
            curves.append((file.stem, *_medians(pairs)))
    return [curve for curve in curves if np.nanmax(curve[2][:T]) > np.nanmin(curve[2][:T])]


@pytest.fixture(scope="module")
def compared(accuracy_data: Path) -> list[Comparison]:
    found = []
    for name, start, y in _curves(accuracy_data):
        grid = TimeGrid(start, STEP, T)
        (model,) = BatchEngine(PLAIN).fit(SeriesBatch((SeriesKey(name),), grid, y[None, :T].copy()), ModelSpec())
        assert model.status == (OK,)
        found.append(compare(name, y, grid, ModelSpec(), model, 0))
    return found


def test_real_metrics_reach_at_least_stans_objective_and_keep_to_the_bound(compared: list[Comparison]) -> None:
    assert len(compared) >= 10
    for c in compared:
        gap = c.ours - c.stan_at_our_sigma
        print(f"\n{c.kind[:32]:32s} ours - Stan {c.ours - c.stan:8.3f} nats, yhat {c.inside:.3f} sigma in sample", end="")
        assert c.ours - c.stan >= -1e-6, c.kind
        assert c.inside <= np.sqrt(2 * max(gap, 0.0)) + 1e-6, c.kind
    inside = np.array([c.inside for c in compared])
    assert np.median(inside) <= 0.1
