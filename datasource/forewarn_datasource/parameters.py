"""Single values of a request: times, ranges, numbers, words; read from any form that Grafana writes them in, or refused.

Owns: Window and the parsing of single values. Pure: no request, no store, no clock. Every refusal is a RequestError (HTTP
400) that names the parameter. A variable or macro that Grafana left unexpanded is refused, never read as a default: in alert
rules it arrives literally.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from forewarn.detector import DAY, HOUR
from forewarn.errors import RequestError

END_OF_TIME: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""

_MACRO = re.compile(r"\$\{|\$[A-Za-z_]|\[\[\w|%24(?:%7B|[A-Za-z_])", re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?\d{1,18}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """A range of time, [start, end) in UTC ms."""

    start: int
    end: int


def no_macro(text: str, field: str) -> str:
    """The text, refused if it holds a variable or macro that Grafana did not expand."""
    if _MACRO.search(text):
        expanded = "of these alert rules expand only ${__timeFrom} and ${__timeTo}"
        raise RequestError(field, f"{shown(text)} holds a variable that was not expanded; write its value ({expanded})")
    return text


def shown(value: object) -> str:
    """A value as it was given, cut for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def moment(value: object, field: str) -> int:
    """UTC ms, from epoch milliseconds (a number or its digits) or ISO 8601; without an offset ISO times are UTC."""
    if value is None or value == "":
        raise RequestError(field, "is missing; give epoch milliseconds or an ISO 8601 time")
    if isinstance(value, str):
        return _bounded(_moment_of_text(no_macro(value.strip(), field), field), value, field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RequestError(field, f"expected epoch milliseconds or an ISO 8601 time, got {shown(value)}")
    return _bounded(int(value), value, field)


def _moment_of_text(text: str, field: str) -> int:
    if text.lstrip("+-").isdigit():  # however many: a long number must not be read as a compact ISO date
        return int(text) if _INTEGER.match(text) else END_OF_TIME + 1
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise RequestError(field, f"expected epoch milliseconds or an ISO 8601 time, got {shown(text)}") from None
    aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    whole = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (whole.days * 86_400 + whole.seconds) * 1000 + whole.microseconds // 1000


def _bounded(time: int, given: object, field: str) -> int:
    if not 0 <= time <= END_OF_TIME:
        raise RequestError(field, f"{shown(given)} lies outside of the years 1970 to 9999")
    if 1_000_000_000 <= time < 10_000_000_000:
        raise RequestError(field, f"{shown(given)} looks like seconds; milliseconds are expected")
    return time


def duration_text(milliseconds: int) -> str:
    """A length of time for people, such as `31 d` or `1.5 h`."""
    unit, size = next(((u, s) for u, s in (("d", DAY), ("h", HOUR), ("min", 60_000)) if milliseconds >= s), ("s", 1000))
    return f"{milliseconds / size:.4g} {unit}"


def window(start: object, end: object, limit: int, names: tuple[str, str] = ("from", "to")) -> Window:
    """The range from `start` to `end`, at most `limit` ms long."""
    first, last = moment(start, names[0]), moment(end, names[1])
    if first > last:
        raise RequestError(names[0], f"lies after {names[1]} ({first} > {last})")
    if last - first > limit:
        raise RequestError(
            names[0],
            f"the range is {duration_text(last - first)} long; at most {duration_text(limit)} are answered (max_range)",
        )
    return Window(first, last)


def whole(value: object, field: str, low: int, high: int) -> int:
    """An integer of [low, high]; digits as text and fractions (cut) are taken too."""
    if isinstance(value, str):
        text = no_macro(value.strip(), field)
        value = int(text) if _INTEGER.match(text) else text
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not low <= value <= high:
        raise RequestError(field, f"expected a number from {low} to {high}, got {shown(value)}")
    return int(value)


def choice(value: object, field: str, known: Sequence[str], default: str) -> str:
    """One word of `known`; `default` if none was given."""
    if value is None or value == "":
        return default
    text = no_macro(value.strip(), field) if isinstance(value, str) else value
    if text not in known:
        raise RequestError(field, f"expected one of {', '.join(known)}, got {shown(value)}")
    return str(text)
