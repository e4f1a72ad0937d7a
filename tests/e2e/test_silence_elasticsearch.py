"""A host stops sending documents to a real Elasticsearch: told within five expected arrivals, at the drop, until it is back.

By the command line, in two replays with the same store, each looked at over HTTP.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch, helpers
from tests.elasticsearch_server import remove_everything
from tests.places import open_store
from tests.processes import annotations, forewarn, serving

from forewarn.anomaly import Anomaly
from forewarn.detector import DAY, HOUR, MINUTE

pytestmark = pytest.mark.elasticsearch
START = 1_780_272_000_000  # 2026-06-01T00:00Z, a Monday
EVERY = 5 * MINUTE
"""How often a host sends."""
HOSTS = 8
STOPS = START + 3 * DAY + 2 * HOUR
IS_BACK = STOPS + 6 * HOUR
END = IS_BACK + 4 * HOUR
MAPPING = {
    "properties": {
        "@timestamp": {"type": "date"},
        "host": {"properties": {"name": {"type": "keyword"}}},
        "cpu": {"type": "double"},
    }
}
CONFIG = """
elasticsearch: {{hosts: ["{url}"]}}
store: {{at: elasticsearch, prefix: {prefix}}}
detectors:
  - {{name: cpu, index: {prefix}-metrics, function: avg, field: cpu, split_by: [host.name], bucket: 5m, fit_window: 7d}}
datasource: {{listen: "127.0.0.1:0", max_range: 7d}}
"""


def documents() -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(5)
    for time in range(START, END, EVERY):
        for number, noise in enumerate(rng.normal(0, 2, HOSTS).tolist()):
            if number != 3 or not STOPS <= time < IS_BACK:
                yield {"@timestamp": time + 1000 * number, "host": {"name": f"h{number}"}, "cpu": 40 + noise}


@dataclass(frozen=True)
class Seen:
    """What is stored about what is silent, and the annotation of each in both dialects."""

    silences: list[Anomaly]
    simpod: list[dict[str, Any]]
    infinity: list[dict[str, Any]]


@pytest.fixture(scope="module")
def config(es_client: Elasticsearch, elasticsearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    prefix = f"t{uuid.uuid4().hex[:12]}"
    config = tmp_path_factory.mktemp("silence") / "forewarn.yml"
    config.write_text(CONFIG.format(url=elasticsearch_url, prefix=prefix))
    index = f"{prefix}-metrics"
    try:
        es_client.indices.create(index=index, mappings=MAPPING, settings={"number_of_replicas": 0})
        helpers.bulk(es_client, ({"_index": index, "_source": one} for one in documents()), chunk_size=2000, refresh=True)
        yield config
    finally:
        remove_everything(es_client, prefix)


def replayed(config: Path, url: str, until: int) -> Seen:
    """The replay up to `until`, begun or gone on with."""
    done = forewarn("run", "-c", config, "--from", START + DAY, "--to", until, "--json")
    assert done.code == 0, done.err
    assert done.json["failing"] == {}
    prefix = config.read_text().partition("prefix: ")[2].partition("}")[0]
    store = open_store(f"elasticsearch {url} {prefix}")
    try:
        found = store.anomalies(START, END, limit=1000)
        silences = [one for one in found if one.explanation["reason"] == "silent"]
    finally:
        store.close()
    with serving("serve", "-c", config) as datasource:
        simpod, infinity = annotations(datasource.url, START, END)
        assert datasource.stop(SIGTERM) == 0
    return Seen(silences, [simpod[one.id] for one in silences], [infinity[one.id] for one in silences])


@pytest.fixture(scope="module")
def soon(config: Path, elasticsearch_url: str) -> Seen:
    """Five expected arrivals after the drop, and the delay after which a bucket is read."""
    return replayed(config, elasticsearch_url, STOPS + 5 * EVERY + MINUTE)


@pytest.fixture(scope="module")
def later(config: Path, elasticsearch_url: str, soon: Seen) -> Seen:
    """Hours after the host is back."""
    del soon  # it is the same store, which must have been there before
    return replayed(config, elasticsearch_url, END)


def test_a_host_that_stopped_sending_is_told_within_five_arrivals_since_the_drop(soon: Seen) -> None:
    (silence,) = soon.silences
    assert (silence.state, silence.start, dict(silence.key.entity)) == ("open", STOPS, {"host.name": "h3"})


def test_its_silence_is_closed_when_it_is_back_under_the_same_id(soon: Seen, later: Seen) -> None:
    (before,), (after,) = soon.silences, later.silences
    assert after.id == before.id
    assert (after.state, after.start, after.end) == ("closed", STOPS, IS_BACK)


def test_it_is_an_annotation_over_http_while_it_lasts_and_after(soon: Seen, later: Seen) -> None:
    for seen, state in ((soon, "open"), (later, "closed")):
        for (row,) in (seen.simpod, seen.infinity):
            assert row["time"] == STOPS
            assert "cpu{host.name=h3}" in row["title"]
            assert "silent" in row["title"] + row["text"]
            assert state in row["text"]
    assert {row["timeEnd"] for row in (*later.simpod, *later.infinity)} == {IS_BACK}
