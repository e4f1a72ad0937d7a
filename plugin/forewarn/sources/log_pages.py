"""Lines in order become pages, alike for every log source: ascending in time, ties by content, whole milliseconds.

Owns: `pages_of`, PAGE, CUT. A page never ends inside a millisecond, so its cursor is one number: the time that is done.
"""

from collections.abc import Iterator
from typing import Final

from forewarn.pattern import LogLine, LogPage

PAGE: Final = 5_000
CUT: Final = 2_000
"""Characters of a message that are read."""

Row = tuple[int, tuple[str, ...], str, str]
"""(time, entity, level, message), as in LogLine; sorts as lines are ordered."""


def pages_of(rows: list[Row], size: int = PAGE) -> Iterator[LogPage]:
    """The rows, which it sorts, in pages of about `size`; more where a millisecond holds more.

    The order within a millisecond is that of the content, which a second read repeats whatever the server or the file
    system did in between.
    """
    rows.sort()
    low = 0
    while low < len(rows):
        high = min(low + size, len(rows))
        last = rows[high - 1][0]
        while high < len(rows) and rows[high][0] == last:
            high += 1
        yield LogPage(tuple([LogLine(*row) for row in rows[low:high]]), (last,))
        low = high


def resume_at(start: int, cursor: tuple[str | int, ...] | None) -> int:
    """Where to go on: after the millisecond that the cursor names, and never before `start`."""
    return start if not cursor else max(start, int(cursor[0]) + 1)
