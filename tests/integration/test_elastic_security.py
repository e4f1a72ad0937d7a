"""Credentials, privileges and certificates against a real Elasticsearch with security and TLS on."""

import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.elasticsearch_server import ElasticsearchServer, free_port, running

from forewarn.connection import ElasticSettings
from forewarn.elastic import connect, server_version, source_errors, store_errors
from forewarn.errors import SourceRejected, StoreRejected, StoreUnavailable

pytestmark = pytest.mark.xdist_group("secured")
ROLES = """\
reader:
  cluster: [monitor]
  indices: [{names: ['metrics-*'], privileges: [read, view_index_metadata]}]
"""


@pytest.fixture(scope="module")
def secured() -> Iterator[ElasticsearchServer]:
    users = {"ruth": ("right-password", "reader"), "root": ("root-password", "superuser")}
    with running(security=True, tls=True, users=users, roles=ROLES) as server:
        yield server


@pytest.fixture
def settings(secured: ElasticsearchServer) -> dict[str, Any]:
    return {"hosts": (secured.url,), "username": "ruth", "password": "right-password", "ca_certs": str(secured.ca_certs)}


def fingerprint(secured: ElasticsearchServer) -> str:
    assert secured.ca_certs
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(Path(secured.ca_certs).read_text())).hexdigest()


def test_the_right_password_and_certificate_are_let_in(settings: dict[str, Any]) -> None:
    with connect(ElasticSettings(**settings), "test") as client:
        assert server_version(client).startswith("8.")
        assert client.search(index="metrics-*")["hits"]["total"]["value"] == 0


def test_a_wrong_password_is_rejected_and_said_to_be_one(settings: dict[str, Any]) -> None:
    with (
        connect(ElasticSettings(**settings | {"password": "wrong"}), "test") as client,
        pytest.raises(SourceRejected, match=r"credentials were refused \(401\).*ruth") as refused,
        source_errors("metrics-*"),
    ):
        client.search(index="metrics-*")
    assert "wrong" not in str(refused.value)


def test_a_missing_privilege_is_named(settings: dict[str, Any]) -> None:
    with connect(ElasticSettings(**settings), "test") as client:
        with pytest.raises(SourceRejected, match=r"privilege is missing \(403\).*logs-a.*read"), source_errors("logs-a"):
            client.search(index="logs-a")
        with pytest.raises(StoreRejected, match=r"privilege is missing \(403\).*create_doc"), store_errors():
            client.index(index="metrics-a", document={})


def test_the_fingerprint_of_the_server_is_enough_and_another_is_rejected(
    settings: dict[str, Any], secured: ElasticsearchServer
) -> None:
    del settings["ca_certs"]
    right = fingerprint(secured)
    with connect(ElasticSettings(**settings, fingerprint=right), "test") as client:
        assert server_version(client)
    with (
        connect(ElasticSettings(**settings, fingerprint=right[:-2] + ("00" if right[-2:] != "00" else "11")), "test") as client,
        pytest.raises(StoreRejected, match=r"TLS.*[Ff]ingerprint"),
        store_errors(),
    ):
        server_version(client)


def test_a_certificate_that_nobody_vouches_for_is_rejected_unless_verification_is_off(settings: dict[str, Any]) -> None:
    del settings["ca_certs"]
    with (
        connect(ElasticSettings(**settings), "test") as client,
        pytest.raises(StoreRejected, match=r"TLS.*certificate verify failed"),
        store_errors(),
    ):
        server_version(client)
    with connect(ElasticSettings(**settings, verify_certs=False), "test") as client:
        assert server_version(client)


def test_https_to_a_port_that_nobody_serves_is_unavailable(settings: dict[str, Any]) -> None:
    with (
        connect(ElasticSettings(**settings | {"hosts": (f"https://127.0.0.1:{free_port()}",)}), "test") as client,
        pytest.raises(StoreUnavailable),
        store_errors(),
    ):
        server_version(client)
