"""Heads-ups: when will the forecast, moved along by what has lately been added to it, cross a limit?

Owns Foresight, the `Outlook` port. Pure array operations over all series with a limit; all state is in the open heads-ups.

The forecast alone does not see a disk that fills since this morning: its trend was learnt from weeks. So the residual of
the last hours is followed by a robust line (medians of its first and last third) and its slope, shrunk where noise could
have made it, is continued. Crossing at horizon h has the probability that a normal variable around the path, whose
spread grows with h by the uncertainty of that slope, lies beyond the limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import erf, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.anomaly import Side
from forewarn.detector import HOUR, Detector, Threshold
from forewarn.forecast import Forecast
from forewarn.incident import HeadsUp
from forewarn.series import Float, SeriesBatch, SeriesKey, stable_id

OPEN_ABOVE: Final = 0.6
"""A heads-up opens when the crossing was this probable in each of the last PERSIST buckets ..."""
PERSIST: Final = 3
CLOSE_BELOW: Final = 0.3
"""... and is withdrawn below this, so that it does not flicker."""
MOVED: Final = 0.15
"""It is updated when its time moves by this share of what is left, or its probability by as much."""
Z80: Final = 1.2816
"""The normal quantile of an 80 % interval."""
CORRELATED: Final = 3.0
"""Residuals of neighbouring buckets are alike: the slope is this much less certain than independent ones would make it."""


@dataclass(frozen=True, slots=True)
class _Paths:
    """Of every series, for one bucket: crossing probability, and the buckets ahead of the crossing (-1: beyond sight)."""

    probability: Float
    at: NDArray[np.int64]
    earliest: NDArray[np.int64]
    latest: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Foresight:
    """The `Outlook` of one detector that has a threshold."""

    detector: Detector

    @property
    def window(self) -> int:
        """How many residuals the line is fitted to: six hours, at least 12 buckets, at most 360."""
        return min(360, max(12, 6 * HOUR // self.detector.step))

    @property
    def look_back(self) -> int:
        """How many buckets before the block `fold` needs."""
        return self.window + PERSIST - 2

    @property
    def horizon(self) -> int:
        """How many buckets ahead it looks: a day, at least 12, at most 1,440."""
        return min(1440, max(12, 24 * HOUR // self.detector.step))

    def fold(
        self, opened: Sequence[HeadsUp], actual: SeriesBatch, ahead: Forecast, delay: int
    ) -> tuple[tuple[HeadsUp, ...], tuple[tuple[int, HeadsUp], ...]]:
        """The heads-ups that are open after the block, and every change as (nominal time, heads-up)."""
        state: dict[tuple[SeriesKey, Side], HeadsUp] = {(one.key, one.side): one for one in opened}
        changes: list[tuple[int, HeadsUp]] = []
        sides: tuple[tuple[Side, float | None, float], ...] = (
            ("above", self.detector.threshold.above, 1.0),
            ("below", self.detector.threshold.below, -1.0),
        )
        if not opened and self.detector.threshold == Threshold():
            return (), ()
        size = actual.grid.size
        maintained = self.detector.in_maintenance(actual.grid.times(), actual.grid.step)
        residual = np.where(maintained, np.nan, actual.values - ahead.expected[:, :size])
        level, slope, spread, unsure = _lines(residual, self.window)
        step = actual.grid.step
        for column in range(self.look_back, size):
            now = actual.grid.start + (column + 1) * step
            last = column - self.window + 1
            path = ahead.expected[:, column + 1 : column + 1 + self.horizon]
            for side, limit, sign in sides:
                if limit is None:
                    continue
                looks = [
                    _look(sign * path, sign * limit, sign * level[:, one], sign * slope[:, one], spread[:, one], unsure[:, one])
                    for one in range(last - PERSIST + 1, last + 1)
                ]
                lasting = np.minimum.reduce([look.probability for look in looks])
                recent = sign * (actual.values[:, column - self.window // 3 + 1 : column + 1] - limit) >= 0
                beyond = recent[:, -1]
                # what has just been beyond is no news, and in a window of maintenance nothing is
                lasting = np.where(recent.any(axis=1) | maintained[column], 0.0, lasting)
                for row in self._worth_a_look(actual.keys, side, state, lasting):
                    key = actual.keys[row]
                    before = state.pop((key, side), None)
                    found = self._heads_up(
                        before, key, side, limit, looks[-1], row, now, bool(beyond[row]), float(actual.values[row, column])
                    )
                    if found is not None and found.state == "open":
                        state[key, side] = found
                    if found is not None and found is not before:
                        changes.append((now + delay, found))
        return tuple(state.values()), tuple(sorted(changes, key=lambda one: (one[0], one[1].id)))

    @staticmethod
    def _worth_a_look(
        keys: Sequence[SeriesKey], side: Side, state: dict[tuple[SeriesKey, Side], HeadsUp], lasting: Float
    ) -> list[int]:
        held = {key for key, which in state if which == side}
        return [row for row in range(len(keys)) if lasting[row] >= OPEN_ABOVE or (held and keys[row] in held)]

    def _heads_up(
        self,
        before: HeadsUp | None,
        key: SeriesKey,
        side: Side,
        limit: float,
        look: _Paths,
        row: int,
        now: int,
        beyond: bool,
        actual: float,
    ) -> HeadsUp | None:
        """The heads-up of one series after one bucket; None if there is none, `before` itself if nothing notable changed."""
        step = self.detector.step
        probability = float(look.probability[row])
        if before is None:
            if beyond or look.at[row] < 0:
                return None
            name = stable_id("heads-up", key.id, side, now)
            before = HeadsUp(name, key, "open", 0, now, now, limit, side, 0, 0, 0, 0.0, actual, self.detector.unit)
        if np.isnan(actual) or np.isnan(probability):
            return before if before.revision else None
        changed = replace(before, revision=before.revision + 1, updated=now, actual=actual)
        if beyond:
            return replace(changed, state="reached", at=now, earliest=now, latest=now, probability=1.0)
        if probability < CLOSE_BELOW or (look.at[row] < 0 and before.revision):
            return replace(changed, state="withdrawn", probability=probability)
        at, earliest, latest = (now + int(buckets[row]) * step for buckets in (look.at, look.earliest, look.latest))
        moved = abs(at - before.at) > max(2 * step, MOVED * (before.at - now)) or abs(probability - before.probability) > MOVED
        if before.revision and not moved:
            return before
        return replace(changed, at=at, earliest=earliest, latest=latest, probability=probability)


def _lines(residual: Float, window: int) -> tuple[Float, Float, Float, Float]:
    """A robust line through every window of residuals [S, N]: level at its end, slope per bucket, spread around it, and the
    standard error of the slope, each [S, N - window + 1]; NaN where a third of a window holds too little.
    """
    if residual.shape[1] < window:
        empty = np.full((len(residual), 0), np.nan)
        return empty, empty, empty, empty
    windows = np.lib.stride_tricks.sliding_window_view(residual, window, axis=1)
    third = window // 3
    first, last = _median(windows[..., :third]), _median(windows[..., -third:])
    distance = window - third
    slope = (last - first) / distance
    level = last + slope * (third - 1) / 2
    line = level[..., None] + slope[..., None] * np.arange(1 - window, 1)
    spread = 1.4826 * _median(np.abs(windows - line))
    unsure = CORRELATED * spread * 1.2533 * sqrt(2.0 / third) / distance
    with np.errstate(invalid="ignore", divide="ignore"):
        kept = np.clip(1.0 - (2.0 * unsure / np.abs(slope)) ** 2, 0.0, 1.0)
    slope = np.where(slope == 0, 0.0, slope * kept)
    return last + slope * (third - 1) / 2, slope, spread, unsure


def _median(values: Float) -> Float:
    """The median over the last axis of what is not NaN; NaN where fewer than half of the values are there."""
    ordered = np.sort(values, axis=-1)
    count = (~np.isnan(values)).sum(axis=-1)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    picked = [
        np.take_along_axis(ordered, index[..., None], axis=-1)[..., 0]
        for index in (low, np.minimum(high, values.shape[-1] - 1))
    ]
    return np.where(2 * count >= values.shape[-1], (picked[0] + picked[1]) / 2, np.nan)


_phi = np.vectorize(lambda z: 0.5 * (1.0 + erf(z / sqrt(2.0))), otypes=[np.float64])


def _look(path: Float, limit: float, level: Float, slope: Float, spread: Float, unsure: Float) -> _Paths:
    """Where the paths [S, H], moved by level and slope, pass the limit upwards."""
    ahead = np.arange(1, path.shape[1] + 1)
    middle = path + level[:, None] + slope[:, None] * ahead
    # 0.3 of the spread: how well a level that is a median of a third of the window is known at best
    around = np.sqrt((0.3 * spread[:, None]) ** 2 + (unsure[:, None] * ahead) ** 2) + 1e-12 * (1.0 + abs(limit))
    with np.errstate(invalid="ignore"):
        sure = (middle - limit) / around
        best = np.max(sure, axis=1) if sure.shape[1] else np.full(len(path), np.nan)
        early, late = middle + Z80 * around >= limit, middle - Z80 * around >= limit
    reached = middle >= limit
    at = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, -1)
    earliest = np.where(early.any(axis=1), early.argmax(axis=1) + 1, at)
    latest = np.where(late.any(axis=1), late.argmax(axis=1) + 1, path.shape[1])
    return _Paths(np.asarray(_phi(best)), at, earliest, latest)
