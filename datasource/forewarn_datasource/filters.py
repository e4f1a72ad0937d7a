"""Ad hoc filters: what a user picks on a dashboard to narrow it to some entities.

Owns: Filter and its parsing and matching. Pure; every refusal is a RequestError. Must not know which fields exist.
"""

import re
from dataclasses import dataclass
from typing import Final

from forewarn.errors import RequestError
from forewarn_datasource.parameters import shown

OPERATORS: Final = ("=", "!=", "=~", "!~", "=|", "!=|", "<", ">")

_ONLY_MACRO = re.compile(r"\$\{[^}]*\}|\$\w+|\[\[[^\]]*\]\]|%24%7B.*%7D", re.IGNORECASE)
_PIECES = re.compile(r"\\.|[^\\]|\\\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Filter:
    """An ad hoc filter: a field of the entity (or `detector`), an operator of OPERATORS, and the values it compares with."""

    key: str
    operator: str
    values: tuple[str, ...]

    def accepts(self, value: str) -> bool:
        """Whether a series with this value of the field passes. Patterns match the whole value, as in Prometheus."""
        if self.operator in ("<", ">"):
            return _ordered(value, self.operator, self.values[0])
        if self.operator in ("=~", "!~"):
            return _matches(self.values[0], value) == (self.operator == "=~")
        return (value in self.values) == (not self.operator.startswith("!"))


def parse(given: object, field: str = "filters") -> tuple[Filter, ...]:
    """Ad hoc filters as Grafana sends them; an absent operator is `=`."""
    if given is None:
        return ()
    if not isinstance(given, list):
        raise RequestError(field, f"expected a list, got {shown(given)}")
    return tuple(_filter(item, f"{field}[{number}]") for number, item in enumerate(given))


def _filter(item: object, field: str) -> Filter:
    if not isinstance(item, dict) or not isinstance(item.get("key"), str):
        raise RequestError(field, "expected an object with key, operator and value")
    operator = item.get("operator", "=")
    if operator not in OPERATORS:
        raise RequestError(f"{field}.operator", f"expected one of {' '.join(OPERATORS)}, got {shown(operator)}")
    several = item.get("values") if operator.endswith("|") else None
    values = several if isinstance(several, list) and several else [item.get("value", "")]
    if not all(isinstance(value, str) for value in values):
        raise RequestError(f"{field}.value", f"expected text, got {shown(values)}")
    if any(_ONLY_MACRO.fullmatch(value) for value in values):
        raise RequestError(f"{field}.value", f"{shown(values)} is a variable that was not expanded")
    if operator.endswith("~"):
        _alternatives(values[0], f"{field}.value")
    return Filter(item["key"], operator, tuple(values))


def _ordered(value: str, operator: str, limit: str) -> bool:
    try:
        return float(value) < float(limit) if operator == "<" else float(value) > float(limit)
    except ValueError:
        return False


def _alternatives(pattern: str, field: str) -> list[list[str]]:
    """The literals between the `.*` of each alternative. Only literals, `.*` and `|` are taken: their matching takes linear
    time, where a whole regular expression from a browser could hold a thread of the server for hours.
    """
    body = pattern.removeprefix("^").removesuffix("$")
    if body.startswith("(") and body.endswith(")"):
        body = body[1:-1]
    found = [[""]]
    pieces = _PIECES.findall(body)
    for number, piece in enumerate(pieces):
        if piece == "|":
            found.append([""])
        elif piece == "*" and number and pieces[number - 1] == ".":
            found[-1].append("")
        elif piece == "." and pieces[number + 1 : number + 2] == ["*"]:
            continue
        elif len(piece) == 1 and piece in "*+?()[]{}^$\\":
            raise RequestError(field, f"{shown(pattern)}: of regular expressions only literals, .* and | are supported")
        else:
            found[-1][-1] += piece[-1]
    return found


def _matches(pattern: str, value: str) -> bool:
    return any(_fits(parts, value) for parts in _alternatives(pattern, "filters"))


def _fits(parts: list[str], value: str) -> bool:
    if len(parts) == 1:
        return value == parts[0]
    if not (value.startswith(parts[0]) and value.endswith(parts[-1]) and len(value) >= len(parts[0]) + len(parts[-1])):
        return False
    at, end = len(parts[0]), len(value) - len(parts[-1])
    for part in parts[1:-1]:
        at = value.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
