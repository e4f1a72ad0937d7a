"""What a series does besides its values, in one adapter: it falls silent, or its value is stuck.

Owns: Watches, the adapter of the port `Watch` that a detector runs with. Must not decide anything: it lets both look at the
same block, and keeps what they carry in one carry.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from forewarn.anomaly import FLATLINE, Anomaly, Carry
from forewarn.detector import Detector
from forewarn.forecast import Forecast
from forewarn.scoring import stillness
from forewarn.scoring.flatline import Flatlines
from forewarn.scoring.silence import Silences
from forewarn.series import SeriesBatch

Change = tuple[int, Anomaly]
_STILL = frozenset(stillness.fresh(0))


class Watches:
    """Both watches of one detector."""

    def __init__(self, detector: Detector) -> None:
        self._silences = Silences(detector)
        self._flatlines = Flatlines(detector)

    def start(self, at: int) -> Carry:
        """The carry before anything was seen: one row, that of the detector as a whole."""
        return _joined(self._silences.start(at), self._flatlines.start(at))

    def learn(self, actual: SeriesBatch, carry: Carry) -> Carry:
        """The carry after the block."""
        silent, still = _apart(carry)
        return _joined(self._silences.learn(actual, silent), self._flatlines.learn(actual, still))

    def fold(
        self,
        opened: Sequence[Anomaly],
        others: Sequence[Change],
        actual: SeriesBatch,
        forecast: Forecast,
        carry: Carry,
        delay: int,
    ) -> tuple[tuple[Anomaly, ...], tuple[Change, ...], Carry]:
        """What is open after the block, every change in it as (nominal time, anomaly), and the carry."""
        silent, still = _apart(carry)
        stuck = [one for one in opened if one.explanation["reason"] == FLATLINE]
        quiet = [one for one in opened if one.explanation["reason"] != FLATLINE]
        silences, stopped, silent = self._silences.fold(quiet, others, actual, forecast, silent, delay)
        flatlines, stood, still = self._flatlines.fold(stuck, actual, forecast, still, delay)
        changes = tuple(sorted((*stopped, *stood), key=lambda change: change[0]))  # a stable sort: each in its own order
        return (*silences, *flatlines), changes, _joined(silent, still)

    def kind(self, carry: Carry, row: int) -> str:
        """What kind of stream series number `row` is."""
        return self._silences.kind(carry, row)


def _joined(silent: Carry, still: Carry) -> Carry:
    return Carry(silent.keys, silent.at, {**silent.arrays, **still.arrays})


def _apart(carry: Carry) -> tuple[Carry, Carry]:
    """What each of them carries; fresh where a carry was written before anybody watched for it."""
    still: Mapping[str, NDArray[Any]] = {name: array for name, array in carry.arrays.items() if name in _STILL}
    if still.keys() != _STILL:
        still = stillness.fresh(len(carry.keys))
    silent = {name: array for name, array in carry.arrays.items() if name not in _STILL}
    return Carry(carry.keys, carry.at, silent), Carry(carry.keys, carry.at, still)
