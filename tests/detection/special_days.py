"""Days that are unlike others for everybody: table D, a fleet in three time zones.

Owns: FLEETS, VARIANTS, `group`, `judge_group`, `table`. The clocks change in two of the zones, holidays fall on working days,
and months end. Alarms of a fleet on such a day are held against the 95th percentile of its ordinary days. In the variants
`civil` and `default` there is nothing but civil time, in the latter watched in UTC, as if nobody had said otherwise; in
`effects` people also stay at home on holidays, and work more at the end of a month.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from tests.detection.group import Group, rng_of
from tests.detection.product import ScorerOf, run
from tests.detection.tables import aligned, number

from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.series import Float, TimeGrid

FIRST: Final = date(2026, 8, 24)
DAYS: Final = 100
LEARNING: Final = 28
STEP: Final = 15 * MINUTE
SERIES: Final = 40
VARIANTS: Final = ("civil", "effects", "default")


@dataclass(frozen=True, slots=True)
class Fleet:
    """Where it is, whose holidays it has, when its clocks change, and its holidays on working days."""

    zone: str
    country: str
    clocks: tuple[date, ...]
    holidays: tuple[date, ...]


FLEETS: Final = (
    Fleet("Europe/Paris", "FR", (date(2026, 10, 25),), (date(2026, 11, 11),)),
    Fleet(
        "America/New_York",
        "US",
        (date(2026, 11, 1),),
        (date(2026, 9, 7), date(2026, 10, 12), date(2026, 11, 11), date(2026, 11, 26)),
    ),
    Fleet(
        "Asia/Tokyo",
        "JP",
        (),
        (date(2026, 9, 21), date(2026, 9, 22), date(2026, 9, 23), date(2026, 10, 12), date(2026, 11, 3), date(2026, 11, 23)),
    ),
)
MONTH_ENDS: Final = (date(2026, 8, 31), date(2026, 9, 30), date(2026, 10, 31), date(2026, 11, 30))


@dataclass(frozen=True, slots=True)
class Days:
    """Alarms of one fleet in one variant: on each ordinary day, and on the special ones by what they are."""

    zone: str
    variant: str
    ordinary: tuple[int, ...]
    special: tuple[tuple[str, date, int], ...]

    @property
    def bound(self) -> float:
        """The 95th percentile of ordinary days."""
        return float(np.quantile(self.ordinary, 0.95))


def _grid() -> TimeGrid:
    start = int(datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC).timestamp()) * 1000
    return TimeGrid(start, STEP, DAYS * DAY // STEP)


def civil(zone: str, times: NDArray[np.int64]) -> tuple[NDArray[np.int64], Float]:
    """The civil day of each UTC time as days since FIRST (a Monday), and the hour of that day."""
    hours, place = np.unique(times // HOUR, return_inverse=True)
    info = ZoneInfo(zone)
    moments = (datetime.fromtimestamp(hour * 3600, info) for hour in hours.tolist())
    offsets = np.array([(moment.utcoffset() or timedelta()).total_seconds() * 1000 for moment in moments])
    local = times + offsets[place].astype(np.int64) - _grid().start
    return local // DAY, (local % DAY) / HOUR


def group(fleet: Fleet, variant: str, seed: int = 1) -> Group:
    """The series of one fleet: half of them traffic, a third business hours, the rest jobs at night."""
    grid = _grid()
    day, hour = civil(fleet.zone, grid.times())
    off = day % 7 >= 5
    last = np.zeros(grid.size, np.bool_)
    if variant == "effects":
        off |= np.isin(day, [(one - FIRST).days for one in fleet.holidays])
        last |= np.isin(day, [(one - FIRST).days for one in MONTH_ENDS])
    rows = [_row(rng_of(seed, fleet.zone, n), n, hour, off, last) for n in range(SERIES)]  # the same noise in every variant
    values = np.array(rows)
    where = ("UTC", ()) if variant == "default" else (fleet.zone, (fleet.country,))
    family = f"{fleet.country}-{variant}"
    return Group("special", family, grid, values, np.zeros(values.shape, np.bool_), timezone=where[0], holidays=where[1])


def _row(rng: np.random.Generator, n: int, hour: Float, off: NDArray[np.bool_], last: NDArray[np.bool_]) -> Float:
    noise = rng.normal(0.0, 0.03, hour.size)
    if n % 6 < 3:  # traffic: peaks in the evening, people sleep
        peak, depth = rng.uniform(17, 21), rng.uniform(0.2, 0.6)
        mean = (1 + depth * np.cos(2 * np.pi * (hour - peak) / 24)) * np.where(off, rng.uniform(0.7, 1.2), 1.0)
        return np.asarray(rng.uniform(100, 1000) * mean * (1 + noise), np.float64)
    if n % 6 < 5:  # business hours
        begin, end = rng.uniform(7.5, 9), rng.uniform(16.5, 18.5)
        busy = np.clip(np.minimum(hour - begin, end - hour), 0.0, 1.0) * ~off * np.where(last, 1.3, 1.0)
        return np.asarray(100 * (0.2 + busy + noise * (0.3 + busy)), np.float64)
    begin, length = rng.uniform(1, 4), rng.uniform(0.5, 1.5)  # a job of the night
    job = (hour >= begin) & (hour < begin + length * np.where(last, 1.5, 1.0))
    return np.asarray(50 * (0.3 + job + noise), np.float64)


def judge_group(fleet: Fleet, variant: str, make: ScorerOf, cached: bool, seed: int = 1) -> Days:
    """Counts the episodes of a fleet by the civil day on which they open."""
    one = group(fleet, variant, seed)
    opened = np.array([episode.opened for episode in run(one, make, cached, episodes=True).episodes], np.int64)
    counts = np.bincount(np.maximum(civil(fleet.zone, opened)[0], 0), minlength=DAYS)[:DAYS]
    kinds = [("clocks", day) for day in fleet.clocks] + [("clocks+1", day + timedelta(1)) for day in fleet.clocks]
    kinds += [("holiday", day) for day in fleet.holidays] + [("holiday+1", day + timedelta(1)) for day in fleet.holidays]
    kinds += [("month-end", day) for day in MONTH_ENDS] + [("month-end+1", day + timedelta(1)) for day in MONTH_ENDS]
    at = {kind_day: (kind_day[1] - FIRST).days for kind_day in kinds}
    special = [(kind, day, int(counts[n])) for (kind, day), n in at.items() if LEARNING <= n < DAYS]
    ordinary = [int(count) for n, count in enumerate(counts.tolist()) if n >= LEARNING and n not in at.values()]
    return Days(fleet.zone, variant, tuple(ordinary), tuple(special))


def table(found: Sequence[Days]) -> tuple[str, dict[str, Any]]:
    """Alarms of the fleet by special day, against the bound; the same for JSON."""
    rows = []
    report: dict[str, Any] = {}
    for days in found:
        for kind in ("clocks", "clocks+1", "holiday", "holiday+1", "month-end", "month-end+1"):
            counts = [count for name, _, count in days.special if name == kind]
            if not counts:
                continue
            over = sum(count > days.bound for count in counts)
            mean = number(float(np.mean(days.ordinary)))
            rows.append([
                days.zone, days.variant, kind, " ".join(map(str, counts)), mean, number(days.bound),
                f"above {over}" if over else "",
            ])  # fmt: skip
            report[f"{days.zone}-{days.variant}-{kind}"] = {"alarms": counts, "p95": days.bound, "above": over}
    head = ["zone", "variant", "day", "alarms on such days", "ordinary mean", "p95", ""]
    title = f"D. Special days: episodes a day of {SERIES} series in each zone, 15-minute steps"
    held = sum(not one["above"] for one in report.values())
    report["held"] = [held, len(rows)]
    return f"{title}\n{aligned(head, rows)}\n{held} of {len(rows)} at most the 95th percentile of ordinary days\n", report
