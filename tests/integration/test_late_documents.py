"""Documents that come late, in files and in a real Elasticsearch: the next fit learns from them, and nothing else changes."""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch, helpers
from tests.late_world import learnt_from, models
from tests.world import START, make_parts

from forewarn.detector import DAY, HOUR, MINUTE, Detector, Selection
from forewarn.ports import MetricSource, Store
from forewarn.sources.elasticsearch import ElasticsearchMetrics
from forewarn.sources.files import FileMetrics
from forewarn.stores.sqlite import SqliteStore
from forewarn.tick import Memory, Parts, run_tick
from forewarn.wiring import build_forecaster, build_rooms

STEP = 5 * MINUTE
FIRST = START + DAY
LATE = (FIRST + 3 * HOUR, FIRST + 4 * HOUR)
"""Documents of this time come two hours after its end."""
LOOK, END = LATE[1] + 2 * HOUR, FIRST + 9 * HOUR
Document = dict[str, Any]
Put = Callable[[Iterable[Document]], None]


def documents(low: int, high: int) -> Iterator[Document]:
    """Two requests a host every 150 s, of a duration that goes up and down; those of LATE are slower."""
    for time in range(low, high, 150_000):
        for number, host in enumerate(("a", "b")):
            noise = (time // 150_000 * (7 + number) % 13) / 10
            slower = 50.0 if LATE[0] <= time < LATE[1] else 0.0
            yield {"at": time, "host": host, "v": 100 + 20 * np.sin(2 * np.pi * time / DAY) + noise + slower}


@pytest.fixture(params=["files", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Put, Callable[..., Detector], MetricSource]:
    """Where documents are put, detectors of what is there, and their source."""
    if request.param == "files":
        path = tmp_path / "requests.ndjson"

        def append(more: Iterable[Document]) -> None:
            with path.open("a") as file:
                for one in more:
                    moment = datetime.fromtimestamp(one["at"] / 1000, UTC).isoformat()
                    file.write(json.dumps({"@timestamp": moment, "host": one["host"], "v": one["v"]}) + "\n")

        return append, lambda **more: detector(Selection(path=str(path)), **more), FileMetrics()
    client: Elasticsearch = request.getfixturevalue("es_client")
    index = f"{request.getfixturevalue('es_prefix')}-requests"
    kinds = {"@timestamp": {"type": "date"}, "host": {"type": "keyword"}, "v": {"type": "double"}}
    client.indices.create(index=index, mappings={"properties": kinds}, settings={"number_of_replicas": 0})

    def put(more: Iterable[Document]) -> None:
        rows = ({"_index": index, "@timestamp": one["at"], "host": one["host"], "v": one["v"]} for one in more)
        helpers.bulk(client, rows, refresh=True)

    return put, lambda **more: detector(Selection(index=index), **more), ElasticsearchMetrics(client)


def detector(selection: Selection, function: str = "avg", **more: Any) -> Detector:
    field = None if function == "count" else "v"
    return Detector(function, selection, function, field, split_by=("host",), step=STEP, fit_every=8 * HOUR, **more)


@pytest.fixture
def stores() -> Iterator[Callable[[], Store]]:
    """As many stores as are asked for."""
    made: list[Store] = []

    def another() -> Store:
        made.append(SqliteStore(":memory:"))
        return made[-1]

    yield another
    for store in made:
        store.close()


def parts_for(store: Store, source: MetricSource, detectors: list[Detector]) -> Parts:
    parts = make_parts(store, detectors, {}, origin=FIRST)
    forecaster = build_forecaster(0)
    rooms = {one.name: build_rooms(one, source, parts.rooms[one.name].history, forecaster) for one in detectors}
    return Parts(parts.detectors, rooms, store, parts.correlator, origin=FIRST)


def ticks(parts: Parts, memory: Memory | None, low: int, high: int) -> Memory:
    """A tick every twenty minutes, each in time."""
    for now in range(low + 20 * MINUTE, high + 1, 20 * MINUTE):
        memory = run_tick(parts, memory, now + MINUTE, now + MINUTE, f"nonce-{now}")
    assert memory is not None
    return memory


def learnt(parts: Parts, memory: Memory) -> dict[str, Any]:
    """What the next fit sees, and the models that are in force."""
    return {name: (learnt_from(parts, one, END, FIRST), models(one)) for name, one in memory.streams.items()}


def test_late_documents_are_in_the_next_fit_as_if_they_had_come_in_time(
    place: tuple[Put, Callable[..., Detector], MetricSource], stores: Callable[[], Store]
) -> None:
    put, make, source = place
    detectors = [make(function="avg"), make(function="count")]
    put(documents(START, LATE[0]))
    put(documents(LATE[1], END))
    late = parts_for(stores(), source, detectors)
    ticks(late, None, FIRST, LOOK)
    put(documents(*LATE))
    memory = ticks(late, None, LOOK, END)  # after a restart
    for name, stream in memory.streams.items():
        corrected = stream.tail.corrections
        assert (corrected.times.min(), corrected.times.max()) == (LATE[0], LATE[1] - STEP)
        assert corrected.rows.size == 2 * HOUR // STEP
        if name == "avg":
            assert corrected.values.min() > 125
        else:
            assert set(corrected.values) == {2.0}
    in_time = parts_for(stores(), source, detectors)
    assert learnt(late, memory) == learnt(in_time, ticks(in_time, None, FIRST, END))


def test_without_late_documents_nothing_changes(
    place: tuple[Put, Callable[..., Detector], MetricSource], stores: Callable[[], Store]
) -> None:
    put, make, source = place
    put(documents(START, END))
    seen = []
    for within in (6 * HOUR, 0):
        parts = parts_for(stores(), source, [make(function=one, revise_within=within) for one in ("avg", "p95", "count")])
        memory = ticks(parts, None, FIRST, END)
        assert all(stream.tail.corrections.rows.size == 0 for stream in memory.streams.values())
        seen.append(learnt(parts, memory))
    assert seen[0] == seen[1]
