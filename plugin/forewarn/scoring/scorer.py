"""The scorer: how far from expected, in units of what is normal for this series.

Owns: ResidualScorer, the adapter of the port `Scorer`. Evidence is the product of two deviations, each in units of its usual
size: the residual (value minus expected) and the residual against the recent residuals; a lasting offset moves only the first,
a normal daily peak only the second. Where things are counted, the size of a deviation is how unlikely it is. Score 1.0 = the
series' own level of evidence. Must not read anything but its arguments: all state is in the carry. In a window of maintenance
points are scored, but held below 1, and for all that is learnt they are missing: a fault that outlasts the window stands out
against what came before it.

What moves when:
    every point        the recent residuals, which series are counts, the run (record, last alarm, quiet points)
    every slot         the medians of residual sizes that scales are made of (half an hour)
    every block        scale of all day, floor, levels (six hours of time, at least 24 points)
    every day          scales by time of day
    every calibration  the band that people see: expected +- scale x level, by time of day
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.anomaly import Carry, Scores
from forewarn.detector import SENSITIVITY, Detector
from forewarn.forecast import Calibration, Forecast, Model
from forewarn.scoring import counts, evidence, level, runs, scale
from forewarn.scoring.rhythm import Rhythm
from forewarn.scoring.windows import Packing, preceding_median
from forewarn.series import Float, SeriesBatch, SeriesKey

REASONS: Final = (
    "as expected",
    "deviation",
    "sustained deviation",
    "ongoing deviation",
    "continued after missing data",
    "below the minimum deviation",
    "other direction",
    "settling",
    "maintenance",
)
AS_EXPECTED, DEVIATION, SUSTAINED, ONGOING, CONTINUED, BELOW_MINIMUM, OTHER_DIRECTION, SETTLING, MAINTENANCE = range(
    len(REASONS)
)

_WORTH_A_REASON: Final = 0.5
"""Below this score a point is as expected."""
_CALMEST: Final = 100.0
"""How many times rarer than at medium sensitivity false alarms can be made: rarer ones than in a year nobody can predict."""
_UNIT: Final = 2.0**-400
"""A sigma so small that `Calibration.band` widens with any: the band is then a multiple of the forecast's sigma."""


class ResidualScorer:
    """Scores of one detector's series. Stateless: everything it remembers is in the carry, at most 11 kB a series."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._rhythm = Rhythm.of(detector.step)
        self._times = SENSITIVITY[detector.sensitivity]

    def start(self, keys: Sequence[SeriesKey], at: int) -> Carry:
        """The carry of series that have not been scored yet, valid from bucket `at`."""
        return Carry(tuple(keys), at, self._fresh(len(keys)))

    def extend(self, carry: Carry, keys: Sequence[SeriesKey]) -> Carry:
        """The carry with fresh rows for `keys` appended."""
        fresh = self._fresh(len(keys))
        if "times" in carry.arrays:
            known = carry.arrays["times"]  # one for all series
            fresh["times"] = np.full(len(keys), known[0] if known.size else self._times)
        arrays = {name: np.concatenate([carry.arrays[name], array]) for name, array in fresh.items()}
        return Carry((*carry.keys, *keys), carry.at, arrays)

    @property
    def false_alarm_every(self) -> float:
        """The expected ms between two false episodes of a normal series, at the detector's sensitivity."""
        return level.interval(self._rhythm, self._times)

    def tune(self, carry: Carry, every: float) -> Carry:
        """The carry whose series are thought to raise a false episode every so many ms, from the next block of time on.

        For detectors with a budget of alerts; never more often than at high sensitivity.
        """
        times = min(max(every / level.interval(self._rhythm), SENSITIVITY["high"]), _CALMEST)
        return Carry(carry.keys, carry.at, {**carry.arrays, "times": np.full(len(carry.keys), times)})

    def score(self, block: SeriesBatch, forecast: Forecast, calibration: Calibration, carry: Carry) -> tuple[Scores, Carry]:
        """Scores of `block` [S, B] and the carry after it; raises ValueError if the four arguments do not fit together."""
        grid, rhythm = block.grid, self._rhythm
        if not (block.keys == forecast.keys == calibration.keys == carry.keys):
            raise ValueError("block, forecast, calibration and carry must hold the same series in the same order")
        if grid != forecast.grid or grid.step != rhythm.step or grid.start != carry.at:
            raise ValueError(f"the carry is at {carry.at} with a step of {rhythm.step}, the block on {grid}")
        lower, upper = calibration.band(forecast.expected, forecast.sigma, grid)
        if not grid.size or not block.keys:
            empty = np.zeros(block.values.shape, np.int8)
            scores = Scores(block.keys, grid, block.values * np.nan, empty, lower, upper, empty, REASONS)
            return scores, Carry(carry.keys, grid.end, carry.arrays)

        masked = np.broadcast_to(self._detector.in_maintenance(grid.times(), grid.step), block.values.shape)
        residual, local, packing, recent = self._residuals(block.values, forecast.expected, masked, carry)
        sizes = np.abs(np.stack([residual, local], axis=1))
        values = np.where(packing.valid, block.values, np.nan)
        learnt = np.where(masked[:, None], np.nan, sizes) if masked.any() else sizes
        usual, coverage, scales = scale.usual(carry.arrays, rhythm, grid, learnt, values, forecast.expected, forecast.sigma)
        single = evidence.deviation(sizes, usual)
        known = ~np.isnan(single)
        are_counts, sums = counts.counted(carry.arrays, rhythm, grid, np.where(masked, np.nan, values))
        if (row := np.flatnonzero(are_counts.any(axis=1))).size:
            each = [
                counts.likelihood(block.values[row], one[row], usual[row, kind]) for kind, one in enumerate((residual, local))
            ]
            single[row] = np.where(are_counts[row] & known[row], evidence.together(*each), single[row])

        sides = evidence.by_side(packing.pack(np.where(known, single, -np.inf)), packing.pack(residual), carry.arrays["sides"])
        together = packing.unpack(evidence.sustained(sides, rhythm.sustained), -np.inf)
        channels = np.stack([single, together], axis=1)
        taught = known & ~masked
        taken = channels if taught.all() else np.where(taught[:, None], channels, np.nan)
        edges, own_levels = level.levels(carry.arrays, rhythm, grid, taken, self._spacing(carry))
        relative = channels - edges
        if not known.all():
            relative = np.where(known[:, None], relative, -np.inf)
        raw = np.maximum(relative[:, 0], relative[:, 1])
        direction = np.sign(np.where(known, residual, 0.0)).astype(np.int8)
        raw, small, other = evidence.policy(self._detector, raw, sizes[:, 0], direction, forecast.expected)

        every = _running_points(packing, residual, masked, carry)
        held, marks, run = self._runs(every, _below(raw, masked), sizes[:, 0], usual[:, 0], coverage, carry)
        score = np.where(known, np.exp(_below(held, masked)), np.nan)
        reason = np.where(relative[:, 1] > relative[:, 0], np.int8(SUSTAINED), np.int8(DEVIATION))
        for mark, where in ((BELOW_MINIMUM, small), (OTHER_DIRECTION, other), *marks, (MAINTENANCE, masked)):
            if where.any():
                reason[where] = mark
        reason[~(known & (score >= _WORTH_A_REASON))] = AS_EXPECTED
        after = scales | sums | own_levels | run
        after["recent"] = packing.last(recent, rhythm.reference)
        after["sides"] = packing.last(sides, rhythm.sustained - 1)
        if "times" in carry.arrays:
            after["times"] = carry.arrays["times"]
        after["sigma"] = _latest(np.where(packing.valid, forecast.sigma, np.nan), carry.arrays["sigma"])
        return Scores(block.keys, grid, score, direction, lower, upper, reason, REASONS), Carry(carry.keys, grid.end, after)

    def calibrate(self, carry: Carry, rows: Sequence[int], model: Model, at: int) -> Calibration:
        """The band: scale x level of a single point, for each slot of the day. Before the first block ended: sigma x level."""
        index = np.asarray(rows, np.int64)
        part = {name: carry.arrays[name][index] for name in ("scale", "floor", "habit", "habit_days", "level", "sigma")}
        width = np.exp(scale.blended(part)[:, 0] + part["level"][:, :1])
        learnt = np.isfinite(width).all(axis=1)
        width = np.where(learnt[:, None], width, _UNIT * np.exp(part["level"][:, :1]))
        sigma = np.where(learnt, np.nan_to_num(part["sigma"]), _UNIT)
        return Calibration(tuple(model.keys), at, width, width.copy(), sigma)

    def _fresh(self, S: int) -> dict[str, NDArray[Any]]:
        rhythm = self._rhythm
        # Infinities of both signs in turn: while points replace them one by one, the median stays among the points.
        recent = np.where(np.arange(rhythm.reference) % 2 == 0, np.inf, -np.inf)
        own = {
            "recent": np.tile(recent, (S, 1)),
            "sides": np.full((S, 2, rhythm.sustained - 1), -np.inf),
            "sigma": np.full(S, np.nan),
        }
        return own | scale.fresh(rhythm, S) | counts.fresh(S) | level.fresh(rhythm, S, self._times) | runs.fresh(S)

    def _spacing(self, carry: Carry) -> float | Float:
        """How many times longer than at medium sensitivity it should be between false alarms."""
        budget = self._detector.incidents_per_week is not None and "times" in carry.arrays
        return carry.arrays["times"] if budget else self._times

    def _residuals(
        self, values: Float, expected: Float, masked: NDArray[np.bool_], carry: Carry
    ) -> tuple[Float, Float, Packing, Float]:
        """Both residuals [S, B] by buckets (NaN = no data), where the data are that are not masked, and [recent | block] by
        those points.
        """
        width = self._rhythm.reference
        with np.errstate(invalid="ignore", over="ignore"):
            residual = values - expected
        residual = np.where(np.isfinite(residual), residual, np.nan)
        packing = Packing.of(~np.isnan(residual) & ~masked)
        points = packing.pack(residual)
        recent = np.concatenate([carry.arrays["recent"], points], axis=1)
        if masked.any():  # a masked point is compared with the last ones that are not
            reference = preceding_median(np.concatenate([recent, np.zeros((len(points), 1))], axis=1), width)
            local = residual - np.take_along_axis(reference, packing.valid.cumsum(axis=1) - packing.valid, axis=1)
        else:
            local = packing.unpack(points - preceding_median(recent, width), np.nan)
        local = np.where(np.isfinite(local), local, np.nan)  # the first point of a series has none before it
        return residual, local, packing, recent

    def _runs(
        self, packing: Packing, raw: Float, size: Float, usual: Float, coverage: Float, carry: Carry
    ) -> tuple[Float, tuple[tuple[int, NDArray[np.bool_]], ...], dict[str, NDArray[Any]]]:
        """Scores by buckets after what their runs make of them, the reasons for that, and the run arrays."""
        step = self._rhythm.step
        bucket = np.broadcast_to(carry.at // step + np.arange(raw.shape[1]), raw.shape)
        points = runs.Points(
            score=packing.pack(raw),
            residual=packing.pack(size),
            usual=packing.pack(np.exp(usual)),
            bucket=packing.pack(bucket),
            count=packing.count,
        )
        state = {name: carry.arrays[name] for name in runs.NAMES}
        held, unsettled, ongoing, continued, run = runs.settle_runs(state, packing.pack(coverage), self._rhythm, points)
        marks = tuple(
            (mark, packing.unpack(where, False))
            for mark, where in ((SETTLING, unsettled), (ONGOING, ongoing), (CONTINUED, continued))
        )
        return packing.unpack(held, -np.inf), marks, run


def _below(logs: Float, masked: NDArray[np.bool_]) -> Float:
    """Logarithms of scores [S, B], below 1 where they are masked."""
    return np.where(masked, np.minimum(logs, np.log(runs.BELOW)), logs) if masked.any() else logs


def _running_points(packing: Packing, residual: Float, masked: NDArray[np.bool_], carry: Carry) -> Packing:
    """The points that runs follow: masked ones too, so that no window is a gap, unless a series begins in one."""
    if not masked.any():
        return packing
    begun = np.isfinite(carry.arrays["recent"]).any(axis=1)[:, None] | (packing.valid.cumsum(axis=1) > 0)
    return Packing.of(~np.isnan(residual) & (~masked | begun))


def _latest(sigma: Float, before: Float) -> Float:
    """The last finite sigma of each row [S, B], or the one before the block [S]."""
    if np.isfinite(sigma[:, -1]).all():
        return sigma[:, -1].copy()
    extended = np.concatenate([before[:, None], sigma], axis=1)
    column = np.where(np.isfinite(extended), np.arange(extended.shape[1]), 0).max(axis=1)
    return np.asarray(extended[np.arange(len(extended)), column], np.float64)
