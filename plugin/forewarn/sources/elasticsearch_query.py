"""The searches that read metrics, and the values in their answers. Pure: sends nothing.

Owns: MetricQuery, the shapes of its searches, and the reading of their pages. The same detector and slice always give
the same JSON, key for key, so that the shard request cache can answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from typing import Any, Final

import numpy as np

from forewarn.detector import Detector, Query, Selection
from forewarn.series import Float, TimeGrid
from forewarn.sources.assembly import Raw

Json = dict[str, Any]

COMPRESSION: Final = 200
"""Of the t-digest behind median and pNN: exact up to a few hundred values a bucket; beyond, errors of rank well below 1 %
in the middle and smaller in the tails. Memory: at most about 20 values a unit of compression and bucket."""
PRECISION: Final = 3000
"""Of `cardinality`: counts up to about this many distinct values are close to exact, beyond it within about 5 %."""

TIME: Final = "t"
FILTER_PATH: Final = (
    "timed_out,terminated_early,_clusters,_shards.failed,aggregations.b.after_key,"
    "aggregations.b.buckets.key,aggregations.b.buckets.doc_count,aggregations.b.buckets.v,aggregations.b.buckets.held"
)


@dataclass(frozen=True, slots=True)
class Page:
    """Buckets of one answer: entities and bucket starts as the server gave them, and their values [n]."""

    entities: Iterable[Raw]
    starts: Iterable[int]
    values: Float
    after: Mapping[str, Any] | None


def clause(query: Query) -> Json | None:
    """The user's query as query DSL: a string is Lucene's syntax, a mapping is taken as it is, empty is no condition."""
    if not query:
        return None
    return {"query_string": {"query": query}} if isinstance(query, str) else dict(query)


def within(selection: Selection, start: int, end: int, more: Sequence[Json] = ()) -> Json:
    """The selection's documents in [start, end), UTC ms, half-open."""
    span: Json = {"range": {selection.time_field: {"gte": start, "lt": end, "format": "epoch_millis"}}}
    conditions = [span, clause(selection.query), *more]
    return {"bool": {"filter": [condition for condition in conditions if condition is not None]}}


def of_entity(fields: Sequence[str], forms: Sequence[Raw]) -> list[Json]:
    """Filters for the documents of one entity, whichever of these forms of its values they have."""
    filters: list[Json] = []
    for position, field in enumerate(fields):
        values = sorted({form[position] for form in forms}, key=lambda value: (value is not None, str(value)))
        either: list[Json] = [
            {"bool": {"must_not": [{"exists": {"field": field}}]}} if value is None else {"term": {field: value}}
            for value in values
        ]
        filters.append(either[0] if len(either) == 1 else {"bool": {"should": either, "minimum_should_match": 1}})
    return filters


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """The searches of one detector on one grid."""

    detector: Detector
    grid: TimeGrid

    def composite(self, part: TimeGrid, after: Mapping[str, Any] | None, size: int) -> Json:
        """One page of entities and buckets of `part`; one bucket alone needs no time among the sources."""
        sources: list[Json] = [
            {str(number): {"terms": {"field": field, "missing_bucket": True}}}
            for number, field in enumerate(self.detector.split_by)
        ]
        if part.size > 1:
            sources.append({TIME: {"date_histogram": self._histogram()}})
        paging: Json = {"size": size, "sources": sources}
        if after is not None:
            paging["after"] = dict(after)
        return self._search(within(self.detector.selection, part.start, part.end), {"composite": paging})

    def histogram(self, part: TimeGrid, more: Sequence[Json] = ()) -> Json:
        """All buckets of `part` that hold documents, not split."""
        return self._search(
            within(self.detector.selection, part.start, part.end, more),
            {"date_histogram": self._histogram() | {"min_doc_count": 1}},
        )

    def page(self, answer: Mapping[str, Any], part: TimeGrid) -> Page:
        """The buckets of the answer to `composite`."""
        found, buckets = _found(answer)
        keys = list(map(itemgetter("key"), buckets))
        names = [str(number) for number in range(len(self.detector.split_by))]
        # itemgetter gives a bare value for one name; zip wraps it without a Python-level loop.
        entities = zip(map(itemgetter(names[0]), keys), strict=True) if len(names) == 1 else map(itemgetter(*names), keys)
        starts = map(itemgetter(TIME), keys) if part.size > 1 else repeat(part.start)
        return Page(entities, starts, self._values(buckets), found.get("after_key"))

    def line(self, answer: Mapping[str, Any]) -> Page:
        """The buckets of the answer to `histogram`, all of the one entity ()."""
        _, buckets = _found(answer)
        return Page(repeat(()), map(itemgetter("key"), buckets), self._values(buckets), None)

    def _histogram(self) -> Json:
        return {"field": self.detector.selection.time_field, "fixed_interval": f"{self.grid.step}ms"}

    def _search(self, query: Json, buckets: Json) -> Json:
        value = self._metric()
        inside: Json = {} if value is None else {"v": value}
        if self.detector.min_count > 1 and self.detector.field is not None:
            inside["held"] = {"value_count": {"field": self.detector.field}}
        return {"query": query, "aggs": {"b": buckets | {"aggs": inside} if inside else buckets}}

    def _metric(self) -> Json | None:
        function, field = self.detector.function, self.detector.field
        if function == "ratio":
            return {"filter": clause(self.detector.of)}
        if self.detector.percentile is not None:
            shape = {"field": field, "percents": [self.detector.percentile], "keyed": False}
            return {"percentiles": shape | {"tdigest": {"compression": COMPRESSION}}}
        if field is None:
            return None
        if function == "cardinality":
            return {"cardinality": {"field": field, "precision_threshold": PRECISION}}
        return {function: {"field": field}}

    def _values(self, buckets: Sequence[Mapping[str, Any]]) -> Float:
        values = self._computed(buckets)
        if self.detector.min_count > 1:
            of_field = self.detector.field is not None
            held = _numbers(map(itemgetter("value"), map(itemgetter("held"), buckets))) if of_field else _documents(buckets)
            values[held < self.detector.min_count] = np.nan
        return values

    def _computed(self, buckets: Sequence[Mapping[str, Any]]) -> Float:
        function = self.detector.function
        if function == "ratio":
            return _numbers(map(itemgetter("doc_count"), map(itemgetter("v"), buckets))) / _documents(buckets)
        if self.detector.percentile is not None:
            lists = map(itemgetter("values"), map(itemgetter("v"), buckets))
            return _numbers(map(itemgetter("value"), map(itemgetter(0), lists)))
        if self.detector.field is None:
            return _documents(buckets) * (1000 / self.grid.step) if function == "rate" else _documents(buckets)
        return _numbers(map(itemgetter("value"), map(itemgetter("v"), buckets)))


def _found(answer: Mapping[str, Any]) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
    # Absent where no index matched, and where nothing was found: filter_path leaves out what is empty.
    found: Mapping[str, Any] = answer.get("aggregations", {}).get("b", {})
    return found, found.get("buckets", ())


def _documents(buckets: Sequence[Mapping[str, Any]]) -> Float:
    return np.fromiter(map(itemgetter("doc_count"), buckets), np.float64, len(buckets))


def _numbers(values: Iterable[float | None]) -> Float:
    return np.array(list(values), dtype=np.float64)  # null becomes NaN
