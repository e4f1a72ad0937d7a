"""What kind of stream a series is: lively, sparse, counter, gauge, constant or stopped; tested anew at the end of every day.

Owns: CLASSES, the class arrays of the carry (`fresh`, `count`, `settle`) and `classify`. Counts moves, in integers, so that no
cut of time changes anything. Must not know time: days begin and end where `arrivals` says so.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.series import Float

Arrays = dict[str, NDArray[Any]]

CLASSES: Final = ("new", "lively", "sparse", "counter", "gauge", "constant", "stopped")
"""new: too little was seen; lively: a count that is rarely 0; sparse: a count that mostly is; counter: only rises, but for
resets; gauge: goes up and down; constant; stopped: nothing comes any more."""
NEW, LIVELY, SPARSE, COUNTER, GAUGE, CONSTANT, STOPPED = range(len(CLASSES))

_COUNTED: Final = ("points", "zeros", "whole", "ups", "downs", "resets")
_FADING: Final = 13.0 / 14.0
"""What a day's counts keep of their weight with every further day."""
_FEWEST: Final = 20.0
"""Points before anything is said; and moves, before a counter is one."""
_NEARLY_ALL: Final = 0.99
_STILL: Final = 0.002
"""Share of moves up to which a series is constant."""
_RESET: Final = 0.5
"""A counter that is reset falls to less than this share."""
_RISES: Final = 20.0
"""Rises for each reset of a counter, at least: what is reset more often is a sawtooth."""
_IDLE: Final = 0.05
"""Share of the moves that rise in a counter, at least: what steps up once a week is a setting."""


def fresh(R: int) -> Arrays:
    """The class arrays of R rows that were never seen."""
    return {
        "class_today": np.zeros((R, len(_COUNTED)), np.int64),
        "class_counts": np.zeros((R, len(_COUNTED))),
        "class_value": np.full(R, np.nan),
        "class": np.zeros(R, np.int8),
    }


def count(after: Arrays, values: Float) -> None:
    """Counts the values [R, n] of a part of a day (NaN: none)."""
    known = ~np.isnan(values)
    if not known.any():
        return
    extended = np.concatenate([after["class_value"][:, None], values], axis=1)
    place = np.maximum.accumulate(np.where(np.isnan(extended), 0, np.arange(extended.shape[1])), axis=1)
    before = np.take_along_axis(extended, place[:, :-1], axis=1)
    with np.errstate(invalid="ignore"):
        down = values < before
        counted = (
            known,
            values == 0.0,
            (values >= 0.0) & (values == np.rint(values)),
            values > before,
            down,
            down & (values < _RESET * before) & (values >= 0.0),
        )
    after["class_today"] = after["class_today"] + np.stack([np.count_nonzero(one, axis=1) for one in counted], axis=1)
    after["class_value"] = np.take_along_axis(extended, place[:, -1:], axis=1)[:, 0]


def settle(after: Arrays, stopped: NDArray[np.bool_]) -> None:
    """Ends a day: the classes, from all that was counted; `stopped` [R] says who sends no more."""
    counts = after["class_counts"] * _FADING + after["class_today"]
    after["class_counts"], after["class_today"] = counts, np.zeros_like(after["class_today"])
    after["class"] = np.where(stopped, STOPPED, _classes(counts)).astype(np.int8)


def classify(values: Float) -> NDArray[np.int8]:
    """The class of each row of a window [S, T] (NaN: no data), int8 [S], an index into CLASSES; nobody is `stopped` here."""
    after = fresh(values.shape[0])
    count(after, np.asarray(values, np.float64))
    return _classes(after["class_today"].astype(np.float64))


def name_of(arrays: Mapping[str, NDArray[Any]], row: int) -> str:
    """The class of a row of the carry."""
    return CLASSES[int(arrays["class"][row])]


def _classes(counts: Float) -> NDArray[np.int8]:
    points, zeros, whole, ups, downs, resets = counts.T
    some = np.maximum(points, 1.0)
    is_count = whole >= _NEARLY_ALL * points
    rising = (downs <= resets) & (ups >= np.maximum(_FEWEST, _RISES * resets)) & (ups >= _IDLE * points)
    conditions = (
        points < _FEWEST,
        ups + downs <= _STILL * some,
        rising,
        is_count & (zeros >= 0.5 * points),
        is_count & (zeros < 0.5 * points) & (ups + downs > 0),
    )
    return np.select(conditions, (NEW, CONSTANT, COUNTER, SPARSE, LIVELY), GAUGE).astype(np.int8)
