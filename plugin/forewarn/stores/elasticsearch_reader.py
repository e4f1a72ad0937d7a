"""Reading results out of Elasticsearch, for the datasource.

Owns the ResultReader part of the Elasticsearch store. Must not write. Searches see what was there at the last refresh of
an index, which the server does about once a second.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from elasticsearch import Elasticsearch

from forewarn.anomaly import Anomaly
from forewarn.elastic import store_errors
from forewarn.errors import RequestError
from forewarn.results import SeriesRecord, StoredScores, score_id
from forewarn.series import SeriesKey
from forewarn.stores.elasticsearch_documents import anomaly_from, record_from
from forewarn.stores.elasticsearch_indices import Indices
from forewarn.stores.records import parse_key

_PAGE: Final = 10_000
"""The most hits that an index gives at once (index.max_result_window)."""
_IDS: Final = 2_000
"""Ids in one filter."""
_BUCKETS: Final = 2_000
_SERIES: Final = "anomaly.series"
_SPAN: Final = "anomaly.bucket_span"
_NUMBERS: Final = ("actual", "expected", "lower", "upper", "score")
_LISTED: Final = (
    "version", "detector", "series", "bucket_span", "unit", "owner", "timezone", "status", "engine", "fitted_at", "first_seen",
    "last_seen", "retired",
)  # fmt: skip
_ALWAYS: Final = tuple(name for name in _LISTED if name != "fitted_at")
_BLOBS: Final = ["model", "calibration"]
_ID: Final = re.compile(r"[0-9a-f]{32}\Z")

Hit = Mapping[str, Any]


class ElasticsearchReader:
    """The ResultReader of one installation."""

    def __init__(self, client: Elasticsearch, indices: Indices) -> None:
        self._client = client
        self._indices = indices

    def refresh(self) -> None:
        """Makes everything that was written visible to searches."""
        with store_errors():
            self._client.indices.refresh(index=self._indices.everything, ignore_unavailable=True)

    def series(self, *, detector: str | None = None, limit: int = 10_000) -> list[SeriesRecord]:
        """Known series by (detector, entity), without models."""
        query = _all_of(*_terms("detector", None if detector is None else [detector]))
        sort = [{"anomaly.sort_key": "asc"}, {"anomaly.series_id": "asc"}]
        hits = list(self._hits(self._indices.models, query, sort, limit, _LISTED))
        thin = [hit["sort"][1] for hit in hits if not all(f"anomaly.{name}" in hit["fields"] for name in _ALWAYS)]
        whole = self._whole([(self._indices.models, id_) for id_ in thin])
        documents = (whole.get(hit["sort"][1]) or _listed(hit["fields"]) for hit in hits)
        return sorted(map(record_from, documents), key=lambda record: record.key)

    def find(self, series_id: str) -> SeriesRecord | None:
        """One series with its model and calibration; sees the last write."""
        if not _ID.match(series_id):
            return None
        with store_errors():
            answer = self._client.options(ignore_status=404).get(index=self._indices.models, id=series_id)
        return record_from(answer["_source"]) if answer.get("found") else None

    def scores(self, series_ids: Sequence[str], start: int, end: int, limit: int) -> list[StoredScores]:
        """Scores in [start, end) by series, in the order given; RequestError beyond `limit`."""
        wanted = list(dict.fromkeys(series_ids))
        sort = [{field: "asc"} for field in ("anomaly.series_id", "@timestamp", "event.created", "anomaly.bucket_span")]
        found: dict[str, list[Hit]] = {}
        room = limit
        for low in range(0, len(wanted), _IDS):
            query = _all_of(*_terms("series_id", wanted[low : low + _IDS]), _between("@timestamp", start, end))
            for hit in self._hits(self._indices.alias("scores"), query, sort, room + 1, _NUMBERS):
                room -= 1
                if room < 0:
                    raise RequestError("range", f"holds more than {limit:,} buckets: ask for less time or fewer series")
                found.setdefault(hit["sort"][0], []).append(hit)
        known = self._known(wanted, found)
        return [_stored(*known[id_], found.get(id_, [])) for id_ in wanted if id_ in known]

    def latest(self, series_ids: Sequence[str] | None, since: int) -> list[tuple[SeriesKey, int, float]]:
        """The last (key, bucket start, score) of each series that has one at or after `since`."""
        wanted = None if series_ids is None else list(dict.fromkeys(series_ids))
        parts = [None] if wanted is None else [wanted[low : low + _IDS] for low in range(0, len(wanted), _IDS)]
        found: list[tuple[SeriesKey, int, float]] = []
        for part in parts:
            hits = dict(self._last_hits(_all_of(*_terms("series_id", part), _between("@timestamp", since, None))))
            whole = self._whole([_place(id_, hit) for id_, hit in hits.items() if _SERIES not in hit["fields"]])
            for series_id, hit in hits.items():
                start = int(hit["sort"][0])
                name = _name(hit["fields"], whole, score_id(series_id, start, _span(hit)))
                score = float(hit["fields"].get("anomaly.score", (math.nan,))[0])
                found.append((parse_key(name), start, score))
        return sorted(found, key=lambda item: item[0])

    def anomalies(
        self,
        start: int,
        end: int,
        *,
        series_ids: Sequence[str] | None = None,
        detector: str | None = None,
        min_severity: float = 0.0,
        limit: int = 1000,
    ) -> list[Anomaly]:
        """The most severe anomalies that overlap [start, end), by (start, id)."""
        filters = [
            {"range": {"event.end": {"gt": start, "format": "epoch_millis"}}},
            _between("@timestamp", None, end),
            *_terms("series_id", series_ids),
            *_terms("detector", None if detector is None else [detector]),
            *([{"range": {"anomaly.severity": {"gte": min_severity}}}] if min_severity > 0 else []),
        ]
        sort = [{"anomaly.severity": "desc"}, {"@timestamp": "asc"}, {"anomaly.id": "asc"}]
        hits = self._hits(self._indices.alias("anomalies"), _visible(*filters), sort, limit)
        return sorted((anomaly_from(hit["_source"]) for hit in hits), key=lambda anomaly: (anomaly.start, anomaly.id))

    def anomaly(self, anomaly_id: str) -> Anomaly | None:
        """One anomaly by id; None also for one that was withdrawn."""
        query = _visible({"ids": {"values": [anomaly_id]}})
        hits = self._hits(self._indices.alias("anomalies"), query, [{"@timestamp": "desc"}], 1)
        return next((anomaly_from(hit["_source"]) for hit in hits), None)

    def _hits(
        self, index: str, query: dict[str, Any], sort: list[dict[str, Any]], limit: int, fields: Sequence[str] = ()
    ) -> Iterator[Hit]:
        """Up to `limit` hits in order, page by page: their source, or only `fields` from doc values.

        With fields a hit has neither source nor id: reading those means unpacking stored fields, which takes most of the time.
        """
        lean: dict[str, Any] = {"docvalue_fields": [f"anomaly.{name}" for name in fields], "stored_fields": "_none_"}
        after: list[Any] | None = None
        while limit > 0:
            size = min(limit, _PAGE)
            with store_errors():
                answer = self._client.search(
                    index=index,
                    query=query,
                    sort=sort,
                    size=size,
                    search_after=after,
                    track_total_hits=False,
                    ignore_unavailable=True,
                    allow_partial_search_results=False,
                    **(lean if fields else {}),
                )
            hits = answer["hits"]["hits"]
            for hit in hits:
                hit.setdefault("fields", {})  # absent when a document has none of them
                yield hit
            if len(hits) < size:
                return
            limit -= size
            after = hits[-1]["sort"]

    def _last_hits(self, query: dict[str, Any]) -> Iterator[tuple[str, Hit]]:
        """The id and the last score of each series that matches."""
        after: dict[str, Any] | None = None
        last = {
            "size": 1,
            "sort": [{"@timestamp": "desc"}, {"event.created": "desc"}],
            "stored_fields": "_none_",
            "docvalue_fields": ["anomaly.score", _SERIES, _SPAN],
        }
        while True:
            sources = {"size": _BUCKETS, "sources": [{"id": {"terms": {"field": "anomaly.series_id"}}}]}
            with store_errors():
                answer = self._client.search(
                    index=self._indices.alias("scores"),
                    query=query,
                    size=0,
                    aggs={
                        "series": {
                            "composite": sources | ({"after": after} if after else {}),
                            "aggs": {"last": {"top_hits": last}},
                        }
                    },
                    track_total_hits=False,
                    ignore_unavailable=True,
                    allow_partial_search_results=False,
                )
            series = answer.get("aggregations", {}).get("series", {})  # absent when there is no index yet
            for bucket in series.get("buckets", []):
                hit = bucket["last"]["hits"]["hits"][0]
                yield bucket["key"]["id"], hit
            if not (after := series.get("after_key")):
                return

    def _known(self, series_ids: Sequence[str], found: Mapping[str, Sequence[Hit]]) -> dict[str, tuple[SeriesKey, int]]:
        """The key and step of the series that have a record, or else one of the scores that were found."""
        named: dict[str, Hit] = {}
        for low in range(0, len(series_ids), _IDS):
            query = _all_of(*_terms("series_id", series_ids[low : low + _IDS]))
            for hit in self._hits(self._indices.models, query, [{"anomaly.series_id": "asc"}], _IDS, ("series", "bucket_span")):
                named[hit["sort"][0]] = hit
        whole = self._whole([(self._indices.models, id_) for id_, hit in named.items() if _SERIES not in hit["fields"]])
        known = {
            id_: (parse_key(_name(hit["fields"], whole, id_)), round(hit["fields"][_SPAN][0] * 1000))
            for id_, hit in named.items()
        }
        strangers = {id_: hits[-1] for id_, hits in found.items() if id_ not in known}
        whole = self._whole([_place(id_, hit, 1) for id_, hit in strangers.items()])
        for document in whole.values():
            stored = document["anomaly"]
            known[stored["series_id"]] = (parse_key(stored["series"]), round(stored["bucket_span"] * 1000))
        return known

    def _whole(self, places: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
        """The sources of some documents by id: where a name is too long for doc values, or a series has no record."""
        if not places:
            return {}
        with store_errors():
            documents = self._client.mget(
                docs=[{"_index": index, "_id": id_, "_source": {"excludes": _BLOBS}} for index, id_ in places]
            )["docs"]
        return {document["_id"]: document["_source"] for document in documents if document.get("found")}


def _all_of(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"bool": {"filter": list(filters)}}


def _visible(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"bool": {"filter": list(filters), "must_not": [{"term": {"anomaly.state": "withdrawn"}}]}}


def _terms(field: str, values: Sequence[str] | None) -> list[dict[str, Any]]:
    return [] if values is None else [{"terms": {f"anomaly.{field}": list(values)}}]


def _between(field: str, start: int | None, end: int | None) -> dict[str, Any]:
    bounds = {name: bound for name, bound in (("gte", start), ("lt", end)) if bound is not None}
    return {"range": {field: bounds | {"format": "epoch_millis"}}}


def _listed(fields: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """The part of a series' document that listings show, put together from doc values."""
    anomaly = {name: fields[f"anomaly.{name}"][0] for name in _LISTED if f"anomaly.{name}" in fields}
    return {"anomaly": anomaly}


def _name(fields: Mapping[str, Sequence[Any]], whole: Mapping[str, Mapping[str, Any]], id_: str) -> str:
    return str(fields[_SERIES][0] if _SERIES in fields else whole[id_]["anomaly"]["series"])


def _place(series_id: str, hit: Hit, time: int = 0) -> tuple[str, str]:
    """Index and id of a score; `time` is the place of its bucket start in the sort values."""
    return hit["_index"], score_id(series_id, int(hit["sort"][time]), _span(hit))


def _span(hit: Hit) -> int:
    seconds = float(hit["fields"][_SPAN][0] if _SPAN in hit["fields"] else hit["sort"][3])
    return round(seconds * 1000)


def _stored(key: SeriesKey, step: int, hits: Sequence[Hit]) -> StoredScores:
    start = np.array([hit["sort"][1] for hit in hits], dtype=np.int64)
    # After a change of the bucket one start may have two spans: the one that was written later is the last, and counts.
    last = np.append(start[1:] != start[:-1], True) if start.size else np.zeros(0, np.bool_)
    nothing = (math.nan,)
    planes = (
        np.array([hit["fields"].get(f"anomaly.{name}", nothing)[0] for hit in hits], dtype=np.float64)[last]
        for name in _NUMBERS
    )
    return StoredScores(key, step, start[last], *planes)
