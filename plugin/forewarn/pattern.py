"""What the logs say: streams of lines, patterns with stable ids, and what mining makes of a block of time.

Owns: LogStream, LogLine, LogPage, Pattern, Mined. Values only; masking and mining live in `patterns/`, reading in `sources/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from forewarn.detector import Selection
from forewarn.series import SeriesBatch

PATTERN_FIELD: Final = "pattern"
"""The last field of the entity of a pattern's series: (log stream, entity..., (pattern, id))."""
OTHER: Final = "other"
"""The pattern id under which lines are counted that mining does not tell apart (budget, not log-like)."""
EXAMPLE_LENGTH: Final = 500

LEVELS: Final = ("trace", "debug", "info", "notice", "warn", "error", "critical")
"""Log levels from least to most severe, as `level_of` spells them."""

_ALIASES: Final = {
    "warning": "warn", "err": "error", "fatal": "critical", "crit": "critical", "emerg": "critical", "emergency": "critical",
    "alert": "critical", "severe": "error", "information": "info", "informational": "info", "verbose": "debug",
    "panic": "critical",
}  # fmt: skip


def level_of(text: str | None) -> str:
    """A level as LEVELS spells it; "" for none and for words that are no level."""
    word = (text or "").strip().lower()
    word = _ALIASES.get(word, word)
    return word if word in LEVELS else ""


@dataclass(frozen=True, slots=True)
class LogStream:
    """Lines that are mined together: where they are, which field is the message, which fields name the entity and level."""

    name: str
    selection: Selection
    message: str = "message"
    split_by: tuple[str, ...] = ()
    level: str | None = None
    redact: tuple[str, ...] = ()
    """Regular expressions; what they match is cut out of examples, beside the built-in ones."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: time UTC ms, the values of `split_by` in order ("" where absent), level as written, and the message."""

    time: int
    entity: tuple[str, ...]
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some lines of a stream, ascending in time; never kept. `cursor` resumes after the last of them."""

    lines: tuple[LogLine, ...]
    cursor: tuple[str | int, ...] | None


@dataclass(frozen=True, slots=True)
class Pattern:
    """A log template: `id` never changes, `text` has `<*>` where lines differ, `example` is one line, cut and redacted.

    `namespace` is (stream, service): what is mined together. `level` as LEVELS, "" if lines carry none.
    """

    id: str
    namespace: tuple[str, ...]
    level: str
    text: str
    example: str
    first_seen: int
    last_seen: int
    total: int = 0
    merged_into: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Mined:
    """A block of time of one stream: lines per bucket, entity and pattern, and every pattern that was seen in it.

    `counts` has a key for each (entity, pattern) seen, NaN where a bucket has none; `patterns` maps ids to patterns as
    this block saw them; `warnings` say what was not told apart, and why.
    """

    counts: SeriesBatch
    patterns: Mapping[str, Pattern]
    warnings: tuple[str, ...] = field(default=())
