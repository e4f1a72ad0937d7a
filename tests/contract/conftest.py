"""Fixtures of the contract suites: each store on its real backend, empty and one's own.

`opener` opens further handles on the same place, as other processes would; `store` is one of them; `embedded` is SQLite alone.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.store_data import Opener

from forewarn.ports import Store
from forewarn.stores.sqlite import SqliteStore


@pytest.fixture(params=["sqlite"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    opened: list[Store] = []

    def open_store(**settings: Any) -> Store:
        store: Store = SqliteStore(tmp_path / "store.db", **settings)
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
