"""Writing results into Elasticsearch: deterministic ids, external versions, indices dated by result time.

Owns the ResultStore part of the Elasticsearch store. Must not read results back for anyone.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from elasticsearch import Elasticsearch

from forewarn.anomaly import Anomaly
from forewarn.elastic import store_errors
from forewarn.errors import StoreConflict, StoreRejected
from forewarn.results import Publication
from forewarn.stores.elasticsearch_bulk import Action, index_action, write
from forewarn.stores.elasticsearch_documents import anomaly_document, record_document, score_documents
from forewarn.stores.elasticsearch_incidents import incident_document, pattern_document
from forewarn.stores.elasticsearch_indices import DATED, Indices, create_index
from forewarn.stores.partitions import Partitions
from forewarn.stores.records import published, to_json

_NOTHING_DROPPED = -(2**62)


class ElasticsearchResults:
    """The ResultStore of one installation."""

    def __init__(self, client: Elasticsearch, indices: Indices, partitions: Partitions, sleep: Callable[[float], None]) -> None:
        self._client = client
        self._indices = indices
        self._partitions = partitions
        self._sleep = sleep
        self._made: set[str] = set()

    def publish(self, publication: Publication) -> None:
        """Writes everything that can be, then raises StoreRejected if something is too old or refused for good."""
        kept_from = self._kept_from()
        too_old: list[str] = []
        outcome = write(self._client, self._actions(publication, kept_from, too_old), self._sleep)
        if outcome.refused:
            raise StoreRejected(f"{len(outcome.refused)} documents were refused: {outcome.refused[0]}")
        if too_old:
            raise StoreRejected(
                f"{len(too_old)} results are older than the retention and were not written (kept from {kept_from}), such as "
                f"{too_old[0]}"
            )

    def drop_before(self, time: int) -> int:
        """Drops the indices that end at or before `time`; returns how many there were."""
        edge = self._partitions.floor(time)
        self._keep_from(edge)
        with store_errors():
            names = self._client.indices.get(
                index=[f"{self._indices.alias(kind)}-*" for kind in DATED], filter_path="*.aliases"
            )
        dropped = 0
        for name in names:
            start = self._start_of(name)
            if start is not None and start < edge:
                with store_errors():
                    answer = self._client.options(ignore_status=404).indices.delete(index=name)
                self._made.discard(name)
                dropped += "error" not in answer
        return dropped

    def _actions(self, publication: Publication, kept_from: int, too_old: list[str]) -> Iterator[Action]:
        for record in publication.series:
            index = self._index(self._indices.models)
            yield index_action(index, record.key.id, record.version, to_json(record_document(record)))
        for block in publication.scores:
            rows, columns = published(block)
            partitions = self._partitions.floors(block.actual.grid.times())
            young = partitions[columns] >= kept_from
            too_old.extend(["a score"] * int(rows.size - np.count_nonzero(young)))
            rows, columns = rows[young], columns[young]
            index_of = {start: self._dated("scores", start) for start in np.unique(partitions[columns]).tolist()}
            indices = [index_of.get(start, "") for start in partitions.tolist()]
            for id_, version, column, document in score_documents(block, rows, columns):
                yield index_action(indices[column], id_, version, to_json(document))
        found = self._homes([anomaly for _, anomaly in publication.anomalies])
        for version, anomaly in publication.anomalies:
            start = self._partitions.floor(anomaly.start)
            home = found.get(anomaly.id)
            if home is None and start < kept_from:
                too_old.append(f"anomaly {anomaly.id}")
                continue
            index = found[anomaly.id] = home or self._dated("anomalies", start)
            yield index_action(index, anomaly.id, version, to_json(anomaly_document(version, anomaly)))
        for version, incident in publication.incidents:
            start = self._partitions.floor(incident.opened)  # never changes, unlike its start
            if start < kept_from:
                too_old.append(f"incident {incident.id}")
            else:
                index = self._dated("incidents", start)
                yield index_action(index, incident.id, version, to_json(incident_document(version, incident)))
        for version, pattern in publication.patterns:
            index = self._index(self._indices.patterns)
            yield index_action(index, pattern.id, version, to_json(pattern_document(version, pattern)))

    def _dated(self, kind: str, start: int) -> str:
        return self._index(self._indices.dated(kind, self._partitions.name(start)))

    def _index(self, name: str) -> str:
        """The index of that name, made if this process has not seen it yet."""
        if name not in self._made:
            create_index(self._client, name)
            self._made.add(name)
        return name

    def _homes(self, anomalies: Sequence[Anomaly]) -> dict[str, str]:
        """The index of every anomaly that has been written before: it stays there, whatever becomes of its start.

        Looked up by id in the partition of its start and those beside it, which sees the last write, and by a search,
        which sees all partitions.
        """
        found: dict[str, str] = {}
        for low in range(0, len(anomalies), 1000):
            part = anomalies[low : low + 1000]
            ids = [anomaly.id for anomaly in part]
            with store_errors():
                answer = self._client.search(
                    index=self._indices.alias("anomalies"),
                    query={"ids": {"values": ids}},
                    size=len(ids),
                    source=False,
                    ignore_unavailable=True,
                    track_total_hits=False,
                    allow_partial_search_results=False,
                )
            found |= {hit["_id"]: hit["_index"] for hit in answer["hits"]["hits"]}
            near = [
                {"_index": self._indices.dated("anomalies", self._partitions.name(self._partitions.after(start, beside)))}
                | {"_id": anomaly.id, "_source": False}
                for anomaly in part
                if anomaly.id not in found
                for start in [anomaly.start]
                for beside in (0, -1, 1)
            ]
            if near:
                with store_errors():
                    documents = self._client.mget(docs=near)["docs"]  # an index that is missing is an error of its item
                for document in documents:
                    if document.get("found"):
                        found.setdefault(document["_id"], document["_index"])
        return found

    def _start_of(self, name: str) -> int | None:
        """The partition of an index, None if it is none of ours."""
        for kind in DATED:
            if name.startswith(f"{self._indices.alias(kind)}-"):
                return self._partitions.parse(name.removeprefix(f"{self._indices.alias(kind)}-"))
        return None

    def _kept_from(self) -> int:
        with store_errors():
            about = self._client.get(index=self._indices.state, id="store")
        return int(about["_source"].get("kept_from", _NOTHING_DROPPED))

    def _keep_from(self, edge: int) -> None:
        """Raises the time from which results are kept; it never falls."""
        while True:
            with store_errors():
                about = self._client.get(index=self._indices.state, id="store")
            if about["_source"].get("kept_from", _NOTHING_DROPPED) >= edge:
                return
            condition = {"if_seq_no": about["_seq_no"], "if_primary_term": about["_primary_term"]}
            try:
                with store_errors():
                    self._client.update(index=self._indices.state, id="store", doc={"kept_from": edge}, **condition)
                return
            except StoreConflict:
                continue  # another process has moved it in between
