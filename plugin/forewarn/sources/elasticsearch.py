"""Metrics from Elasticsearch, aggregated there: the adapter of `MetricSource`.

Owns: ElasticsearchMetrics, the order in which a grid is read: slices of time, pages of a slice, how both shrink. Uses
features of the server's core alone. Memory is the batch itself (twice while it grows) and one page.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from elasticsearch import Elasticsearch

from forewarn.detector import Detector
from forewarn.errors import SourceRejected
from forewarn.ports import Problem
from forewarn.series import Float, SeriesBatch, TimeGrid
from forewarn.sources.assembly import Assembly, Raw
from forewarn.sources.demands import refuse_faults
from forewarn.sources.elasticsearch_check import field_problems, problems
from forewarn.sources.elasticsearch_query import Json, MetricQuery, Page, of_entity
from forewarn.sources.elasticsearch_search import Searcher, TooLarge

_FASTEST_GROWTH: Final = 8


class ElasticsearchMetrics:
    """Reads metrics through one client. Pages start at `page_size` buckets and shrink when the server refuses them."""

    def __init__(
        self,
        client: Elasticsearch,
        *,
        page_size: int = 5000,
        timeout: str = "60s",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client.options(max_retries=0)  # it would try again at once; the searcher pauses
        self._page_size = page_size
        self._timeout = timeout
        self._sleep = sleep

    def read(self, detector: Detector, grid: TimeGrid) -> SeriesBatch:
        """See `MetricSource.read`. Documents of nested objects are not looked into."""
        refuse_faults(detector)
        reading = _Reading(self._searcher(detector), detector, grid, self._page_size)
        try:
            return reading.split() if detector.split_by else reading.whole()
        except SourceRejected as error:
            # The server names a field that it cannot aggregate, but not the one to take instead.
            for problem in field_problems(self._client, detector):
                raise SourceRejected(detector.selection.name, f"{problem.setting}: {problem.why}") from error
            raise

    def check(self, detector: Detector) -> list[Problem]:
        """See `MetricSource.check`."""
        return problems(self._client, detector)

    def close(self) -> None:
        """Closes the client."""
        self._client.close()

    def _searcher(self, detector: Detector) -> Searcher:
        return Searcher(self._client, detector.selection.index or "", detector.name, self._timeout, self._sleep)


class _Reading:
    """One read: what it has learnt about how much the server will answer at once."""

    def __init__(self, searcher: Searcher, detector: Detector, grid: TimeGrid, page_size: int) -> None:
        self._searcher = searcher
        self._detector = detector
        self._grid = grid
        self._query = MetricQuery(detector, grid)
        self._assembly = Assembly(detector.name, detector.split_by, grid)
        self._size = page_size
        """Buckets that the server is asked for at once."""

    def split(self) -> SeriesBatch:
        """All entities: slices of about one page each, because every page searches its whole slice anew."""
        start, width = 0, 1
        while start < self._grid.size:
            part = self._part(start, min(width, self._grid.size - start))
            buckets = 0
            for page in self._pages(part):
                buckets += len(page.values)
                self._assembly.put(page.entities, page.starts, page.values)
            start += part.size
            fitting = self._size * part.size // max(1, buckets)
            width = max(1, min(fitting, _FASTEST_GROWTH * part.size))
        for forms in self._assembly.ambiguous().values():
            self._assembly.replace(forms, self._entity(forms))
        return self._assembly.batch()

    def whole(self) -> SeriesBatch:
        """The one series of a detector that does not split."""
        for page in self._lines(()):
            self._assembly.put(page.entities, page.starts, page.values)
        return self._assembly.batch()

    def _entity(self, forms: Sequence[Raw]) -> Float:
        """The values [T] of one entity whose documents carry its values in several forms."""
        values = np.full(self._grid.size, np.nan)
        for page in self._lines(of_entity(self._detector.split_by, forms)):
            starts = np.fromiter(page.starts, np.int64, len(page.values))
            values[(starts - self._grid.start) // self._grid.step] = page.values
        return values

    def _pages(self, part: TimeGrid) -> Iterator[Page]:
        after: Mapping[str, Any] | None = None
        while True:  # until there is no key to go on from: a short page need not be the last
            page = self._query.page(self._shrinking(partial(self._query.composite, part, after)), part)
            yield page
            if page.after is None:
                return
            after = page.after

    def _lines(self, more: Sequence[Json]) -> Iterator[Page]:
        start = 0
        while start < self._grid.size:
            yield self._query.line(self._shrinking(partial(self._line, start, more)))
            start += self._size

    def _line(self, start: int, more: Sequence[Json], size: int) -> Json:
        return self._query.histogram(self._part(start, min(size, self._grid.size - start)), more)

    def _shrinking(self, body: Callable[[int], Json]) -> Mapping[str, Any]:
        """The answer to `body(size)` for the largest size that the server accepts; one bucket is the smallest."""
        while True:
            try:
                return self._searcher.search(body(self._size))
            except TooLarge:
                if self._size == 1:
                    raise
                self._size //= 2

    def _part(self, start: int, size: int) -> TimeGrid:
        return TimeGrid(self._grid.start + start * self._grid.step, self._grid.step, size)
