"""How bad an episode is, 0-100, and what its explanation says. Pure; plain JSON data out.

Owns: `severity`, `lasting_severity`, `explain`. Must not decide whether something is an anomaly.
"""

import math
from typing import Any, Final

from forewarn.anomaly import Anomaly
from forewarn.detector import HOUR

_DEEPEST: Final = 16.0
"""The score at which depth alone makes an episode critical: sixteen times the edge of normal."""
_LONGEST: Final = 24 * HOUR
"""The length from which on length says no more."""
_MOST_TIMES: Final = 100.0
"""What has lasted so many times as long as what opened it is as severe as its kind can be."""


def severity(score: float, length: int, step: int) -> float:
    """0-100 from depth and length: each fills a share of what the other left.

    A single bucket at the edge of normal is near 0; sixteen times the edge, 80; a day at the edge, 45. Grows with both.
    """
    depth = min(1.0, max(0.0, math.log(max(score, 1.0)) / math.log(_DEEPEST)))
    duration = min(1.0, math.log1p(max(0.0, length / step - 1.0)) / math.log1p(max(1.0, _LONGEST / step)))
    return round(100.0 * (1.0 - (1.0 - 0.8 * depth) * (1.0 - 0.45 * duration)), 2)


def lasting_severity(first: float, last: float, times: float) -> float:
    """0-100 of what only lasts, a silence or a flatline: from `first` at its opening to `last` at a hundred times that long."""
    return round(first + (last - first) * min(1.0, math.log(max(times, 1.0)) / math.log(_MOST_TIMES)), 2)


def explain(anomaly: Anomaly, reason: str, buckets: int, fold: dict[str, Any]) -> dict[str, Any]:
    """The explanation of an episode: expected range at its peak, how unusual, which reason decided, since when.

    `state` is the fold's own and not meant for people.
    """
    return {
        "actual": _plain(anomaly.actual),
        "expected": _plain(anomaly.expected),
        "expected_range": [_plain(anomaly.lower), _plain(anomaly.upper)],
        "deviation": _plain(anomaly.actual - anomaly.expected),
        "times_normal": round(anomaly.score, 3),
        "reason": reason,
        "since": anomaly.start,
        "anomalous_buckets": buckets,
        "state": fold,
    }


def _plain(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
