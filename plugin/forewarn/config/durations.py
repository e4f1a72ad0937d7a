"""Durations as people write them (`90s`, `1h30m`, `7d`), to milliseconds and back.

Owns: parse_duration, format_duration. Text and integers only; a number without a unit is never a duration.
"""

import re
from typing import Final

_SCALE: Final = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_PART: Final = re.compile(r"(\d+)(ms|[wdhms])", re.ASCII)
_WHOLE: Final = re.compile(r"(?:(?:\d+)(?:ms|[wdhms]))+", re.ASCII)
_LONGEST: Final = 3_650 * _SCALE["d"]


def parse_duration(text: str) -> int:
    """Milliseconds of a duration such as `90s`, `5m`, `1h30m`, `7d`, `0s`: units w, d, h, m, s, ms, longest first.

    Raises ValueError for anything else: no unit, fractions, a repeated unit, more than ten years.
    """
    text = text.strip()
    parts = _PART.findall(text)
    order = [list(_SCALE).index(unit) for _, unit in parts]
    if not _WHOLE.fullmatch(text) or order != sorted(set(order)):
        raise ValueError(f"{text!r} is not a duration such as 90s, 5m, 1h30m or 7d")
    total = sum(int(number) * _SCALE[unit] for number, unit in parts)
    if total > _LONGEST:
        raise ValueError(f"{text!r} is longer than ten years")
    return total


def format_duration(milliseconds: int) -> str:
    """The shortest form that `parse_duration` reads back, in days at most: 5400000 is `1h30m`, 0 is `0s`."""
    if milliseconds < 0:
        raise ValueError(f"a duration is not negative, got {milliseconds} ms")
    parts, rest = [], milliseconds
    for unit, scale in _SCALE.items():
        if unit != "w" and rest >= scale:
            number, rest = divmod(rest, scale)
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"
