"""The same shop read from files and from the real Elasticsearch gives the same incidents."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk

from forewarn.config import Config, parse
from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.incident import Incident
from forewarn.service import Runner
from forewarn.simulation.shop import Shop, shop
from forewarn.simulation.writing import index_templates
from forewarn.wiring import build

END = 1_795_348_800_000  # 2026-11-22T12:00Z
SINCE = END - 9 * DAY
FROM = END - 30 * HOUR
TO = END - 12 * HOUR


@pytest.fixture(scope="module")
def made() -> Shop:
    return shop(1, END, log_days=3)


def shortened(text: str) -> Config:
    """Models of a week instead of four, so that a short history is the whole one."""
    config = parse(text, os.environ, Path.cwd())
    logs = tuple(replace(log, detector=replace(log.detector, fit_window=7 * DAY)) for log in config.logs)
    return replace(config, detectors=tuple(replace(one, fit_window=7 * DAY) for one in config.detectors), logs=logs)


def incidents(config: Config) -> list[Incident]:
    built = build(config, origin=FROM, processes=0)
    try:
        nonces = iter(f"nonce-{number}" for number in range(1000))
        runner = Runner(built.parts, lambda: END, nonces.__next__, span=6 * HOUR)
        runner.catch_up(TO + MINUTE)
        assert runner.memory is not None
        assert runner.memory.head.failing == ()
        built.parts.store.refresh()
        return built.parts.store.incidents(0, END * 2)
    finally:
        built.close()


def gist(incident: Incident) -> tuple[Any, ...]:
    return (
        incident.id,
        incident.opened,
        incident.start,
        incident.end,
        incident.state,
        incident.title,
        sorted(incident.anomalies),
        sorted(incident.pattern_changes),
        [cause.entity for cause in incident.causes],
        [advice.card for advice in incident.recommendations],
    )


@pytest.mark.timeout(600)
def test_the_shop_in_elasticsearch_gives_the_incidents_of_the_embedded_run(
    made: Shop, tmp_path: Path, es_client: Elasticsearch, elasticsearch_url: str, es_prefix: str
) -> None:
    made.write_ndjson(tmp_path)
    for path in tmp_path.glob("metrics-*.ndjson"):
        if path.stem.split("-", 1)[1] < f"{datetime.fromtimestamp(SINCE / 1000, UTC):%Y.%m.%d}":
            path.unlink()
    embedded = incidents(shortened(made.configuration("sqlite:///" + str(tmp_path / "files.db"), folder=tmp_path)))
    for name, body in index_templates(es_prefix).items():
        es_client.indices.put_index_template(name=name, **body)
    first = f"{datetime.fromtimestamp(SINCE // DAY * DAY / 1000, UTC):%Y-%m-%dT}"
    recent = (action for action in made.documents(es_prefix) if str(action["_source"]["@timestamp"]) >= first)
    bulk(es_client.options(request_timeout=120), recent, chunk_size=4000, refresh=True)
    text = made.configuration("elasticsearch", hosts=[elasticsearch_url], index_prefix=es_prefix)
    indexed = shortened(text)
    indexed = replace(indexed, store=replace(indexed.store, prefix=f"{es_prefix}-results"))
    assert len(embedded) >= 3
    assert [gist(one) for one in incidents(indexed)] == [gist(one) for one in embedded]
