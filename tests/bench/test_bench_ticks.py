"""What a tick costs for 1,000 series in five-minute buckets, with and without fits due, by engine and by how often is fitted.

Series in memory, a SQLite store, four weeks of history, everything in one process: what is measured is the product's own
work. Seconds of processor time, that of Stan's own processes included; a tick with fits due is one in which the slot of a
sixteenth of the series has come.
"""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from tests.generated import KINDS, START, batch
from tests.places import open_store

from forewarn.detector import DAY, HOUR, MINUTE, Detector, Selection
from forewarn.history.stored import StoreHistory
from forewarn.incident import IncidentSettings
from forewarn.incidents.correlation import Correlation
from forewarn.ports import Problem
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid
from forewarn.tick import Memory, Parts, run_tick
from forewarn.wiring import build_forecaster, build_rooms

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

S = int(os.environ.get("FOREWARN_BENCH_FLEET", "1000"))
STEP = 5 * MINUTE
DAYS = 30
DETECTOR = Detector(
    "fleet", Selection(index="bench"), "avg", "value", split_by=("n",), step=STEP, delay=0, warm_up=STEP, fits_per_tick=S
)
FIRST = START + 29 * DAY


@dataclass(eq=False)
class Fleet:
    """A source that has everything in memory."""

    series: SeriesBatch

    def read(self, _detector: Detector, grid: TimeGrid) -> SeriesBatch:
        """The part of the series on the grid, coarsely if that is asked for."""
        fine = self.series.between(grid.start, grid.end)
        ratio = grid.step // STEP
        values = fine.values.reshape(len(fine.keys), -1, ratio).mean(axis=2) if ratio > 1 else fine.values
        at = TimeGrid(fine.grid.start, grid.step, values.shape[1])
        found = np.full((len(fine.keys), grid.size), np.nan)
        if at.size:
            first = grid.index(at.start)
            found[:, first : first + at.size] = values
        return SeriesBatch(fine.keys, grid, found)

    def check(self, _detector: Detector) -> list[Problem]:
        """Nothing can be wrong."""
        return []

    def close(self) -> None:
        """Nothing to release."""


def _fleet() -> Fleet:
    kinds = [kind for kind in KINDS if kind != "gappy"]
    size = DAYS * DAY // STEP
    rows = batch(1, size, STEP, kinds=kinds, per_kind=4).values
    values = np.resize(rows, (S, size)) * np.geomspace(1, 10, S)[:, None]
    keys = tuple(SeriesKey("fleet", (("n", f"{n:05d}"),)) for n in range(S))
    return Fleet(SeriesBatch(keys, TimeGrid(START, STEP, size), values))


def _parts(place: Path, detector: Detector, fleet: Fleet) -> Parts:
    store = open_store(f"sqlite {place}")
    rooms = {"fleet": build_rooms(detector, fleet, StoreHistory(store), build_forecaster(0))}
    return Parts((detector,), rooms, store, Correlation(IncidentSettings(), (detector,)))


def _seconds() -> float:
    """Processor time of this process and of all that it has waited for."""
    return sum(os.times()[:4])


def _ticks(parts: Parts, now: int, until: int) -> list[tuple[int, float]]:
    """Fits and seconds of every tick after `now`; the first one, which loads the state, is left out."""
    memory: Memory | None = None
    found = []
    for number, at in enumerate(range(now + STEP, until + 1, STEP)):
        began = _seconds()
        memory = run_tick(parts, memory, at, until, f"bench-{at}")
        if number:
            found.append((memory.report[0].fits, _seconds() - began))
    return found


def test_a_tick_of_a_thousand_series(tmp_path: Path) -> None:
    fleet = _fleet()
    began = _seconds()
    begun = _parts(tmp_path / "begun.db", replace(DETECTOR, engine="batch"), fleet)
    memory = run_tick(begun, None, FIRST, FIRST, "bench-first")
    first = _seconds() - began
    assert memory.report[0].fits == S
    begun.store.close()
    lines = [
        f"{S:,} series, first tick with four weeks of history and {S:,} fits by batch: {first:.1f} s",
        "| engine, fitted every | tick without fits | tick with fits | series fitted in it | a day's ticks |",
        "|---|---|---|---|---|",
    ]
    costs = {}
    for engine, every, hours in (("batch", 24, 4), ("batch", 4, 4), ("stan", 24, 2)):
        place = tmp_path / f"{engine}-{every}.db"
        shutil.copy(tmp_path / "begun.db", place)
        parts = _parts(place, replace(DETECTOR, engine=engine, fit_every=every * HOUR), fleet)
        ticks = _ticks(parts, FIRST, FIRST + hours * HOUR)
        parts.store.close()
        idle = median(seconds for fits, seconds in ticks if not fits)
        busy = [(fits, seconds) for fits, seconds in ticks if fits]
        assert busy
        with_fits = median(seconds for _, seconds in busy)
        fits = median(fits for fits, _ in busy)
        day = idle * DAY / STEP + (with_fits - idle) / fits * S * 24 / every
        costs[engine, every] = with_fits - idle
        lines.append(f"| {engine}, {every} h | {idle:.2f} s | {with_fits:.2f} s | {fits:.0f} | {day:,.0f} s |")
    print("\n" + "\n".join(lines))
    table = os.environ.get("FOREWARN_BENCH_TABLE")
    if table:
        with Path(table).open("a") as out:
            out.write("\n".join(lines) + "\n\n")
    assert costs["stan", 24] > 10 * costs["batch", 24]
