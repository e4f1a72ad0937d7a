"""Places that documents of a test are put in, one for each way that metrics are read, and what a read of them must give.

Owns: Place and its makers, `expected`: the same documents in plain Python, bucket by bucket, as slow and as clear as can be.
"""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import duckdb
import numpy as np
from elasticsearch import Elasticsearch, helpers

from forewarn.detector import Detector, Query, Selection
from forewarn.ports import MetricSource
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid
from forewarn.sources.elasticsearch import ElasticsearchMetrics
from forewarn.sources.files import FileMetrics

Document = Mapping[str, Any]
"""Flat: dotted field -> a value, a list of values, or None; "@timestamp" is UTC ms."""

KEYWORDS = ("id", "service.name", "host.name", "region", "user")
MAPPING: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        "@timestamp": {"type": "date"},
        "id": {"type": "keyword"},
        "service": {"properties": {"name": {"type": "keyword"}}},
        "host": {"properties": {"name": {"type": "keyword"}}},
        "region": {"type": "keyword"},
        "user": {"type": "keyword"},
        "code": {"type": "long"},
        "v": {"type": "double"},
        "message": {"type": "text", "fields": {"keyword": {"type": "keyword"}}},
        "note": {"type": "text"},
        "short": {"type": "keyword", "ignore_above": 5},
    },
}


class Place(Protocol):
    """Where documents are put and read from again."""

    source: MetricSource
    lists: bool
    """Whether a field may have several values there."""

    def put(self, name: str, documents: Iterable[Document]) -> Callable[..., Selection]:
        """Keeps the documents; the answer makes selections of them: `(query=None, name=None)`."""
        ...


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def nested(document: Document) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, value in document.items():
        *path, last = field.split(".")
        inner = found
        for name in path:
            inner = inner.setdefault(name, {})
        inner[last] = iso(value) if field == "@timestamp" else value
    return found


@dataclass
class ElasticsearchPlace:
    client: Elasticsearch
    prefix: str
    source: MetricSource
    lists: bool = True

    def put(self, name: str, documents: Iterable[Document]) -> Callable[..., Selection]:
        index = f"{self.prefix}-{name}"
        settings = {"number_of_shards": 2, "number_of_replicas": 0}
        self.client.indices.create(index=index, mappings=MAPPING, settings=settings)
        helpers.bulk(self.client, [{"_index": index, "_source": nested(document)} for document in documents], refresh=True)
        return lambda query=None, name=None: Selection(index=f"{self.prefix}-{name}" if name else index, query=query)


@dataclass
class FilePlace:
    folder: Path
    format: str
    source: MetricSource
    lists: bool

    def put(self, name: str, documents: Iterable[Document]) -> Callable[..., Selection]:
        # Two files, because a glob of several is what people have.
        kept, ending = list(documents), self.format
        for number, part in enumerate((kept[::2], kept[1::2])):
            write = {"csv": write_csv, "ndjson": write_ndjson, "parquet": write_parquet}[self.format]
            write(self.folder / f"{name}-{number}.{ending}", part)
        return lambda query=None, name=name: Selection(path=str(self.folder / f"{name}-*.{ending}"), query=query)


def write_ndjson(path: Path, documents: Iterable[Document]) -> None:
    # Half of the documents have dots in their names rather than nested objects; both are the same document.
    lines = [
        nested(document) if number % 2 else {**document, "@timestamp": iso(document["@timestamp"])}
        for number, document in enumerate(documents)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_csv(path: Path, documents: Sequence[Document]) -> None:
    fields = ["@timestamp", *sorted({field for document in documents for field in document} - {"@timestamp"})]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(documents)


def write_parquet(path: Path, documents: Sequence[Document]) -> None:
    many = "[]" if any(isinstance(value, list) for document in documents for value in document.values()) else ""
    text, kind = f"VARCHAR{many}", {"id": "VARCHAR", "@timestamp": "TIMESTAMP", "code": "BIGINT", "v": f"DOUBLE{many}"}
    columns = dict.fromkeys(("service", "host"), f"STRUCT(name {text})")
    columns |= {name: kind.get(name, text) for name in ("@timestamp", "id", "region", "user", "code", "v")}
    lines = path.with_suffix(".lines")
    listed = [
        {field: [value] if many and not isinstance(value, list) and kind.get(field) not in ("VARCHAR", "TIMESTAMP", "BIGINT")
         and value is not None else value for field, value in document.items()}
        for document in documents
    ]  # fmt: skip
    lines.write_text("".join(json.dumps(nested(document)) + "\n" for document in listed))
    with duckdb.connect() as connection:
        rows = f"SELECT * FROM read_json($lines, format='newline_delimited', columns={columns!r})"
        connection.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet)", {"lines": str(lines)})


def elasticsearch_place(client: Elasticsearch, reader: Elasticsearch, prefix: str) -> Place:
    return ElasticsearchPlace(client, prefix, ElasticsearchMetrics(reader, page_size=50, sleep=lambda _: None))


def file_place(folder: Path, file_format: str) -> Place:
    return FilePlace(folder, file_format, FileMetrics(), file_format != "csv")


def values_in(document: Document, field: str) -> list[Any]:
    value = document.get(field)
    return [item for item in (value if isinstance(value, list) else [value]) if item is not None]


def expected(
    documents: Iterable[Document],
    detector: Detector,
    grid: TimeGrid,
    of: Callable[[Document], bool] = bool,
) -> SeriesBatch:
    """What `read` must give for documents that all match the detector's query."""
    held: dict[tuple[str, ...], dict[int, list[Document]]] = {}
    for document in documents:
        if grid.start <= document["@timestamp"] < grid.end:
            found = [sorted({str(value) for value in values_in(document, field)}) or [""] for field in detector.split_by]
            for entity in product(*found):
                held.setdefault(entity, {}).setdefault(grid.index(document["@timestamp"]), []).append(document)
    values = np.full((len(held), grid.size), np.nan)
    for row, entity in enumerate(sorted(held)):
        for column, inside in held[entity].items():
            values[row, column] = _value(detector, grid, inside, of)
    keys = tuple(SeriesKey(detector.name, tuple(zip(detector.split_by, entity, strict=True))) for entity in sorted(held))
    return SeriesBatch(keys, grid, values)


def _value(detector: Detector, grid: TimeGrid, inside: Sequence[Document], of: Callable[[Document], bool]) -> float:
    held = inside if detector.field is None else [value for each in inside for value in values_in(each, detector.field)]
    return np.nan if 1 < detector.min_count > len(held) else _over(detector, grid, inside, of)


def _over(detector: Detector, grid: TimeGrid, inside: Sequence[Document], of: Callable[[Document], bool]) -> float:
    if detector.function == "ratio":
        return sum(map(of, inside)) / len(inside)
    if detector.field is None:
        return len(inside) / (grid.step / 1000 if detector.function == "rate" else 1)
    values = [value for document in inside for value in values_in(document, detector.field)]
    if detector.function in ("cardinality", "sum"):
        return float(len(set(values)) if detector.function == "cardinality" else np.sum(values))
    if detector.percentile is not None:
        return float(np.percentile(values, detector.percentile)) if values else np.nan
    return float({"avg": np.mean, "min": np.min, "max": np.max}[detector.function](values)) if values else np.nan


def detector(
    selection: Selection,
    function: str = "count",
    field: str | None = None,
    split_by: tuple[str, ...] = (),
    of: Query = None,
    step: int = 300_000,
) -> Detector:
    return Detector("d", selection, function, field, of, split_by, step)
