"""Head, blocks and cursors in Elasticsearch, all in one index and all read by id.

Owns the StateStore part of the Elasticsearch store. Must not know what a head or a block says, except the head's `now`.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from elasticsearch import Elasticsearch

from forewarn.elastic import store_errors
from forewarn.errors import StoreConflict, StoreRejected, StoreUnavailable
from forewarn.series import stable_id
from forewarn.stores.elasticsearch_bulk import Action, write
from forewarn.stores.elasticsearch_indices import Indices
from forewarn.stores.records import block_name, checked_block, from_base64, head_now, to_base64

_HEAD: Final = "head"
_NAME: Final = re.compile(r"[0-9a-f]{32}\Z")
_PAGE: Final = 5_000
_ATTEMPTS: Final = 10


class ElasticsearchState:
    """The StateStore of one installation.

    A compare-and-set is sent once: had the client repeated it after a cut connection, the conflict that it then met
    could be its own first attempt.
    """

    def __init__(self, client: Elasticsearch, indices: Indices, sleep: Callable[[float], None]) -> None:
        self._client = client
        self._once = client.options(max_retries=0)
        self._indices = indices
        self._sleep = sleep

    def load_head(self) -> tuple[bytes, str] | None:
        """The head's document and its token, `seq_no:primary_term`."""
        found = self._get(_HEAD)
        return (from_base64(found["_source"]["content"]), _token(found)) if found else None

    def commit_head(self, document: bytes, token: str | None) -> str:
        """Replaces the head that `token` was loaded with; StoreConflict if anyone else committed since."""
        body = {"kind": "head", "now": head_now(document), "content": to_base64(document)}
        with store_errors():
            answer = self._once.index(index=self._indices.state, id=_HEAD, document=body, **_condition(token))
        return _token(answer.body)

    def committed(self) -> int | None:
        """The `now` of the last commit."""
        found = self._get(_HEAD, "now")
        return int(found["_source"]["now"]) if found else None

    def put_block(self, content: bytes, at: int) -> str:
        """Stores an immutable block under the hash of its content, or raises its `at`."""
        name = block_name(content)
        index, id_ = self._indices.state, f"block-{name}"
        for _ in range(_ATTEMPTS):
            try:
                with store_errors():
                    body = {"kind": "block", "name": name, "at": at, "content": to_base64(content)}
                    self._client.index(index=index, id=id_, document=body, op_type="create")
                return name
            except StoreConflict:
                found = self._get(id_, "at")
            if found is None:
                continue  # it was swept in between
            if found["_source"]["at"] >= at:
                return name
            try:
                with store_errors():
                    self._client.update(index=index, id=id_, doc={"at": at}, **_condition(_token(found)))
                return name
            except (StoreConflict, StoreRejected):  # touched or swept in between: look again
                continue
        raise StoreUnavailable(f"block {name} changes faster than it can be written")

    def get_block(self, name: str) -> bytes:
        """The content of a block, checked against its name."""
        found = self._get(f"block-{name}") if _NAME.match(name) else None
        return checked_block(name, from_base64(found["_source"]["content"]) if found else None)

    def sweep(self, live: Collection[str], before: int) -> int:
        """Deletes blocks that are neither live nor young; returns how many.

        A block whose `at` is raised meanwhile stays: each is deleted as it was when it was found.
        """
        kept = frozenset(live)
        with store_errors():
            self._client.indices.refresh(index=self._indices.state)
        hits = [hit for hit in self._old_blocks(before) if hit["sort"][0] not in kept]
        return write(self._client, map(self._deletion, hits), self._sleep).done

    def cursor(self, target: str) -> int:
        """The number of the last notification that `target` has taken."""
        found = self._get(_cursor_id(target))
        return int(found["_source"]["number"]) if found else 0

    def advance(self, target: str, expected: int, number: int) -> None:
        """Moves the cursor of `target`; StoreConflict if it was not at `expected`."""
        id_ = _cursor_id(target)
        found = self._get(id_)
        at = int(found["_source"]["number"]) if found else 0
        if at != expected:
            raise StoreConflict(f"the cursor of {target} is at {at}, not at {expected}")
        body = {"kind": "cursor", "name": target, "number": number}
        condition = _condition(_token(found) if found else None)
        with store_errors():
            self._once.index(index=self._indices.state, id=id_, document=body, **condition)

    def _get(self, id_: str, *fields: str) -> dict[str, Any] | None:
        """A document by id with some of its fields (all if none is named), None if there is none; sees the last write."""
        with store_errors():
            answer = self._client.options(ignore_status=404).get(
                index=self._indices.state, id=id_, source_includes=list(fields) or None
            )
        if "error" in answer:
            raise StoreRejected(f"the index {self._indices.state} is missing: {answer['error']['reason']}")
        return dict(answer) if answer["found"] else None

    def _old_blocks(self, before: int) -> Iterator[dict[str, Any]]:
        after: list[Any] | None = None
        query = {"bool": {"filter": [{"term": {"kind": "block"}}, {"range": {"at": {"lt": before}}}]}}
        while True:
            with store_errors():
                answer = self._client.search(
                    index=self._indices.state,
                    query=query,
                    sort=[{"name": "asc"}],
                    search_after=after,
                    size=_PAGE,
                    source=False,
                    seq_no_primary_term=True,
                    track_total_hits=False,
                    allow_partial_search_results=False,
                )
            hits = answer["hits"]["hits"]
            yield from hits
            if len(hits) < _PAGE:
                return
            after = hits[-1]["sort"]

    def _deletion(self, hit: dict[str, Any]) -> Action:
        target = {"_index": self._indices.state, "_id": hit["_id"]}
        unchanged = {"if_seq_no": hit["_seq_no"], "if_primary_term": hit["_primary_term"]}
        return Action(json.dumps({"delete": target | unchanged}).encode())


def _token(found: dict[str, Any]) -> str:
    return f"{found['_seq_no']}:{found['_primary_term']}"


def _condition(token: str | None) -> dict[str, Any]:
    """The parameters of a write that succeeds only if the document is still as `token` says."""
    if token is None:
        return {"op_type": "create"}
    number, colon, term = token.partition(":")
    if not (colon and number.isdecimal() and term.isdecimal()):
        raise StoreConflict(f"{token!r} is no token of this store")
    return {"if_seq_no": int(number), "if_primary_term": int(term)}


def _cursor_id(target: str) -> str:
    return f"cursor-{stable_id('cursor', target)}"
