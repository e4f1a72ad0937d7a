"""The incident pages: what they say, how far they go, and that text from logs stays text."""

import dataclasses
import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import numpy as np
import pytest
from flask.testing import FlaskClient
from tests import incident_scene as scene
from tests.incident_scene import BEGAN, NOW, STEP

from forewarn.detector import DAY, HOUR
from forewarn.errors import StoreUnavailable
from forewarn.ports import ResultReader
from forewarn.results import Publication
from forewarn.stores.sqlite import SqliteStore
from forewarn_datasource.app import create_app
from forewarn_datasource.settings import DatasourceSettings

VOID = {"meta", "link", "br", "path", "rect", "img", "input"}


class Reading(HTMLParser):
    """The elements of a page with their attributes, the text of each by id of the section around it, and nesting that holds."""

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(content)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text.append(data)

    def all(self, tag: str, kind: str = "") -> list[dict[str, str]]:
        return [given for name, given in self.elements if name == tag and (not kind or kind in given.get("class", "").split())]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def store() -> Iterator[SqliteStore]:
    made = SqliteStore(":memory:")
    scene.fill(made, *scene.INCIDENTS, scene.NASTY)
    yield made
    made.close()


def client_of(store: ResultReader, now: int = NOW, **settings: object) -> FlaskClient:
    made = DatasourceSettings(**({"cache_for": 0} | settings))  # type: ignore[arg-type]  # each test gives a few of them
    return create_app(store, made, clock=lambda: now, predict=scene.predict).test_client()


@pytest.fixture(scope="module")
def client(store: SqliteStore) -> FlaskClient:
    return client_of(store)


def get(client: FlaskClient, path: str, status: int = 200) -> Reading:
    response = client.get(path)
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.mimetype == "text/html"
    return Reading(response.get_data(as_text=True))


def page(client: FlaskClient, incident_id: str) -> Reading:
    return get(client, f"/incidents/{incident_id}")


def ids_of(reading: Reading) -> list[str]:
    return [given["href"].rsplit("/", 1)[1] for given in reading.all("a", "title")]


def test_the_list_has_the_open_incidents_first_and_none_that_was_merged_away(client: FlaskClient) -> None:
    assert ids_of(get(client, "/incidents")) == [scene.OPEN.id, scene.NASTY.id, scene.OVER.id]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=open", [scene.OPEN.id, scene.NASTY.id]),
        ("state=resolved", [scene.OVER.id]),
        ("severity=critical", [scene.OPEN.id]),
        ("severity=minor,warning", [scene.NASTY.id, scene.OVER.id]),
        ("owner=team-payment", [scene.OPEN.id]),
        ("owner=nobody", [scene.OVER.id]),
        ("state=resolved&severity=critical", []),
    ],
)
def test_the_list_can_be_narrowed(client: FlaskClient, query: str, expected: list[str]) -> None:
    assert ids_of(get(client, f"/incidents?{query}")) == expected


def test_each_filter_of_the_list_leads_to_a_list_that_says_it_is_chosen(client: FlaskClient) -> None:
    offered = [given["href"] for given in get(client, "/incidents?severity=minor").all("a") if "?" in given["href"]]
    assert len(offered) > 8
    for href in offered:
        assert href.startswith("incidents?")
        chosen = [given for given in get(client, "/" + href).all("a") if given.get("aria-current")]
        assert len(chosen) == 3


@pytest.mark.parametrize("query", ["state=lost", "severity=bad", "span=9y", "colour=red", "state=${state}"])
def test_what_cannot_be_asked_is_refused_with_a_page_that_says_why(client: FlaskClient, query: str) -> None:
    assert query.partition("=")[0] in get(client, f"/incidents?{query}", 400).words


def test_resolved_incidents_leave_the_list_with_the_days(store: SqliteStore) -> None:
    store.commit_head(b'{"now": %d}' % (NOW + 2 * DAY), store.load_head()[1])  # type: ignore[index]  # the scene committed one
    try:
        client = client_of(store, NOW + 2 * DAY)
        assert ids_of(get(client, "/incidents?span=24h")) == [scene.OPEN.id, scene.NASTY.id]
        assert scene.OVER.id in ids_of(get(client, "/incidents"))
    finally:
        store.commit_head(b'{"now": %d}' % NOW, store.load_head()[1])  # type: ignore[index]  # as above


def test_the_page_says_what_happened_why_and_what_to_do(client: FlaskClient) -> None:
    words = page(client, scene.OPEN.id).words
    for said in (
        scene.OPEN.title, "critical 88", "open", "owner team-payment", "since 22 Nov 2026, 19:55 UTC", "lasting 1 h 11 min",
        "payment 78 %", "was the first to deviate", "Connection pool exhausted", "cannot be undone", "Or: Connection timeouts",
        "disk of orders-db will go above 90 % at about 22:41 UTC (in 1 h 35 min)", "Probability 84 %",
        "new warn payment first seen 22 Nov 2026, 19:55 UTC; 31 lines so far", "57.3x expected error payment",
        "total=40, active=40", "orders-db",
    ):  # fmt: skip
        assert said in words


def test_a_sentence_of_a_card_shows_what_stands_between_backticks_as_code(client: FlaskClient) -> None:
    content = client.get(f"/incidents/{scene.OPEN.id}").get_data(as_text=True)
    assert "<code>SHOW PROCESSLIST</code> or <code>pg_stat_activity</code>: are the connections" in content


def test_a_plot_has_a_point_for_each_stored_value_and_a_mark_for_each_anomalous_bucket(
    client: FlaskClient, store: SqliteStore
) -> None:
    reading = page(client, scene.OPEN.id)
    drawn = {given["aria-label"].split(":")[0]: given for given in reading.all("svg", "drawing")}
    assert set(drawn) == {"disk orders-db", "free-connections payment", "errors checkout", "latency payment",
                          "latency checkout", "shop-logs payment"}  # fmt: skip
    window = scene.OPEN.start - 2 * HOUR, scene.OPEN.end + 2 * HOUR
    lines = reading.all("path", "actual")
    order = [scene.DISK, scene.FREE, scene.SLOW, scene.ERRORS, scene.LATENCY, scene.LINES]
    hits = 0
    for key, given in zip(order, lines, strict=True):
        (stored,) = store.scores([key.id], *window, 1_000)
        count = int(np.isfinite(stored.actual).sum())
        assert count > 30
        assert len(re.findall("[ML]", given["d"])) == int(given["data-points"]) == count
        hits += int((stored.score >= 1).sum())
    assert len(reading.all("circle", "hit")) == hits > 40
    assert all(given["d"].startswith("M") and given["d"].endswith("Z") for given in reading.all("path", "band"))


def test_points_lie_where_time_and_value_put_them(client: FlaskClient, store: SqliteStore) -> None:
    reading = page(client, scene.OPEN.id)
    path = reading.all("path", "actual")[1]["d"]
    points = [tuple(map(float, pair.split())) for pair in re.split("[ML]", path) if pair]
    (stored,) = store.scores([scene.FREE.id], scene.OPEN.start - 2 * HOUR, scene.OPEN.end + 2 * HOUR, 1_000)
    start, span = scene.OPEN.start - 2 * HOUR, scene.OPEN.end - scene.OPEN.start + 4 * HOUR
    known = np.isfinite(stored.actual)
    xs = 46 + (474 - 46) * (stored.start[known] - start) / span
    assert np.allclose([x for x, _ in points], xs, atol=0.06)
    ys = np.array([y for _, y in points])
    assert np.corrcoef(ys, stored.actual[known])[0, 1] < -0.9999  # y grows downwards


def test_a_gap_in_the_data_is_a_gap_in_the_line(store: SqliteStore) -> None:
    early = dataclasses.replace(
        scene.OPEN, id="early", start=scene.NOON + HOUR, end=scene.NOON + 2 * HOUR, heads_ups={},
        resolved=scene.NOON + 2 * HOUR, state="resolved",
    )  # fmt: skip
    store.publish(Publication(incidents=((NOW, early),)))
    reading = page(client_of(store), "early")
    assert [given["d"].count("M") for given in reading.all("path", "actual")] == [2] * 5


def test_a_long_incident_is_drawn_with_few_points_that_keep_its_peak(store: SqliteStore) -> None:
    long = dataclasses.replace(scene.OPEN, id="long", start=NOW - 40 * DAY)
    store.publish(Publication(incidents=((NOW, long),)))
    reading = page(client_of(store), "long")
    assert "until" not in reading.words
    assert all(0 < int(given["data-points"]) <= 400 for given in reading.all("path", "actual"))
    assert reading.all("circle", "hit")


def test_an_incident_has_at_most_eight_plots_and_says_how_many_there_are_more(store: SqliteStore) -> None:
    member = scene.ANOMALIES[0]
    many = {f"a{n}": dataclasses.replace(member, id=f"a{n}", key=scene.key("latency", f"unstored-{n:02d}")) for n in range(20)}
    store.publish(Publication(incidents=((NOW, dataclasses.replace(scene.OPEN, id="many", anomalies=many, heads_ups={})),)))
    reading = page(client_of(store), "many")
    assert len(reading.all("figure")) == 8
    assert "… and 12 more series." in reading.words
    assert "Not drawn: nothing is stored of this series (any more)." in reading.words


def test_plots_that_would_read_too_much_are_left_out_and_the_rest_of_the_page_is_there(store: SqliteStore) -> None:
    reading = page(client_of(store, max_buckets=10), scene.OPEN.id)
    assert reading.all("svg", "drawing") == []
    assert "Not drawn" in reading.words
    assert "Connection pool exhausted" in reading.words


def test_a_merged_incident_leads_to_the_one_it_is_part_of(client: FlaskClient) -> None:
    reading = page(client, scene.MERGED.id)
    assert {"href": f"../incidents/{scene.OPEN.id}"} in reading.all("a")
    assert "merged into it" in reading.words


def test_an_unknown_incident_is_a_page_that_says_so(client: FlaskClient) -> None:
    assert "not known" in get(client, "/incidents/none", 404).words
    assert "not known" in get(client, f"/incidents/{'x' * 5_000}", 404).words


def test_hostile_text_stays_text(client: FlaskClient) -> None:
    for path in ("/incidents", f"/incidents/{scene.NASTY.id}"):
        reading = get(client, path)
        tags = {name for name, _ in reading.elements}
        assert not tags & {"script", "img", "iframe", "object", "form", "input", "base"}
        assert not any(name.startswith("on") or name == "style" for _, given in reading.elements for name in given)
        links = [given["href"] for name, given in reading.elements if name == "a"]
        assert all(link.startswith(("incidents", "../incidents", "https://example.com/")) for link in links)
        assert scene.SCRIPT in reading.words
        assert not set(reading.words) & set("\u202e\x00\x1b")


def test_hostile_text_is_bounded(client: FlaskClient) -> None:
    content = client.get(f"/incidents/{scene.NASTY.id}").get_data(as_text=True)
    assert len(content) < 100_000
    assert "and 76 more" in content
    assert "more patterns" in content
    assert max(len(text) for text in re.findall(r"[wxy]{50,}", html.unescape(content))) <= 1_000


@pytest.mark.parametrize("path", ["/incidents", f"/incidents/{scene.OPEN.id}", "/incidents/none"])
def test_the_policy_lets_a_browser_load_and_run_nothing(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["style-src"].startswith("'sha256-")
    assert "script-src" not in policy
    assert {policy[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


def test_pages_need_the_same_credentials_as_the_rest(store: SqliteStore) -> None:
    client = client_of(store, tokens=("secret",))
    for path in ("/incidents", f"/incidents/{scene.OPEN.id}"):
        refused = client.get(path)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].startswith("Basic ")  # a browser asks its user
        assert client.get(path, auth=("anybody", "secret")).status_code == 200


@pytest.mark.parametrize(
    ("path", "prefix"), [("/incidents", ""), ("/incidents/", "../"), (f"/incidents/{scene.OVER.id}", "../")]
)
def test_links_hold_behind_any_prefix(client: FlaskClient, path: str, prefix: str) -> None:
    links = [given["href"] for given in get(client, path).all("a")]
    assert links
    assert all(link.startswith(f"{prefix}incidents") for link in links)


def test_a_page_says_when_nothing_was_looked_at_for_long(store: SqliteStore) -> None:
    later = client_of(store, NOW + 3 * HOUR)
    for path in ("/incidents", f"/incidents/{scene.OPEN.id}"):
        assert "The last tick was 3 h ago" in get(later, path).words
        assert "The last tick" not in get(client_of(store), path).words
    assert "No tick has run yet" in get(client_of(SqliteStore(":memory:")), "/incidents").words


def test_a_page_of_something_that_goes_on_is_loaded_again(client: FlaskClient) -> None:
    refreshed = [bool([m for m in page(client, i).all("meta") if "http-equiv" in m]) for i in (scene.OPEN.id, scene.OVER.id)]
    assert refreshed == [True, False]


def test_a_store_that_is_away_is_a_page_that_says_so(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: object, **_kwargs: object) -> None:
        raise StoreUnavailable("no route")

    monkeypatch.setattr(store, "incident", away)
    response = client_of(store).get(f"/incidents/{scene.OPEN.id}")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert "no route" in Reading(response.get_data(as_text=True)).words


def test_the_scene_is_what_its_numbers_say() -> None:
    assert (NOW - 60_000 - BEGAN) % STEP == 0
