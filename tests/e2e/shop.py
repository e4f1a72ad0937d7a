"""A small shop in the form of documents, and what a fixture needs to put them where Forewarn reads: an index, or a file.

Owns: MAPPING, `documents`, `index`, `write`. The numbers are the simulation's own, two weeks of them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch, helpers

from forewarn.detector import DAY, MINUTE
from forewarn.simulation.series import SERVICES, Simulation, simulate

STEP = 15 * MINUTE
END = 1_781_740_800_000
"""2026-06-18T00:00:00Z"""
START = END - 3 * DAY
"""What a replay begins with; the days before are learnt from."""
MAPPING = {
    "properties": {
        "@timestamp": {"type": "date"},
        "service": {"properties": {"name": {"type": "keyword"}}},
        "host": {"type": "text"},
        "latency": {"type": "double"},
        "requests": {"type": "double"},
    }
}


def shop(end: int = END) -> Simulation:
    """Two weeks up to `end`."""
    return simulate(11, end, STEP, weeks=2)


def documents(made: Simulation) -> Iterator[dict[str, Any]]:
    """A document for each service and bucket, in order of time."""
    columns = {name: made.metrics[name].values.tolist() for name in ("latency", "requests")}
    for position, time in enumerate(made.grid.times().tolist()):
        for row, service in enumerate(SERVICES):
            values = {name: table[row][position] for name, table in columns.items()}
            yield {"@timestamp": time, "service": {"name": service}, "host": f"{service} 1", **values}


def index(client: Elasticsearch, name: str, made: Simulation) -> None:
    """The shop as an index."""
    client.indices.create(index=name, mappings=MAPPING, settings={"number_of_replicas": 0})
    actions = ({"_index": name, "_source": document} for document in documents(made))
    helpers.bulk(client, actions, chunk_size=2000, refresh=True)


def write(path: Path, made: Simulation) -> None:
    """The shop as a file of one document a line."""
    path.write_text("".join(f"{json.dumps(document)}\n" for document in documents(made)))
