"""The wire contract, one file per case in `cases/`: what Grafana sends, what it gets, and what it makes of that.

Every answer to /grafana/query is parsed by @grafana/data 13.2.3 itself, every Infinity answer by the oracle of its framer.
FOREWARN_WRITE_GOLDEN=1 writes what the files should hold; read the difference before you commit it.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.golden.datasource_shop import application, fill, fill_with_incidents
from tests.golden.grafana_rules import Frame, annotation_events, infinity_frame, parsed

from forewarn.stores.sqlite import SqliteStore

CASES = {path.stem: path for path in sorted((Path(__file__).parent / "cases").glob("*.json"))}
WRITE = os.environ.get("FOREWARN_WRITE_GOLDEN") == "1"


def read(name: str) -> dict[str, Any]:
    case: dict[str, Any] = json.loads(CASES[name].read_text(encoding="utf-8"))
    return case


@pytest.fixture(scope="module")
def stores() -> Iterator[dict[str, SqliteStore]]:
    made = {name: SqliteStore(":memory:") for name in ("shop", "incidents", "empty")}
    fill(made["shop"])
    fill_with_incidents(made["incidents"])
    yield made
    for store in made.values():
        store.close()


@pytest.fixture(scope="module")
def answers(stores: dict[str, SqliteStore]) -> dict[str, tuple[int, str]]:
    found = {}
    for name in CASES:
        case = read(name)
        request = case["request"]
        client = application(stores[case["store"]]).test_client()
        response = client.open(
            request["path"], method=request["method"], query_string=request.get("query"), json=request.get("json")
        )
        found[name] = response.status_code, response.get_data(as_text=True)
    return found


@pytest.fixture(scope="module")
def panels(answers: dict[str, tuple[int, str]]) -> dict[str, list[dict[str, Any]]]:
    asked = [name for name in CASES if read(name)["request"]["path"] == "/grafana/query" and answers[name][0] == 200]
    return dict(zip(asked, parsed([answers[name][1] for name in asked]), strict=True))


def events_of_panel(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    frame: Frame = {field["display"]: (field["type"], field["values"]) for field in frames[0]["fields"]}
    return annotation_events(frame)


@pytest.mark.parametrize("name", CASES)
def test_the_answer_and_what_grafana_makes_of_it_are_as_recorded(
    name: str, answers: dict[str, tuple[int, str]], panels: dict[str, list[dict[str, Any]]]
) -> None:
    case = read(name)
    status, body = answers[name]
    got: dict[str, Any] = {"status": status, "body": json.loads(body)}
    if name in panels:
        got["grafana"] = panels[name]
        if case["request"]["json"].get("scopedVars", {}).get("__annotation"):
            assert len(panels[name]) == 1
            got["annotations"] = events_of_panel(panels[name])
    if "infinity" in case:
        reading = case["infinity"]
        frame, shape = infinity_frame(body, reading["columns"], reading["format"])
        got["infinity"] = {"format": reading["format"], "columns": reading["columns"], "shape": shape}
        if case["request"]["path"].endswith("annotations"):
            got["annotations"] = annotation_events(frame)
    else:
        assert status != 200 or not case["request"]["path"].startswith("/infinity"), "say how Infinity is told to read it"
    if WRITE:
        kept = {key: case[key] for key in ("about", "store", "request")}
        CASES[name].write_text(json.dumps(kept | got, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    else:
        assert got == {key: case[key] for key in got}


def test_there_is_a_case_for_every_kind_of_answer() -> None:
    routes = {read(name)["request"]["path"] for name in CASES}
    assert routes >= {
        f"/infinity/{leaf}" for leaf in ("series", "scores", "anomalies", "annotations", "alert-state", "variables")
    }
    assert routes >= {f"/infinity/{leaf}" for leaf in ("incidents", "incident-annotations", "incident-state")}
    posts = ("query", "metrics", "metric-payload-options", "variable", "tag-keys", "tag-values", "search", "annotations")
    assert routes >= {"/grafana", *(f"/grafana/{leaf}" for leaf in posts)}


@pytest.mark.parametrize(
    "name", [name for name in CASES if name.startswith(("infinity_alert_state", "infinity_incident_state"))]
)
def test_alert_states_are_one_number_for_each_unchanging_set_of_labels(name: str, answers: dict[str, tuple[int, str]]) -> None:
    reading = read(name)["infinity"]
    frame, shape = infinity_frame(answers[name][1], reading["columns"], reading["format"])
    assert shape in ("numeric-long", "no-data")
    kinds = [kind for kind, _ in frame.values()]
    assert kinds.count("number") == (1 if frame else 0)
    assert "boolean" not in kinds
    labels = list(zip(*(values for kind, values in frame.values() if kind == "string"), strict=True))
    assert len(set(labels)) == len(labels)
    assert all(sum(isinstance(value, int | float) for value in row.values()) == 1 for row in json.loads(answers[name][1]))
