"""Who is let in, and what a service without tokens may listen on."""

import base64

import pytest
from flask.testing import FlaskClient
from tests.golden.datasource_shop import application, fill

from forewarn.errors import ConfigError
from forewarn.stores.sqlite import SqliteStore
from forewarn_datasource.settings import DatasourceSettings, Listen, require_protection

GUARDED = ["/", "/grafana", "/infinity/variables", "/-/metrics", "/nothing/here"]


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    store = SqliteStore(":memory:")
    fill(store)
    return application(
        store, DatasourceSettings(tokens=("first-token", "second-tökén"), users=(("ann", "pass:word"),))
    ).test_client()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "header",
    [
        "Bearer first-token",
        "bearer first-token",
        "Bearer " + "second-tökén".encode().decode("latin-1"),  # as a WSGI server hands on the bytes that a client sent
        basic("anybody", "second-tökén"),
        basic("", "first-token"),
        basic("ann", "pass:word"),
    ],
)
@pytest.mark.parametrize("path", ["/grafana", "/infinity/variables", "/-/metrics", "/-/healthy", "/-/ready"])
def test_good_credentials_open_every_route(client: FlaskClient, path: str, header: str) -> None:
    assert client.get(path, headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "Bearer wrong", "Bearer", "Bearer ", "Bearer first-token2", "Basic first-token", "Basic !!!", "Token first-token",
        basic("ann", "wrong"), basic("bob", "pass:word"), basic("ann", ""), "Bearer \xff\xfe", 'Digest username="ann"', "",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", [*GUARDED, "/-/healthy", "/-/ready"])
def test_wrong_credentials_open_nothing_not_even_the_health_check(client: FlaskClient, path: str, header: str) -> None:
    response = client.get(path, headers={"Authorization": header})
    assert response.status_code == 401
    assert response.get_json() == {"message": "unauthorized: the token or password is not accepted"}
    assert "Bearer" in response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("path", GUARDED)
def test_no_credentials_are_told_what_to_send(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 401
    assert response.get_json()["message"] == "unauthorized: send a token: Authorization: Bearer <token>"


@pytest.mark.parametrize("path", ["/-/healthy", "/-/ready"])
def test_health_is_open_and_says_something(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.get_json()


def test_without_tokens_everybody_is_let_in() -> None:
    store = SqliteStore(":memory:")
    assert application(store, DatasourceSettings()).test_client().get("/grafana").status_code == 200


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "127.9.9.9:1", "localhost:8080", "[::1]:8080"])
def test_without_tokens_a_loopback_address_is_fine(listen: str) -> None:
    require_protection(Listen.parse(listen), DatasourceSettings())
    assert str(Listen.parse(listen)) == listen


@pytest.mark.parametrize("listen", [":8080", "0.0.0.0:8080", "[::]:8080", "forewarn.example:8080", "192.168.0.1:8080"])
def test_without_tokens_no_other_address_is(listen: str) -> None:
    with pytest.raises(ConfigError, match="set a token, or listen on 127") as refused:
        require_protection(Listen.parse(listen), DatasourceSettings())
    assert refused.value.path == "datasource.tokens"
    require_protection(Listen.parse(listen), DatasourceSettings(tokens=("t",)))


@pytest.mark.parametrize("listen", ["", "8080", "host:", "host:port", "host:99999", "::1:8080", "host:-1", "host:٣"])
def test_an_address_that_cannot_be_read_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError, match="expected host:port"):
        Listen.parse(listen)


@pytest.mark.parametrize("settings", [{"tokens": ("",)}, {"tokens": ("t", " ")}, {"users": (("ann", ""),)}, {"max_points": 0}])
def test_settings_that_open_the_door_by_accident_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        DatasourceSettings(**settings)  # type: ignore[arg-type]  # each case is one setting
