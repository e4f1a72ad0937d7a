"""Lines into patterns and counts: the adapter of `Miner`.

Owns: PatternMiner. First version: a pattern is a shape (no clustering of shapes yet), and its id is the one that a template
founded by that shape will bear. Keeps caches, no state: every call gives what a fresh miner would give.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from forewarn.pattern import LogLine, LogPage, LogStream, Mined, level_of
from forewarn.patterns.masking import CUT, Masker, says_nothing
from forewarn.patterns.redaction import redaction_of
from forewarn.patterns.reduction import reduced
from forewarn.patterns.tally import Tally, Words
from forewarn.series import TimeGrid

_BATCH: Final = 10_000


class PatternMiner:
    """Masks and counts. One per process is enough; its caches hold no more than some hundred MB at the very worst."""

    def __init__(self) -> None:
        self._masker = Masker()

    def mine(self, stream: LogStream, detector: str, pages: Iterable[LogPage], grid: TimeGrid) -> Mined:
        """See `Miner.mine`. More than 2,000 patterns of one namespace (stream, service) in a block are not told apart:
        the earliest are, the lines of the others count as `other`, and a warning says so.
        """
        tally = Tally(stream, grid)
        for lines in _batches(pages):
            messages = [line.message[:CUT] for line in lines]
            tally.add([line.time for line in lines], self._words(lines, messages), messages)
        redaction = redaction_of(stream.redact)
        return Mined(tally.counts(detector), tally.patterns(redaction), tuple(tally.warnings()))

    def _words(self, lines: Sequence[LogLine], messages: Sequence[str]) -> list[Words]:
        texts = list(messages)
        levels = [_level(line.level) for line in lines]
        for place in _special(texts):
            texts[place], named = reduced(texts[place])
            levels[place] = levels[place] or level_of(named)
        shapes = [_saying(shape) for shape in self._masker.shapes(texts)]
        return list(zip([line.entity for line in lines], levels, shapes, strict=True))


def _special(texts: Sequence[str]) -> list[int]:
    """The places of texts that `reduced` may change; one expression, because it looks at every line."""
    return [place for place, text in enumerate(texts) if "=" in text or "\n" in text or text[:1] in "{ \t" or "\x1b" in text]


@lru_cache(maxsize=1024)
def _level(text: str) -> str:
    return level_of(text)


@lru_cache(maxsize=100_000)
def _saying(shape: str) -> str:
    return "" if says_nothing(shape) else shape


def _batches(pages: Iterable[LogPage]) -> Iterator[list[LogLine]]:
    """The lines in batches that end between milliseconds, wherever pages end: so that paging makes no difference."""
    held: list[LogLine] = []
    for page in pages:
        held.extend(page.lines)
        if len(held) >= _BATCH:
            last = held[-1].time
            whole = len(held)
            while whole and held[whole - 1].time == last:
                whole -= 1
            if whole:
                yield held[:whole]
                held = held[whole:]
    if held:
        yield held
