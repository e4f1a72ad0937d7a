"""How many points a second are scored, in a fleet and for a single series, and against a loop over series.

Seconds of processor time on one core: other work on the machine does not count. The loop runs the same mathematics series
by series. Figures are printed; only that the fleet is faster than the loop is held.
"""

import time

import numpy as np
import pytest
from tests.generated import START

from forewarn.anomaly import Carry
from forewarn.detector import DAY, MINUTE, Detector, Selection
from forewarn.forecast import OK, Calibration, Forecast
from forewarn.scoring.episodes import Episodes
from forewarn.scoring.scorer import ResidualScorer
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid

pytestmark = pytest.mark.slow


class Fleet:
    """S series of noise with rare spikes, and the scorer and fold that follow them."""

    def __init__(self, S: int, step: int, missing: float = 0.0) -> None:
        self.step, self.missing = step, missing
        self.rng = np.random.default_rng(S)
        self.keys = tuple(SeriesKey("d", (("n", f"{n:06}"),)) for n in range(S))
        detector = Detector("d", Selection(path="x"), "avg", "v", step=step)
        self.scorer, self.episodes = ResidualScorer(detector), Episodes(detector)
        self.calibration = Calibration(self.keys, START, np.ones((S, 48)), np.ones((S, 48)), np.zeros(S))
        self.carry = self.scorer.start(self.keys, START)
        self.opened: tuple = ()

    def block(self, B: int) -> tuple[SeriesBatch, Forecast]:
        S = len(self.keys)
        grid = TimeGrid(self.carry.at, self.step, B)
        values = self.rng.normal(size=(S, B)) + 20 * (self.rng.random((S, B)) < 1e-4)
        values[self.rng.random((S, B)) < self.missing] = np.nan
        forecast = Forecast(self.keys, grid, np.zeros((S, B)), np.ones((S, B)), (OK,) * S, ("x",) * S)
        return SeriesBatch(self.keys, grid, values), forecast

    def advance(self, B: int) -> tuple[float, float]:
        """Scores one block and folds it; seconds of each."""
        batch, forecast = self.block(B)
        begin = time.process_time()
        scores, self.carry = self.scorer.score(batch, forecast, self.calibration, self.carry)
        scored = time.process_time()
        self.opened, _ = self.episodes.fold(self.opened, batch, forecast, scores, 0)
        return scored - begin, time.process_time() - scored


def rates(fleet: Fleet, B: int, blocks: int) -> tuple[float, float]:
    """Points a second over `blocks` blocks, scored and folded."""
    scored, folded = np.sum([fleet.advance(B) for _ in range(blocks)], axis=0)
    return len(fleet.keys) * B * blocks / scored, len(fleet.keys) * B * blocks / folded


def test_points_a_second() -> None:
    rows = []
    for S, step, B, missing in (
        (5000, 5 * MINUTE, 12, 0.0),
        (5000, 5 * MINUTE, 12, 0.01),
        (500, 5 * MINUTE, 12, 0.0),
        (500, MINUTE, 12, 0.0),
        (1, MINUTE, 1440, 0.0),
        (1, 5 * MINUTE, 288, 0.0),
    ):
        fleet = Fleet(S, step, missing)
        day = DAY // step
        for _ in range(2):
            fleet.advance(day)
        blocks = day // B if S > 1 else 20
        rows.append((S, B, step // MINUTE, missing, *rates(fleet, B, blocks)))
    print("\n     S     B  step  missing  scored points/s  folded points/s   (a day of blocks)")
    for S, B, minutes, missing, scored, folded in rows:
        print(f"{S:6} {B:5} {minutes:3} m {missing:8.0%} {scored:16,.0f} {folded:16,.0f}")
    assert all(scored > 20_000 for *_, scored, _ in rows)


def test_a_fleet_is_faster_than_a_loop_over_its_series() -> None:
    fleet = Fleet(1000, 5 * MINUTE)
    fleet.advance(288)
    batch, forecast = fleet.block(12)
    own = [
        (
            SeriesBatch((key,), batch.grid, batch.values[row : row + 1].copy()),
            Forecast(
                (key,), batch.grid, forecast.expected[row : row + 1].copy(), forecast.sigma[row : row + 1].copy(), (OK,), ("x",)
            ),
            fleet.calibration.take([row]),
            Carry((key,), fleet.carry.at, {name: array[row : row + 1] for name, array in fleet.carry.arrays.items()}),
        )
        for row, key in enumerate(fleet.keys)
    ]
    begin = time.process_time()
    one_by_one = np.concatenate([fleet.scorer.score(*arguments)[0].score for arguments in own])
    loop = time.process_time() - begin
    begin = time.process_time()
    together = fleet.scorer.score(batch, forecast, fleet.calibration, fleet.carry)[0].score
    fast = time.process_time() - begin
    print(f"\n1,000 series x 12 buckets: loop {loop * 1e3:.0f} ms, arrays {fast * 1e3:.1f} ms, ratio {loop / fast:.0f}")
    np.testing.assert_array_equal(one_by_one, together)
    assert loop > 5 * fast
