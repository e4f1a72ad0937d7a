"""What a detector's scores are worth on labelled series: the figures of the evaluation's `score.py`, on arrays.

Owns: `Judged` (one series' scores and labels on a grid), delay F1, event figures, the best threshold. The same definitions as
`score.py`: k = 7, alarms with at most ten points between them are one event, cells without data have label 0 and no alarm.
Must not know where series or scores come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import DAY
from forewarn.series import Float

Bool = NDArray[np.bool_]
Int = NDArray[np.int64]

ALARM: Final = 1.0
K: Final = 7
GAP: Final = 10


def segments(flags: Bool) -> tuple[Int, Int]:
    """Starts and ends (exclusive) of the runs of flags."""
    change = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return np.flatnonzero(change == 1), np.flatnonzero(change == -1)


def merged(flags: Bool, gap: int = GAP) -> tuple[Int, Int]:
    """Runs of flags; runs with at most `gap` cells between them are joined."""
    a, b = segments(flags)
    if not a.size:
        return a, b
    new = np.concatenate([[True], a[1:] - b[:-1] > gap])
    return a[new], b[np.concatenate([new[1:], [True]])]


@dataclass(frozen=True, eq=False)
class Judged:
    """One series: `score` float64 [T] (NaN = not scored), `label` bool [T], and the length of a cell in ms."""

    name: str
    score: Float
    label: Bool
    step: int

    @classmethod
    def of(cls, name: str, values: Float, score: Float, label: Bool, step: int) -> "Judged":
        """As `score.py` lays a series on its grid: where there is no value there is neither label nor alarm."""
        there = np.isfinite(values)
        return cls(name, np.where(there & np.isfinite(score), score, -np.inf), label & there, step)

    @property
    def days(self) -> float:
        """Length of the series in days."""
        return self.label.size * self.step / DAY

    def part(self, low: int, high: int) -> "Judged":
        """The cells [low, high)."""
        return Judged(self.name, self.score[low:high], self.label[low:high], self.step)

    @cached_property
    def lengths(self) -> Int:
        """Points of each labelled segment."""
        a, b = segments(self.label)
        return b - a

    @cached_property
    def early(self) -> Float:
        """The highest of the first k + 1 scores of each labelled segment."""
        a, b = segments(self.label)
        return np.array([self.score[i : min(i + K + 1, j)].max() for i, j in zip(a, b, strict=True)], np.float64)

    @cached_property
    def normal(self) -> Float:
        """The scores outside labelled segments."""
        return self.score[~self.label]


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums that figures are made of; tallies of several series add up."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    found: int = 0
    segments: int = 0
    true_events: int = 0
    events: int = 0
    touched: int = 0
    labelled: int = 0
    days: float = 0.0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def precision(self) -> float:
        """Of alarm points."""
        return self.tp / max(self.tp + self.fp, 1)

    @property
    def recall(self) -> float:
        """Of labelled points, whole segments at a time."""
        return self.tp / max(self.tp + self.fn, 1)

    @property
    def f1(self) -> float:
        """Delay F1, k = 7."""
        return 2 * self.tp / max(2 * self.tp + self.fp + self.fn, 1)

    @property
    def segment_recall(self) -> float:
        """Share of segments found within k points."""
        return self.found / self.segments if self.segments else np.nan

    @property
    def event_recall(self) -> float:
        """Share of labelled events that an alarm touches."""
        return self.touched / self.labelled if self.labelled else np.nan

    @property
    def event_precision(self) -> float:
        """Share of alarm events that touch a label."""
        return self.true_events / max(self.events, 1)

    @property
    def false_a_day(self) -> float:
        """False events per series and day."""
        return (self.events - self.true_events) / self.days if self.days else np.nan

    def figures(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "k7_f1": self.f1, "k7_p": self.precision, "k7_r": self.recall, "segment_recall": self.segment_recall,
            "event_recall": self.event_recall, "event_precision": self.event_precision, "false_a_day": self.false_a_day,
            "segments": self.segments, "events": self.events, "labelled": self.labelled, "days": self.days,
        }  # fmt: skip


def tally(one: Judged, threshold: float = ALARM) -> Tally:
    """The sums of one series at a threshold."""
    found = one.early >= threshold
    alarm = one.score >= threshold
    starts, ends = merged(alarm)
    first, last = merged(one.label)
    near = np.zeros(one.label.size, np.bool_)
    for i, j in zip(first, last, strict=True):
        near[i : j + GAP] = True
    labels, alarms = (np.concatenate([[0], np.cumsum(flags)]) for flags in (near, alarm))
    return Tally(
        tp=int(one.lengths[found].sum()),
        fp=int((one.normal >= threshold).sum()),
        fn=int(one.lengths[~found].sum()),
        found=int(found.sum()),
        segments=found.size,
        true_events=int((labels[ends] > labels[starts]).sum()),
        events=starts.size,
        touched=int((alarms[last] > alarms[first]).sum()),
        labelled=first.size,
        days=one.days,
    )


def total(many: Sequence[Judged], threshold: float = ALARM) -> Tally:
    """The sums of several series at one threshold."""
    return sum((tally(one, threshold) for one in many), Tally())


def best_threshold(many: Sequence[Judged]) -> float:
    """The one threshold with the highest pooled delay F1 on these very labels."""
    lengths = np.concatenate([one.lengths for one in many])
    x = np.concatenate([one.normal for one in many] + [one.early for one in many])
    gain = np.concatenate([np.zeros(x.size - lengths.size, np.int64), lengths])
    order = np.argsort(-x, kind="stable")
    x, gain = x[order], gain[order]
    last = np.concatenate([x[1:] != x[:-1], [True]]) & (x > -np.inf)
    tp = np.concatenate([[0], np.cumsum(gain)[last]])
    fp = np.concatenate([[0], np.cumsum(gain == 0)[last]])
    thresholds = np.concatenate([[np.inf], x[last]])
    return float(thresholds[np.argmax(2 * tp / np.maximum(tp + fp + lengths.sum(), 1))])
