"""What the embedded store promises beyond the contract: several processes on one file, files it must not touch."""

import json
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.contract.store_data import MARCH, block, keys, record

from forewarn.errors import StoreRejected, StoreUnavailable
from forewarn.ports import Store
from forewarn.results import Publication
from forewarn.stores.sqlite import SqliteStore

COMMITTER = """
import json, sys
from forewarn.errors import StoreConflict
from forewarn.stores.sqlite import SqliteStore
print("ready", flush=True)
path, writer, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.stdin.readline()
store, won = SqliteStore(path), []
while True:
    head = store.load_head()
    now = json.loads(head[0])["now"] + 1 if head else 1
    if now > wanted:
        break
    try:
        store.commit_head(json.dumps({"now": now, "nonce": writer}).encode(), head[1] if head else None)
        won.append(now)
    except StoreConflict:
        pass
store.close()
print(json.dumps(won))
"""


def test_of_two_processes_that_commit_exactly_one_wins_each_generation(tmp_path: Path) -> None:
    path, wanted = tmp_path / "store.db", 300
    command = [sys.executable, "-c", COMMITTER, str(path)]
    writers = [
        subprocess.Popen([*command, name, str(wanted)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("first", "second")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:  # both make the file at the same moment
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    won = [json.loads(writer.communicate(timeout=240)[0]) for writer in writers]
    assert sorted(won[0] + won[1]) == list(range(1, wanted + 1))
    store = SqliteStore(path)
    assert store.committed() == wanted
    store.close()


def test_readers_go_on_while_a_writer_writes(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path, timeout=0.2)
    store.publish(Publication(series=tuple(record(key, fitted=False) for key in keys(3))))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM series")
    assert len(store.series()) == 3
    with pytest.raises(StoreUnavailable, match="locked"):
        store.put_block(b"waits in vain", 1)
    other.execute("ROLLBACK")
    other.close()
    assert store.get_block(store.put_block(b"no longer", 1)) == b"no longer"
    store.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    SqliteStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreRejected, match=r"newer Forewarn \(schema 99"):
        SqliteStore(path)


def test_files_that_are_not_ours_are_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no database at all, but long enough to be taken for one\n" * 50)
    with pytest.raises(StoreRejected, match="not a database"):
        SqliteStore(text)
    assert text.read_text().startswith("no database at all")

    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE recipes (name)")
    connection.close()
    with pytest.raises(StoreRejected, match="another program"):
        SqliteStore(foreign)


def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open"):
        SqliteStore(tmp_path / "missing" / "store.db")


def test_a_store_in_memory_serves_all_threads_and_is_nobody_elses(embedded: Store) -> None:
    embedded.put_block(b"mine", 1)
    seen: list[int] = []

    def work(n: int) -> None:
        for number in range(20):
            embedded.publish(Publication(scores=(block(keys(10), MARCH + number * 1_200_000, 4, seed=n),)))
            seen.append(len(embedded.latest(None, 0)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [10] * 60
    other = SqliteStore(":memory:")
    assert other.sweep((), 10) == 0
    other.close()


def test_a_damaged_block_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    name = store.put_block(b"sound", 1)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE blocks SET content = x'00'")
    connection.close()
    with pytest.raises(StoreRejected, match="damaged"):
        store.get_block(name)
    store.close()


def test_a_publication_that_fails_midway_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON series BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    connection.close()
    (one,) = keys(1)
    with pytest.raises(StoreRejected, match="disk is full"):
        store.publish(Publication(scores=(block([one]),), series=(record(one),)))
    assert store.latest(None, 0) == []
    store.close()


def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.committed()
