"""A replay of the past through the command line: a real Elasticsearch as source and store, then the datasource over it.

Also what is refused on the way, by the command line with an exit code and by the datasource with a status.
"""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Any
from urllib.parse import quote

import pytest
from elasticsearch import Elasticsearch
from tests.e2e.shop import END, START, STEP, index, shop
from tests.elasticsearch_server import remove_everything
from tests.places import open_store
from tests.processes import annotations, ask, forewarn, serving

from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.series import SeriesKey

pytestmark = pytest.mark.elasticsearch
TOKEN = "a-token-of-the-test"
CONFIG = """
elasticsearch: {{hosts: ["{url}"]}}
store: {{at: elasticsearch, prefix: {prefix}}}
detectors:
  - {{name: latency, index: {prefix}-shop, function: avg, field: latency, split_by: [service.name], bucket: 15m, unit: ms}}
  - {{name: requests, index: {prefix}-shop, function: sum, field: requests, split_by: [service.name], bucket: 15m}}
datasource: {{listen: "127.0.0.1:0", tokens: ["${{FOREWARN_TOKEN}}"], max_range: 7d}}
"""
ENVIRONMENT = {"FOREWARN_TOKEN": TOKEN}


@dataclass(frozen=True)
class World:
    """The shop in an index, replayed into the same cluster, with the datasource on top."""

    config: Path
    prefix: str
    cluster: str
    summary: dict[str, Any]
    url: str

    def get(self, path: str) -> tuple[int, Any]:
        """The answer to a GET with the token."""
        return ask(self.url + path, token=TOKEN)

    def post(self, path: str, content: Any) -> tuple[int, Any]:
        """The answer to a POST with the token."""
        return ask(self.url + path, content, token=TOKEN)


@pytest.fixture(scope="module")
def world(es_client: Elasticsearch, elasticsearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    prefix = f"t{uuid.uuid4().hex[:12]}"
    folder = tmp_path_factory.mktemp("replay")
    config = folder / "forewarn.yml"
    config.write_text(CONFIG.format(url=elasticsearch_url, prefix=prefix))
    try:
        index(es_client, f"{prefix}-shop", shop())
        done = forewarn("run", "-c", config, "--from", START, "--to", END + MINUTE, "--json", env=ENVIRONMENT)
        assert done.code == 0, done.err
        with serving("serve", "-c", config, env=ENVIRONMENT) as datasource:
            yield World(config, prefix, elasticsearch_url, done.json, datasource.url)
            assert datasource.stop(SIGTERM) == 0
    finally:
        remove_everything(es_client, prefix)


def test_a_sound_configuration_is_checked_against_the_cluster(world: World) -> None:
    checked = forewarn("check", "-c", world.config, "--json", env=ENVIRONMENT)
    assert checked.code == 0, checked.err
    assert checked.json == {"detectors": 2, "problems": []}


def test_the_replay_covers_every_bucket_of_every_series(world: World) -> None:
    assert world.summary["failing"] == {}
    for detector in world.summary["detectors"].values():
        assert (detector["series"], detector["buckets"]) == (3, (END - START) // STEP)


def test_annotations_in_both_dialects_are_the_anomalies_of_the_store(world: World) -> None:
    store = open_store(f"elasticsearch {world.cluster} {world.prefix}")
    try:
        stored = {one.id: (one.start, one.end) for one in store.anomalies(START, END, limit=10_000)}
    finally:
        store.close()
    assert len(stored) == world.summary["anomalies"] > 0
    for fetched in annotations(world.url, START, END, token=TOKEN):
        assert {name: (row["time"], row["timeEnd"]) for name, row in fetched.items()} == stored


def test_the_fault_of_the_shop_is_annotated_where_it_is(world: World) -> None:
    spike = next(fault for fault in shop().faults if (fault.kind, fault.metric) == ("spike", "latency"))
    _, flat = annotations(world.url, spike.start, spike.end, token=TOKEN)
    titles = [row["title"] for row in flat.values() if row["time"] < spike.end and row["timeEnd"] > spike.start]
    assert any("latency{service.name=checkout}" in title for title in titles), titles


def test_series_come_with_expectations_and_band(world: World) -> None:
    key = SeriesKey("latency", (("service.name", "checkout"),))
    status, rows = world.get(f"/infinity/series?series={key.id}&from={END - 6 * HOUR}&to={END + HOUR}")
    assert status == 200
    assert [row["time"] for row in rows] == list(range(END - 6 * HOUR, END + HOUR, STEP))
    for row in rows:
        assert row["lower"] <= row["expected"] <= row["upper"]
    for row in rows[: 6 * HOUR // STEP]:
        assert row["actual"] > 0
        assert row["score"] >= 0
    for row in rows[6 * HOUR // STEP :]:  # beyond the last tick there are forecasts alone
        assert row["actual"] is None
        assert row["score"] is None


def test_the_same_replay_into_a_file_gives_the_same_annotations(world: World, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/replay.db"
    done = forewarn(
        "run", "-c", world.config, "--store", store, "--from", START, "--to", END + MINUTE, "--json", env=ENVIRONMENT
    )
    assert done.code == 0, done.err
    assert done.json["detectors"] == world.summary["detectors"]
    with serving("serve", "-c", world.config, "--store", store, env=ENVIRONMENT) as datasource:
        assert annotations(datasource.url, START, END, token=TOKEN) == annotations(world.url, START, END, token=TOKEN)
        assert datasource.stop(SIGTERM) == 0


# ------------------------------------------------------------------------------------------- what the command line refuses


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (START, "is not after the committed now="),
        (END + MINUTE, "is not after the committed now="),
        (4_000_000_000_000, "is in the future"),
    ],
)
def test_a_tick_out_of_time_is_refused(world: World, at: int, message: str) -> None:
    done = forewarn("tick", "-c", world.config, "--at", at, env=ENVIRONMENT)
    assert (done.code, done.out) == (5, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_replay_that_would_leave_a_gap_is_refused(world: World) -> None:
    later = END + 2 * DAY
    done = forewarn("run", "-c", world.config, "--from", later, "--to", later + HOUR, "--json", env=ENVIRONMENT)
    assert done.code == 5
    assert "use a store of its own" in done.json["message"]


@pytest.mark.parametrize(
    ("detector", "setting", "message"),
    [
        ("index: {prefix}-nothing*, function: count", "index", "no index matches"),
        ("index: {prefix}-shop, function: avg, field: nothing", "field", "no index has a field 'nothing'"),
        ("index: {prefix}-shop, function: avg, field: service.name", "field", "avg needs numbers"),
        ("index: {prefix}-shop, function: count, split_by: [host]", "split_by", "of type text and cannot be aggregated"),
        ("index: {prefix}-shop, function: count, query: 'latency:('", "query", "latency:("),
    ],
)
def test_check_names_the_setting_that_does_not_fit_the_cluster(
    world: World, tmp_path: Path, detector: str, setting: str, message: str
) -> None:
    config = tmp_path / "forewarn.yml"
    fields = detector.format(prefix=world.prefix)
    config.write_text(
        f"elasticsearch: {{hosts: ['{world.cluster}']}}\nstore: sqlite:///f.db\ndetectors: [{{name: odd, {fields}}}]\n"
    )
    checked = forewarn("check", "-c", config, "--json")
    assert checked.code == 1
    [problem] = checked.json["problems"]
    assert (problem["detector"], problem["setting"]) == ("odd", setting)
    assert message in problem["why"]
    spoken = forewarn("check", "-c", config)
    assert (spoken.code, f"odd: {setting}: {problem['why']}" in spoken.out) == (1, True)


@pytest.mark.parametrize(
    "detector", ["index: {prefix}-nothing, function: count", "index: {prefix}-shop, function: count, split_by: [host]"]
)
def test_a_source_that_cannot_be_read_ends_a_tick_and_a_replay_with_its_reason(
    world: World, tmp_path: Path, detector: str
) -> None:
    config = tmp_path / "forewarn.yml"
    fields = detector.format(prefix=world.prefix)
    config.write_text(
        f"elasticsearch: {{hosts: ['{world.cluster}']}}\nstore: sqlite:///f.db\ndetectors: [{{name: odd, {fields}}}]\n"
    )
    for command in (
        ["tick"],
        ["run", "--from", str(START), "--to", str(START + HOUR), "--store", f"sqlite:///{tmp_path}/r.db"],
    ):
        done = forewarn(*command, "-c", config)
        assert done.code == 3, done.err
        assert "odd: " in done.err
        assert world.prefix in done.err
        assert "Traceback" not in done.err


# --------------------------------------------------------------------------------------------- what the datasource refuses


@pytest.mark.parametrize("token", [None, "another-token"])
def test_without_the_token_nothing_is_told(world: World, token: str | None) -> None:
    for path, content in ((f"/infinity/annotations?from={START}&to={END}", None), ("/grafana/query", {"targets": []})):
        status, answer = ask(world.url + path, content, token=token)
        assert status == 401
        assert answer["message"]
        assert TOKEN not in json.dumps(answer)


def test_a_health_check_needs_no_token(world: World) -> None:
    assert ask(f"{world.url}/-/healthy") == (200, {"status": "healthy"})
    status, ready = ask(f"{world.url}/-/ready")
    assert (status, ready["last_tick"]) == (200, END + MINUTE)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        (f"/infinity/series?series={'0' * 32}&from={START}&to={END}", 404, "0" * 32),
        (f"/infinity/series?series=nothing&from={START}&to={END}", 404, "nothing"),
        (f"/infinity/annotations?from={END}&to={START}", 400, "from: lies after to"),
        (f"/infinity/annotations?from={END - 8 * DAY}&to={END}", 400, "at most 7 d are answered (max_range)"),
        (f"/infinity/annotations?from={START}", 400, "to: is missing"),
        (f"/infinity/annotations?from=yesterday&to={END}", 400, "from: expected epoch milliseconds or an ISO 8601 time"),
        (f"/infinity/annotations?from={quote('${__from}')}&to={END}", 400, "was not expanded"),
        (f"/infinity/series?series={quote('${series:csv}')}&from={START}&to={END}", 400, "was not expanded"),
        (f"/infinity/annotations?from={START}&to={END}&sevrity=major", 400, "is no parameter of"),
        ("/infinity/nothing", 404, ""),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_with_its_reason(world: World, path: str, status: int, message: str) -> None:
    answered, answer = world.get(path)
    assert answered == status, answer
    assert message in answer["message"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"range": {"from": ', "not JSON"),
        (b"[]", "expected a JSON object"),
        ({"range": {"from": END, "to": START}, "targets": []}, "range.from: lies after range.to"),
        ({"range": {"from": END - 8 * DAY, "to": END}, "targets": []}, "max_range"),
        ({"range": {"from": "${x}", "to": END}, "targets": []}, "was not expanded"),
        ({"range": {"from": START, "to": END}, "targets": [{"target": "band", "payload": {"series": "${x}"}}]}, "not expanded"),
        ({"range": {"from": START, "to": END}, "targets": [{"target": "bands"}]}, "expected one of band"),
    ],
)
def test_a_post_that_makes_no_sense_is_refused_with_its_reason(world: World, content: Any, message: str) -> None:
    status, answer = world.post("/grafana/query", content)
    assert status == 400, answer
    assert message in answer["message"]


def test_refusals_are_quick_and_leave_the_datasource_well(world: World) -> None:
    began = time.monotonic()
    for _ in range(20):
        assert world.post("/grafana/query", b"{")[0] == 400
    assert time.monotonic() - began < 10
    assert ask(f"{world.url}/-/healthy")[0] == 200
