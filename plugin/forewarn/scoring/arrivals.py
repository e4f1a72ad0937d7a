"""When the data of each series come, and how many that were expected are missing by now.

Owns: the arrival arrays of the carry and `follow`. Learns by hour of the day and of the week in how many buckets there are
data, counts what is missed of that since the last, and from past pauses how much must be missed before it means something.
Counts are integers, and tables change at the ends of UTC days only, so that no cut of time changes anything. Must not know
what the values mean, and opens nothing.

Row 0 is the detector as a whole, present where a tenth of what is expected of its series came; the others are its series.
What misses while the whole does is missed by the whole alone: a series is behind only where others came. In a window of
maintenance nothing is expected: what does not come is not missed, and the tables do not learn from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import DAY, HOUR, Detector
from forewarn.scoring import classes
from forewarn.series import Float, TimeGrid

Arrays = dict[str, NDArray[Any]]
Bool = NDArray[np.bool_]
Int = NDArray[np.int64]

UNIT: Final = 1000
"""Expected arrivals are counted in thousandths."""
NONE: Final = -(2**62)
"""The time of an arrival that never was."""
NEVER: Final = 2**62
"""More than any series can miss: it has no rhythm."""

_LEAST: Final = 4.0
"""However regular: fewer expected arrivals missed than this are a hiccup."""
_MOST: Final = 5.5
"""What would need more to mean something has no rhythm that could be broken."""
_MOST_ZEROS: Final = 10.0
"""But where no documents are a value of their own, 0, a run of zeros may take longer to become unlikely."""
_LONG: Final = 2.5
"""Pauses in which so many expected arrivals were missed tell how fast longer ones become rare."""
_PAUSES: Final = 3.0
"""More pauses than this within the memory that passed `_LEAST`, and ended by themselves, are this series' way."""
_THOUGHT: Final = 20.0
"""Arrivals that a fresh series is thought to have had, with pauses as they come by chance, but at least this often:"""
_RAREST: Final = 1e-3
_DENSE: Final = 0.6
"""Where data are in fewer buckets than this share, long pauses must be rarer than by chance,"""
_CLEARLY: Final = 4.0
"""by this factor: arrivals at random have no rhythm."""
_FEWEST: Final = 10.0
"""Arrivals before anything is said."""
_HORIZON: Final = 30
"""Days in which"""
_FALSE: Final = 0.25
"""so many false silences are expected of a series at most."""
_DAYS: Final = 14
"""Days that arrivals are remembered; and weeks in proportion: four."""
_WEEKS: Final = 4
_OTHER_DAY: Final = (0.5, 1.25)
"""An hour of the week with so many times less or more than the hour of the day has is a case of its own (a weekend)."""
_SURE: Final = 6.0
"""Arrivals in that hour before more of them are believed."""
_ENOUGH: Final = 10
"""The whole is there where one part in so many of what is expected came."""


@dataclass(frozen=True, slots=True)
class Hours:
    """Into which parts of a civil day the buckets of one detector fall."""

    step: int
    zone: str

    @property
    def length(self) -> int:
        """Milliseconds of a part: an hour, or one bucket if that is longer."""
        return max(HOUR, self.step)

    @property
    def count(self) -> int:
        """Parts of a day."""
        return DAY // self.length

    def of(self, times: Int) -> tuple[Int, Int]:
        """The part of the day and the day of the week of buckets, both in civil time."""
        hours = times // HOUR
        first, last = int(hours[0]), int(hours[-1])
        shift = np.array([_shift(self.zone, hour) for hour in range(first, last + 1)], np.int64)
        civil = times + shift[hours - first]
        return civil % DAY // self.length, civil // DAY % 7


@lru_cache(maxsize=4096)
def _shift(zone: str, hour: int) -> int:
    """Civil time minus UTC in ms at an hour since 1970."""
    moment = datetime.fromtimestamp(hour * HOUR / 1000, UTC).astimezone(ZoneInfo(zone))
    offset = moment.utcoffset()
    return 0 if offset is None else round(offset.total_seconds() * 1000)


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """What a block shows, [R, B], after each bucket: expected arrivals missed since the last, how many of them mean silence
    (both in thousandths), the start of the last bucket with data (NONE: none yet), and the usual ms between arrivals.
    """

    missed: Int
    least: Int
    last: Int
    every: Int


def fresh(hours: Hours, R: int) -> Arrays:
    """The arrival arrays of R rows that were never seen."""
    H = hours.count
    return {
        "last": np.full(R, NONE, np.int64),
        "value": np.full(R, np.nan),
        "missed": np.zeros(R, np.int64),
        "least": np.full(R, NEVER, np.int64),
        "every": np.zeros(R, np.int64),
        "day": np.full((R, H), np.float32(np.nan)),
        "days": np.zeros((R, H), np.int8),
        "week": np.full((R, 7 * H), np.float32(np.nan)),
        "weeks": np.zeros((R, 7 * H), np.int8),
        "today": np.zeros((R, 2, H), np.int32),
        "pauses": np.zeros((R, 3)),
        "pauses_today": np.zeros((R, 3), np.int64),
    } | classes.fresh(R)


def follow(
    arrays: Mapping[str, NDArray[Any]], hours: Hours, detector: Detector, grid: TimeGrid, values: Float
) -> tuple[Followed, Arrays]:
    """What the block of values [S, B] shows, and the arrival arrays [R = 1 + S] after it."""
    came = ~np.isnan(values)
    if detector.zero_when_empty:
        came &= values != 0.0
    after: Arrays = dict(arrays)
    parts: list[Followed] = []
    low = 0
    while low < grid.size:
        start = grid.start + low * grid.step
        edge = (start // DAY + 1) * DAY
        high = min(grid.size, max(low + 1, -(-(edge - grid.start) // grid.step)))
        times = start + grid.step * np.arange(high - low, dtype=np.int64)
        parts.append(_within_day(after, hours, detector, times, came[:, low:high]))
        classes.count(after, np.concatenate([np.full((1, high - low), np.nan), values[:, low:high]]))
        if grid.start + high * grid.step >= edge:
            _end_day(after, hours, detector, edge - DAY)
        low = high
    place = np.where(came, np.arange(grid.size), -1).max(axis=1)
    held = np.take_along_axis(values, np.maximum(place, 0)[:, None], axis=1)[:, 0]
    after["value"] = np.concatenate([after["value"][:1], np.where(place >= 0, held, after["value"][1:])])
    columns = ("missed", "least", "last", "every")
    return Followed(*(np.concatenate([getattr(part, name) for part in parts], axis=1) for name in columns)), after


def _within_day(after: Arrays, hours: Hours, detector: Detector, times: Int, came: Bool) -> Followed:
    """Follows buckets of one UTC day, in which all tables stay as they are."""
    hour, weekday = hours.of(times)
    share = _expected(after, hours, hour, weekday)
    before = after["last"]
    own = _last(before[1:], came, times)
    alive = (own != NONE) & (times - own <= detector.retire_after)
    some = came.any(axis=0)
    whole = some & (_ENOUGH * (share[1:] * came).sum(axis=0) >= (share[1:] * (alive & ~came)).sum(axis=0))
    present = np.concatenate([whole[None], came])
    last = np.concatenate([_last(before[:1], whole[None], times), own])
    first = np.max(after["days"], axis=1) == 0
    masked = detector.in_maintenance(times, detector.step)
    weight = np.where(present | (last == NONE) | masked, 0, np.where(first[:, None], UNIT, share))
    weight[1:] *= whole
    total = weight.cumsum(axis=1)
    place = np.maximum.accumulate(np.where(present, np.arange(len(times)), -1), axis=1)
    at_last = np.take_along_axis(total, np.maximum(place, 0), axis=1)
    missed = total - np.where(place >= 0, at_last, -after["missed"][:, None])

    pause = np.concatenate([after["missed"][:, None], missed[:, :-1]], axis=1)
    passed = present & (pause >= round(_LEAST * UNIT)) & ~first[:, None]
    ended = (present, present & (pause >= round(_LONG * UNIT)), passed)
    after["pauses_today"] = after["pauses_today"] + np.stack([kind.sum(axis=1) for kind in ended], axis=1)
    known = last != NONE
    known[1:] &= whole
    known &= ~masked
    turns = np.concatenate([[0], np.flatnonzero(np.diff(hour)) + 1])
    sums = np.stack([np.add.reduceat(kind, turns, axis=1, dtype=np.int32) for kind in (present & known, known)], axis=1)
    today = after["today"].copy()
    for number, part in enumerate(hour[turns].tolist()):
        today[:, :, part] += sums[:, :, number]
    after["today"] = today
    after["last"], after["missed"] = last[:, -1].copy(), missed[:, -1].copy()
    least, every = (np.broadcast_to(after[name][:, None], missed.shape) for name in ("least", "every"))
    return Followed(missed, least, last, every)


def _last(before: Int, came: Bool, times: Int) -> Int:
    """[R, n]: the start of the last bucket with data, up to each bucket."""
    return np.maximum.accumulate(np.concatenate([before[:, None], np.where(came, times, NONE)], axis=1), axis=1)[:, 1:]


def _expected(arrays: Arrays, hours: Hours, hour: Int, weekday: Int) -> Int:
    """[R, n]: in how many of a thousand such buckets there were data; 0 for an hour that was never seen."""
    H = hours.count
    codes, where = np.unique(weekday * H + hour, return_inverse=True)
    daily, weekly = arrays["day"][:, codes % H], arrays["week"][:, codes]
    with np.errstate(invalid="ignore"):
        sure = weekly * arrays["weeks"][:, codes] * np.float32(hours.length / hours.step) >= _SURE
        own = (weekly < _OTHER_DAY[0] * daily) | ((weekly > _OTHER_DAY[1] * daily) & sure)
    share = np.where(own, weekly, daily)
    return np.nan_to_num(share * np.float32(UNIT)).astype(np.int64)[:, where.reshape(-1)]


def _end_day(after: Arrays, hours: Hours, detector: Detector, start: int) -> None:
    """Moves the counts of the UTC day that began at `start` into the tables, and sets anew what means silence.

    On the first day of a row every bucket counted as expected: its pauses are believed only if nearly all buckets had data.
    """
    H = hours.count
    present, seen = after["today"][:, 0], after["today"][:, 1]
    first = np.max(after["days"], axis=1) == 0
    share = np.where(seen > 0, present / np.maximum(seen, 1), np.nan).astype(np.float32)
    after["day"], after["days"] = _moved(after["day"], after["days"], share, _DAYS)
    times = start + hours.length * np.arange(H, dtype=np.int64)
    hour, weekday = hours.of(times)
    code = weekday * H + hour
    week, weeks = after["week"].copy(), after["weeks"].copy()
    week[:, code], weeks[:, code] = _moved(week[:, code], weeks[:, code], share[:, hour], _WEEKS)
    after["week"], after["weeks"] = week, weeks
    pauses = after["pauses"] = after["pauses"] * (1.0 - 1.0 / _DAYS) + after["pauses_today"]
    after["today"], after["pauses_today"] = np.zeros_like(after["today"]), np.zeros_like(after["pauses_today"])

    day = np.nan_to_num(after["day"]).astype(np.float64)
    total = day.sum(axis=1)
    usual = np.where(total > 0, (day * day).sum(axis=1) / np.where(total > 0, total, 1.0), 1.0)  # where there are any
    after["missed"] = np.where(first, 0, after["missed"])
    pauses[first & (usual < _DENSE)] = 0.0
    after["every"] = np.round(detector.step / usual).astype(np.int64)
    silent = after["missed"] >= after["least"]
    classes.settle(after, silent | (start + DAY - after["last"] > detector.retire_after) & (after["last"] != NONE))
    after["least"] = np.where(present.any(axis=1), _least(pauses, usual, total * hours.length, detector), after["least"])


def _least(pauses: Float, usual: Float, share: Float, detector: Detector) -> Int:
    """[R], in thousandths: what must be missed to mean silence; NEVER for what has no rhythm.

    Pauses that are rarer the longer they are fall off exponentially; how fast is seen from those of a few missed arrivals,
    and thought to be as if buckets had data at random until some were seen. `share`: milliseconds of a day in which data
    are expected.
    """
    arrivals, long, passed = pauses.T
    buckets = np.ceil(_LONG / usual)
    by_chance = np.maximum(np.power(1.0 - np.minimum(usual, 1.0), buckets), _RAREST)
    tail = -np.log((long + _THOUGHT * by_chance) / (arrivals + _THOUGHT))
    expected = share / detector.step * _HORIZON
    least = buckets * usual * np.log(np.maximum(expected / _FALSE, 1.0)) / np.maximum(tail, 1e-9)
    most = _MOST_ZEROS if detector.zero_when_empty else _MOST
    regular = (arrivals >= _FEWEST) & (least <= most)
    if not detector.zero_when_empty:
        regular &= (usual >= _DENSE) | (_CLEARLY * long + 1.0 <= by_chance * arrivals)
        regular &= passed <= _PAUSES
    scaled = np.round(UNIT * np.maximum(np.where(regular, least, _LEAST), _LEAST)).astype(np.int64)
    return np.where(regular, scaled, NEVER)


def _moved(
    table: NDArray[np.float32], times: NDArray[np.int8], share: NDArray[np.float32], memory: int
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """A table of running means after one more observation (NaN: none), and of how many observations it is made."""
    known = ~np.isnan(share)
    weight = (1.0 / (np.minimum(times, memory - 1) + 1)).astype(np.float32)
    start = np.where(np.isnan(table), share, table)
    mean = np.where(known, start + weight * (share - start), table)
    return mean.astype(np.float32), np.where(known, np.minimum(times + 1, memory), times).astype(np.int8)
