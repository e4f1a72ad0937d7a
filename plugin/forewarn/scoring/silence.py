"""Who has stopped sending: an anomaly of its own, opened at the drop, closed when data come back or the series is retired.

Owns: Silences, a part of the adapter of the port `Watch`. When a pause means something is decided by `arrivals`; here pauses
become anomalies: of one series; of many that stopped together; of a detector of which nothing comes any more, which is one
anomaly and not one for each of its series. Must not score: a missing value has no score.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forewarn.anomaly import SILENT, Anomaly, Carry
from forewarn.detector import HOUR, Detector
from forewarn.forecast import Forecast
from forewarn.scoring.arrivals import NEVER, NONE, UNIT, Followed, Hours, follow, fresh
from forewarn.scoring.classes import CLASSES, name_of
from forewarn.scoring.severity import lasting_severity
from forewarn.series import SeriesBatch, SeriesKey, stable_id

Change = tuple[int, Anomaly]
Told = Mapping[SeriesKey, Sequence[Change]]

"""The reason in the explanation of every such anomaly."""
MANY: Final = 10
"""So many series that are found silent in one bucket are one anomaly."""
_FEW: Final = 5
"""When fewer of them are left, each is an anomaly of its own."""
_NAMED: Final = 10
"""Series that the explanation names, at most."""
_FIRST: Final = {"series": 30.0, "many": 45.0, "whole": 50.0}
"""Severity at the opening, by what is silent: of all a detector watches, nothing is left to judge by."""
_LAST: Final = 90.0
"""That of a silence of a hundred times what opened it."""


class _Seen(NamedTuple):
    """A block with everything that is known of it; rows as in `arrivals`: the whole first, then the series."""

    actual: SeriesBatch
    forecast: Forecast
    carry: Carry
    followed: Followed
    silent: NDArray[np.bool_]
    delay: int


@dataclass(slots=True)
class _Open:
    """The anomalies that are open at one moment of the fold: by row, and that of many."""

    rows: dict[int, Anomaly] = field(default_factory=dict)
    many: Anomaly | None = None
    elsewhere: list[Anomaly] = field(default_factory=list)

    def all(self) -> tuple[Anomaly, ...]:
        """All of them, in a fixed order."""
        everyone = [*self.rows.values(), *([self.many] if self.many else []), *self.elsewhere]
        return tuple(sorted(everyone, key=lambda anomaly: anomaly.id))


class Silences:
    """The fold for one detector. Python runs over buckets and series in which something is silent, and no others."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._hours = Hours(detector.step, detector.timezone)

    def start(self, at: int) -> Carry:
        """The carry before anything was seen: one row, that of the detector as a whole."""
        return Carry((SeriesKey(self._detector.name),), at, fresh(self._hours, 1))

    def learn(self, actual: SeriesBatch, carry: Carry) -> Carry:
        """The carry after the block."""
        return self._follow(actual, carry)[1]

    def fold(
        self,
        opened: Sequence[Anomaly],
        others: Sequence[Change],
        actual: SeriesBatch,
        forecast: Forecast,
        carry: Carry,
        delay: int,
    ) -> tuple[tuple[Anomaly, ...], tuple[Change, ...], Carry]:
        """The silences that are open after the block, every change in it as (nominal time, anomaly), and the carry."""
        followed, after = self._follow(actual, carry)
        if not self._detector.watches_silence:
            at = actual.grid.start + self._detector.step + delay
            gone = (replace(one, state="withdrawn", revision=one.revision + 1) for one in opened)
            return (), tuple((at, one) for one in gone), after
        times = actual.grid.times()
        alive = (followed.last != NONE) & (times - followed.last <= self._detector.retire_after)
        silent = alive & (followed.missed >= followed.least)
        if not opened and not silent.any():
            return (), (), after
        seen = _Seen(actual, forecast, carry, followed, silent, delay)
        state = _opened(opened, actual)
        told = defaultdict[SeriesKey, list[Change]](list)
        for change in others:
            told[change[1].key].append(change)
        changes: list[Change] = []
        some = silent.any(axis=0).tolist()
        maintained = self._detector.in_maintenance(times, self._detector.step).tolist()
        for column in range(actual.grid.size):
            if some[column] or state.rows or state.many is not None:
                found = [*self._ended(state, seen, column), *self._gone_on(state, seen, column)]
                if not maintained[column]:
                    found += self._begun(state, seen, column, told)
                at = int(times[column]) + self._detector.step + delay
                changes.extend((at, anomaly) for anomaly in sorted(found, key=lambda anomaly: anomaly.id))
        return state.all(), tuple(changes), after

    def kind(self, carry: Carry, row: int) -> str:
        """What kind of stream series number `row` is."""
        return name_of(carry.arrays, row + 1) if row + 1 < len(carry.keys) else CLASSES[0]

    def _follow(self, actual: SeriesBatch, carry: Carry) -> tuple[Followed, Carry]:
        grid = actual.grid
        if grid.start != carry.at or carry.keys[1:] != actual.keys[: len(carry.keys) - 1]:
            raise ValueError(f"the carry is at {carry.at} with {len(carry.keys) - 1} series, the block on {grid}")
        joined = actual.keys[len(carry.keys) - 1 :]
        arrays = dict(carry.arrays)
        if joined:
            more = fresh(self._hours, len(joined))
            arrays = {name: np.concatenate([array, more[name]]) for name, array in arrays.items()}
        keys = (*carry.keys, *joined)
        if not grid.size:
            none = np.zeros((len(keys), 0), np.int64)
            return Followed(none, none, none, none), Carry(keys, grid.end, arrays)
        followed, arrays = follow(arrays, self._hours, self._detector, grid, actual.values)
        return followed, Carry(keys, grid.end, arrays)

    def _ended(self, state: _Open, seen: _Seen, column: int) -> list[Anomaly]:
        """Closes what has data again, or is retired."""
        start = seen.actual.grid.start + column * self._detector.step
        found: list[Anomaly] = []
        for row, anomaly in list(state.rows.items()):
            last = int(seen.followed.last[row, column])
            if last >= anomaly.start:
                found.append(_closed(state.rows.pop(row), last, "data are back"))
            elif start - last > self._detector.retire_after:
                found.append(_closed(state.rows.pop(row), start, "retired"))
        if state.many is not None:
            left = self._left(state, seen, column)
            if left.size < _FEW:
                found.append(_closed(state.many, start, "data are back" if not left.size else "few are left"))
                state.many = None
        return found

    def _left(self, state: _Open, seen: _Seen, column: int) -> NDArray[np.int64]:
        """The rows that the anomaly of many is still about: silent since before it opened, and without one of their own."""
        before = int(state.many.explanation["state"]["opened"]) if state.many is not None else NONE
        members = seen.silent[:, column] & (seen.followed.last[:, column] < before)
        members[[0, *state.rows]] = False
        return np.flatnonzero(members)

    def _gone_on(self, state: _Open, seen: _Seen, column: int) -> list[Anomaly]:
        """Once an hour, what is silent still says so."""
        end = seen.actual.grid.start + (column + 1) * self._detector.step
        if end % HOUR and self._detector.step < HOUR:
            return []
        found: list[Anomaly] = []
        for row, anomaly in state.rows.items():
            state.rows[row] = self._longer(anomaly, self._score(seen, row, column), end, {})
            found.append(state.rows[row])
        if state.many is not None:
            left = self._left(state, seen, column)
            score = max(self._score(seen, row, column) for row in left.tolist())
            state.many = self._longer(state.many, score, end, {"silent_series": int(left.size)})
            found.append(state.many)
        return found

    def _begun(self, state: _Open, seen: _Seen, column: int, told: Told) -> list[Anomaly]:
        """Opens what is silent and has no anomaly yet."""
        uncovered = seen.silent[:, column].copy()
        uncovered[list(state.rows)] = False
        if state.many is not None:
            uncovered[self._left(state, seen, column)] = False
        found: list[Anomaly] = []
        rows = [row for row in np.flatnonzero(uncovered).tolist() if self._matters(seen, row, column)]
        if 0 in rows:
            rows.remove(0)
            anomaly = self._whole(seen, column)
            own = any(one.key == anomaly.key for one in state.rows.values())
            if not own and not self._told(anomaly.key, anomaly.end + seen.delay, told):
                state.rows[0] = anomaly
                found.append(anomaly)
        end = seen.actual.grid.start + (column + 1) * self._detector.step
        rows = [row for row in rows if not self._told(seen.actual.keys[row - 1], end + seen.delay, told)]
        if len(rows) >= MANY and state.many is None:
            state.many = self._many(seen, rows, column)
            found.append(state.many)
        else:
            for row in rows:
                state.rows[row] = self._opening("series", seen.actual.keys[row - 1], seen, row, column, {})
                found.append(state.rows[row])
        return found

    def _matters(self, seen: _Seen, row: int, column: int) -> bool:
        """Where silence is a value of 0, it must be as far below what is expected as the detector asks of any value."""
        least = self._detector.min_deviation
        if not self._detector.zero_when_empty or (least.absolute <= 0 and least.relative <= 0):
            return True
        expected = self._expected(seen, row, column)
        return expected > 0 and expected >= max(least.absolute, least.relative * expected)

    def _told(self, key: SeriesKey, at: int, told: Told) -> bool:
        """Whether an episode says already that this series counts too little."""
        if not self._detector.zero_when_empty:
            return False
        known = [anomaly for time, anomaly in told.get(key, ()) if time <= at]
        return bool(known) and known[-1].state == "open" and known[-1].direction == "below"

    def _whole(self, seen: _Seen, column: int) -> Anomaly:
        """Nothing of the detector comes any more; it is that of its series if there is only one with a rhythm."""
        start = seen.actual.grid.start + column * self._detector.step
        last = seen.followed.last[:, column]
        alive = (last != NONE) & (start - last <= self._detector.retire_after)
        alive[0] = False
        silent = alive & (last <= last[0])
        regular = alive & (seen.followed.least[:, column] != NEVER)
        only = np.flatnonzero(silent if alive.sum() == 1 else silent & regular)
        if only.size == 1 and (alive.sum() == 1 or regular.sum() == 1):
            row = int(only[0])
            return self._opening("whole", seen.actual.keys[row - 1], seen, row, column, {})
        names = _names(seen, np.flatnonzero(silent), int(alive.sum()))
        return self._opening("whole", SeriesKey(self._detector.name), seen, 0, column, names)

    def _many(self, seen: _Seen, rows: Sequence[int], column: int) -> Anomaly:
        last = seen.followed.last[:, column]
        start = seen.actual.grid.start + column * self._detector.step
        alive = (last[1:] != NONE) & (start - last[1:] <= self._detector.retire_after)
        names = _names(seen, np.array(rows), int(alive.sum()))
        longest = min(rows, key=lambda row: (int(last[row]), row))
        return self._opening("many", SeriesKey(self._detector.name), seen, longest, column, names)

    def _opening(self, what: str, key: SeriesKey, seen: _Seen, row: int, column: int, more: dict[str, Any]) -> Anomaly:
        step, opened = self._detector.step, seen.actual.grid.start + column * self._detector.step
        place = 0 if what == "whole" else row
        last = int(seen.followed.last[place, column])
        value = self._last_value(seen, row, column)
        expected = self._expected(seen, 0 if more else row, column)
        score = self._score(seen, place, column)
        nothing = 0.0 if self._detector.zero_when_empty else math.nan
        explanation = {
            "actual": 0.0 if self._detector.zero_when_empty else None,
            "expected": expected if math.isfinite(expected) else None,
            "reason": SILENT,
            "since": last + step,
            "last_seen": last,
            "last_value": value if math.isfinite(value) and not more else None,
            "expected_every": int(seen.followed.every[place, column]),
            "missed_arrivals": round(float(seen.followed.missed[place, column]) / UNIT, 1),
            "times_normal": round(score, 3),
            **more,
            "state": {"what": what, "opened": opened},
        }
        return Anomaly(
            id=stable_id("silence", key.id, what, last + step, step),
            key=key,
            state="open",
            revision=1,
            start=last + step,
            end=opened + step,
            peak=last + step,
            score=score,
            severity=lasting_severity(_FIRST["series" if what == "whole" and not more else what], _LAST, score),
            direction="below",
            actual=nothing,
            expected=expected,
            lower=math.nan,
            upper=math.nan,
            explanation=explanation,
        )

    def _longer(self, anomaly: Anomaly, score: float, end: int, more: dict[str, Any]) -> Anomaly:
        score = max(score, anomaly.score)
        what = str(anomaly.explanation["state"]["what"])
        kind = "series" if what == "whole" and "of_series" not in anomaly.explanation else what
        explanation = {**anomaly.explanation, "times_normal": round(score, 3), **more}
        return replace(
            anomaly,
            revision=anomaly.revision + 1,
            end=end,
            score=score,
            severity=max(anomaly.severity, lasting_severity(_FIRST[kind], _LAST, score)),
            explanation=explanation,
        )

    def _score(self, seen: _Seen, row: int, column: int) -> float:
        """How many times what opens a silence is missed."""
        return max(1.0, float(seen.followed.missed[row, column] / seen.followed.least[row, column]))

    def _expected(self, seen: _Seen, row: int, column: int) -> float:
        """What is expected of the row in the bucket: for counts of the whole, all of its series together."""
        if row:
            return float(seen.forecast.expected[row - 1, column])
        return float(np.nansum(seen.forecast.expected[:, column])) if self._detector.zero_when_empty else math.nan

    def _last_value(self, seen: _Seen, row: int, column: int) -> float:
        if not row:
            return math.nan
        last = int(seen.followed.last[row, column])
        place = seen.actual.grid.index(last)
        if place >= 0:
            return float(seen.actual.values[row - 1, place])
        return float(seen.carry.arrays["value"][row])


def _opened(opened: Sequence[Anomaly], actual: SeriesBatch) -> _Open:
    state = _Open()
    for anomaly in opened:
        what = anomaly.explanation["state"]["what"]
        if what == "many":
            state.many = anomaly
        elif what == "whole":
            state.rows[0] = anomaly
        elif anomaly.key in actual.rows:
            state.rows[actual.rows[anomaly.key] + 1] = anomaly
        else:
            state.elsewhere.append(anomaly)
    return state


def _names(seen: _Seen, rows: NDArray[np.int64], of: int) -> dict[str, Any]:
    named = [str(seen.actual.keys[row - 1]) for row in rows[:_NAMED].tolist()]
    return {"silent_series": int(rows.size), "of_series": of, "series": named}


def _closed(anomaly: Anomaly, end: int, why: str) -> Anomaly:
    explanation = {**anomaly.explanation, "ended": why}
    return replace(anomaly, state="closed", revision=anomaly.revision + 1, end=max(anomaly.start, end), explanation=explanation)
