"""What would keep metrics from being read out of Elasticsearch, found before it is tried.

Owns: `problems` (the whole check) and `field_problems`. Sends a handful of cheap requests, none of which aggregates.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from elasticsearch import ApiError, Elasticsearch

from forewarn.detector import Detector
from forewarn.elastic import source_errors
from forewarn.errors import SourceRejected
from forewarn.ports import Problem
from forewarn.sources.demands import faults, needs_number
from forewarn.sources.elasticsearch_query import Json, clause

_INTEGERS: Final = frozenset({"long", "integer", "short", "byte", "unsigned_long"})
_NUMBERS: Final = _INTEGERS | {"double", "float", "half_float", "scaled_float", "boolean"}
_SUMMARIES: Final = frozenset({"aggregate_metric_double", "histogram"})
"""Numbers that were rolled up when they were written; the server knows which functions it can compute from them."""
_KEYWORDS: Final = frozenset({"keyword", "constant_keyword", "wildcard", "counted_keyword"})
_DATES: Final = frozenset({"date", "date_nanos"})
_ANY_COUNTER: Final = frozenset({"min", "max", "cardinality"})
"""Functions that the server computes of a counter, and that mean something there."""

Types = Mapping[str, Mapping[str, Any]]


def problems(client: Elasticsearch, detector: Detector) -> list[Problem]:
    """See `MetricSource.check`; raises SourceUnavailable if the server cannot be reached."""
    found = faults(detector)
    index = detector.selection.index or ""
    try:
        if refused := _forbidden(client, index):
            return [*found, refused]
        known = _field_types(client, detector)
        if known is None:
            return [*found, Problem("index", f"no index matches {index!r} at the moment")]
        found += _of_fields(detector, known)
        found += _of_queries(client, detector)
        if not found:
            found += _cut_values(client, detector)
    except SourceRejected as error:
        return [*found, Problem("index", error.why)]
    return found


def field_problems(client: Elasticsearch, detector: Detector) -> list[Problem]:
    """What is wrong with the detector's fields; empty if that cannot be told."""
    try:
        known = _field_types(client, detector)
    except SourceRejected:
        return []
    return list(_of_fields(detector, known)) if known else []


def _fields(detector: Detector) -> list[tuple[str, str]]:
    named = [("time_field", detector.selection.time_field)]
    if detector.field is not None:
        named.append(("field", detector.field))
    return named + [("split_by", field) for field in detector.split_by]


def _field_types(client: Elasticsearch, detector: Detector) -> dict[str, Types] | None:
    """Field -> type -> what the server knows of it in that type; None if no index matches."""
    names = [name for _, field in _fields(detector) for name in (field, f"{field}.keyword")]
    index = detector.selection.index or ""
    with source_errors(index):
        answer = client.field_caps(index=index, fields=names, filters="-metadata,-nested")
    return dict(answer["fields"]) if answer["indices"] else None


def _of_fields(detector: Detector, known: Mapping[str, Types]) -> Iterator[Problem]:
    for setting, field in _fields(detector):
        types = known.get(field, {})
        sibling = f"{field}.keyword"
        hint = f"; use {sibling}" if sibling in known else ""
        if not types:
            yield Problem(setting, f"no index has a field {field!r} (fields of nested objects cannot be read){hint}")
            continue
        names = " and ".join(f"{name}{_where(caps)}" for name, caps in sorted(types.items()))
        if not all(caps["aggregatable"] for caps in types.values()):
            yield Problem(setting, f"{field!r} is of type {names} and cannot be aggregated{hint}")
        elif setting == "time_field" and not types.keys() <= _DATES:
            yield Problem(setting, f"{field!r} is of type {names}, not a date")
        elif setting == "field" and needs_number(detector):
            yield from _of_number(detector, field, types, names)
        elif setting == "split_by" and not (len(types) == 1 or any(types.keys() <= alike for alike in (_KEYWORDS, _INTEGERS))):
            yield Problem(setting, f"{field!r} is of type {names}; values of different types cannot be split by")


def _of_number(detector: Detector, field: str, types: Types, names: str) -> Iterator[Problem]:
    counters = any(caps.get("time_series_metric") == "counter" for caps in types.values())
    if not types.keys() <= _NUMBERS | _SUMMARIES:
        yield Problem("field", f"{field!r} is of type {names}, and {detector.function} needs numbers")
    elif counters and detector.function not in _ANY_COUNTER:
        yield Problem("field", f"{field!r} is a counter, which only grows: {detector.function} of it says nothing")


def _where(caps: Mapping[str, Any]) -> str:
    """The indices with this type, which the server lists only where types differ."""
    indices: Sequence[str] = caps.get("indices", ())
    return f" (in {', '.join(indices[:3])}{', …' if len(indices) > 3 else ''})" if indices else ""


def _of_queries(client: Elasticsearch, detector: Detector) -> Iterator[Problem]:
    for setting, query in (("query", detector.selection.query), ("of", detector.of)):
        parsed = clause(query)
        if parsed is not None and (why := _unparsable(client, detector.selection.index or "", parsed)):
            yield Problem(setting, why)


def _unparsable(client: Elasticsearch, index: str, query: Json) -> str | None:
    with source_errors(index):
        try:
            answer = client.indices.validate_query(index=index, query=query, explain=True)
        except ApiError as error:
            if error.status_code not in (400, 403, 405):
                raise
            return _refused(client, index, query)  # no privilege to validate, or a query that cannot even be validated
    errors = [item.get("error", "") for item in answer.get("explanations", ()) if not item.get("valid")]
    if answer["valid"]:
        return None
    return _first_line(errors[0]) if errors else str(answer.get("error", "it is not valid"))


def _refused(client: Elasticsearch, index: str, query: Json) -> str | None:
    try:
        with source_errors(index):
            client.search(index=index, query=query, size=0, track_total_hits=False, terminate_after=1)
    except SourceRejected as error:
        return _first_line(error.why)
    return None


def _first_line(error: str) -> str:
    """`[index/uuid] a.b.SomeException: what is wrong` without index and classes; of several lines the first."""
    line = re.sub(r"^\[[^\]]*\] ", "", error.splitlines()[0]) if error else "it is not valid"
    return re.sub(r"\b(\w+\.)+\w+(Exception|Error): ", "", line)


def _forbidden(client: Elasticsearch, index: str) -> Problem | None:
    """The missing privilege to read; a server without security is not asked, a tiny search says what stands in the way."""
    # Other clusters, exclusions and names made of dates are not names that privileges are granted on.
    names = [name for name in index.split(",") if ":" not in name and not name.startswith(("-", "<"))]
    try:
        with source_errors(index):
            answer = client.security.has_privileges(index=[{"names": names, "privileges": ["read"]}]) if names else None
    except SourceRejected:
        answer = None
    if answer is None:
        with source_errors(index):
            client.search(index=index, size=0, track_total_hits=False, terminate_after=1)
        return None
    if answer["has_all_requested"]:
        return None
    missing = [name for name, granted in answer["index"].items() if not granted["read"]]
    return Problem("index", f"{answer.get('username', 'the user')} lacks the privilege read on {', '.join(missing)}")


def _cut_values(client: Elasticsearch, detector: Detector) -> Iterator[Problem]:
    """Split fields whose longest values the mapping drops (`ignore_above`): those documents would count as without value."""
    index = detector.selection.index or ""
    for field in detector.split_by:
        condition = [item for item in (clause(detector.selection.query), {"term": {"_ignored": field}}) if item]
        with source_errors(index):
            answer = client.search(index=index, query={"bool": {"filter": condition}}, size=0, track_total_hits=1000)
        total = answer["hits"]["total"]
        if total["value"]:
            many = f"{total['value']}{'+' if total['relation'] == 'gte' else ''}"
            yield Problem("split_by", f"{many} documents have a {field!r} that the mapping leaves out (too long or malformed)")
