"""How far from expected: scores, the carry between blocks, and anomalies (episodes of one series).

Owns: Scores, Carry, Anomaly, severity bands. Values only; the arithmetic lives in `scoring/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from forewarn.series import Float, SeriesKey, TimeGrid, read_only

State = Literal["open", "closed", "withdrawn"]
Side = Literal["above", "below"]

SEVERITY_BANDS: Final = ((75.0, "critical"), (50.0, "major"), (25.0, "minor"), (0.0, "warning"))
"""Lower edges of the bands, as Elastic users know them: warning < 25 <= minor < 50 <= major < 75 <= critical."""


SHAPES: Final[Mapping[str, str]] = {
    "spike": "a spike",
    "dip": "a dip",
    "level": "the level moved and stays",
    "trend": "drifts away",
    "variance": "varies more than before",
    "period": "the usual shape comes early or late",
}
"""What changed in an episode: the names that its explanation gives as `shape`, and what they mean in words."""
SILENT: Final = "silent"
FLATLINE: Final = "flatline"
"""The `reason` in the explanation of what stopped and of what is stuck; both last until something else comes."""


def severity_band(severity: float) -> str:
    """The name of the band that a severity (0-100) lies in."""
    return next(name for edge, name in SEVERITY_BANDS if severity >= edge or edge == 0.0)


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of S series on a grid, all [S, T].

    `score` float64: 0 = as expected, 1.0 = edge of normal, >= 1 anomalous, the same for every detector; NaN = not scored.
    `direction` int8: +1 above, -1 below, 0 as expected. `lower`, `upper` float64: the calibrated band, for people.
    `reason` int8: index into `reasons`, the evidence that decided the score.
    """

    keys: tuple[SeriesKey, ...]
    grid: TimeGrid
    score: Float
    direction: NDArray[np.int8]
    lower: Float
    upper: Float
    reason: NDArray[np.int8]
    reasons: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = (len(self.keys), self.grid.size)
        for array in (self.score, self.direction, self.lower, self.upper, self.reason):
            if array.shape != shape:
                raise ValueError(f"expected [{shape[0]}, {shape[1]}], got {list(array.shape)}")
            read_only(array)


@dataclass(frozen=True, eq=False)
class Carry:
    """What scoring remembers from one block to the next: bounded arrays, one row a series, valid before bucket `at`."""

    keys: tuple[SeriesKey, ...]
    at: int
    arrays: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        rows = (len(self.keys),)
        if any(a.shape[:1] != rows for a in self.arrays.values()):
            raise ValueError(f"every array of a carry needs one row for each of its {len(self.keys)} series")


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One contiguous episode of one series; start and end are bucket edges in UTC ms, `end` is exclusive.

    `id` is fixed by the first bucket when it opened. An open episode's `end` is that of its last anomalous bucket so far.
    `peak`, `actual`, `expected`, `lower`, `upper` belong to the bucket with the highest score. `revision` counts changes.
    """

    id: str
    key: SeriesKey
    state: State
    revision: int
    start: int
    end: int
    peak: int
    score: float
    severity: float
    direction: Side
    actual: float
    expected: float
    lower: float
    upper: float
    explanation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def severity_band(self) -> str:
        """warning, minor, major or critical."""
        return severity_band(self.severity)
