"""The indices of one installation: their names, strict mappings and templates, and how they come to be.

Owns what Grafana and Kibana see as fields (ECS where ECS has a name, `anomaly.*` where it has none). Must not read or write
results.
"""

from dataclasses import dataclass
from typing import Any, Final

from elasticsearch import Elasticsearch

from forewarn.elastic import store_errors
from forewarn.errors import StoreConflict, StoreRejected
from forewarn.stores.partitions import Partitions

SCHEMA_VERSION: Final = 1
DATED: Final = ("scores", "anomalies", "incidents")
ECS_VERSION: Final = "8.17.0"
ENTITY_FIELDS: Final = frozenset({"service.name", "service.environment", "host.name", "container.name", "cloud.region"})
"""Split fields that are copied to the ECS field of their name; `labels` holds them all."""
TEMPLATE_PRIORITY: Final = 500

_KEYWORD: Final = {"type": "keyword", "ignore_above": 8191}  # longer ones would not fit into a Lucene term
_DATE: Final = {"type": "date"}
_LONG: Final = {"type": "long"}
_DOUBLE: Final = {"type": "double"}
_BOOLEAN: Final = {"type": "boolean"}
_BINARY: Final = {"type": "binary"}  # not indexed, no doc values: it lives in _source alone


def _object(**fields: Any) -> dict[str, Any]:
    return {"properties": fields}


def _same(kind: dict[str, Any], names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), kind)


RESULT_FIELDS: Final[dict[str, Any]] = {
    "@timestamp": _DATE,
    "message": {"type": "text"},
    "tags": _KEYWORD,
    "labels": {"type": "flattened", "ignore_above": 4096},
    "ecs": _object(version=_KEYWORD),
    "event": _object(
        **_same(_KEYWORD, "kind category dataset module provider action id url reason"),
        **_same(_DATE, "start end created ingested"),
        duration=_LONG,
        risk_score={"type": "float"},
        severity=_LONG,
    ),
    "rule": _object(**_same(_KEYWORD, "id name category version ruleset uuid")),
    "observer": _object(**_same(_KEYWORD, "vendor product version")),
    "service": _object(**_same(_KEYWORD, "name environment")),
    "host": _object(name=_KEYWORD),
    "container": _object(name=_KEYWORD),
    "cloud": _object(region=_KEYWORD),
    "anomaly": _object(
        **_same(_KEYWORD, "result_type id detector function field_name series series_id sort_key state direction"),
        **_same(_KEYWORD, "severity_band explanation_type unit owner timezone status engine merged_into"),
        **_same(_LONG, "n revision version"),
        **_same(_BOOLEAN, "is_interim retired"),
        **_same(_DATE, "peak fitted_at first_seen last_seen"),
        **_same(
            _DOUBLE,
            "bucket_span severity score initial_score probability multi_bucket_impact actual expected lower upper deviation",
        ),
        influencers={"type": "flattened", "ignore_above": 4096},
        explanation={"type": "object", "enabled": False},  # kept as it is: its fields are the scorer's own
    ),
}
INCIDENT_FIELDS: Final[dict[str, Any]] = {
    "incident": _object(
        **_same(_KEYWORD, "id state owner merged_into severity_band cause anomalies detectors patterns cards"),
        **_same(_DATE, "opened updated resolved"),
        revision=_LONG,
        severity=_DOUBLE,
        confidence=_DOUBLE,
        title={"type": "text"},
        document={"type": "object", "enabled": False},  # the whole incident with its members, as it is
    ),
}
PATTERN_FIELDS: Final[dict[str, Any]] = {
    "log": _object(level=_KEYWORD),
    "pattern": _object(
        **_same(_KEYWORD, "id namespace merged_into"),
        **_same(_DATE, "first_seen last_seen"),
        total=_LONG,
        text={"type": "text"},
        example={"type": "text"},
    ),
}
MODEL_FIELDS: Final[dict[str, Any]] = {"model": _BINARY, "calibration": _BINARY}
STATE_FIELDS: Final[dict[str, Any]] = {
    "kind": _KEYWORD,
    "name": _KEYWORD,
    "content": _BINARY,
    **_same(_LONG, "now at number schema kept_from"),
    "partition": _KEYWORD,
}


@dataclass(frozen=True, slots=True)
class Indices:
    """The names of the indices and aliases of one installation."""

    prefix: str

    def alias(self, kind: str) -> str:
        """What reads the dated indices of one kind."""
        return f"{self.prefix}-{kind}"

    def dated(self, kind: str, partition: str) -> str:
        """The index of one kind and partition."""
        return f"{self.prefix}-{kind}-{partition}"

    @property
    def models(self) -> str:
        """One document for each series."""
        return f"{self.prefix}-models"

    @property
    def patterns(self) -> str:
        """One document for each log template."""
        return f"{self.prefix}-patterns"

    @property
    def state(self) -> str:
        """Head, blocks, cursors, and the document about the store itself."""
        return f"{self.prefix}-state"

    @property
    def everything(self) -> list[str]:
        """Patterns of all indices, for refreshing."""
        return [*(f"{self.alias(kind)}-*" for kind in DATED), self.models, self.patterns, self.state]


def prepare(client: Elasticsearch, indices: Indices, partitions: Partitions) -> Partitions:
    """Creates templates, the state index and the store's own document where they are missing; returns the granularity
    that the store was created with. The other indices come with their first documents.

    One read if the store is there, so that whoever only reads needs no other privilege. Safe when several do it at once.
    Raises StoreRejected for a store that a newer version has made.
    """
    if (found := _about(client, indices)) is not None:
        return found
    with store_errors():
        for name, template in _components(indices).items():
            client.cluster.put_component_template(name=name, template=template)
        for name, body in _templates(indices).items():
            client.indices.put_index_template(name=name, **body)
    create_index(client, indices.state)
    about = {"kind": "store", "schema": SCHEMA_VERSION, "partition": partitions.granularity}
    try:
        with store_errors():
            client.index(index=indices.state, id="store", document=about, op_type="create")
    except StoreConflict:  # another process was faster, and may have asked for another granularity
        return _about(client, indices) or partitions
    return partitions


def create_index(client: Elasticsearch, name: str) -> None:
    """Creates an index from its template unless it is there; automatic creation may be switched off in the cluster."""
    with store_errors():
        answer = client.options(ignore_status=400).indices.create(index=name)
    if (error := answer.get("error")) and error["type"] != "resource_already_exists_exception":
        raise StoreRejected(f"the index {name} cannot be created: {error['reason']}")


def _about(client: Elasticsearch, indices: Indices) -> Partitions | None:
    with store_errors():
        answer = client.options(ignore_status=404).get(index=indices.state, id="store")
    if not answer.get("found"):
        return None
    about = answer["_source"]
    if about["schema"] > SCHEMA_VERSION:
        raise StoreRejected(
            f"the indices {indices.prefix}-* were written by a newer Forewarn (schema {about['schema']}, this one knows up "
            f"to {SCHEMA_VERSION}): upgrade this installation or use another prefix"
        )
    return Partitions.of(about["partition"])


def _components(indices: Indices) -> dict[str, dict[str, Any]]:
    strict = {"dynamic": "strict", "properties": RESULT_FIELDS}
    return {
        f"{indices.prefix}-mappings": {"mappings": strict},
        f"{indices.prefix}-settings": {"settings": {"number_of_shards": 1, "auto_expand_replicas": "0-1"}},
    }


def _templates(indices: Indices) -> dict[str, dict[str, Any]]:
    common = {"priority": TEMPLATE_PRIORITY, "version": SCHEMA_VERSION, "meta": {"description": "Results of Forewarn"}}
    settings, mappings = f"{indices.prefix}-settings", f"{indices.prefix}-mappings"
    newest_first = {"index": {"codec": "best_compression", "sort.field": "@timestamp", "sort.order": "desc"}}
    templates: dict[str, dict[str, Any]] = {
        indices.alias(kind): common
        | {
            "index_patterns": [f"{indices.alias(kind)}-*"],
            "composed_of": [settings, mappings],
            "template": {
                "settings": newest_first,
                "aliases": {indices.alias(kind): {}},
                "mappings": {"properties": INCIDENT_FIELDS if kind == "incidents" else {}},
            },
        }
        for kind in DATED
    }
    for name, fields in ((indices.models, MODEL_FIELDS), (indices.patterns, PATTERN_FIELDS)):
        templates[name] = common | {
            "index_patterns": [name],
            "composed_of": [settings, mappings],
            "template": {"mappings": {"properties": fields}},
        }
    templates[indices.state] = common | {
        "index_patterns": [indices.state],
        "composed_of": [settings],
        "template": {"mappings": {"dynamic": "strict", "properties": STATE_FIELDS}},
    }
    return templates
