"""What a tick publishes and a reader gets back: scores per bucket, anomalies, and a record of each series.

Owns: ScoreBlock, SeriesRecord, Publication, StoredScores. Values only; stores give them their wire form.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.anomaly import Anomaly, Scores
from forewarn.forecast import Calibration, Model
from forewarn.incident import Incident
from forewarn.pattern import Pattern
from forewarn.series import Float, SeriesBatch, SeriesKey, read_only, stable_id


def score_id(series_id: str, start: int, span: int) -> str:
    """The id of the score of one bucket of one series; the same bucket always gets the same id."""
    return stable_id("score", series_id, start, span)


def anomaly_id(series_id: str, start: int, span: int) -> str:
    """The id of an episode: of its first bucket when it opened, never changed afterwards."""
    return stable_id("anomaly", series_id, start, span)


@dataclass(frozen=True, slots=True, eq=False)
class ScoreBlock:
    """Scores of one detector's series on one grid, as published: one document per series and bucket that was scored.

    A bucket is published if its actual value or its score is not NaN. The version of its document is the bucket's
    nominal time: end + `delay`.
    """

    actual: SeriesBatch
    expected: Float
    scores: Scores
    delay: int


@dataclass(frozen=True, slots=True, eq=False)
class SeriesRecord:
    """What is known of one series: identity, state of its model, and the model itself (one row) for later forecasts.

    `version` is the nominal time of the change. `model` and `calibration` hold exactly this series, or are None in listings.
    """

    key: SeriesKey
    version: int
    step: int
    unit: str
    owner: str
    timezone: str
    status: str
    engine: str
    fitted_at: int | None
    first_seen: int
    last_seen: int
    retired: bool
    model: Model | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Publication:
    """Everything that one tick makes visible, after its commit. Publishing it again changes nothing."""

    scores: tuple[ScoreBlock, ...] = ()
    anomalies: tuple[tuple[int, Anomaly], ...] = ()
    """(version, anomaly) pairs; the version is the nominal time of the change."""
    series: tuple[SeriesRecord, ...] = ()
    incidents: tuple[tuple[int, Incident], ...] = ()
    """(version, incident) pairs."""
    patterns: tuple[tuple[int, Pattern], ...] = ()
    """(version, pattern) pairs; the version is the nominal time of its last sighting."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredScores:
    """Published scores of one series in a range, ascending in time; arrays [N]: `start` int64 UTC ms, the others float64."""

    key: SeriesKey
    step: int
    start: NDArray[np.int64]
    actual: Float
    expected: Float
    lower: Float
    upper: Float
    score: Float

    def __post_init__(self) -> None:
        for array in (self.start, self.actual, self.expected, self.lower, self.upper, self.score):
            if array.shape != self.start.shape:
                raise ValueError(f"expected arrays of {self.start.shape}, got {array.shape}")
            read_only(array)


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing to tell one target. `number` orders them; `key` = (subject, transition) lets the target drop repeats."""

    number: int
    subject: str
    transition: int
    at: int
    event: str
    """opened, updated or resolved."""
    late: bool
    payload: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The deduplication key, the same whenever this is sent again."""
        return f"{self.subject}/{self.transition}"
