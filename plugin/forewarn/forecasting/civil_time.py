"""Civil (wall clock) time of UTC instants, for whole arrays at once.

Owns: zone offsets and civil days. People, and so seasonality, follow the wall clock; buckets stay UTC.
Must not do: holidays, calendars, anything per point. Source of the zones: the standard library's zoneinfo.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import DAY
from forewarn.errors import ModelError
from forewarn.series import Float

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS: Final = 86_400
_YEARS: Final = (1, 9998)
"""What datetime can represent, with a year to spare; beyond it the offset of the nearest year is used."""


def offsets(instants: NDArray[Any], timezone: str) -> NDArray[np.int64]:
    """Offsets of `timezone` from UTC at the instants (UTC ms, [T], any order), in ms: civil time is instant + offset.

    Raises ModelError for a zone that this machine does not know.
    """
    if timezone == "UTC" or not instants.size:
        return np.zeros(instants.shape, dtype=np.int64)
    span = np.array([instants.min(), instants.max()]).astype("datetime64[ms]").astype("datetime64[Y]").astype(np.int64) + 1970
    first, last = np.clip(span, *_YEARS).tolist()
    years = [_offsets_of_year(timezone, year) for year in range(first, last + 1)]
    starts = np.concatenate([start for start, _ in years])
    values = np.concatenate([value for _, value in years])
    rows = np.searchsorted(starts, instants, side="right") - 1
    return values[np.maximum(rows, 0)]


def civil_days(instants: NDArray[Any], timezone: str) -> Float:
    """Civil days since 1970-01-01 00:00 on the wall clock of `timezone`, float64 [T]; the fraction is the time of day."""
    days: Float = (instants + offsets(instants, timezone)) / float(DAY)
    return days


@lru_cache(maxsize=4096)
def _offsets_of_year(timezone: str, year: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The instants (ms) in a UTC year from which an offset holds, its first instant included, and the offsets (ms).

    Offsets are looked up once a day and each change is bisected to the second. A change that is undone within the same
    day would be missed; the zone database has none since 1970.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ModelError(f"time zone {timezone!r} is not known on this machine") from error

    def offset(second: int) -> int:
        found = (_EPOCH + timedelta(seconds=second)).astimezone(zone).utcoffset()
        return round(found.total_seconds() * 1000) if found is not None else 0

    begin = _days_from_epoch(year) * _DAY_SECONDS
    end = _days_from_epoch(year + 1) * _DAY_SECONDS
    starts, values = [begin], [offset(begin)]
    for day in range(begin, end, _DAY_SECONDS):
        low, high = day, day + _DAY_SECONDS
        at_high = offset(high)
        while values[-1] != at_high:  # more than one change in a day is possible, so go on from the one found
            low = _first_change(offset, low, high)
            if low == end:
                break
            starts.append(low)
            values.append(offset(low))
    return np.array(starts, dtype=np.int64) * 1000, np.array(values, dtype=np.int64)


def _first_change(offset: Callable[[int], int], low: int, high: int) -> int:
    """The first second in (low, high] whose offset differs from that of `low`; the one at `high` does."""
    before = offset(low)
    while high - low > 1:
        middle = (low + high) // 2
        if offset(middle) == before:
            low = middle
        else:
            high = middle
    return high


def _days_from_epoch(year: int) -> int:
    return (datetime(year, 1, 1, tzinfo=UTC) - _EPOCH).days
