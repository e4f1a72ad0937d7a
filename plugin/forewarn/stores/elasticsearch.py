"""The store in Elasticsearch: results as plain indices that Grafana and Kibana read, state in an index beside them.

Owns the adapter of the port `Store` for Elasticsearch; its parts lie in the modules beside this one.
"""

import time
from collections.abc import Callable

from elasticsearch import Elasticsearch

from forewarn.stores.elasticsearch_incidents import ElasticsearchIncidents
from forewarn.stores.elasticsearch_indices import Indices, prepare
from forewarn.stores.elasticsearch_results import ElasticsearchResults
from forewarn.stores.elasticsearch_state import ElasticsearchState
from forewarn.stores.partitions import Partitions


class ElasticsearchStore(ElasticsearchState, ElasticsearchResults, ElasticsearchIncidents):
    """A `Store` in the indices `<prefix>-*` of the cluster behind `client`, made there if there are none.

    May be used by several threads and several processes at once. `partition` ("month" or "day") counts when the store is
    made; one that is there keeps its own. `sleep` waits between attempts when the server is overloaded. The client
    belongs to whoever made it, until `close` closes it. Raises StoreUnavailable if the cluster cannot be reached,
    StoreRejected if it refuses the templates or the store was made by a newer version.
    """

    def __init__(
        self,
        client: Elasticsearch,
        prefix: str = "forewarn",
        *,
        partition: str = "month",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        indices = Indices(prefix)
        partitions = prepare(client, indices, Partitions.of(partition))
        ElasticsearchState.__init__(self, client, indices, sleep)
        ElasticsearchResults.__init__(self, client, indices, partitions, sleep)
        ElasticsearchIncidents.__init__(self, client, indices)

    def close(self) -> None:
        """Closes the client; the store is not used afterwards."""
        self._client.close()
