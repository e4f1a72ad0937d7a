"""The times of log lines: in a field of a document, or at the beginning of a line of text.

Owns: `time_of_value`, `time_of_text`. Without a zone a time is UTC; without a year it is the last one that had it.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH: Final = "|".join(_MONTHS)
_CLOCK: Final = r"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?"
_ZONE: Final = r"\s?(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d)?"

_SIZES: Final = ((1e11, 1e3), (1e14, 1.0), (1e17, 1e-3), (float("inf"), 1e-6))
"""Numbers since 1970 in s, ms, us or ns, told apart by their size: (below, ms of one)."""

# A level, a bracket or a word such as Start-Date: may stand before the time.
_START: Final = re.compile(
    r"(?:<\d{1,3}>(?:1 )?|(?:time|ts|timestamp)=\"?)?[\[(<\"']{0,2}(?:[A-Za-z][\w-]{0,15}[\])>]?:?\s{1,2}[\[(]?)?"
    rf"(?:(?P<Y>(?:19|20)\d\d)[-/.](?P<M>\d\d)[-/.](?P<D>\d\d)(?:T|\s{{1,2}}){_CLOCK}{_ZONE}"
    rf"|(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),?\s)?(?P<mon>{_MONTH})\s{{1,2}}(?P<day>\d\d?)\s(?:(?P<year>\d{{4}})\s)?"
    rf"{_CLOCK.replace('?P<', '?P<b')}(?:\s(?P<after>(?:19|20)\d\d)\b)?"
    rf"|(?P<epoch>\d{{10}}(?:\.\d{{1,9}}|\d{{3}})?)(?=[\s\])]))"
)
_ACCESS: Final = re.compile(rf"\[(?P<day>\d\d)/(?P<mon>{_MONTH})/(?P<year>\d{{4}}):{_CLOCK}{_ZONE}\]")
_ACCESS_WITHIN: Final = 200


def time_of_value(value: object) -> int | None:
    """UTC ms of what a time field holds: ISO 8601, or a number since 1970 (as text too); None if it is no time."""
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return _of_number(value) if re.fullmatch(r"-?\d{1,19}(\.\d{1,9})?", value) else None
        return ((found if found.tzinfo else found.replace(tzinfo=UTC)) - _EPOCH) // _MS
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _of_number(value)
    return None


def _of_number(value: str | float) -> int | None:
    number = float(value)
    if not abs(number) < 1e20:
        return None
    scale = next(scale for below, scale in _SIZES if abs(number) < below)
    return int((number * scale + 1e-3) // 1)  # 1767225600.123 times 1000 lies just below the millisecond that is meant


def time_of_text(line: str, written: int) -> int | None:
    """UTC ms of the time at the beginning of a line, None if there is none.

    Understood: ISO 8601 with `T` or a blank, `/` or `.` in dates, brackets around it, a level before it; `Jan  2 03:04:05`
    (syslog; the year is the last one at `written`, when the file was last written); seconds or milliseconds since 1970;
    and `[02/Jan/2026:03:04:05 +0000]` in the first 200 characters.
    """
    match = _START.match(line)
    if match is None:
        match = _ACCESS.search(line, 0, _ACCESS_WITHIN) if "/" in line else None
        return None if match is None else _of_parts(match, int(match["year"]), _month(match), int(match["day"]), "")
    if match["epoch"]:
        return _of_number(match["epoch"])
    if match["Y"]:
        return _of_parts(match, int(match["Y"]), int(match["M"]), int(match["D"]), "")
    if named := match["year"] or match["after"]:
        return _of_parts(match, int(named), _month(match), int(match["day"]), "b")
    year = (_EPOCH + written * _MS).year
    found = _of_parts(match, year, _month(match), int(match["day"]), "b")
    if found is None or found > written + 86_400_000:
        return _of_parts(match, year - 1, _month(match), int(match["day"]), "b")
    return found


def _month(match: re.Match[str]) -> int:
    return _MONTHS.index(match["mon"]) + 1


def _of_parts(match: re.Match[str], year: int, month: int, day: int, which: str) -> int | None:
    fraction = int((match[f"{which}f"] or "0").ljust(6, "0")[:6])
    try:
        found = datetime(
            year, month, day, int(match[f"{which}h"]), int(match[f"{which}m"]), int(match[f"{which}s"]), fraction, UTC
        )
    except ValueError:
        return None
    zone = match["zone"] if not which else None
    offset = timedelta()
    if zone and zone[0] in "+-":
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:])) * (1 if zone[0] == "+" else -1)
    return (found - offset - _EPOCH) // _MS
