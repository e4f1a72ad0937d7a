"""False alarms where nothing is wrong: table C, the fourteen kinds of `tests/generated.py`.

Owns: `group`, `judge_group`, `table`. Episodes are what people see: they are counted by when they open. The kind `step` has a
level shift of its own, which is no false alarm: what starts within a day of it is counted apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from tests.detection.group import Group
from tests.detection.product import ScorerOf, run
from tests.detection.tables import aligned, number
from tests.generated import START, batch

from forewarn.detector import DAY, MINUTE
from forewarn.series import TimeGrid

STEPS: Final = (5, 60)
"""Minutes."""
DAYS: Final = {5: 42, 60: 64}
SERIES: Final = {5: 108, 60: 60}
"""At least 3,000 series-days after the first two weeks."""
EARLY: Final = 14
NOMINAL: Final = 1.0
"""Episodes per series and 30 days at the default sensitivity."""
MINOR: Final = 25.0
"""The severity from which on an anomaly opens an incident."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Episodes of one kind at one step: so many in so many series-days, by row; and those that a shift explains."""

    kind: str
    minutes: int
    early: int
    late: int
    minor: int
    """Of the late ones, those of at least minor severity: what may open an incident."""
    early_days: int
    late_days: int
    explained: int
    worst: float
    """The share of all late episodes that the tenth of the series with the most of them has."""

    @property
    def late_rate(self) -> float:
        """Per series and 30 days, after the first two weeks."""
        return 30 * self.late / self.late_days

    @property
    def minor_rate(self) -> float:
        """Per series and 30 days, after the first two weeks, of at least minor severity."""
        return 30 * self.minor / self.late_days

    @property
    def early_rate(self) -> float:
        """Per series and 30 days, in the first two weeks."""
        return 30 * self.early / self.early_days


def group(kind: str, minutes: int, seed: int = 1) -> Group:
    """The series of one kind."""
    size = DAYS[minutes] * DAY // (minutes * MINUTE)
    values = batch(seed, size, minutes * MINUTE, [kind], SERIES[minutes]).values
    return Group("clean", kind, TimeGrid(START, minutes * MINUTE, size), values, np.zeros(values.shape, np.bool_))


def judge_group(one: Group, make: ScorerOf, cached: bool) -> Rate:
    """Counts the episodes of a group."""
    episodes = run(one, make, cached, episodes=True).episodes
    S = len(one.values)
    shift = np.full(S, -(2**62), np.int64)
    if one.family == "step":
        shift = one.grid.start + one.grid.step * (1 + np.argmax(np.abs(np.diff(one.values, axis=1)), axis=1))
    explained = [0 <= episode.opened - shift[episode.row] < DAY for episode in episodes]
    counted = [episode for episode, known in zip(episodes, explained, strict=True) if not known]
    edge = one.grid.start + EARLY * DAY
    rows = np.array([episode.row for episode in counted if episode.opened >= edge], np.int64)
    late = np.bincount(rows + 1, minlength=S + 1)  # of row -1: what is about many series
    days = one.grid.size * one.grid.step // DAY
    top = np.sort(late)[::-1][: max(1, S // 10)].sum()
    return Rate(
        one.family,
        one.grid.step // MINUTE,
        early=len(counted) - int(late.sum()),
        late=int(late.sum()),
        minor=sum(one.opened >= edge and one.anomaly.severity >= MINOR for one in counted),
        early_days=S * EARLY,
        late_days=S * (days - EARLY),
        explained=sum(explained),
        worst=float(top / max(1, late.sum())),
    )


def table(rates: Sequence[Rate]) -> tuple[str, dict[str, Any]]:
    """The table, and the same for JSON."""
    rows = []
    found: dict[str, Any] = {"nominal": NOMINAL, "kinds": {}}
    for rate in sorted(rates, key=lambda one: (one.minutes, one.kind)):
        ratio = rate.late_rate / NOMINAL
        mark = "" if 0.5 <= ratio <= 2.0 else ("above" if ratio > 2.0 else "below")
        rows.append([
            rate.kind, f"{rate.minutes}m", str(rate.late_days), number(rate.early_rate), number(rate.late_rate),
            number(rate.minor_rate), number(NOMINAL), number(ratio), mark, number(rate.worst), str(rate.explained),
        ])  # fmt: skip
        found["kinds"][f"{rate.kind}-{rate.minutes}m"] = {
            "early": rate.early_rate, "late": rate.late_rate, "minor": rate.minor_rate, "ratio": ratio,
            "series_days": rate.late_days,
        }  # fmt: skip
    for minutes in STEPS:
        some = [rate for rate in rates if rate.minutes == minutes]
        if some:
            names = ("early_rate", "late_rate", "minor_rate")
            early, late, minor = (sum(getattr(one, name) for one in some) / len(some) for name in names)
            means = [number(one) for one in (early, late, minor, NOMINAL, late / NOMINAL)]
            rows.append(["mean", f"{minutes}m", "", *means, "", "", ""])
    head = ["kind", "step", "days", "first 14 d", "after", "minor+", "nominal", "ratio", "", "top tenth", "at shifts"]
    text = "C. Clean series: episodes per series and 30 days, in the first 14 days and after them\n"
    return f"{text}{aligned(head, rows)}\n", found
