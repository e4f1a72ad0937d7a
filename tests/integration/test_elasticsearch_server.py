"""The server that the other integration tests stand on: it is real, survives a stop with its data, and leaves nothing."""

import socket

import pytest
from elasticsearch import Elasticsearch
from tests.elasticsearch_distribution import ElasticsearchMissing, java_home
from tests.elasticsearch_server import free_port, remove_everything, running


def test_the_server_answers_as_the_expected_version(es_client: Elasticsearch) -> None:
    nodes = es_client.nodes.info(filter_path="nodes.*.version")["nodes"]
    assert [node["version"].split(".")[0] for node in nodes.values()] == ["8"]


def test_what_bears_a_prefix_is_removed_and_nothing_else(es_client: Elasticsearch, es_prefix: str) -> None:
    for part in ("gone", "kept"):
        name = f"{es_prefix}-{part}"
        es_client.index(index=name, document={"n": 1})
        es_client.cluster.put_component_template(name=name, template={"settings": {"number_of_shards": 1}})
        es_client.indices.put_index_template(name=name, index_patterns=[f"{name}-x*"], composed_of=[name])
    remove_everything(es_client, f"{es_prefix}-gone")
    assert list(es_client.indices.get(index=f"{es_prefix}*")) == [f"{es_prefix}-kept"]
    assert not es_client.indices.exists_index_template(name=f"{es_prefix}-gone")
    assert not es_client.cluster.exists_component_template(name=f"{es_prefix}-gone")
    assert es_client.indices.exists_index_template(name=f"{es_prefix}-kept")


def test_a_stopped_server_comes_back_on_its_port_with_its_data_and_is_removed_at_the_end() -> None:
    with running() as server, Elasticsearch(server.url) as client:
        client.index(index="kept", id="1", document={"n": 1})
        server.stop()
        assert server.pid is None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=1)
        server.start()
        assert client.get(index="kept", id="1")["_source"] == {"n": 1}
    assert server.pid is None
    assert not server.directory.exists()


def test_a_missing_java_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.elasticsearch_distribution.LEAST_JAVA", {8: 99})
    with pytest.raises(ElasticsearchMissing, match=r"Java 99 or newer is missing.*openjdk-99-jdk-headless"):
        java_home("8.19.16")


def test_a_taken_port_gives_way_to_the_next_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) > port
