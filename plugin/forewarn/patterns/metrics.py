"""A log stream as a source of counts: the adapter of `MinedSource`.

Owns: PatternMetrics, and the bounded sample of the past that a first fill may read. Keeps no line.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from forewarn.detector import Detector
from forewarn.pattern import LogPage, LogStream, Mined
from forewarn.ports import LogSource, Miner, Problem
from forewarn.series import SeriesBatch, TimeGrid

SAMPLE: Final = 1_000_000
"""Lines of one `read` that are all counted; of more only a sample is."""


class PatternMetrics:
    """Counts the patterns of one log stream. `sample` bounds what `read` reads; `mine` reads every line."""

    def __init__(self, source: LogSource, miner: Miner, stream: LogStream, *, sample: int = SAMPLE) -> None:
        self._source = source
        self._miner = miner
        self._stream = stream
        self._sample = sample
        self.warnings: tuple[str, ...] = ()
        """What the last `read` or `mine` did not tell apart or did not read."""

    def read(self, detector: Detector, grid: TimeGrid) -> SeriesBatch:
        """Lines per bucket, entity and pattern; see `MetricSource.read`.

        With more than `sample` lines in the grid, as a first fill may meet, each bucket is read up to its share of the
        sample, and what it holds is scaled up to the whole bucket; `warnings` says so.
        """
        return self._read(detector, grid).counts

    def mine(self, detector: Detector, grid: TimeGrid) -> Mined:
        """See `MinedSource.mine`."""
        mined = self._miner.mine(self._stream, detector.name, self._source.read(self._stream, grid.start, grid.end), grid)
        self.warnings = mined.warnings
        return mined

    def check(self, detector: Detector) -> list[Problem]:
        """See `MetricSource.check`."""
        del detector
        return self._source.check(self._stream)

    def close(self) -> None:
        """Closes the log source."""
        self._source.close()

    def _read(self, detector: Detector, grid: TimeGrid) -> Mined:
        pages = _Bounded(self._source.read(self._stream, grid.start, grid.end), self._sample)
        mined = self._miner.mine(self._stream, detector.name, pages, grid)
        if pages.cut_at is not None:
            mined = self._sampled(detector, grid)
        self.warnings = mined.warnings
        return mined

    def _sampled(self, detector: Detector, grid: TimeGrid) -> Mined:
        """The first lines of each bucket, as many of each as of any other."""
        share = max(1, self._sample // grid.size)
        scale = np.ones(grid.size)

        def every() -> Iterator[LogPage]:
            for number, start in enumerate(grid.times().tolist()):
                pages = _Bounded(self._source.read(self._stream, start, start + grid.step), share)
                yield from pages
                if pages.cut_at is not None:
                    scale[number] = grid.step / (pages.cut_at - start)

        mined = self._miner.mine(self._stream, detector.name, every(), grid)
        counts = SeriesBatch(mined.counts.keys, grid, mined.counts.values * scale)
        sampled = int((scale > 1).sum())
        said = (
            f"{self._stream.name}: more than {self._sample} lines; {sampled} of {grid.size} buckets of the past were counted "
            "from a sample"
        )
        return Mined(counts, mined.patterns, (*mined.warnings, said))


class _Bounded:
    """Pages until more than `limit` lines came; then `cut_at` is the time up to which they are complete."""

    def __init__(self, pages: Iterator[LogPage], limit: int) -> None:
        self._pages = pages
        self._limit = limit
        self.cut_at: int | None = None

    def __iter__(self) -> Iterator[LogPage]:
        lines = 0
        for page in self._pages:
            lines += len(page.lines)
            if lines <= self._limit:
                yield page
                continue
            # Whole milliseconds, at least one of them: of the last the rest may be in the next page.
            allowed = max(1, len(page.lines) - (lines - self._limit))
            first = page.lines[0].time
            self.cut_at = max(page.lines[allowed - 1].time, first + 1)
            kept = tuple(line for line in page.lines if line.time < (self.cut_at or 0))
            yield LogPage(kept, None)
            return
