"""Conditions over documents that are at hand, as `file_filter` has them for SQL: the same meaning, one document at a time.

Owns: `matcher`, `values_of_field`. Knows no file.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from forewarn.sources.file_conditions import All, Between, Condition, Equals, Exists, Like, Not, Some
from forewarn.sources.file_filter import number_of, span_of

Document = Mapping[str, Any]
Match = Callable[[Document, int], bool]


def values_of_field(document: Document, field: str) -> list[str]:
    """All values of a dotted name, nested or flat or both, as text; of lists every item; empty if there is none."""
    if field in document and (found := list(_texts(document[field]))):
        return found
    dot = field.find(".")
    while dot > 0:
        inner, rest = document.get(field[:dot]), field[dot + 1 :]
        for part in inner if isinstance(inner, list) else [inner]:
            if isinstance(part, dict) and (found := values_of_field(part, rest)):
                if not isinstance(inner, list):
                    return found
                return [text for item in inner if isinstance(item, dict) for text in values_of_field(item, rest)]
        dot = field.find(".", dot + 1)
    return []


def first_value(document: Document, field: str) -> Any:
    """The field's value where it is plain text or a number at the first look; else the first of its values, None if none."""
    value = document.get(field)
    if value is None and (dot := field.find(".")) > 0 and type(inner := document.get(field[:dot])) is dict:
        value = inner.get(field[dot + 1 :])
    if type(value) is str or type(value) is int:
        return value
    values = values_of_field(document, field)
    return values[0] if values else None


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, bool):
        yield str(value).lower()
    elif isinstance(value, int | float):
        yield str(value)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def matcher(condition: Condition, time_field: str) -> Match | None:
    """Whether a document, with its time in ms, meets the condition; None if all do. QueryRefused for what is no time."""
    if condition == All():
        return None
    return _match(condition, time_field)


def _match(part: Condition, time_field: str) -> Match:
    match part:
        case All(parts):
            inner = [_match(each, time_field) for each in parts]
            return lambda document, time: all(each(document, time) for each in inner)
        case Some(parts):
            inner = [_match(each, time_field) for each in parts]
            return lambda document, time: any(each(document, time) for each in inner)
        case Not(other):
            negated = _match(other, time_field)
            return lambda document, time: not negated(document, time)
        case Exists(field):
            return lambda document, _: bool(values_of_field(document, field))
        case Equals(field) | Between(field) if field == time_field:
            return _of_time(part)
        case Equals() | Like() | Between():
            holds, name = _of_value(part), part.field
            return lambda document, _: any(holds(text) for text in values_of_field(document, name))


def _of_value(part: Equals | Like | Between) -> Callable[[str], bool]:
    if isinstance(part, Like):
        wild = {"*": ".*", "?": "."}
        pattern = re.compile("".join(wild[text] if is_wild else re.escape(text) for is_wild, text in part.parts), re.DOTALL)
        return lambda text: pattern.fullmatch(text) is not None
    if isinstance(part, Equals):
        value, wanted = part.value, number_of(part.value)
        return lambda text: text == value or (wanted is not None and number_of(text) == wanted)
    return _between(part)


def _between(part: Between) -> Callable[[str], bool]:
    bounds = [bound for bound in (part.low, part.high) if bound is not None]
    numbers = [number for bound in bounds if (number := number_of(bound)) is not None]
    if len(numbers) < len(bounds):
        return lambda text: _inside(text, part.low, part.high, part)
    low = None if part.low is None else number_of(part.low)
    high = None if part.high is None else number_of(part.high)
    return lambda text: (number := number_of(text)) is not None and _inside(number, low, high, part)


def _inside(value: Any, low: Any, high: Any, part: Between) -> bool:
    above = low is None or value > low or (part.with_low and value == low)
    return above and (high is None or value < high or (part.with_high and value == high))


def _of_time(part: Equals | Between) -> Match:
    if isinstance(part, Equals):
        part = Between(part.field, part.value, part.value)
    first, last = None, None
    if part.low is not None:
        begins, after = span_of(part.low)
        first = begins if part.with_low else after
    if part.high is not None:
        begins, after = span_of(part.high)
        last = after if part.with_high else begins
    return lambda _, time: (first is None or time >= first) and (last is None or time < last)
