"""What every StateStore promises: one head that only one can replace, immutable blocks, cursors. Over both stores."""

import json
import os
import threading
from collections.abc import Callable
from functools import partial

import pytest
from tests.contract.store_data import Opener

from forewarn.errors import StoreConflict, StoreRejected
from forewarn.ports import Store


def head(now: int, nonce: str = "") -> bytes:
    return json.dumps({"now": now, "nonce": nonce}).encode()


def outcome(action: Callable[[], object]) -> str:
    try:
        action()
    except StoreConflict:
        return "conflict"
    return "won"


def at_once(*actions: Callable[[], object]) -> list[str]:
    outcomes: list[str] = []
    gate = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> None:
        gate.wait()
        outcomes.append(outcome(action))

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes)


def test_there_is_no_head_before_the_first_commit(store: Store) -> None:
    assert store.load_head() is None
    assert store.committed() is None


def test_a_committed_head_is_loaded_with_its_token_by_every_handle(opener: Opener) -> None:
    one, other = opener(), opener()
    document = json.dumps({"now": 1_000, "text": "é\u0000☃", "generation": 1}).encode()
    token = one.commit_head(document, None)
    assert other.load_head() == (document, token)
    assert other.committed() == 1_000


def test_commits_follow_each_other_by_their_tokens(store: Store) -> None:
    token = store.commit_head(head(1), None)
    for now in range(2, 6):
        following = store.commit_head(head(now), token)
        assert following != token
        token = following
    assert store.load_head() == (head(5), token)
    assert store.committed() == 5


def test_a_commit_with_a_stale_token_is_a_conflict_and_changes_nothing(opener: Opener) -> None:
    one, other = opener(), opener()
    first = one.commit_head(head(1), None)
    second = other.commit_head(head(2), first)
    with pytest.raises(StoreConflict):
        one.commit_head(head(3), first)
    with pytest.raises(StoreConflict):
        one.commit_head(head(2), first)  # not even with the document that is there
    assert one.load_head() == (head(2), second)


def test_a_first_commit_over_an_existing_head_is_a_conflict(store: Store) -> None:
    token = store.commit_head(head(1), None)
    with pytest.raises(StoreConflict):
        store.commit_head(head(2), None)
    assert store.load_head() == (head(1), token)


def test_a_token_without_a_head_is_a_conflict(opener: Opener) -> None:
    with pytest.raises(StoreConflict):
        opener().commit_head(head(2), "7:1")
    assert opener().load_head() is None


def test_of_two_threads_that_commit_at_once_exactly_one_wins(opener: Opener) -> None:
    stores = [opener(), opener()]
    token: str | None = None
    for generation in range(1, 9):
        outcomes = at_once(*(partial(s.commit_head, head(generation, str(n)), token) for n, s in enumerate(stores)))
        assert outcomes == ["conflict", "won"]
        loaded = stores[0].load_head()
        assert loaded is not None
        token = loaded[1]
        assert json.loads(loaded[0])["now"] == generation


def test_one_handle_is_used_by_several_threads_at_once(store: Store) -> None:
    contents = [os.urandom(1_000) for _ in range(24)]
    failed: list[Exception] = []

    def work(mine: list[bytes]) -> None:
        try:
            for content in mine:
                assert store.get_block(store.put_block(content, 1)) == content
        except Exception as error:  # noqa: BLE001 - reported by the assertion below, in the main thread
            failed.append(error)

    threads = [threading.Thread(target=work, args=(contents[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_head_of_a_megabyte_is_kept_and_a_larger_one_refused(store: Store) -> None:
    envelope = len(json.dumps({"now": 1, "fill": ""}))
    document = json.dumps({"now": 1, "fill": "x" * (1_000_000 - envelope)}).encode()
    assert len(document) == 1_000_000
    token = store.commit_head(document, None)
    assert store.load_head() == (document, token)
    with pytest.raises(StoreRejected, match="1,000,000"):
        store.commit_head(document + b" ", token)
    assert store.load_head() == (document, token)


@pytest.mark.parametrize("document", [b"", b"no json", b"[1]", b'{"generation": 1}', b'{"now": "soon"}', b"PK\x03\x04"])
def test_a_head_that_does_not_say_its_now_is_refused(store: Store, document: bytes) -> None:
    with pytest.raises(StoreRejected, match="JSON object"):
        store.commit_head(document, None)


def test_a_block_is_read_back_by_every_handle_under_the_hash_of_its_content(opener: Opener) -> None:
    content = bytes(range(256)) * 5
    name = opener().put_block(content, 1_000)
    assert len(name) == 32
    assert opener().get_block(name) == content
    assert opener().put_block(content, 1_000) == name


def test_an_empty_block_is_a_block(store: Store) -> None:
    assert store.get_block(store.put_block(b"", 0)) == b""


def test_a_block_of_five_megabytes_is_kept_and_a_larger_one_refused(store: Store) -> None:
    content = os.urandom(5_000_000)
    assert store.get_block(store.put_block(content, 1)) == content
    with pytest.raises(StoreRejected, match="5,000,000"):
        store.put_block(content + b"x", 1)


@pytest.mark.parametrize("name", ["0" * 32, "", "head", "../head", "a/b?c#d é"])
def test_a_block_that_is_not_there_is_refused_by_name(store: Store, name: str) -> None:
    store.commit_head(head(1), None)
    with pytest.raises(StoreRejected, match="no block"):
        store.get_block(name)


def test_sweep_deletes_what_is_neither_live_nor_young(store: Store) -> None:
    names = [store.put_block(b"block %d" % n, at) for n, at in enumerate((100, 200, 300, 400))]
    assert store.sweep({names[0]}, 300) == 1
    assert store.get_block(names[0]) == b"block 0"  # live
    assert store.get_block(names[2]) == b"block 2"  # its `at` is not below 300
    with pytest.raises(StoreRejected):
        store.get_block(names[1])
    assert store.sweep((), 10_000) == 3
    assert store.sweep((), 10_000) == 0


def test_putting_a_block_again_raises_its_age_and_never_lowers_it(store: Store) -> None:
    young = store.put_block(b"again", 100)
    store.put_block(b"again", 500)
    store.put_block(b"again", 200)
    assert store.sweep((), 500) == 0
    assert store.get_block(young) == b"again"
    assert store.sweep((), 501) == 1


def test_a_block_can_be_put_again_after_it_was_swept(store: Store) -> None:
    name = store.put_block(b"gone and back", 900)
    assert store.sweep((), 1_000) == 1
    assert store.put_block(b"gone and back", 100) == name
    assert store.get_block(name) == b"gone and back"


def test_sweep_leaves_head_and_cursors_alone_and_manages_many_blocks(store: Store) -> None:
    token = store.commit_head(head(1), None)
    store.advance("mail", 0, 3)
    names = [store.put_block(b"%d" % n, 1) for n in range(120)]
    assert store.sweep(set(names[:20]), 2) == 100
    assert store.load_head() == (head(1), token)
    assert store.cursor("mail") == 3


@pytest.mark.parametrize("target", ["mail", "ünï/côde ☃", "x" * 2_000, "head", 'q"uo\\te\n\u0000'])
def test_cursors_move_by_compare_and_set(opener: Opener, target: str) -> None:
    store, other = opener(), opener()
    assert store.cursor(target) == 0
    store.advance(target, 0, 4)
    assert other.cursor(target) == 4
    for expected in (0, 5):
        with pytest.raises(StoreConflict):
            other.advance(target, expected, 6)
    assert store.cursor(target) == 4
    other.advance(target, 4, 6)
    assert store.cursor(target) == 6
    assert store.cursor(target + "2") == 0


def test_of_two_threads_that_advance_a_cursor_at_once_exactly_one_wins(opener: Opener) -> None:
    stores = [opener(), opener()]
    for number in range(6):
        outcomes = at_once(*(partial(s.advance, "chat", number, number + 1) for s in stores))
        assert outcomes == ["conflict", "won"]
    assert stores[0].cursor("chat") == 6
