"""A detector: what to read as series, how often, and what about it would matter to somebody.

Owns: Detector and the words it is made of. Made by `config.py`; a room takes it as an
argument and never the whole configuration.
All durations are milliseconds.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from forewarn.series import stable_id

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

Direction = Literal["above", "below", "both"]
Silence = Literal["auto", "never"]
Flatline = Literal["auto", "never"]
Sensitivity = Literal["low", "medium", "high"]
Query = str | Mapping[str, Any] | None

FUNCTIONS: Final = ("count", "rate", "avg", "sum", "min", "max", "median", "cardinality", "ratio")  # and pNN
ZERO_WHEN_EMPTY: Final = frozenset({"count", "rate", "sum"})
"""Functions whose value over no documents is 0; over no documents the others have no value."""
GOOD_WHEN_FEW: Final = ZERO_WHEN_EMPTY | {"cardinality"}
"""Functions whose value over few documents says as much as over many: they have no `min_count`."""
DIVIDED_WHEN_COARSE: Final = frozenset({"count", "sum"})
"""Functions whose value over a longer bucket is divided by the number of short buckets in it."""
SAME_WHEN_COARSE: Final = frozenset({"avg", "rate", "count", "sum"})
"""Functions that a source may read at the coarse step: the (divided) value is the mean of the short buckets."""
NEARLY_SAME_WHEN_COARSE: Final = frozenset({"median"})  # and pNN
FOR_COUNTERS: Final = ("max", "min", "avg", "median")
"""Functions that leave an ever-growing number one."""

SENSITIVITY: Final[Mapping[str, float]] = {"low": 3.0, "medium": 1.0, "high": 1 / 3}
"""How many times longer than at medium sensitivity it should be between two false alarms of a series."""

_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)\Z")


def percentile_of(function: str) -> float | None:
    """The percentile that `pNN` or `median` asks for, in percent; None for any other function."""
    if function == "median":
        return 50.0
    match = _PERCENTILE.match(function)
    return float(match.group(1)) if match and 0 < float(match.group(1)) < 100 else None


@dataclass(frozen=True, slots=True)
class Selection:
    """Where a detector's documents are: exactly one of `index` (Elasticsearch) and `path` (files, a glob)."""

    index: str | None = None
    path: str | None = None
    query: Query = None
    time_field: str = "@timestamp"

    @property
    def name(self) -> str:
        """The index pattern or the path, for messages."""
        return self.index or self.path or ""


@dataclass(frozen=True, slots=True)
class MinDeviation:
    """Deviations that nobody would care about: both bounds must be passed for a value to be anomalous."""

    absolute: float = 0.0
    relative: float = 0.0
    """Share of the expected value: 0.1 = 10 %."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Limits in the unit of the values; a forecast that will cross one gives a heads-up."""

    above: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A window [start, end) of UTC ms in which what happens is nobody's concern and says nothing about what is normal."""

    start: int
    end: int
    every: int | None = None
    """After how many ms it comes again, from `start` on for good; None = it is once."""


@dataclass(frozen=True, slots=True)
class Detector:
    """One line of series: `function` of `field` over `selection`, split by up to three fields, in buckets of `step`."""

    name: str
    selection: Selection
    function: str
    field: str | None = None
    of: Query = None
    """For `ratio`: the share of the documents that match this, among those that match the selection's query."""
    split_by: tuple[str, ...] = ()
    step: int = 5 * MINUTE
    delay: int = MINUTE
    timezone: str = "UTC"
    direction: Direction = "both"
    min_deviation: MinDeviation = MinDeviation()
    threshold: Threshold = Threshold()
    unit: str = ""
    owner: str = ""
    holidays: tuple[str, ...] = ()
    engine: str = "auto"
    seasonality: str = "additive"
    fit_every: int = 24 * HOUR
    fit_window: int = 28 * DAY
    fits_per_tick: int = 120
    warm_up: int = DAY
    """How much of the past a detector scores, without notifying, on its first start."""
    revise_within: int = 6 * HOUR
    """How long after its end a bucket is looked at again for documents that come late; 0 = never. At most a day."""
    retire_after: int = 7 * DAY
    silence: Silence = "auto"
    """Whether a series that stops is an anomaly."""
    flatline: Flatline = "auto"
    """Whether a series that is stuck is an anomaly: one that has the same value again and again and usually moves."""
    sensitivity: Sensitivity = "medium"
    incidents_per_week: float | None = None
    """What the whole detector should raise, instead of a sensitivity; converted anew every day."""
    counter: bool = False
    """Whether the field only ever grows, but for resets: then its gain a second is what is watched."""
    min_count: int = 1
    """The fewest values (for `ratio`: documents) that make a bucket's value one; of fewer there are no data."""
    maintenance: tuple[Maintenance, ...] = ()
    """When nothing is learnt and nothing alarms. A window that is added later masks what is learnt from then on."""

    @property
    def watches_silence(self) -> bool:
        """Whether a stop is of interest: not where it is a value of 0, and only larger ones are anomalous; nor where few
        documents count as none.
        """
        return self.silence == "auto" and self.min_count == 1 and not (self.zero_when_empty and self.direction == "above")

    @property
    def percentile(self) -> float | None:
        """The percentile in percent, for `median` and `pNN`."""
        return percentile_of(self.function)

    @property
    def zero_when_empty(self) -> bool:
        """Whether no documents mean 0 (counts) rather than no data."""
        return self.function in ZERO_WHEN_EMPTY

    @property
    def coarse_step(self) -> int:
        """The step of the history: the multiple of the bucket nearest to 15 minutes, at least one bucket."""
        return self.step * max(1, round(15 * MINUTE / self.step))

    @property
    def reads_coarse(self) -> bool:
        """Whether the first fill may read at the coarse step (exactly, or nearly for percentiles)."""
        return self.min_count == 1 and (self.function in SAME_WHEN_COARSE or self.percentile is not None)

    @property
    def fingerprint(self) -> str:
        """Changes when the numbers of the series would change meaning; then the detector starts anew."""
        s = self.selection
        return stable_id(
            "detector", self.name, s.name, repr(s.query), s.time_field, self.function, str(self.field), repr(self.of),
            ",".join(self.split_by), self.step, *(["counter"] if self.counter else []),
            *([f"min_count {self.min_count}"] if self.min_count != 1 else []),
        )  # fmt: skip

    def in_maintenance(self, times: NDArray[np.int64], step: int) -> NDArray[np.bool_]:
        """Which of the buckets of `step` ms that start at `times` overlap a window of maintenance."""
        masked, ends = np.zeros(times.shape, np.bool_), times + step
        for window in self.maintenance:
            every = window.every or 0
            later = every * np.maximum(0, (ends - window.start - 1) // every) if every else 0  # the last one that has begun
            masked |= (ends > window.start + later) & (times < window.end + later)
        return masked

    def nominal(self, end: int) -> int:
        """The nominal time at which a bucket that ends at `end` is due."""
        return end + self.delay

    def watermark(self, now: int) -> int:
        """The end of the last bucket that may be read at `now`: it ended at least `delay` ago."""
        return (now - self.delay) // self.step * self.step
