"""The small world put where Forewarn really reads: in files, or in an Elasticsearch, a document for each value and each line.

Owns: `in_files`, `in_elasticsearch`, and how a document looks. What is read there must be what the arrays of the world hold.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch, helpers
from tests.world import START

from forewarn.detector import MINUTE, Detector, Selection
from forewarn.series import Float, SeriesKey
from forewarn.sources.log_pages import Row

LATER = 7 * MINUTE
"""How long after the start of its bucket a value is measured."""
WORDS = {"type": "keyword"}
MAPPING = {
    "dynamic": "strict",
    "properties": {
        "@timestamp": {"type": "date"},
        "service": {"properties": {"name": WORDS}},
        "log": {"properties": {"level": WORDS}},
        "message": {"type": "text"},
        "value": {"type": "double"},
    },
}

Document = dict[str, Any]


def measured(detector: Detector, series: Mapping[SeriesKey, Float]) -> Iterator[Document]:
    """A document for each value of the detector's series."""
    for key, values in series.items():
        if key.detector == detector.name:
            names = {field.partition(".")[0]: {field.partition(".")[2]: value} for field, value in key.entity}
            for column in np.flatnonzero(~np.isnan(values)).tolist():
                yield {"@timestamp": START + column * detector.step + LATER, **names, "value": float(values[column])}


def logged(rows: Sequence[Row]) -> Iterator[Document]:
    """A document for each line."""
    for time, (service,), level, message in rows:
        yield {"@timestamp": time, "service": {"name": service}, "log": {"level": level}, "message": message}


def in_files(folder: Path, name: str, documents: Iterator[Document]) -> Selection:
    """The documents as a file of one a line."""
    path = folder / f"{name}.ndjson"
    path.write_text("".join(f"{json.dumps(document)}\n" for document in documents))
    return Selection(path=str(path))


def in_elasticsearch(client: Elasticsearch, prefix: str, name: str, documents: Iterator[Document]) -> Selection:
    """The documents as an index."""
    index = f"{prefix}-{name}"
    client.indices.create(index=index, mappings=MAPPING, settings={"number_of_replicas": 0})
    helpers.bulk(client, ({"_index": index, "_source": document} for document in documents), chunk_size=2000, refresh=True)
    return Selection(index=index)


def reading(detector: Detector, selection: Selection) -> Detector:
    """The detector over documents: a value that was counted is the sum of the one document that holds it."""
    if detector.function == "count":
        return replace(detector, selection=selection, function="sum", field="value")
    return replace(detector, selection=selection, field="value")
