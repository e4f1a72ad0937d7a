"""Conditions as SQL over columns that hold the lists of a document's values.

Owns: Parameters, `select`, `where`. Values, patterns and bounds travel as parameters, never as text of the statement.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from forewarn.sources.file_conditions import All, Between, Condition, Equals, Exists, Like, Not, QueryRefused, Some

_DATE: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2})?([.,]\d{1,9})?(Z|[+-]\d{2}:?\d{2})?)?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Parameters:
    """Named parameters of one statement."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}

    def add(self, value: object) -> str:
        """The placeholder that stands for the value."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"${name}"


def select(what: str, source: str, condition: str = "true") -> str:
    """One step of a statement. All texts come from this room; what users give travels in Parameters or quoted."""
    return f"SELECT {what} FROM {source} WHERE {condition}"  # noqa: S608  the statement is composed of constants


def where(condition: Condition, column: Callable[[str], str], time_field: str, parameters: Parameters) -> str:
    """A boolean expression, never NULL. `column` gives a field's VARCHAR[] column; the time is the BIGINT column t.

    Raises QueryRefused for bounds on the time field that are not times.
    """

    def sql(part: Condition) -> str:
        match part:
            case All(parts) | Some(parts):
                word, of_none = (" AND ", "true") if isinstance(part, All) else (" OR ", "false")
                return f"({word.join(map(sql, parts))})" if parts else of_none
            case Not(inner):
                return f"(NOT {sql(inner)})"
            case Exists(field):
                return f"coalesce(len({column(field)}) > 0, false)"
            case Equals(field) | Between(field) if field == time_field:
                return _of_time(part, parameters)
            case Equals() | Like() | Between():
                return f"coalesce(len(list_filter({column(part.field)}, lambda x: {_of_value(part, parameters)})) > 0, false)"

    return sql(condition)


def _of_value(part: Equals | Like | Between, parameters: Parameters) -> str:
    if isinstance(part, Like):
        pattern = "".join({"*": ".*", "?": "."}[text] if wild else re.escape(text) for wild, text in part.parts)
        return f"regexp_full_match(x, {parameters.add(pattern)}, 's')"
    if isinstance(part, Equals):
        same = f"x = {parameters.add(part.value)}"
        number = number_of(part.value)
        return same if number is None else f"({same} OR coalesce(try_cast(x AS DOUBLE) = {parameters.add(number)}, false))"
    bounds = [bound for bound in (part.low, part.high) if bound is not None]
    numbers = [number for bound in bounds if (number := number_of(bound)) is not None]
    value = "try_cast(x AS DOUBLE)" if len(numbers) == len(bounds) else "x"
    sides = []
    for bound, sign in ((part.low, ">=" if part.with_low else ">"), (part.high, "<=" if part.with_high else "<")):
        if bound is not None:
            limit = number_of(bound) if len(numbers) == len(bounds) else bound
            sides.append(f"{value} {sign} {parameters.add(limit)}")
    return f"coalesce({' AND '.join(sides)}, false)" if sides else "true"


def _of_time(part: Equals | Between, parameters: Parameters) -> str:
    """Bounds cover the whole unit that they name, as in Elasticsearch: `<= 2026-01-31` holds until the day ends."""
    if isinstance(part, Equals):
        part = Between(part.field, part.value, part.value)
    sides = []
    if part.low is not None:
        first, after = span_of(part.low)
        sides.append(f"t >= {parameters.add(first if part.with_low else after)}")
    if part.high is not None:
        first, after = span_of(part.high)
        sides.append(f"t < {parameters.add(after if part.with_high else first)}")
    return f"({' AND '.join(sides)})" if sides else "true"


def span_of(text: str) -> tuple[int, int]:
    """The ms that the time begins with and the ms after it ends: a day, a minute, a second or a millisecond."""
    if re.fullmatch(r"-?\d{5,}", text):  # as Elasticsearch takes numbers: milliseconds
        return int(text), int(text) + 1
    match = _DATE.fullmatch(text)
    try:
        start = datetime.fromisoformat(text.replace(",", ".")) if match else None
    except ValueError:
        start = None
    if match is None or start is None:
        raise QueryRefused(f"{text!r} is not a time such as 2026-01-31T12:00:00Z")
    unit = 1 if match.group(4) else 1000 if match.group(3) else 60_000 if match.group(2) else 86_400_000
    utc = start if start.tzinfo else start.replace(tzinfo=UTC)
    first = (utc - _EPOCH) // timedelta(milliseconds=1)
    return first, first + unit


def number_of(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text) else None
