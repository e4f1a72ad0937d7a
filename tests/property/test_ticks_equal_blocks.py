"""One block of buckets gives what as many ticks give, wherever time is cut and whenever the process forgets.

With metrics in two buckets, logs, heads-ups and incidents; over arrays, files and an Elasticsearch; in both stores.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.elasticsearch_server import remove_everything
from tests.places import open_store
from tests.world import START, counts_detector, latency_detector, make_parts, run, visible, world_series
from tests.world_lines import lines_detector, lines_stream, world_lines, written
from tests.world_places import Document, in_elasticsearch, in_files, logged, measured, reading

from forewarn.connection import ElasticSettings
from forewarn.detector import DAY, HOUR, Detector, Selection
from forewarn.nominal import due_ticks
from forewarn.ports import Store
from forewarn.wiring import Sources

METRICS, LOGS = (counts_detector(), latency_detector()), lines_detector()
SERIES, LINES = world_series(), world_lines()
FIRST = START + 12 * DAY + 3 * HOUR
LAST = START + 14 * DAY - HOUR
NOWS = due_ticks(FIRST, (*METRICS, LOGS), LAST)

cuts = st.sets(st.sampled_from(NOWS[:-1]), max_size=12)
few_cuts = st.sets(st.sampled_from(NOWS[:-1]), min_size=1, max_size=5)
forgotten = st.sets(st.integers(0, 12))


def over_arrays(store: Store, at: set[int], forget: set[int]) -> dict[str, Any]:
    """What ticks at these times show, over series and lines in memory."""
    detectors = (*(reading(one, one.selection) for one in METRICS), LOGS)
    parts = make_parts(store, detectors, SERIES, origin=FIRST, mined={LOGS.name: written(LOGS, LINES)})
    run(parts, [*sorted(at), NOWS[-1]], frozenset(forget))
    return visible(store)


@contextmanager
def embedded() -> Iterator[Store]:
    """An empty store in memory."""
    store = open_store("sqlite :memory:")
    try:
        yield store
    finally:
        store.close()


@cache
def one_by_one() -> dict[str, Any]:
    """What a tick for every bucket shows."""
    with embedded() as store:
        return over_arrays(store, set(NOWS[:-1]), set())


def test_the_world_has_anomalies_a_late_series_a_retired_one_put_off_fits_and_new_patterns() -> None:
    seen = one_by_one()
    assert len(seen["anomalies"]) >= 2
    assert len(seen["incidents"]) >= 2
    assert any(incident["heads_ups"] for incident in seen["incidents"])
    assert any(incident["anomalies"] and incident["pattern_changes"] for incident in seen["incidents"])
    assert sum(name.startswith("lines{") for name in seen["records"]) == len(seen["patterns"]) == 7
    assert len(seen["records"]) == 5 + 7
    assert {record[1] for record in seen["records"].values()} >= {"batch"}


def test_one_block_over_two_days_equals_a_tick_for_every_bucket() -> None:
    with embedded() as store:
        assert over_arrays(store, set(), set()) == one_by_one()


@settings(max_examples=12, deadline=None)
@given(cuts, forgotten)
def test_any_cut_of_time_and_any_restart_gives_the_same_results(at: set[int], forget: set[int]) -> None:
    with embedded() as store:
        assert over_arrays(store, at, forget) == one_by_one()


# ------------------------------------------------------------------------------------------- real sources and the other store


@dataclass(frozen=True)
class Cluster:
    """A part of the real Elasticsearch that is this module's own."""

    client: Elasticsearch
    url: str
    prefix: str
    numbers: Iterator[int]

    @contextmanager
    def empty(self) -> Iterator[Store]:
        """An empty store in it, removed afterwards."""
        prefix = f"{self.prefix}-{next(self.numbers)}"
        store = open_store(f"elasticsearch {self.url} {prefix}")
        try:
            yield store
        finally:
            store.close()
            remove_everything(self.client, prefix)


@pytest.fixture(scope="module")
def cluster(es_client: Elasticsearch, elasticsearch_url: str) -> Iterator[Cluster]:
    prefix = f"t{uuid.uuid4().hex[:12]}"
    yield Cluster(es_client, elasticsearch_url, prefix, count())
    remove_everything(es_client, prefix)


@dataclass(frozen=True)
class Place:
    """Where the world's documents lie, and the detectors that read them there."""

    metrics: tuple[Detector, ...]
    logs: Detector
    cluster: ElasticSettings | None = None

    def outcome(self, store: Store, at: set[int], forget: set[int]) -> dict[str, Any]:
        """What ticks at these times show."""
        sources = Sources(self.cluster)
        try:
            read = {one.name: sources.of(one) for one in self.metrics}
            mined = {self.logs.name: sources.mined(lines_stream(self.logs.selection))}
            parts = make_parts(store, (*self.metrics, self.logs), {}, origin=FIRST, sources=read, mined=mined)
            run(parts, [*sorted(at), NOWS[-1]], frozenset(forget))
            return visible(store)
        finally:
            sources.close()


def place(put: Callable[[str, Iterator[Document]], Selection], cluster: ElasticSettings | None = None) -> Place:
    metrics = tuple(reading(one, put(one.name, measured(one, SERIES))) for one in METRICS)
    return Place(metrics, replace(LOGS, selection=put(LOGS.name, logged(LINES))), cluster)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("world")
    return place(lambda name, documents: in_files(folder, name, documents))


@pytest.fixture(scope="module")
def indices(cluster: Cluster) -> Place:
    put = in_elasticsearch
    return place(
        lambda name, documents: put(cluster.client, f"{cluster.prefix}-world", name, documents), ElasticSettings((cluster.url,))
    )


@settings(max_examples=2, deadline=None)
@given(few_cuts, forgotten)
def test_any_cut_and_any_restart_gives_the_same_in_elasticsearch(cluster: Cluster, at: set[int], forget: set[int]) -> None:
    with cluster.empty() as store:
        assert over_arrays(store, at, forget) == one_by_one()


@settings(max_examples=4, deadline=None)
@given(cuts, forgotten)
@example(set(), set())
def test_any_cut_and_any_restart_gives_the_same_over_files(files: Place, at: set[int], forget: set[int]) -> None:
    with embedded() as store:
        assert files.outcome(store, at, forget) == one_by_one()


@settings(max_examples=2, deadline=None)
@given(few_cuts, forgotten)
@example(set(), set())
def test_any_cut_and_any_restart_gives_the_same_from_elasticsearch_to_elasticsearch(
    cluster: Cluster, indices: Place, at: set[int], forget: set[int]
) -> None:
    with cluster.empty() as store:
        assert indices.outcome(store, at, forget) == one_by_one()
