"""Which series and anomalies a client asked for, in any form that Grafana writes names in.

Owns: Selection and the parsing of names. Pure: no request, no store. Every refusal is a RequestError (HTTP 400).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from forewarn.anomaly import SEVERITY_BANDS
from forewarn.errors import RequestError
from forewarn_datasource.filters import Filter
from forewarn_datasource.parameters import no_macro, shown

EVERYTHING: Final = frozenset({"*", ".*"})
"""What a custom "All" value of a variable may be."""
BANDS: Final = tuple(name for _, name in SEVERITY_BANDS)

_ESCAPED = re.compile(r"\\([\\^$*+?.()|\[\]{}/-])")
_PIECES = re.compile(r"\\.|[^\\]|\\\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which series, and which anomalies of them. None stands for a parameter that was not given."""

    series: tuple[str, ...] | None = None
    """Ids or printed names; an empty tuple selects nothing (a variable without a value)."""
    detectors: tuple[str, ...] | None = None
    severities: frozenset[str] | None = None
    filters: tuple[Filter, ...] = ()


def names(value: object, field: str) -> tuple[str, ...] | None:
    """Names in any form that Grafana writes a multi-value variable in: `a,b`, `{a,b}`, `a|b`, `(a|b)`, or a list of these.

    None if not given, or if the list is empty (a builder's cleared menu). A comma or a bar inside braces belongs to the
    name, so that printed series keys can be given. Repeated names are kept once, in their first place.
    """
    if value is None or value == []:
        return None
    found: dict[str, None] = {}
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, str):
            raise RequestError(field, f"expected text or a list of texts, got {shown(item)}")
        found.update(dict.fromkeys(_split(no_macro(item, field).strip())))
    return tuple(found)


def _split(text: str) -> list[str]:
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    parts, depth = [""], 0
    for piece in _PIECES.findall(text):
        depth += (piece == "{") - (piece == "}")
        if piece in ",|" and depth <= 0:
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts if part.strip()]


def unescape(text: str) -> str:
    r"""Undoes the escapes of Grafana's regex format: `web\.errors` is `web.errors`."""
    return _ESCAPED.sub(r"\1", text)


def plain_names(value: object, field: str) -> tuple[str, ...] | None:
    """Names that hold no braces of their own (detectors, severities): as `names`, without escapes; None for everything,
    which is also what an empty text means.
    """
    given = names(value, field)
    if not given or EVERYTHING & set(given):
        return None
    return tuple(unescape(name) for name in given)


def severities(value: object, field: str) -> frozenset[str] | None:
    """Severity bands by name; None if all are wanted."""
    given = plain_names(value, field)
    if given is None:
        return None
    bands = frozenset(name.lower() for name in given)
    if unknown := bands - set(BANDS):
        raise RequestError(field, f"expected some of {', '.join(BANDS)}, got {shown(sorted(unknown)[0])}")
    return bands


def selection(given: Mapping[str, Any], prefix: str = "", filters: tuple[Filter, ...] = ()) -> Selection:
    """The selection that `series`, `detector` and `severity` of a mapping make; others of its keys are not looked at."""
    return Selection(
        names(given.get("series"), f"{prefix}series"),
        plain_names(given.get("detector"), f"{prefix}detector"),
        severities(given.get("severity"), f"{prefix}severity"),
        filters,
    )


def require_named(given: Mapping[str, Any], chosen: Selection, prefix: str = "") -> None:
    """Refuses a selection that names nothing: every series of a store is too much to be a default."""
    if chosen.series is None and not given.get("detector") and not chosen.filters:
        raise RequestError(f"{prefix}series", "is missing; name series, a detector, or * for all")
