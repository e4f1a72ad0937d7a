"""A log stream as a source of counts: what a tick mines, what a first fill reads, and how a sample is scaled and marked."""

from collections.abc import Iterator

import numpy as np
import pytest

from forewarn.detector import Detector, Selection
from forewarn.errors import SourceUnavailable
from forewarn.pattern import LogLine, LogPage, LogStream
from forewarn.patterns.metrics import PatternMetrics
from forewarn.patterns.miner import PatternMiner
from forewarn.ports import Problem
from forewarn.series import TimeGrid

MINUTE = 60_000
STREAM = LogStream("app", Selection(path="x"), split_by=("service.name",))
DETECTOR = Detector("app", STREAM.selection, "count", split_by=("service.name", "pattern"))


class Lines:
    """A log source of lines at hand, in pages of `page` lines; counts how many it gave."""

    def __init__(self, lines: list[LogLine], page: int = 50) -> None:
        self.lines = sorted(lines, key=lambda line: line.time)
        self.page = page
        self.given = 0
        self.closed = False

    def read(self, stream: LogStream, start: int, end: int, cursor: tuple[str | int, ...] | None = None) -> Iterator[LogPage]:
        del stream, cursor
        found = [line for line in self.lines if start <= line.time < end]
        for low in range(0, len(found), self.page):
            page = found[low : low + self.page]
            self.given += len(page)
            yield LogPage(tuple(page), None)

    def check(self, stream: LogStream) -> list[Problem]:
        return [Problem("message", stream.name)]

    def close(self) -> None:
        self.closed = True


def every(ms: int, until: int, text: str = "user 7 left") -> list[LogLine]:
    return [LogLine(time, ("web",), "", text) for time in range(0, until, ms)]


def test_mining_counts_every_line_of_its_grid() -> None:
    source = Lines(every(1000, 10 * MINUTE) + every(30_000, 10 * MINUTE, "disk full"))
    metrics = PatternMetrics(source, PatternMiner(), STREAM, sample=10)
    mined = metrics.mine(DETECTOR, TimeGrid(0, 5 * MINUTE, 2))
    assert sorted(mined.counts.values.tolist()) == [[10, 10], [300, 300]]
    assert {key.detector for key in mined.counts.keys} == {"app"}
    assert sorted(pattern.text for pattern in mined.patterns.values()) == ["disk full", "user <*> left"]
    assert metrics.warnings == ()


def test_a_read_within_the_sample_is_exact_at_any_step() -> None:
    metrics = PatternMetrics(Lines(every(1000, 60 * MINUTE)), PatternMiner(), STREAM)
    batch = metrics.read(DETECTOR, TimeGrid(0, 15 * MINUTE, 4))
    np.testing.assert_array_equal(batch.values, [[900, 900, 900, 900]])
    assert metrics.warnings == ()


def test_a_read_beyond_the_sample_is_bounded_scaled_up_and_marked() -> None:
    lines = every(100, 30 * MINUTE) + every(60_000, 60 * MINUTE, "disk full")
    source = Lines(lines)
    metrics = PatternMetrics(source, PatternMiner(), STREAM, sample=4000)
    grid = TimeGrid(0, 15 * MINUTE, 4)
    batch = metrics.read(DETECTOR, grid)
    rows = sorted(batch.values.tolist(), key=lambda row: -row[0])
    np.testing.assert_allclose(rows[0][:2], [9000, 9000], rtol=0.02)
    np.testing.assert_allclose(rows[1], [15, 15, 15, 15], rtol=0.25)
    assert rows[1][2:] == [15, 15]
    assert source.given <= 2 * (4000 + 4 * 50)
    assert metrics.warnings == ("app: more than 4000 lines; 2 of 4 buckets of the past were counted from a sample",)


def test_many_lines_of_one_millisecond_do_not_stop_a_sample() -> None:
    lines = [LogLine(7, ("web",), "", f"user {number} left") for number in range(500)]
    metrics = PatternMetrics(Lines(lines, page=500), PatternMiner(), STREAM, sample=10)
    batch = metrics.read(DETECTOR, TimeGrid(0, 15 * MINUTE, 1))
    assert batch.values[0, 0] >= 500


def test_a_source_that_fails_gives_nothing() -> None:
    class Failing(Lines):
        def read(
            self, stream: LogStream, start: int, end: int, cursor: tuple[str | int, ...] | None = None
        ) -> Iterator[LogPage]:
            yield from super().read(stream, start, end, cursor)
            raise SourceUnavailable("x", "gone")

    metrics = PatternMetrics(Failing(every(1000, MINUTE)), PatternMiner(), STREAM)
    for attempt in (metrics.mine, metrics.read):
        with pytest.raises(SourceUnavailable, match="gone"):
            attempt(DETECTOR, TimeGrid(0, MINUTE, 1))


def test_checking_and_closing_are_the_log_sources() -> None:
    source = Lines([])
    metrics = PatternMetrics(source, PatternMiner(), STREAM)
    assert metrics.check(DETECTOR) == [Problem("message", "app")]
    metrics.close()
    assert source.closed
