"""Places that lines of a test are put in, one for each way that logs are read, and what a read of them must give.

Owns: LogPlace and its makers, `expected`, `lines_of`.
"""

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from elasticsearch import Elasticsearch, helpers

from forewarn.detector import Query, Selection
from forewarn.pattern import LogLine, LogPage, LogStream
from forewarn.ports import LogSource
from forewarn.sources.elasticsearch_logs import ElasticsearchLogs
from forewarn.sources.file_logs import FileLogs

Document = Mapping[str, Any]
"""Flat: dotted field -> value; "@timestamp" is UTC ms."""

MAPPING: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        "@timestamp": {"type": "date"},
        "service": {"properties": {"name": {"type": "keyword"}}},
        "host": {"properties": {"name": {"type": "keyword"}}},
        "log": {"properties": {"level": {"type": "keyword"}}},
        "message": {"type": "text"},
        "code": {"type": "long"},
        "ok": {"type": "boolean"},
    },
}


class LogPlace(Protocol):
    """Where lines are put and read from again."""

    def put(self, name: str, documents: Iterable[Document]) -> Selection:
        """Keeps the documents and selects them all."""
        ...

    def source(self, page: int = 5000) -> LogSource:
        """A source that reads pages of this size."""
        ...

    def selection(self, name: str, query: Query = None) -> Selection:
        """What was put under the name, or what a pattern of names covers."""
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

    def put(self, name: str, documents: Iterable[Document]) -> Selection:
        index = f"{self.prefix}-{name}"
        settings = {"number_of_shards": 2, "number_of_replicas": 0}
        self.client.indices.create(index=index, mappings=MAPPING, settings=settings)
        helpers.bulk(self.client, [{"_index": index, "_source": nested(document)} for document in documents], refresh=True)
        return self.selection(name)

    def source(self, page: int = 5000) -> LogSource:
        return ElasticsearchLogs(self.client, page=page)

    def selection(self, name: str, query: Query = None) -> Selection:
        return Selection(index=f"{self.prefix}-{name}", query=query)


@dataclass
class FilePlace:
    folder: Path
    compressed: bool = False

    def put(self, name: str, documents: Iterable[Document]) -> Selection:
        kept = list(documents)
        for number, part in enumerate((kept[::2], kept[1::2])):
            # Half of the documents have dots in their names rather than nested objects; both are the same document.
            lines = [
                nested(document) if place % 2 else {**document, "@timestamp": iso(document["@timestamp"])}
                for place, document in enumerate(part)
            ]
            content = "".join(json.dumps(line, ensure_ascii=bool(number)) + "\n" for line in lines).encode()
            path = self.folder / f"{name}-{number}.ndjson{'.gz' if self.compressed else ''}"
            path.write_bytes(gzip.compress(content) if self.compressed else content)
        return self.selection(name)

    def source(self, page: int = 5000) -> LogSource:
        return FileLogs(page=page)

    def selection(self, name: str, query: Query = None) -> Selection:
        return Selection(path=str(self.folder / f"{name}-*.ndjson{'.gz' if self.compressed else ''}"), query=query)


def expected(documents: Iterable[Document], stream: LogStream, start: int, end: int) -> list[LogLine]:
    """The lines of documents that all match, as slow and as clear as can be."""

    def text(value: object) -> str:
        if isinstance(value, list):
            value = value[0] if value else None
        if value is None:
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value)

    rows = [
        (
            document["@timestamp"],
            tuple(text(document.get(field)) for field in stream.split_by),
            text(document.get(stream.level)) if stream.level else "",
            text(document.get(stream.message))[:2000],
        )
        for document in documents
        if start <= document["@timestamp"] < end
    ]
    return [LogLine(*row) for row in sorted(rows)]


def lines_of(pages: Iterable[LogPage]) -> list[LogLine]:
    return [line for page in pages for line in page.lines]
