"""Whose value is stuck: an anomaly of its own, opened when a run of equal values is longer than the series ever has them,
closed when the value moves or the series is retired.

Owns: Flatlines, a part of the adapter of the port `Watch`. How long is too long is decided by `stillness`; here runs become
anomalies. Must not score: an expectation may well be met by a value that is stuck.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from forewarn.anomaly import FLATLINE, Anomaly, Carry
from forewarn.detector import HOUR, Detector
from forewarn.forecast import Forecast
from forewarn.scoring import stillness
from forewarn.scoring.severity import lasting_severity
from forewarn.scoring.stillness import Stood
from forewarn.series import SeriesBatch, SeriesKey, stable_id

Change = tuple[int, Anomaly]

_FIRST: Final = 30.0
"""Severity at the opening,"""
_LAST: Final = 75.0
"""and of a run of a hundred times what opened it."""


class _Seen(NamedTuple):
    """A block with everything that is known of it; row r of `stood` and of the carry is row r - 1 of the block."""

    actual: SeriesBatch
    forecast: Forecast
    before: Carry
    stood: Stood
    delay: int


class Flatlines:
    """The fold for one detector. Python runs over series that are stuck, and no others. Row 0 of the carry is the detector's
    own and stays as it was: only series can be stuck.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def start(self, at: int) -> Carry:
        """The carry before anything was seen."""
        return Carry((SeriesKey(self._detector.name),), at, stillness.fresh(1))

    def learn(self, actual: SeriesBatch, carry: Carry) -> Carry:
        """The carry after the block."""
        return self._follow(actual, carry)[1]

    def fold(
        self, opened: Sequence[Anomaly], actual: SeriesBatch, forecast: Forecast, carry: Carry, delay: int
    ) -> tuple[tuple[Anomaly, ...], tuple[Change, ...], Carry]:
        """The flatlines that are open after the block, every change in it as (nominal time, anomaly), and the carry."""
        stood, after = self._follow(actual, carry)
        if self._detector.flatline == "never":
            at = actual.grid.start + self._detector.step + delay
            gone = (replace(one, state="withdrawn", revision=one.revision + 1) for one in opened)
            return (), tuple((at, one) for one in gone), after
        if stood is None:
            return tuple(opened), (), after
        hot = stood.known & (stood.run >= stood.least)
        by_row = {actual.rows[one.key] + 1: one for one in opened if one.key in actual.rows}
        still_open = [one for one in opened if one.key not in actual.rows]
        seen = _Seen(actual, forecast, carry, stood, delay)
        changes: list[Change] = []
        for row in sorted({*np.flatnonzero(hot.any(axis=1)).tolist(), *by_row}):
            one = self._row(by_row.get(row), row, seen, changes)
            if one is not None:
                still_open.append(one)
        changes.sort(key=lambda change: (change[0], change[1].id))
        return tuple(sorted(still_open, key=lambda one: one.id)), tuple(changes), after

    def _follow(self, actual: SeriesBatch, carry: Carry) -> tuple[Stood | None, Carry]:
        grid = actual.grid
        if grid.start != carry.at or carry.keys[1:] != actual.keys[: len(carry.keys) - 1]:
            raise ValueError(f"the carry is at {carry.at} with {len(carry.keys) - 1} series, the block on {grid}")
        joined = actual.keys[len(carry.keys) - 1 :]
        arrays = dict(carry.arrays)
        if joined:
            more = stillness.fresh(len(joined))
            arrays = {name: np.concatenate([array, more[name]]) for name, array in arrays.items()}
        keys = (*carry.keys, *joined)
        if not grid.size:
            return None, Carry(keys, grid.end, arrays)
        values = np.concatenate([np.full((1, grid.size), np.nan), actual.values])
        stood, arrays = stillness.follow(arrays, self._detector, grid, values)
        return stood, Carry(keys, grid.end, arrays)

    def _row(self, one: Anomaly | None, row: int, seen: _Seen, changes: list[Change]) -> Anomaly | None:
        """One series through the block, at the buckets where something may happen."""
        stood, step, start = seen.stood, self._detector.step, seen.actual.grid.start
        ends = seen.actual.grid.times() + step
        gone = ends - step - stood.last[row] > self._detector.retire_after
        longer = stood.known[row] & (ends % HOUR == 0 if step < HOUR else True)
        hot = stood.known[row] & (stood.run[row] >= stood.least[row])
        for column in np.flatnonzero(hot | stood.moved[row] | longer | gone).tolist():
            was = one
            if one is not None and (stood.moved[row, column] or gone[column]):
                last = int(stood.last[row, column]) if gone[column] else self._last_before(row, column, seen)
                one = _closed(one, last + step, "retired" if gone[column] else "the value moves again")
            elif one is None and hot[column]:
                one = self._opening(row, column, seen)
            elif one is not None and longer[column]:
                one = _longer(one, int(stood.run[row, column]), start + (column + 1) * step)
            if one is not None and one is not was:
                changes.append((int(ends[column]) + seen.delay, one))
                one = None if one.state == "closed" else one
        return one

    def _last_before(self, row: int, column: int, seen: _Seen) -> int:
        """The start of the last bucket that counted before a column."""
        return int(seen.stood.last[row, column - 1] if column else seen.before.arrays["still_last"][row])

    def _opening(self, row: int, column: int, seen: _Seen) -> Anomaly:
        step, stood, key = self._detector.step, seen.stood, seen.actual.keys[row - 1]
        end = seen.actual.grid.start + (column + 1) * step
        since, run, least = (int(one[row, column]) for one in (stood.since, stood.run, stood.least))
        value, expected = float(seen.actual.values[row - 1, column]), float(seen.forecast.expected[row - 1, column])
        score = run / least
        explanation: dict[str, Any] = {
            "actual": value,
            "expected": expected if math.isfinite(expected) else None,
            "reason": FLATLINE,
            "since": since,
            "value": value,
            "equal_values": run,
            "normal_up_to": least - 1,
            "longest_before": int(stood.longest[row, column]),
            "share_of_repeats": round(float(stood.repeats[row, column]), 4),
            "times_normal": round(score, 3),
            "state": {"least": least},
        }
        return Anomaly(
            id=stable_id("flatline", key.id, since, step),
            key=key,
            state="open",
            revision=1,
            start=since,
            end=end,
            peak=since,
            score=score,
            severity=lasting_severity(_FIRST, _LAST, score),
            direction="above" if value > expected else "below",
            actual=value,
            expected=expected,
            lower=math.nan,
            upper=math.nan,
            explanation=explanation,
        )


def _longer(one: Anomaly, run: int, end: int) -> Anomaly:
    score = max(one.score, run / int(one.explanation["state"]["least"]))
    explanation = {**one.explanation, "equal_values": run, "times_normal": round(score, 3)}
    return replace(
        one,
        revision=one.revision + 1,
        end=end,
        score=score,
        severity=lasting_severity(_FIRST, _LAST, score),
        explanation=explanation,
    )


def _closed(one: Anomaly, end: int, why: str) -> Anomaly:
    explanation = {**one.explanation, "ended": why}
    return replace(one, state="closed", revision=one.revision + 1, end=max(one.end, end), explanation=explanation)
