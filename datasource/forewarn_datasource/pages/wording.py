"""How times, amounts, entities and foreign text read on a page.

Owns: the words for people. Pure; all times are UTC ms. Text from logs is hostile: `plain` bounds it and takes out what would
not be seen or would turn the line around; escaping is the template's business, and it escapes everything.
"""

import math
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.series import Entity

_SCALES: Final = {
    "us": ((1.0, "µs"), (1e3, "ms"), (1e6, "s"), (60e6, "min")),
    "ms": ((1.0, "ms"), (1e3, "s"), (60e3, "min")),
    "B": ((1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB")),
    "ratio": ((0.01, "%"),),
    "percentunit": ((0.01, "%"),),
}
_LARGE: Final = ((1.0, ""), (1e6, "M"), (1e9, "G"))
_KEPT: Final = frozenset("\n\t")
_QUIET: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_CODE: Final = re.compile(r"`([^`\n]{1,500})`")
_SPELT: Final = {"µs": "us", "μs": "us", "bytes": "B"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text; `marked` is code in a card, or the place in a pattern where lines differ."""

    text: str
    marked: bool


def plain(text: str, most: int) -> str:
    """At most `most` characters; control, format (bidirectional ones among them) and unassigned characters become `\ufffd`."""
    cut = text[:most]
    shown = "".join("\ufffd" if unicodedata.category(mark) in _QUIET and mark not in _KEPT else mark for mark in cut)
    return f"{shown} …" if len(text) > most else shown


def line(text: str, most: int) -> str:
    """As `plain`, on one line."""
    return plain(" ".join(text[: 4 * most].split()), most)


def code_pieces(text: str, most: int) -> tuple[Piece, ...]:
    """A sentence of a card; what stands between backticks is code."""
    parts = _CODE.split(line(text, most))
    return tuple(Piece(part, bool(number % 2)) for number, part in enumerate(parts) if part)


def pattern_pieces(text: str, most: int) -> tuple[Piece, ...]:
    """A log pattern, with the places marked where its lines differ (`<*>`, `<num>`)."""
    parts = re.split(r"(<[*\w-]{1,20}>)", line(text, most))
    return tuple(Piece(part, bool(number % 2)) for number, part in enumerate(parts) if part)


def _utc(time: int) -> datetime:
    return datetime.fromtimestamp(time / 1000, UTC)


def moment(time: int) -> str:
    """Such as `22 Nov 2026, 14:05 UTC`."""
    at = _utc(time)
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def near(time: int, now: int) -> str:
    """Such as `14:05 UTC`, with the day if it is another than that of `now`."""
    return f"{clock_time(time)} UTC" if time // DAY == now // DAY else moment(time)


def clock_time(time: int) -> str:
    """Such as `14:05`."""
    return f"{_utc(time):%H:%M}"


def day(time: int) -> str:
    """Such as `22 Nov`."""
    return f"{_utc(time).day} {_utc(time):%b}"


def iso(time: int) -> str:
    """For the `datetime` of a `time` element."""
    return f"{_utc(time):%Y-%m-%dT%H:%M:%SZ}"


def length(span: int) -> str:
    """A length of time, such as `45 s`, `35 min`, `1 h 20 min`, `3 d 4 h`."""
    if span < MINUTE:
        return f"{max(0, span) // 1000} s"
    if span < HOUR:
        return f"{span // MINUTE} min"
    large, small, size, rest = ("h", "min", HOUR, MINUTE) if span < 2 * DAY else ("d", "h", DAY, HOUR)
    remainder = span % size // rest
    return f"{span // size} {large}" + (f" {remainder} {small}" if remainder else "")


def ago(time: int, now: int) -> str:
    """How far from now, such as `35 min ago` or `in 2 h`."""
    if abs(now - time) < MINUTE:
        return "now"
    return f"{length(now - time)} ago" if now > time else f"in {length(time - now)}"


def scale(largest: float, unit: str) -> tuple[float, str]:
    """What to divide values of this size by, and the unit that they then have: 2.5e6 us are shown in s."""
    steps = _SCALES.get(_SPELT.get(unit, unit))
    if steps is None:
        steps = tuple((size, f"{prefix} {line(unit, 20)}".strip()) for size, prefix in _LARGE)
    fitting = [step for step in steps if abs(largest) >= step[0]] if math.isfinite(largest) else []
    return fitting[-1] if fitting else steps[0]


def number(value: float) -> str:
    """Three or four digits, `no data` for NaN."""
    if math.isnan(value):
        return "no data"
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3g}"
    return f"{value:.3g}"


def amount(value: float, unit: str = "") -> str:
    """A value with its unit, scaled: 1500000 us is `1.5 s`."""
    factor, shown = scale(value, unit)
    if math.isnan(value):
        return "no data"
    text = number(value / factor)
    return f"{text} {shown}".strip()


def entity_text(entity: Entity, most: int = 80) -> str:
    """The values of an entity, such as `checkout / web-1`; `everything` for the empty one."""
    return " / ".join(line(value, most) if value else "(none)" for _, value in entity) or "everything"
