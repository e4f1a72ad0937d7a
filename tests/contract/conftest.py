"""Fixtures of the contract suites: each store on its real backend, empty and one's own.

`opener` opens further handles on the same place, as other processes would; `store` is one of them; `embedded` is SQLite alone.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from tests.contract.store_data import Opener
from tests.elasticsearch_server import remove_everything

from forewarn.connection import ElasticSettings
from forewarn.elastic import connect
from forewarn.ports import Store
from forewarn.stores.elasticsearch import ElasticsearchStore
from forewarn.stores.sqlite import SqliteStore


@pytest.fixture(scope="session")
def store_prefix(es_client: Elasticsearch) -> Iterator[str]:
    """A prefix that all contract tests of the stores share, because making indices is what takes their time."""
    prefix = f"t{uuid.uuid4().hex[:12]}"
    yield prefix
    remove_everything(es_client, prefix)


@pytest.fixture(params=["sqlite", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    opened: list[Store] = []
    if request.param == "elasticsearch":
        prefix: str = request.getfixturevalue("store_prefix")
        empty(request.getfixturevalue("es_client"), prefix)
        cluster = ElasticSettings((request.getfixturevalue("elasticsearch_url"),))

    def open_store(**settings: Any) -> Store:
        store: Store
        if request.param == "sqlite":
            store = SqliteStore(tmp_path / "store.db", **settings)
        else:
            store = ElasticsearchStore(connect(cluster, "test"), prefix, **settings)
        opened.append(store)
        return store

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def store(opener: Opener) -> Store:
    return opener()


@pytest.fixture
def embedded() -> Iterator[Store]:
    store = SqliteStore(":memory:")
    yield store
    store.close()


def empty(client: Elasticsearch, prefix: str) -> None:
    """Brings the indices of a prefix back to where they were before a store was opened.

    Documents of the state are deleted, all other indices with their documents: they remember the versions of deleted ones.
    """
    used = [name for name in client.indices.get(index=f"{prefix}-*", filter_path="*.aliases") if name != f"{prefix}-state"]
    if f"{prefix}-models" in used:
        client.indices.refresh(index=f"{prefix}-models")
        if not client.count(index=f"{prefix}-models")["count"]:
            used.remove(f"{prefix}-models")
    if used:
        client.indices.delete(index=used)
    if client.indices.exists(index=f"{prefix}-state"):
        client.indices.refresh(index=f"{prefix}-state")
        hits = client.search(index=f"{prefix}-state", size=10_000, source=False)["hits"]["hits"]
        if hits:
            client.bulk(index=f"{prefix}-state", operations=[{"delete": {"_id": hit["_id"]}} for hit in hits], refresh=True)
