"""Points into episodes: the fold of scores over time, one series after the other.

Owns: Episodes, the adapter of the port `EpisodeFold`. An episode opens at a score of 1, goes on while its value stays away
from what is expected, also across missing data, and closes after enough quiet buckets. Must not score: it sees scores, values
and forecasts, and keeps all that it needs to know in the open anomaly.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from typing import Final, NamedTuple

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


class _Point(NamedTuple):
    """One bucket of one series that has data."""

    start: int
    actual: float
    expected: float
    lower: float
    upper: float
    score: float
    direction: int
    reason: str

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
        columns = (actual.values, forecast.expected, scores.lower, scores.upper, scores.score, scores.direction, scores.reason)
        points = list(zip(*(column[row].tolist() for column in columns), strict=True))
        alarms = np.flatnonzero(scores.score[row] >= 1.0).tolist()
        quiet = 0 if anomaly is None else _quiet_so_far(anomaly)
        place = 0
        while place < len(points):
            if anomaly is None:  # nothing can happen before the next alarm
                place = next((alarm for alarm in alarms if alarm >= place), len(points))
                if place == len(points):
                    return None
            end = actual.grid.start + (place + 1) * self._step
            value, expected, lower, upper, score, direction, reason = points[place]
            text = scores.reasons[reason] if scores.reasons else ""
            point = _Point(end - self._step, value, expected, lower, upper, score, direction, text)
            before = anomaly
            if anomaly is None:
                anomaly, quiet = self._opening(key, point), 0
            elif end - anomaly.start > LONGEST:
                anomaly = _closed(anomaly, quiet)
            elif isnan(value) or isnan(score):
                pass  # missing data: nothing is known, nothing ends
            elif not _is_quiet(anomaly, point):
                anomaly, quiet = self._going_on(anomaly, point, end), 0
            else:
                quiet += 1
                if quiet >= self._quiet:
                    anomaly = _closed(anomaly, quiet)
            if anomaly is not before:
                changes.append((end + delay, anomaly))
            if anomaly.state == "closed":
                anomaly = None
            place += 1
        if anomaly is None or quiet == _quiet_so_far(anomaly):
            return anomaly
        return replace(anomaly, explanation={**anomaly.explanation, "state": {"quiet": quiet}})

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
        return replace(draft, explanation=explain(draft, point.reason, 1, {"quiet": 0}))

    def _going_on(self, anomaly: Anomaly, point: _Point, end: int) -> Anomaly:
        higher = point.score > anomaly.score
        score = max(anomaly.score, point.score)
        buckets = int(anomaly.explanation["anomalous_buckets"]) + 1
        reason = point.reason if higher else str(anomaly.explanation["reason"])
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
        return replace(after, explanation=explain(after, reason, buckets, {"quiet": 0}))


def _quiet_so_far(anomaly: Anomaly) -> int:
    return int(anomaly.explanation["state"]["quiet"])


def _is_quiet(anomaly: Anomaly, point: _Point) -> bool:
    """Back at least halfway from the peak, or back in the band, or on the other side of the expectation."""
    if point.score >= 1.0:
        return False
    away = point.residual if anomaly.direction == "above" else -point.residual
    return away <= 0.5 * abs(anomaly.actual - anomaly.expected) or point.lower <= point.actual <= point.upper


def _closed(anomaly: Anomaly, quiet: int) -> Anomaly:
    explanation = {**anomaly.explanation, "state": {"quiet": quiet}}
    return replace(anomaly, state="closed", revision=anomaly.revision + 1, explanation=explanation)
