"""The simulated shop in a real Elasticsearch, as Beats would index it, gives the same series as its files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch, helpers

from forewarn.config import parse
from forewarn.detector import HOUR
from forewarn.simulation.shop import Shop, shop
from forewarn.simulation.writing import index_templates
from forewarn.sources.elasticsearch import ElasticsearchMetrics
from forewarn.sources.files import FileMetrics

pytestmark = pytest.mark.elasticsearch

END = 1_780_000_123_456
HOURS = 3


def recent(made: Shop, prefix: str) -> Any:
    first = np.datetime_as_string(np.datetime64(made.grid.end - HOURS * HOUR, "ms"), unit="ms") + "Z"
    return (action for action in made.documents(prefix) if action["_source"]["@timestamp"] >= first)


def test_every_detector_reads_the_same_values_from_the_cluster_and_from_the_files(
    es_client: Elasticsearch, elasticsearch_url: str, es_prefix: str, tmp_path: Path
) -> None:
    made = shop(3, END, log_days=1)
    for name, body in index_templates(es_prefix).items():
        es_client.indices.put_index_template(name=name, **body)
    done, failed = helpers.bulk(es_client, recent(made, es_prefix), chunk_size=2000, refresh=True, raise_on_error=False)
    assert (failed, done > 2000) == ([], True)

    for old in [path for path in made.write_ndjson(tmp_path) if path.name.startswith("metrics-")][:-2]:
        old.unlink()
    grid = made.grid.slice(made.grid.end - HOURS * HOUR, made.grid.end)
    in_files = parse(made.configuration("sqlite:///shop.db", folder=tmp_path), {}, tmp_path).detectors
    text = made.configuration("sqlite:///shop.db", hosts=[elasticsearch_url], index_prefix=es_prefix)
    in_cluster = parse(text, {}, tmp_path).detectors
    cluster, files = ElasticsearchMetrics(es_client), FileMetrics()
    for there, here in zip(in_cluster, in_files, strict=True):
        assert cluster.check(there) == []
        read, expected = cluster.read(there, grid), files.read(here, grid)
        assert [key.entity for key in read.keys] == [key.entity for key in expected.keys]
        np.testing.assert_allclose(read.values, expected.values, rtol=1e-12)
        assert len(read.keys) >= 2
    files.close()
