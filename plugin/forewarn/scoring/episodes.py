"""Points into episodes: the fold of scores over time, one series after the other.

Owns: Episodes, the adapter of the port `EpisodeFold`. An episode opens at a score of 1, goes on while its value stays away
from what is expected, also across missing data, and closes after enough quiet buckets. Must not score: it sees scores, values
and forecasts, and keeps all that it needs to know in the open anomaly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from forewarn.anomaly import Anomaly, Scores, Side
from forewarn.detector import DAY, Detector
from forewarn.forecast import Forecast
from forewarn.results import anomaly_id
from forewarn.scoring.rhythm import Rhythm
from forewarn.scoring.severity import explain, severity
from forewarn.series import SeriesBatch, SeriesKey

Change = tuple[int, Anomaly]

LONGEST: Final = 7 * DAY
"""An episode that lasts longer is the new normal; one without data for so long is over."""


@dataclass(frozen=True, slots=True)
class _Point:
    """One bucket of one series that has data."""

    start: int
    actual: float
    expected: float
    lower: float
    upper: float
    score: float
    direction: int
    evidence: str

    @property
    def residual(self) -> float:
        return self.actual - self.expected

    @property
    def side(self) -> Side:
        return "below" if (self.direction or self.residual) < 0 else "above"


class Episodes:
    """The fold for one detector. Python runs over series with an open episode or an alarm in the block, and no others."""

    def __init__(self, detector: Detector) -> None:
        self._step = detector.step
        self._quiet = Rhythm.of(detector.step).quiet

    def fold(
        self, opened: Sequence[Anomaly], actual: SeriesBatch, forecast: Forecast, scores: Scores, delay: int
    ) -> tuple[tuple[Anomaly, ...], tuple[Change, ...]]:
        """The episodes that are open after the block, by series id, and every change in it as (nominal time, anomaly)."""
        open_by_key = {anomaly.key: anomaly for anomaly in opened}
        alarms = scores.score >= 1.0  # NaN compares false
        rows = set(np.flatnonzero(alarms.any(axis=1)).tolist())
        rows |= {actual.rows[key] for key in open_by_key if key in actual.rows}
        changes: list[Change] = []
        still_open = {key: anomaly for key, anomaly in open_by_key.items() if key not in actual.rows}
        for row in sorted(rows):
            key = actual.keys[row]
            anomaly = self._series(open_by_key.get(key), key, row, (actual, forecast, scores), delay, changes)
            if anomaly is not None:
                still_open[key] = anomaly
        changes.sort(key=lambda change: (change[0], change[1].key.id))
        return tuple(sorted(still_open.values(), key=lambda anomaly: anomaly.key.id)), tuple(changes)

    def _series(
        self,
        anomaly: Anomaly | None,
        key: SeriesKey,
        row: int,
        block: tuple[SeriesBatch, Forecast, Scores],
        delay: int,
        changes: list[Change],
    ) -> Anomaly | None:
        actual, forecast, scores = block
        alarm = scores.score[row] >= 1.0
        starts = actual.grid.times()
        column, B = 0, actual.grid.size
        while column < B:
            if anomaly is None:  # nothing can happen before the next alarm
                ahead = np.flatnonzero(alarm[column:])
                if not ahead.size:
                    return None
                column += int(ahead[0])
            due = int(starts[column]) + self._step + delay
            value = float(actual.values[row, column])
            score = float(scores.score[row, column])
            known = np.isfinite(value) and np.isfinite(score)
            point = _Point(
                start=int(starts[column]),
                actual=value,
                expected=float(forecast.expected[row, column]),
                lower=float(scores.lower[row, column]),
                upper=float(scores.upper[row, column]),
                score=score,
                direction=int(scores.direction[row, column]),
                evidence=scores.reasons[int(scores.reason[row, column])],
            )
            if anomaly is None:
                anomaly = self._opening(key, point)
                changes.append((due, anomaly))
            else:
                anomaly, changed = self._next(anomaly, point, known=bool(known))
                if changed:
                    changes.append((due, anomaly))
                if anomaly.state == "closed":
                    anomaly = None
            column += 1
        return anomaly

    def _opening(self, key: SeriesKey, point: _Point) -> Anomaly:
        draft = Anomaly(
            id=anomaly_id(key.id, point.start, self._step),
            key=key,
            state="open",
            revision=1,
            start=point.start,
            end=point.start + self._step,
            peak=point.start,
            score=point.score,
            severity=severity(point.score, self._step, self._step),
            direction=point.side,
            actual=point.actual,
            expected=point.expected,
            lower=point.lower,
            upper=point.upper,
        )
        return replace(draft, explanation=explain(draft, point.evidence, 1, {"quiet": 0}))

    def _next(self, anomaly: Anomaly, point: _Point, *, known: bool) -> tuple[Anomaly, bool]:
        """The episode after one more bucket, and whether that is a change."""
        end = point.start + self._step
        if end - anomaly.start > LONGEST:
            return self._closing(anomaly), True
        if not known:  # missing data: nothing is known, nothing ends
            return anomaly, False
        if not self._is_quiet(anomaly, point):
            return self._going_on(anomaly, point, end), True
        quiet = int(anomaly.explanation["state"]["quiet"]) + 1
        if quiet >= self._quiet:
            return self._closing(anomaly), True
        return replace(anomaly, explanation={**anomaly.explanation, "state": {"quiet": quiet}}), False

    @staticmethod
    def _is_quiet(anomaly: Anomaly, point: _Point) -> bool:
        """Back at least halfway from the peak, or back in the band, or on the other side of the expectation."""
        if point.score >= 1.0:
            return False
        away = point.residual if anomaly.direction == "above" else -point.residual
        return away <= 0.5 * abs(anomaly.actual - anomaly.expected) or point.lower <= point.actual <= point.upper

    def _going_on(self, anomaly: Anomaly, point: _Point, end: int) -> Anomaly:
        higher = point.score > anomaly.score
        score = max(anomaly.score, point.score)
        buckets = int(anomaly.explanation["anomalous_buckets"]) + 1
        evidence = point.evidence if higher else str(anomaly.explanation["evidence"])
        after = replace(
            anomaly,
            revision=anomaly.revision + 1,
            end=end,
            score=score,
            severity=severity(score, end - anomaly.start, self._step),
        )
        if higher:
            after = replace(
                after,
                peak=point.start,
                direction=point.side,
                actual=point.actual,
                expected=point.expected,
                lower=point.lower,
                upper=point.upper,
            )
        return replace(after, explanation=explain(after, evidence, buckets, {"quiet": 0}))

    @staticmethod
    def _closing(anomaly: Anomaly) -> Anomaly:
        state: dict[str, Any] = {"quiet": int(anomaly.explanation["state"]["quiet"])}
        return replace(
            anomaly, state="closed", revision=anomaly.revision + 1, explanation={**anomaly.explanation, "state": state}
        )
