"""The conditions that files can be searched by, and their reading from query DSL. Knows neither SQL nor files.

Owns: the Condition types, `conditions_of`, QueryRefused. Fields behave as keywords: values are compared whole and with
their case, as numbers where both sides read as numbers. Whatever is not understood is refused, never ignored.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from forewarn.detector import Query


class QueryRefused(ValueError):
    """The query uses something that files cannot be searched by, or does not parse; says what."""


@dataclass(frozen=True, slots=True)
class Exists:
    """The field has at least one value."""

    field: str


@dataclass(frozen=True, slots=True)
class Equals:
    """One of the field's values is this one."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Like:
    """One of the field's values matches the parts: text to be found as it is, "*" any text, "?" any one sign."""

    field: str
    parts: tuple[tuple[bool, str], ...]
    """(whether it is a wildcard, the text or the wildcard)."""


@dataclass(frozen=True, slots=True)
class Between:
    """One of the field's values lies between the bounds; None is open."""

    field: str
    low: str | None
    high: str | None
    with_low: bool = True
    with_high: bool = True


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds; of no parts it always holds."""

    parts: tuple["Condition", ...] = ()


@dataclass(frozen=True, slots=True)
class Some:
    """At least one part holds; of no parts it never holds."""

    parts: tuple["Condition", ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: "Condition"


Condition = Exists | Equals | Like | Between | All | Some | Not


def boolean(must: list[Condition], should: list[Condition], must_not: list[Condition]) -> Condition:
    """Elasticsearch's bool: what should hold is needed only where nothing must."""
    needed = must if must or not should else should if len(should) == 1 else [Some(tuple(should))]
    parts = [*needed, *(Not(part) for part in must_not)]
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def fields_of(condition: Condition) -> Iterator[str]:
    """All fields that the condition looks at."""
    match condition:
        case All(parts) | Some(parts):
            for part in parts:
                yield from fields_of(part)
        case Not(part):
            yield from fields_of(part)
        case _:
            yield condition.field


def conditions_of(query: Query, parse: Callable[[str], Condition]) -> Condition:
    """The condition that a setting holds: nothing, a string that `parse` reads, or query DSL; raises QueryRefused."""
    if not query:
        return All()
    return parse(query) if isinstance(query, str) else _of_dsl(query, parse)


_KNOWN: Final = "match_all, term, terms, range, exists, bool and query_string"
_BOUNDS: Final = frozenset({"gt", "gte", "lt", "lte"})
_BOOL: Final = frozenset({"must", "filter", "should", "must_not", "minimum_should_match"})


def _of_dsl(query: object, parse: Callable[[str], Condition]) -> Condition:
    kind, body = _only(query, "a query")
    if kind == "bool":
        return _of_bool(_mapping(body, "bool"), parse)
    if kind == "match_all":
        _known(_mapping(body, kind), frozenset(), kind)
        return All()
    if kind == "query_string":
        return parse(_text(_known(_mapping(body, kind), {"query"}, kind).get("query"), "query_string.query"))
    return _of_field(kind, body)


def _of_field(kind: str, body: object) -> Condition:
    if kind == "exists":
        return Exists(_text(_known(_mapping(body, kind), {"field"}, kind).get("field"), "exists.field"))
    if kind == "term":
        field, value = _only(body, "term")
        if isinstance(value, Mapping):
            value = _known(value, {"value"}, f"term.{field}").get("value")
        return Equals(field, _value(value, f"term.{field}"))
    if kind == "terms":
        field, values = _only(body, "terms")
        if not isinstance(values, list):
            raise QueryRefused(f"terms.{field}: expected a list of values")
        return Some(tuple(Equals(field, _value(value, f"terms.{field}")) for value in values))
    if kind == "range":
        field, bounds = _only(body, "range")
        return _of_range(field, _known(_mapping(bounds, f"range.{field}"), _BOUNDS, f"range.{field}"))
    raise QueryRefused(f"the query {kind!r} is not supported for files; {_KNOWN} are")


def _of_bool(body: Mapping[str, Any], parse: Callable[[str], Condition]) -> Condition:
    _known(body, _BOOL, "bool")
    lists = {
        name: [_of_dsl(part, parse) for part in (found if isinstance(found, list) else [found])]
        for name, found in body.items()
        if name != "minimum_should_match"
    }
    must, should = lists.get("must", []) + lists.get("filter", []), lists.get("should", [])
    least = body.get("minimum_should_match")
    if least not in (None, 0, 1) or isinstance(least, bool):
        raise QueryRefused("bool.minimum_should_match: only 0 and 1 are supported for files")
    if least == 1:
        must, should = [*must, Some(tuple(should))], []
    return boolean(must, should, lists.get("must_not", []))


def _of_range(field: str, bounds: Mapping[str, Any]) -> Condition:
    if len(bounds.keys() & {"gt", "gte"}) > 1 or len(bounds.keys() & {"lt", "lte"}) > 1:
        raise QueryRefused(f"range.{field}: each side takes one bound")
    texts = {name: None if bound is None else _value(bound, f"range.{field}.{name}") for name, bound in bounds.items()}
    return Between(
        field, texts.get("gte", texts.get("gt")), texts.get("lte", texts.get("lt")), "gt" not in texts, "lt" not in texts
    )


def _only(value: object, what: str) -> tuple[str, Any]:
    found = _mapping(value, what)
    if len(found) != 1:
        raise QueryRefused(f"{what}: expected one key, got {', '.join(map(repr, found)) or 'none'}")
    return next(iter(found.items()))


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise QueryRefused(f"{what}: expected a mapping, got {value!r}")
    return value


def _known(body: Mapping[str, Any], keys: frozenset[str] | set[str], what: str) -> Mapping[str, Any]:
    for key in body.keys() - keys:
        raise QueryRefused(f"{what}: {key!r} is not supported for files")
    return body


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise QueryRefused(f"{what}: expected text, got {value!r}")
    return value


def _value(value: object, what: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise QueryRefused(f"{what}: expected text or a number, got {value!r}")
    return str(value)
