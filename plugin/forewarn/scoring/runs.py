"""What a score means in its run: a start, a goes-on, a record, a first point after a hole.

Owns: the run arrays of the carry and `settle_runs`. Works on points (holes taken out) and on positions: how many points
of the series came before. Everything sequential is written as running maxima, which no cut of a block can change.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import HOUR
from forewarn.scoring.rhythm import Rhythm
from forewarn.series import Float

Arrays = dict[str, NDArray[Any]]
Bool = NDArray[np.bool_]
Int = NDArray[np.int64]

BELOW: Final = 0.99
"""The highest score of a point that is held below the edge of normal."""

_FADE: Final = -np.log(0.94)
"""A record fades by half in 11 points..."""
_HALF: Final = 1 * HOUR
"""...or in this time, if that is sooner."""
_RECORD: Final = np.log(2.5)
"""Within a run, and a while after, only what is so much higher than the record alarms again: what grows tenfold from point
to point alarms three times, not nine."""
_IRREGULAR: Final = 0.6
_HALFWAY: Final = 0.5
_EXACT: Final = 0.1
"""A first point after a hole that is so close to what is expected, in usual sizes, does not continue a run."""
_CALM: Final = 5
"""After so many quiet points a hole is not part of the run before it."""


NAMES: Final = ("seen", "last", "resumed", "record", "alarm", "alarm_bucket", "alarm_residual", "busy", "closed")
"""The run arrays of the carry."""
_OWN: Final = ("record", "alarm", "alarm_bucket", "alarm_residual", "busy", "closed")
"""The arrays that only a run changes."""


@dataclass(frozen=True, slots=True)
class Points:
    """One block by points: logarithm of the score, absolute residual, usual size, bucket number [S, B]; points a row [S]."""

    score: Float
    residual: Float
    usual: Float
    bucket: Int
    count: Int


def fresh(S: int) -> Arrays:
    """The run arrays of S series that were never seen."""
    never = np.full(S, -1, np.int64)
    return {
        "seen": np.zeros(S, np.int64),
        "last": never,
        "resumed": np.zeros(S, np.int64),
        "record": np.full(S, -np.inf),
        "alarm": never,
        "alarm_bucket": never,
        "alarm_residual": np.zeros(S),
        "busy": never,
        "closed": never,
    }


def settle_runs(
    arrays: Mapping[str, NDArray[Any]], coverage: Float, rhythm: Rhythm, points: Points
) -> tuple[Float, Bool, Bool, Bool, Arrays]:
    """Scores [S, B] by points, and where they were held back as unsettled, held back as ongoing, raised as continued.

    Also the run arrays after the block. `coverage` [S, B] is what share of its points a series had by each of them.
    """
    B = points.score.shape[1]
    seen, count = arrays["seen"], points.count
    position = seen[:, None] + np.arange(B)
    before = np.concatenate([arrays["last"][:, None], points.bucket[:, :-1]], axis=1)
    missed = np.where(position > 0, points.bucket - before - 1, 0)

    gaps = missed >= rhythm.gap
    resumed = arrays["resumed"]
    since = resumed[:, None]
    if gaps.any():
        running = _running(resumed, np.where(gaps, position, 0))
        since, resumed = running[:, 1:], _at(running, count[:, None])
    unsettled = (position < rhythm.settle) | ((since > 0) & (position - since < rhythm.settle // 2))
    raw = points.score
    held = np.where(unsettled, np.minimum(raw, np.log(BELOW)), raw) if unsettled.any() else raw

    high = held >= 0.0
    latest = _at(np.concatenate([arrays["last"][:, None], points.bucket], axis=1), count[:, None])
    own = {name: arrays[name] for name in _OWN}
    score, ongoing, continued = held.copy(), np.zeros(held.shape, np.bool_), np.zeros(held.shape, np.bool_)
    # A row without an alarm, before or in the block, has no run: nothing is held, raised or remembered.
    begun = own["alarm"] > own["closed"]
    begun[np.flatnonzero(high) // max(1, B)] = True
    row = np.flatnonzero(begun)
    if row.size:
        part = Points(held[row], points.residual[row], points.usual[row], points.bucket[row], count[row])
        found = _follow({name: array[row] for name, array in own.items()}, rhythm, part, position[row], missed[row])
        score[row], ongoing[row], run = found[0], found[1], found[3]
        continued[row] = found[2] & (coverage[row] > _IRREGULAR)
        for name, array in run.items():
            own[name] = own[name].copy()
            own[name][row] = array
    score = np.where(continued, 0.0, score)
    after = {"seen": seen + count, "last": latest, "resumed": resumed, **own}
    return score, unsettled & (raw >= 0.0), ongoing & ~continued, continued, after


def _follow(
    arrays: Arrays, rhythm: Rhythm, points: Points, position: Int, missed: NDArray[Any]
) -> tuple[Float, Bool, Bool, Arrays]:
    """Scores [R, B], what is ongoing, what may go on across a hole, and the arrays of runs, of rows that have a run."""
    held, high = points.score, points.score >= 0.0
    fade = max(_FADE, np.log(2.0) * rhythm.step / _HALF)
    lifted = np.where(high, held + fade * position, -np.inf)
    record = _running(arrays["record"], lifted)
    alarm = high & (lifted >= record[:, :-1] + _RECORD)
    ongoing = high & ~alarm

    last_alarm = _running(arrays["alarm"], np.where(alarm, position, -1))
    at_alarm = np.maximum(last_alarm - position[:, :1], -1) + 1  # column of [carry | block]
    residuals = np.concatenate([arrays["alarm_residual"][:, None], points.residual], axis=1)
    buckets = np.concatenate([arrays["alarm_bucket"][:, None], points.bucket], axis=1)
    alarm_residual = np.take_along_axis(residuals, at_alarm, axis=1)
    alarm_bucket = np.take_along_axis(buckets, at_alarm, axis=1)

    quiet = ~high & ((points.residual <= _HALFWAY * alarm_residual[:, 1:]) | (points.residual <= points.usual))
    busy = _running(arrays["busy"], np.where(quiet, -1, position))
    ended = position - busy[:, 1:] >= rhythm.quiet
    closed = _running(arrays["closed"], np.where(ended, position, -1))
    open_before = last_alarm[:, :-1] > closed[:, :-1]
    recent = points.bucket - alarm_bucket[:, :-1] <= rhythm.bridge
    lively = position - 1 - busy[:, :-1] < _CALM
    off = points.residual > _EXACT * points.usual
    continued = (missed > 0) & open_before & recent & lively & off & ~alarm

    score = np.where(ongoing, np.minimum(held, np.log(BELOW)), held)
    end = points.count[:, None]
    states = {"record": record, "alarm": last_alarm, "alarm_bucket": alarm_bucket, "alarm_residual": alarm_residual}
    after = {name: _at(array, end) for name, array in (states | {"busy": busy, "closed": closed}).items()}
    # When a run ended, and what was before the one that is open, does not matter: kept the same however time was cut.
    over = after["alarm"] <= after["closed"]
    after["busy"] = np.where(over, after["alarm"], after["busy"])
    after["closed"] = np.where(over, after["alarm"], -1)
    return score, ongoing, continued, after


def _running(start: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """[S] and [S, B] -> [S, B+1]: the running maximum, column k that before point k."""
    return np.maximum.accumulate(np.concatenate([start[:, None], values], axis=1), axis=1)


def _at(extended: NDArray[Any], column: Int) -> NDArray[Any]:
    return np.asarray(extended[np.arange(len(extended)), column[:, 0]])
