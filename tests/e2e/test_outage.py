"""Elasticsearch down when the service starts, and down again later: it waits, says so, and leaves nothing out.

Two services share the server of this file: one has its store there, the other reads its metrics there.
"""

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from signal import SIGTERM

import pytest
from elasticsearch import Elasticsearch, helpers
from tests.elasticsearch_server import ElasticsearchServer, running
from tests.places import open_store
from tests.processes import Service, ask, serving

from forewarn.detector import HOUR, MINUTE
from forewarn.errors import StoreUnavailable
from forewarn.series import SeriesKey

pytestmark = pytest.mark.elasticsearch
STEP = 5_000
CONFIG = """
elasticsearch: {{hosts: ["{url}"], request_timeout: 10s}}
store: {store}
detectors:
  - {{name: beat, index: beats, function: count, bucket: 5s, query_delay: 1s, warm_up: 1m}}
datasource: {{listen: "127.0.0.1:0"}}
"""


def wall() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[ElasticsearchServer]:
    """A server with a day of documents, one a minute; it is down when the tests begin."""
    with running() as server:
        with Elasticsearch(server.url, request_timeout=60) as client:
            client.indices.create(
                index="beats",
                mappings={"properties": {"@timestamp": {"type": "date"}}},
                settings={"number_of_replicas": 0},
            )
            now = wall()
            actions = ({"_index": "beats", "@timestamp": now - minute * MINUTE} for minute in range(24 * 60))
            helpers.bulk(client, actions, refresh=True)
        server.stop()
        yield server


@pytest.fixture(scope="module")
def places(server: ElasticsearchServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where the two stores are."""
    return {
        "store": f"elasticsearch {server.url} forewarn",
        "source": f"sqlite {tmp_path_factory.mktemp('outage') / 'forewarn.db'}",
    }


def configure(tmp_path: Path, server: ElasticsearchServer, store: str) -> Path:
    config = tmp_path / "forewarn.yml"
    config.write_text(CONFIG.format(url=server.url, store=store))
    return config


@pytest.fixture(scope="module")
def services(
    server: ElasticsearchServer, places: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Service]]:
    """Both services, started while the server is down."""
    stored = configure(tmp_path_factory.mktemp("store"), server, "elasticsearch")
    reading = configure(tmp_path_factory.mktemp("source"), server, f"sqlite:///{places['source'].removeprefix('sqlite ')}")
    quick = ("run", "--serve", "--wake", "0.2", "-c")
    with serving(*quick, stored) as store, serving(*quick, reading) as source:
        yield {"store": store, "source": source}


def last_tick(service: Service) -> int:
    status, ready = ask(f"{service.url}/-/ready")
    return int(ready["last_tick"] or 0) if status == 200 else 0


def scored(place: str) -> list[int]:
    """The buckets that are published, by their start; none while the server has not found its shards again."""
    with suppress(StoreUnavailable), closing(open_store(place)) as store:
        store.refresh()
        found = store.scores([SeriesKey("beat").id], wall() - 2 * HOUR, wall() + HOUR, 100_000)
        return found[0].start.tolist() if found else []
    return []


def test_down_at_the_start_it_waits_and_says_so(services: dict[str, Service]) -> None:
    assert "Connection refused" in services["store"].wait_for("waiting for the store")
    assert "Connection refused" in services["source"].wait_for("event=detector_failed")
    time.sleep(5)
    assert all(service.process.poll() is None for service in services.values())
    assert sum("waiting for the store" in line for line in services["store"].err) == 1  # once, not every time


def test_once_it_is_up_the_service_proceeds(
    server: ElasticsearchServer, services: dict[str, Service], places: dict[str, str]
) -> None:
    server.start()
    for name, service in services.items():
        service.until(lambda service=service: last_tick(service) > 0, "first tick")  # type: ignore[misc]
        service.until(lambda place=places[name]: len(scored(place)) > 13, "more than the minute of its warm-up")  # type: ignore[misc]


def test_down_later_it_tries_again_and_the_datasource_says_so(
    server: ElasticsearchServer, services: dict[str, Service]
) -> None:
    failures = sum("event=detector_failed" in line for line in services["source"].err)
    server.stop()
    services["store"].wait_for("event=waiting_for_store")
    services["source"].until(
        lambda: sum("event=detector_failed" in line for line in services["source"].err) > failures, "the failure"
    )
    status, answer = ask(f"{services['store'].url}/-/ready")
    assert status == 503
    assert answer["message"]
    assert ask(f"{services['store'].url}/-/healthy")[0] == 200
    assert ask(f"{services['source'].url}/-/ready")[0] == 200  # its store is a file


def test_back_again_it_catches_up_and_nothing_is_left_out(
    server: ElasticsearchServer, services: dict[str, Service], places: dict[str, str]
) -> None:
    server.start()
    back = wall()
    for name, service in services.items():
        service.until(lambda place=places[name]: scored(place)[-1:] > [back], "buckets after the outage")  # type: ignore[misc]
        buckets = scored(places[name])
        assert buckets == list(range(buckets[0], buckets[-1] + STEP, STEP))
    for service in services.values():
        assert service.stop(SIGTERM) == 0
        assert "Traceback" not in "".join(service.err)
