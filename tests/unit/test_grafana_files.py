"""The files for Grafana and Docker: no key that Grafana would silently ignore, no reference that leads nowhere, no secret.

Nothing here was read by a real Grafana or Docker; the allowed keys are those that Grafana's provisioning knows.
"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from tests.grafana_client import ELASTIC, EXPRESSION, GRAFANA, INFINITY, ROOT, SIMPOD, alert_rules, dashboard

from forewarn.cli import main
from forewarn.config import parse
from forewarn.simulation.configuration import configuration
from forewarn.simulation.topology import DEPENDS_ON
from forewarn_datasource.wiring import settings_of

Allowed = dict[str, Any]


def known(names: str) -> Allowed:
    """Keys whose values are free-form."""
    return dict.fromkeys(names.split())


DATASOURCES = known("apiVersion prune") | {
    "deleteDatasources": known("name orgId"),
    "datasources": known(
        "name type uid orgId access url basicAuth basicAuthUser isDefault jsonData secureJsonData version editable"
    ),
}
PROVIDER = known("name orgId folder folderUid type disableDeletion updateIntervalSeconds allowUiUpdates")
DASHBOARDS = known("apiVersion") | {"providers": PROVIDER | {"options": known("path foldersFromFilesStructure")}}
RULE = known(
    "uid title condition dashboardUid panelId noDataState execErrState for keepFiringFor missing_series_evals_to_resolve "
    "annotations labels isPaused"
) | {
    "data": known("refId queryType datasourceUid model") | {"relativeTimeRange": known("from to")},
    "record": known("metric from targetDatasourceUid"),
    "notification_settings": known(
        "receiver group_by group_wait group_interval repeat_interval mute_time_intervals active_time_intervals"
    ),
}
ALERTING = known(
    "apiVersion deleteRules contactPoints deleteContactPoints policies resetPolicies muteTimes deleteMuteTimes templates "
    "deleteTemplates"
) | {"groups": known("orgId name folder interval") | {"rules": RULE}}
KINDS = {"datasources": DATASOURCES, "dashboards": DASHBOARDS, "alerting": ALERTING}
FILES = sorted((GRAFANA / "provisioning").rglob("*.yml"))
BOARDS = sorted(path.name for path in (GRAFANA / "dashboards").glob("*.json"))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]


def check(node: Any, allowed: Allowed, where: str = "") -> None:
    for item in node if isinstance(node, list) else [node]:
        assert not set(item) - set(allowed), f"{where}: Grafana would ignore {sorted(set(item) - set(allowed))}"
        for key, below in allowed.items():
            if below and item.get(key) is not None:
                check(item[key], below, f"{where}/{key}")


def provisioned(kind: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((GRAFANA / "provisioning" / kind / "forewarn.yml").read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_grafana_knows_every_key_of_a_provisioning_file(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert content["apiVersion"] == 1
    check(content, KINDS[path.parent.name])


@pytest.mark.parametrize("right", ["keepFiringFor", "noDataState", "relativeTimeRange", "jsonData", "updateIntervalSeconds"])
def test_a_misspelt_key_is_noticed(right: str) -> None:
    found = 0
    for kind, allowed in KINDS.items():
        text = json.dumps(provisioned(kind))
        text = text.replace('"for": "0s"', '"for": "0s", "keepFiringFor": "5m"')
        if f'"{right}"' in text:
            found += 1
            check(json.loads(text), allowed)
            with pytest.raises(AssertionError, match="Grafana would ignore"):
                check(json.loads(text.replace(f'"{right}"', f'"{right.lower()}"')), allowed)
    assert found == 1


def test_there_is_a_file_of_each_kind() -> None:
    assert {path.parent.name for path in FILES} == set(KINDS)


def test_secrets_come_from_the_environment() -> None:
    for source in provisioned("datasources")["datasources"]:
        for value in source.get("secureJsonData", {}).values():
            assert re.fullmatch(r"(Bearer )?\$FOREWARN_TOKEN", value)
    assert "FOREWARN_TOKEN" in SERVICES["grafana"]["environment"]


def uids_in(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "uid" in node and "type" in node:
            yield node["uid"]
        for value in node.values():
            yield from uids_in(value)
    elif isinstance(node, list):
        for item in node:
            yield from uids_in(item)


def test_dashboards_and_rules_refer_to_data_sources_that_are_provisioned() -> None:
    types = {source["uid"]: source["type"] for source in provisioned("datasources")["datasources"]}
    assert set(types) == {INFINITY, SIMPOD, ELASTIC}
    for name in BOARDS:
        panels = dashboard(name)
        used = {uid for part in ("panels", "annotations", "templating") for uid in uids_in(panels[part])}
        assert used <= set(types)
    assert {step["datasourceUid"] for rule in alert_rules() for step in rule["data"]} == {INFINITY, EXPRESSION}


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_complete(name: str) -> None:
    board = dashboard(name)
    assert board["id"] is None
    assert board["uid"] == name.removesuffix(".json") or board["uid"] == "forewarn"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [
        (x, y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells), "two panels lie over each other"
    assert max(x for x, _ in cells) < 24


def test_queries_name_the_backend_parser_and_declare_their_columns() -> None:
    found = re.findall(r'"parser": "(\w+)"', json.dumps([dashboard(name) for name in BOARDS] + alert_rules()))
    assert set(found) == {"backend"}


def test_overrides_of_tables_name_columns_that_are_asked_for() -> None:
    for panel in dashboard("forewarn.json")["panels"]:
        if panel["type"] == "table":
            columns = {column["text"] for column in panel["targets"][0]["columns"]}
            assert {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]} <= columns
            organised = next(step for step in panel["transformations"] if step["id"] == "organize")
            assert set(organised["options"]["indexByName"]) == columns


def test_rules_are_drawn_on_panels_that_exist() -> None:
    for rule in alert_rules():
        assert rule["dashboardUid"] == "forewarn"
        assert rule["panelId"] in {panel["id"] for panel in dashboard("forewarn.json")["panels"]}
        steps = {step["refId"]: step["model"] for step in rule["data"]}
        assert rule["condition"] in steps
        assert {step["expression"] for step in steps.values() if "expression" in step} <= set(steps)
        assert all(step["model"]["refId"] == step["refId"] for step in rule["data"])


def test_labels_of_a_rule_never_change_with_what_is_wrong() -> None:
    for rule in alert_rules():
        assert not any("$" in value or "{{" in value for value in rule["labels"].values())


def test_the_mounted_folders_are_where_grafana_looks() -> None:
    (provider,) = provisioned("dashboards")["providers"]
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).name in BOARDS


def test_the_plugins_that_are_used_are_pinned() -> None:
    pins = dict(pin.split("@") for pin in SERVICES["grafana"]["environment"]["GF_PLUGINS_PREINSTALL_SYNC"].split(","))
    used = {source["type"] for source in provisioned("datasources")["datasources"]} - {"elasticsearch"}
    assert set(pins) == used
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pins.values())
    images = [service["image"] for service in SERVICES.values()]
    assert all(re.search(r":(\d+\.\d+\.\d+|local)$", image) for image in images)


def test_ports_are_on_loopback_and_services_wait_for_what_they_need() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in SERVICES
            assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[needed]
    assert all("healthcheck" in service for name, service in SERVICES.items() if name != "feeder")


def commands() -> dict[str, list[str]]:
    """What each service runs of ours, as the arguments of `forewarn`."""
    found = {}
    for name, service in SERVICES.items():
        if service["image"] == "forewarn:local":
            words = service["command"]
            if service.get("entrypoint") == ["sh", "-c"]:
                words = shlex.split(words[0].replace("$$(", "$(").replace('"$(', "'2026-11-22' # \"$(").split(" # ")[0])
                assert words[:2] == ["exec", "forewarn"]
                words = words[2:]
            found[name] = words
    return found


@pytest.mark.parametrize(("name", "words"), commands().items())
def test_every_command_of_the_compose_file_exists(name: str, words: list[str]) -> None:
    command = main.commands[words[0]]
    with command.make_context(words[0], words[1:]) as context:
        assert isinstance(context, click.Context)
    with pytest.raises(click.UsageError):
        command.make_context(words[0], [*words[1:], "--no-such-option"])


def test_the_configuration_of_the_compose_file_is_that_of_the_shop() -> None:
    text = (GRAFANA / "forewarn.yml").read_text(encoding="utf-8")
    made = parse(text, {"FOREWARN_TOKEN": "secret"}, GRAFANA)
    shop = parse(configuration("elasticsearch", DEPENDS_ON, hosts=("http://elasticsearch:9200",)), {}, GRAFANA)
    assert (made.detectors, made.incidents, made.store) == (shop.detectors, shop.incidents, shop.store)
    assert made.datasource.tokens == ("secret",)
    assert settings_of(made.datasource).public_url == "http://localhost:8080"
    assert made.datasource.port == 8080
    for service in ("scheduler", "datasource"):
        target = SERVICES[service]["volumes"][0].split(":")[1]
        assert target in SERVICES[service]["command"]


def test_the_image_runs_as_nobody_in_particular_and_holds_both_packages() -> None:
    text = (ROOT / "plugin/Dockerfile").read_text(encoding="utf-8")
    stages = text.split("\nFROM ")
    assert all("python:3.11-slim" in stage for stage in re.findall(r"^FROM .*", text, re.MULTILINE))
    assert re.search(r"^USER (?!root)\w+", stages[-1], re.MULTILINE)
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*)", text, re.MULTILINE) for word in line.split()[:-1]}
    assert {"pyproject.toml", "plugin", "datasource", "README.md", "LICENSE"} <= copied
    assert all((ROOT / word).exists() for word in copied)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    assert copied <= kept
