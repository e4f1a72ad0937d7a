"""Lines that nobody wrote for this test: a server's own log of a run in which it breaks, and the system's package log.

Both are read from Elasticsearch, indexed as Filebeat would; `pytest -s` prints the patterns and what is new after the fault.
"""

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import ApiError, Elasticsearch, helpers
from tests.elasticsearch_server import running

from forewarn.detector import DAY, Detector, Selection
from forewarn.pattern import LogStream, Mined
from forewarn.patterns.metrics import PatternMetrics
from forewarn.patterns.miner import PatternMiner
from forewarn.series import TimeGrid
from forewarn.sources.elasticsearch_logs import ElasticsearchLogs
from forewarn.sources.file_logs import FileLogs

PACKAGES = (Path("/var/log/dpkg.log"), Path("/var/log/apt/history.log"))
FAULTS = ("flood stage disk watermark", "read-only", "circuit_breaking", "Data too large", "MapperParsing", "failed to parse")
ROUNDS = 40
_LEVEL = re.compile(r"\[(TRACE|DEBUG|INFO|WARN|ERROR|FATAL) *\]")


def busy(client: Elasticsearch, rounds: range) -> None:
    """What a cluster does all day: indices come, change and go."""
    for number in rounds:
        index = f"orders-{number}"
        client.indices.create(index=index, settings={"number_of_shards": 1, "number_of_replicas": 0})
        client.index(index=index, document={"total": number, f"field{number % 3}": "x"}, refresh=True)
        client.search(index=index, query={"match_all": {}})
        client.indices.delete(index=index)


def broken(client: Elasticsearch) -> None:
    """A full disk, writes to what it made read-only, a value that fits no mapping, and a breaker that trips."""
    client.indices.create(index="payments", mappings={"properties": {"amount": {"type": "long"}}})
    client.cluster.put_settings(persistent={"logger.rest.suppressed": "DEBUG", "logger.org.elasticsearch.action.bulk": "DEBUG"})
    for number in range(3):
        with suppress(ApiError):
            client.index(index="payments", document={"amount": f"twelve{number}"})
    disk = "cluster.routing.allocation.disk"
    client.cluster.put_settings(persistent={  # bytes that must be free, which no disk has: a share depends on the machine's
        f"{disk}.threshold_enabled": True, f"{disk}.watermark.low": "3pb", f"{disk}.watermark.high": "2pb",
        f"{disk}.watermark.flood_stage": "1pb",
    })  # fmt: skip
    deadline = time.monotonic() + 150  # the disk is looked at every 10 s
    while time.monotonic() < deadline:
        with suppress(ApiError):
            client.index(index="payments", document={"amount": 12})
            time.sleep(0.5)
            continue
        break
    client.cluster.put_settings(persistent={"indices.breaker.request.limit": "1b"})
    with suppress(ApiError):
        client.search(index="payments", size=0, aggs={"a": {"terms": {"field": "amount"}}})
    with suppress(ApiError):
        client.search(index="payments", size=0, aggs={"a": {"cardinality": {"field": "amount"}}})


@pytest.fixture(scope="module")
def server_log() -> Iterator[tuple[str, int]]:
    """What the server printed, and the time in UTC ms at which it was broken."""
    with (
        running(settings={"cluster.info.update.interval": "10s"}) as server,
        Elasticsearch(server.url, request_timeout=60) as client,
    ):
        busy(client, range(ROUNDS))
        at = (int(time.time()) + 2) * 1000  # a whole second, for no bucket may hold lines of both sides
        while time.time() < at / 1000 + 0.1:
            time.sleep(0.05)
        broken(client)
        time.sleep(0.5)
        yield server.log.read_text(errors="replace"), at


def events(text: str) -> list[dict[str, Any]]:
    """One event for each line that begins with a time, with the lines that belong to it: Filebeat's multiline."""
    found: list[dict[str, Any]] = []
    for event in re.split(r"\n(?=\[\d{4}-)", text.strip()):
        match = re.match(r"\[([^\]]+)\]", event)
        level = _LEVEL.search(event[:60])
        if match is None:
            continue
        at = datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%S,%f").replace(tzinfo=UTC)  # as `tests.elasticsearch_server` has it
        found.append({
            "@timestamp": int(at.timestamp() * 1000), "message": event, "service": {"name": "elasticsearch"},
            "log": {"level": level[1] if level else ""}, "event": {"dataset": "elasticsearch.server"},
        })  # fmt: skip
    return found


def put(client: Elasticsearch, index: str, documents: list[dict[str, Any]]) -> Selection:
    words = {"type": "keyword", "ignore_above": 1024}
    client.indices.create(
        index=index,
        mappings={
            "properties": {
                "@timestamp": {"type": "date"},
                "message": {"type": "text"},
                "service": {"properties": {"name": words}},
                "log": {"properties": {"level": words}},
                "event": {"properties": {"dataset": words}},
            }
        },
    )
    helpers.bulk(client, [{"_index": index, "_source": one} for one in documents], refresh=True)
    return Selection(index=index)


def mined(client: Elasticsearch, selection: Selection, start: int, end: int, step: int) -> Mined:
    stream = LogStream("real", selection, split_by=("service.name",), level="log.level")
    metrics = PatternMetrics(ElasticsearchLogs(client), PatternMiner(), stream)
    detector = Detector("real", selection, "count", split_by=("service.name", "pattern"), step=step)
    assert metrics.check(detector) == []
    return metrics.mine(detector, TimeGrid(start // step * step, step, -(-(end - start // step * step) // step)))


def shown(title: str, patterns: Any, new: frozenset[str] = frozenset()) -> None:
    print(f"\n{title}")
    for one in sorted(patterns, key=lambda one: -one.total):
        print(f"  {'NEW ' if one.id in new else '    '}{one.id} {one.total:4d} {one.level:8s} {one.text[:150]}")


def test_a_servers_own_log_tells_its_faults(server_log: tuple[str, int], es_client: Elasticsearch, es_prefix: str) -> None:
    text, at = server_log
    documents = events(text)
    times = [one["@timestamp"] for one in documents]
    first, last = min(times), max(times)
    selection = put(es_client, f"{es_prefix}-server", documents)
    before, after = mined(es_client, selection, first, at, 1000), mined(es_client, selection, at, last + 1, 1000)
    new = frozenset(after.patterns.keys() - before.patterns.keys())
    shown(f"{len(documents)} events of the server, {len(before.patterns)} patterns before the fault", before.patterns.values())
    shown(f"{len(after.patterns)} patterns after it", after.patterns.values(), new)
    counted = np.nansum(before.counts.values) + np.nansum(after.counts.values)
    assert counted == len(documents)
    # What differs by its name and number is one pattern; what bears an opaque id (deleting an index) is not always, yet.
    creations = [pattern for pattern in before.patterns.values() if "creating index, cause" in pattern.text]
    assert [pattern.total for pattern in creations] == [ROUNDS]
    flagged = "\n".join(after.patterns[name].text + after.patterns[name].example for name in new)
    assert "flood stage disk watermark" in flagged
    assert any(after.patterns[name].level in ("warn", "error") for name in new)
    told = [fault for fault in FAULTS if fault in flagged]
    print(f"\nfaults told by new patterns: {told}")
    assert len(told) >= 3
    assert all(len(pattern.example) <= 500 and "\n" not in pattern.example for pattern in after.patterns.values())


def test_the_servers_log_reads_the_same_as_a_file(
    server_log: tuple[str, int], es_client: Elasticsearch, es_prefix: str, tmp_path: Path
) -> None:
    documents = events(server_log[0])
    times = [one["@timestamp"] for one in documents]
    start, end = min(times), max(times) + 1
    log = tmp_path / "server.log"
    log.write_text("\n".join(one["message"] for one in documents) + "\n")
    stream = LogStream("real", Selection(path=str(log)), level="log.level")
    lines = [line for page in FileLogs().read(stream, start, end) for line in page.lines]
    selection = put(es_client, f"{es_prefix}-same", documents)
    pages = ElasticsearchLogs(es_client).read(LogStream("real", selection, level="log.level"), start, end)
    indexed = [(line.time, line.level, line.message) for page in pages for line in page.lines]
    assert sorted((line.time, line.level, re.sub(r"\n+", "\n", line.message)) for line in lines) == sorted(
        (at, level, re.sub(r"\n+", "\n", message)) for at, level, message in indexed
    )


def test_the_systems_package_log_is_counted_to_the_last_line(es_client: Elasticsearch, es_prefix: str) -> None:
    documents: list[dict[str, Any]] = []
    for path in filter(Path.exists, PACKAGES):
        stream = LogStream("packages", Selection(path=str(path)))
        for page in FileLogs().read(stream, 0, 4_000_000_000_000):
            documents += [
                {"@timestamp": line.time, "message": line.message, "service": {"name": path.stem}, "log": {"level": ""}}
                for line in page.lines
            ]
    documents = documents or [{"@timestamp": DAY, "message": "startup archives unpack", "service": {"name": "dpkg"}}]
    times = [one["@timestamp"] for one in documents]
    selection = put(es_client, f"{es_prefix}-packages", documents)
    found = mined(es_client, selection, min(times), max(times) + 1, DAY)
    shown(f"{len(documents)} lines of the package log, {len(found.patterns)} patterns", list(found.patterns.values())[:40])
    print(found.warnings)
    assert np.nansum(found.counts.values) == len(documents)
    assert found.patterns
