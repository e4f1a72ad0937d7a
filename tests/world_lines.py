"""What the services of the small world log: ordinary lines all day, and lines that nobody has seen while `cart` suffers.

Owns: the lines, the stream and its detector, and a LogSource over lines in memory (the real ones have their own suites).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tests.world import START, STEP

from forewarn.detector import DAY, HOUR, MINUTE, Detector, MinDeviation, Selection
from forewarn.errors import SourceUnavailable
from forewarn.pattern import PATTERN_FIELD, LogPage, LogStream
from forewarn.patterns.metrics import PatternMetrics
from forewarn.patterns.miner import PatternMiner
from forewarn.ports import Problem
from forewarn.sources.log_pages import Row, pages_of, resume_at

SERVICES = ("api", "cart")
TROUBLE = START + 13 * DAY
"""When `cart` begins to log what it never has; its requests are five times as many from then on."""


@dataclass(eq=False)
class WrittenLogs:
    """A LogSource over rows in memory, in order."""

    rows: Sequence[Row]
    down: Callable[[int], bool] = field(default=lambda _end: False)

    def read(self, _stream: LogStream, start: int, end: int, cursor: tuple[str | int, ...] | None = None) -> Iterator[LogPage]:
        """The rows of the range, a thousand a page."""
        if self.down(end):
            raise SourceUnavailable("world", "is down")
        low, high = (bisect_left(self.rows, at, key=lambda row: row[0]) for at in (resume_at(start, cursor), end))
        yield from pages_of(list(self.rows[low:high]), 1000)

    def check(self, _stream: LogStream) -> list[Problem]:
        """Nothing can be wrong."""
        return []

    def close(self) -> None:
        """Nothing to release."""


def lines_stream(selection: Selection) -> LogStream:
    """The lines, by service."""
    return LogStream("lines", selection, split_by=("service.name",), level="log.level")


def lines_detector(**changes: Any) -> Detector:
    """Counts of the patterns of the lines."""
    settings: dict[str, Any] = {
        "selection": Selection(index="world"),
        "step": STEP,
        "delay": MINUTE,
        "fit_every": 12 * HOUR,
        "fits_per_tick": 3,
        "warm_up": 6 * HOUR,
        "min_deviation": MinDeviation(absolute=5.0),
    }
    return Detector("lines", function="count", split_by=("service.name", PATTERN_FIELD), **(settings | changes))


def world_lines(seed: int = 7, days: int = 14) -> list[Row]:
    """A few thousand lines: requests with a daily rhythm, a refresh an hour, and after TROUBLE news of both services."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []

    def write(service: str, level: str, start: int, number: int, text: str) -> None:
        for at in (start + rng.integers(0, STEP, number)).tolist():
            rows.append((at, (service,), level, text.replace("%", str(int(rng.integers(1, 10_000))))))

    for start in range(START, START + days * DAY, STEP):
        busy = 4 + 2 * np.sin(2 * np.pi * (start - START) / DAY)
        for service in SERVICES:
            write(service, "info", start, int(rng.poisson(busy)), "request % served in % ms")
            write(service, "debug", start, int(start % HOUR == 0), "cache refreshed, % entries kept")
        if TROUBLE <= start < TROUBLE + 3 * HOUR:
            write("cart", "error", start, 40, "payment % refused by the gateway: out of connections after % ms")
            write("cart", "warn", start, 15, "order % will be tried again")
        if TROUBLE + HOUR // 2 <= start < TROUBLE + 2 * HOUR:
            write("api", "warn", start, 20, "certificate is renewed in % days at the latest")
    return sorted(rows)


def written(detector: Detector, rows: Sequence[Row], down: Callable[[int], bool] = lambda _end: False) -> PatternMetrics:
    """The patterns of lines in memory, as the tick reads those of a detector."""
    return PatternMetrics(WrittenLogs(rows, down), PatternMiner(), lines_stream(detector.selection))
