"""From a configuration file to a service on a port, that can be stopped, and that starts before its store is there."""

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from flask import Flask
from tests.golden.datasource_shop import MORNING, STEP, fill

from forewarn.config import Config, load
from forewarn.errors import ConfigError, StoreUnavailable
from forewarn.stores.sqlite import SqliteStore
from forewarn_datasource import wsgi
from forewarn_datasource.serving import Server
from forewarn_datasource.settings import Listen
from forewarn_datasource.wiring import late, serve_in_thread, serve_until, settings_of

FILE = """
store: sqlite:///shop.db
detectors:
  - {name: disk, path: "data/*.csv", function: max, field: used}
datasource: {listen: "127.0.0.1:0", tokens: ["${TOKEN}"], max_range: 2d, max_annotations: 7}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store = SqliteStore(tmp_path / "shop.db")
    fill(store)
    store.close()
    (tmp_path / "forewarn.yml").write_text(FILE)
    return tmp_path / "forewarn.yml"


@pytest.fixture
def config(path: Path) -> Config:
    return load(path, {"TOKEN": "secret"})


def fetch(url: str, token: str | None = "secret") -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_importing_wsgi_loads_nothing_that_fits_or_schedules() -> None:
    program = "import sys, forewarn_datasource.wsgi; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split())
    assert "flask" in loaded
    assert not loaded & {"prophet", "pandas", "apscheduler", "cmdstanpy", "holidays", "duckdb", "elasticsearch", "sqlite3"}


def test_the_wsgi_factory_reads_the_file_that_the_environment_names(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWARN_CONFIG", str(path))
    monkeypatch.setenv("TOKEN", "secret")
    client = wsgi.app().test_client()
    assert client.get("/infinity/variables").status_code == 401
    rows = client.get("/infinity/variables", headers={"Authorization": "Bearer secret"}).get_json()
    assert {row["__text"] for row in rows} >= {"disk", "web.errors{host=web-1}"}


def test_settings_are_those_of_the_file(config: Config) -> None:
    settings = settings_of(config.datasource)
    assert settings.tokens == ("secret",)
    assert settings.max_range == 2 * 24 * 3_600_000
    assert settings.max_annotations == 7


def test_it_serves_over_http_until_it_is_told_to_stop(config: Config) -> None:
    stop, urls = threading.Event(), list[str]()
    thread = threading.Thread(target=serve_until, args=(config, stop, urls.append))
    thread.start()
    try:
        while not urls:
            time.sleep(0.01)
        assert fetch(f"{urls[0]}/-/healthy", None)[0] == 200
        assert fetch(f"{urls[0]}/grafana", None)[0] == 401
        status, body = fetch(f"{urls[0]}//infinity/annotations?from={MORNING}&to={MORNING + 4 * STEP}&severity=critical")
        assert status == 200
        assert [row["title"] for row in json.loads(body)] == ["web.errors{host=web-1} 4.1x expected"]
    finally:
        stop.set()
        thread.join(timeout=20)
    assert not thread.is_alive()
    with pytest.raises(urllib.error.URLError):
        fetch(f"{urls[0]}/-/healthy")


def test_it_serves_the_store_of_a_process_that_has_it_open(config: Config) -> None:
    store = SqliteStore(":memory:")
    serving = serve_in_thread(config, store)
    try:
        assert fetch(f"{serving.url}/infinity/anomalies?from=0&to=1") == (200, b"[]")
    finally:
        serving.close()
        store.close()


def test_a_request_that_is_being_answered_is_finished_before_the_end() -> None:
    app, entered = Flask("slow"), threading.Event()

    @app.get("/")
    def slow() -> str:
        entered.set()
        time.sleep(0.5)
        return "done" * 1000

    server = Server(app, Listen("127.0.0.1", 0), threads=2)
    loop = threading.Thread(target=server.run)
    loop.start()
    answers: list[tuple[int, bytes]] = []
    asking = threading.Thread(target=lambda: answers.append(fetch(server.url)))
    asking.start()
    assert entered.wait(10)
    server.close()
    loop.join(timeout=20)
    asking.join(timeout=20)
    assert not loop.is_alive()
    assert answers == [(200, b"done" * 1000)]


def test_a_port_that_is_taken_is_a_setting_to_change_and_a_closed_one_is_free_again() -> None:
    first = Server(Flask("one"), Listen("127.0.0.1", 0))
    with pytest.raises(ConfigError, match="cannot listen on 127") as refused:
        Server(Flask("two"), first.listen)
    assert refused.value.path == "datasource.listen"
    first.close()
    Server(Flask("two"), first.listen).close()


def test_a_store_that_is_not_there_yet_is_opened_when_it_is() -> None:
    tries = []

    def open_store() -> SqliteStore:
        tries.append(1)
        if len(tries) < 3:
            raise StoreUnavailable("not yet")
        return SqliteStore(":memory:")

    reader = late(open_store)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            reader.committed()
    assert reader.committed() is None
    reader.refresh()
    assert (reader.series(), reader.find("x"), reader.anomaly("x"), reader.latest(None, 0)) == ([], None, None, [])
    assert (reader.scores(["x"], 0, 1, 10), reader.anomalies(0, 1)) == ([], [])
    assert len(tries) == 3
