"""The service as a process: it ticks by the clock, serves what it finds, ends when asked to, and goes on where it was."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

import pytest
from tests.e2e.shop import STEP, shop, write
from tests.places import open_store
from tests.processes import Service, annotations, ask, forewarn, serving

from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.series import SeriesKey

PULSE = 5_000
CONFIG = """
store: sqlite:///forewarn.db
detectors:
  - {name: latency, path: shop.ndjson, function: avg, field: latency, split_by: [service.name], bucket: 15m}
  - {name: pulse, path: pulse.ndjson, function: count, bucket: 5s, query_delay: 1s, warm_up: 1m}
datasource: {listen: "127.0.0.1:0"}
"""


def wall() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two weeks of a shop up to now, and a stream of documents that a test adds to."""
    folder = tmp_path_factory.mktemp("service")
    write(folder / "shop.ndjson", shop(wall()))
    (folder / "pulse.ndjson").write_text(json.dumps({"@timestamp": wall() - HOUR}) + "\n")
    (folder / "forewarn.yml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    with serving("--verbose", "run", "--wake", "0.2", cwd=folder) as service:
        yield service


def settled(service: Service, *others: Service) -> tuple[Any, ...]:
    """The annotations of a day, as `service` and then the others give them while no tick changes any."""
    found: list[Any] = []

    def unchanged() -> bool:
        now = wall()  # another range each time, or a datasource might answer with a copy
        found[:] = [annotations(one.url, now - DAY, now) for one in (service, *others, service)]
        return bool(found.pop() == found[0])

    service.until(unchanged, "the same annotations twice")
    return tuple(found)


def last_tick(service: Service) -> int:
    status, ready = ask(f"{service.url}/-/ready")
    return int(ready["last_tick"] or 0) if status == 200 else 0


def test_the_first_tick_comes_at_once_and_the_others_when_they_are_due(service: Service) -> None:
    service.until(lambda: last_tick(service) > 0, "first tick")
    first = last_tick(service)
    assert (first - 1000) % PULSE == 0 or (first - MINUTE) % STEP == 0  # a nominal time, not the time of the clock
    service.until(lambda: last_tick(service) >= first + 2 * PULSE, "third tick")
    assert last_tick(service) <= wall()


def test_the_past_that_it_found_is_scored_and_served(service: Service) -> None:
    key, now = SeriesKey("latency", (("service.name", "checkout"),)), wall()
    status, rows = ask(f"{service.url}/infinity/series?series={key.id}&from={now - 20 * HOUR}&to={now}&forecast=false")
    assert status == 200
    scored = [row for row in rows if row["score"] is not None]
    assert len(scored) >= 20 * HOUR // STEP - 2
    assert all(row["lower"] < row["expected"] < row["upper"] for row in scored)
    ((simpod, infinity),) = settled(service)
    assert simpod.keys() == infinity.keys()


def test_a_document_that_comes_in_is_read_with_its_bucket(service: Service, folder: Path) -> None:
    start = (wall() // PULSE + 1) * PULSE
    with (folder / "pulse.ndjson").open("a") as stream:
        stream.write("".join(json.dumps({"@timestamp": start + offset}) + "\n" for offset in (0, 1, PULSE - 1)))
    service.until(lambda: last_tick(service) >= start + PULSE + 1000, "tick for the bucket")
    url = f"{service.url}/infinity/series?series={SeriesKey('pulse').id}&from={start - PULSE}&to={start + PULSE}&forecast=false"
    service.until(lambda: len(ask(url)[1]) == 2, "the bucket in an answer")
    assert [row["actual"] for row in ask(url)[1]] == [0, 3]


def test_a_datasource_beside_it_reads_the_same_store(service: Service, folder: Path) -> None:
    with serving("serve", cwd=folder) as beside:
        own, besides = settled(service, beside)
        assert besides == own
        assert beside.stop(SIGTERM) == 0


def test_asked_to_end_it_finishes_its_tick_and_has_committed(service: Service, folder: Path) -> None:
    seen = last_tick(service)
    assert service.stop(SIGTERM) == 0
    assert "Traceback" not in "".join(service.err)
    assert "level=ERROR" not in "".join(service.err)
    store = open_store(f"sqlite {folder / 'forewarn.db'}")
    try:
        committed = store.committed()
    finally:
        store.close()
    assert committed is not None
    assert committed >= seen


def test_started_again_it_goes_on_where_it_was(service: Service, folder: Path) -> None:
    by_hand = forewarn("tick", "--json", cwd=folder)
    assert by_hand.code == 0, by_hand.err
    before = by_hand.json
    assert before["generation"] >= 3
    with serving("run", "--wake", "0.2", "--no-serve", cwd=folder) as again:
        store = open_store(f"sqlite {folder / 'forewarn.db'}")
        try:
            again.until(lambda: (store.committed() or 0) >= before["now"] + PULSE, "tick after the restart")
            assert again.stop(SIGINT) == 0
            pulse = store.scores([SeriesKey("pulse").id], before["now"] - HOUR, wall() + HOUR, 10_000)[0].start.tolist()
        finally:
            store.close()
    assert pulse == list(range(pulse[0], pulse[-1] + PULSE, PULSE))  # nothing was left out while nobody ticked
    assert not any("datasource on" in line for line in again.err)
