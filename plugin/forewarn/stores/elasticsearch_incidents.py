"""Incidents and patterns as documents, and reading them.

Owns the form of both, and the rest of the ResultReader of the Elasticsearch store. Must not write.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from forewarn.elastic import store_errors
from forewarn.incident import Incident
from forewarn.pattern import Pattern
from forewarn.stores.elasticsearch_documents import from_date, labels, to_date
from forewarn.stores.elasticsearch_reader import ElasticsearchReader
from forewarn.stores.records import decode_noun, encode_noun, to_json

_IDS: Final = 1_000
_OPEN: Final = {"term": {"incident.state": "open"}}


class ElasticsearchIncidents(ElasticsearchReader):
    """The ResultReader of one installation, with incidents and patterns."""

    def incidents(
        self, start: int, end: int, *, state: str | None = None, min_severity: float = 0.0, limit: int = 1000
    ) -> list[Incident]:
        """The most severe incidents that overlap [start, end), by (start, id), without those that were merged away."""
        ended_after = {"range": {"event.end": {"gt": start, "format": "epoch_millis"}}}
        filters: list[dict[str, Any]] = [
            {"range": {"@timestamp": {"lt": end, "format": "epoch_millis"}}},
            {"bool": {"should": [ended_after, _OPEN]}},
            *([{"term": {"incident.state": state}}] if state is not None else []),
            *([{"range": {"incident.severity": {"gte": min_severity}}}] if min_severity > 0 else []),
        ]
        query = {"bool": {"filter": filters, "must_not": [{"exists": {"field": "incident.merged_into"}}]}}
        sort = [{"incident.severity": "desc"}, {"@timestamp": "asc"}, {"incident.id": "asc"}]
        hits = self._hits(self._indices.alias("incidents"), query, sort, limit)
        return sorted((incident_from(hit["_source"]) for hit in hits), key=lambda incident: (incident.start, incident.id))

    def incident(self, incident_id: str) -> Incident | None:
        """One incident by id, merged or not."""
        query = {"ids": {"values": [incident_id]}}
        hits = self._hits(self._indices.alias("incidents"), query, [{"@timestamp": "desc"}], 1)
        return next((incident_from(hit["_source"]) for hit in hits), None)

    def patterns(self, ids: Sequence[str]) -> list[Pattern]:
        """The known patterns among `ids`, in their order; sees the last write."""
        wanted = [id_ for id_ in dict.fromkeys(ids) if id_]
        found: dict[str, Pattern] = {}
        for low in range(0, len(wanted), _IDS):
            places = [{"_index": self._indices.patterns, "_id": id_} for id_ in wanted[low : low + _IDS]]
            with store_errors():
                documents = self._client.mget(docs=places)["docs"]  # an index that is missing is an error of its item
            found |= {item["_id"]: pattern_from(item["_source"]) for item in documents if item.get("found")}
        return [found[id_] for id_ in wanted if id_ in found]


def incident_document(version: int, incident: Incident) -> dict[str, Any]:
    """The document of an incident: fields to search and to show, and `incident.document`, from which it is read back."""
    first = incident.causes[0] if incident.causes else None
    fields: dict[str, Any] = {
        "id": incident.id,
        "state": incident.state,
        "revision": incident.revision,
        "opened": to_date(incident.opened),
        "updated": to_date(incident.updated),
        "severity": incident.severity,
        "severity_band": incident.severity_band,
        "title": incident.title,
        "owner": incident.owner,
        "anomalies": list(incident.anomalies),
        "detectors": sorted({anomaly.key.detector for anomaly in incident.anomalies.values()}),
        "patterns": sorted({change.pattern for change in incident.pattern_changes.values()}),
        "cards": [recommendation.card for recommendation in incident.recommendations],
        "document": json.loads(encode_noun(incident)),
    }
    if first is not None:
        fields |= {"cause": [f"{field}={value}" for field, value in first.entity], "confidence": first.confidence}
    if incident.resolved is not None:
        fields["resolved"] = to_date(incident.resolved)
    if incident.merged_into:
        fields["merged_into"] = incident.merged_into
    event = {
        "kind": "alert",
        "dataset": "forewarn.incidents",
        "id": incident.id,
        "start": to_date(incident.start),
        "end": to_date(incident.end),
        "created": to_date(version),
        "risk_score": incident.severity,
    }
    return labels(incident.entities) | {
        "@timestamp": to_date(incident.start),
        "message": incident.title,
        "tags": [incident.severity_band, incident.state],
        "event": event,
        "incident": fields,
    }


def incident_from(document: Mapping[str, Any]) -> Incident:
    """The incident of `incident_document`."""
    return decode_noun(to_json(document["incident"]["document"]), Incident)


def pattern_document(version: int, pattern: Pattern) -> dict[str, Any]:
    """The document of a pattern."""
    return labels(()) | {
        "@timestamp": to_date(pattern.last_seen),
        "message": pattern.text,
        "event": {"kind": "state", "dataset": "forewarn.patterns", "created": to_date(version)},
        "log": {"level": pattern.level},
        "pattern": {
            "id": pattern.id,
            "namespace": list(pattern.namespace),
            "text": pattern.text,
            "example": pattern.example,
            "first_seen": to_date(pattern.first_seen),
            "last_seen": to_date(pattern.last_seen),
            "total": pattern.total,
            "merged_into": pattern.merged_into,
        },
    }


def pattern_from(document: Mapping[str, Any]) -> Pattern:
    """The pattern of `pattern_document`."""
    stored = document["pattern"]
    return Pattern(
        id=stored["id"],
        namespace=tuple(stored["namespace"]),
        level=document["log"]["level"],
        text=stored["text"],
        example=stored["example"],
        first_seen=from_date(stored["first_seen"]),
        last_seen=from_date(stored["last_seen"]),
        total=stored["total"],
        merged_into=stored["merged_into"],
    )
