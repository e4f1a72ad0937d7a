"""Grafana as far as Forewarn meets it: it reads the shipped files, fills in variables and macros, and asks the data source.

Owns: the queries of dashboards and alert rules as values, their expansion, and the requests of the three plugins. What comes
back is read by the oracles of `golden/grafana_rules.py`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import yaml

from forewarn.detector import DAY, HOUR, MINUTE

ROOT = Path(__file__).resolve().parent.parent
GRAFANA = ROOT / "grafana"
INFINITY, SIMPOD, ELASTIC, EXPRESSION = "forewarn-infinity", "forewarn-json", "forewarn-es", "__expr__"
_MACROS = re.compile(r"\$\{__time(From|To)\}")


@dataclass(frozen=True)
class Query:
    """One query of one place; [start, end) in UTC ms is the time range that Grafana would send with it."""

    where: str
    source: str
    model: Mapping[str, Any]
    start: int
    end: int
    annotation: Mapping[str, Any] | None = None

    @property
    def path(self) -> str:
        """The Infinity path or the simPod target."""
        return str(self.model.get("url") or self.model.get("target") or "")

    @property
    def parameters(self) -> dict[str, str]:
        return {item["key"]: item["value"] for item in self.model.get("url_options", {}).get("params", [])}


def dashboard(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((GRAFANA / "dashboards" / name).read_text(encoding="utf-8"))
    return loaded


def alert_rules() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((GRAFANA / "provisioning/alerting/forewarn.yml").read_text(encoding="utf-8"))
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def time_of(text: str, now: int) -> int:
    """`now`, `now-24h`, `now+3h`."""
    found = re.fullmatch(r"now(?:([+-]\d+)([mhd]))?", text)
    assert found, text
    return now + int(found[1] or 0) * {"m": MINUTE, "h": HOUR, "d": DAY}[found[2] or "m"]


def filled_in(node: Any, variables: Mapping[str, str]) -> Any:
    """The model as the browser sends it: dashboard variables replaced, `${name:format}` and `$name` alike for single values."""
    if isinstance(node, dict):
        return {key: filled_in(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [filled_in(item, variables) for item in node]
    if not isinstance(node, str):
        return node
    for name, value in variables.items():
        node = re.sub(rf"\$\{{{name}(:\w+)?\}}|\${name}\b", lambda _: value, node)  # noqa: B023 - called before the loop goes on
    return node


def queries_of(board: Mapping[str, Any], variables: Mapping[str, str], now: int) -> Iterator[Query]:
    """Every query of the panels, annotations and variables of a dashboard."""
    start, end = time_of(board["time"]["from"], now), time_of(board["time"]["to"], now)
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield Query(f"panel {panel['title']}", target["datasource"]["uid"], filled_in(target, variables), start, end)
    for note in board["annotations"]["list"]:
        model = filled_in(note["target"], variables)
        yield Query(f"annotation {note['name']}", note["datasource"]["uid"], model, start, end, annotation=note)
    for variable in board["templating"]["list"]:
        model = filled_in(variable["query"]["infinityQuery"], variables)
        yield Query(f"variable {variable['name']}", variable["datasource"]["uid"], model, start, end)


def queries_of_rules(now: int) -> Iterator[Query]:
    """The queries of the alert rules: no browser replaces anything in them."""
    for rule in alert_rules():
        for step in rule["data"]:
            if step["datasourceUid"] != EXPRESSION:
                span = step["relativeTimeRange"]
                start, end = now - 1000 * span["from"], now - 1000 * span["to"]
                yield Query(f"rule {rule['uid']}", step["datasourceUid"], step["model"], start, end)


def send(url: str, token: str, body: Any = None) -> str:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    content = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, content, headers), timeout=30) as response:
        answer: str = response.read().decode()
    return answer


def ask_infinity(base: str, token: str, query: Query) -> str:
    """What Infinity's backend sends: macros replaced, everything else as it is."""
    model = query.model
    assert (model["type"], model["source"], model["parser"], model["root_selector"]) == ("json", "url", "backend", "")
    assert model["url_options"]["method"] == "GET"
    times = {"From": str(query.start), "To": str(query.end)}
    expanded = {name: _MACROS.sub(lambda found: times[found[1]], value) for name, value in query.parameters.items()}
    assert not any("$" in value for value in expanded.values()), f"{query.where}: {expanded} is sent literally"
    return send(f"{base}{model['url']}?{urlencode(expanded)}", token)


def ask_simpod(base: str, token: str, query: Query) -> str:
    """What the browser sends for a query in code mode."""
    payload = json.loads(query.model["payload"])
    times = {name: _iso(time) for name, time in (("from", query.start), ("to", query.end))}
    body: dict[str, Any] = {
        "app": "dashboard", "range": times | {"raw": times}, "intervalMs": 60_000, "maxDataPoints": 1600,
        "targets": [dict(query.model) | {"payload": payload}], "scopedVars": {},
    }  # fmt: skip
    if query.annotation is not None:
        body["scopedVars"]["__annotation"] = {"text": query.annotation["name"], "value": query.annotation}
    return send(f"{base}/grafana/query", token, body)


def _iso(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time % 1000:03d}Z"


def elastic_search(query: Query) -> dict[str, Any]:
    """The search that Grafana's Elasticsearch data source makes of a metric query."""
    milliseconds = {"gte": query.start, "lte": query.end, "format": "epoch_millis"}
    filters = [
        {"range": {"@timestamp": milliseconds}},
        {"query_string": {"analyze_wildcard": True, "query": query.model["query"]}},
    ]
    search: dict[str, Any] = {"size": 0, "query": {"bool": {"filter": filters}}}
    level = search
    for aggregation in query.model["bucketAggs"]:
        settings = aggregation["settings"]
        if aggregation["type"] == "terms":
            made = {"terms": {"field": aggregation["field"], "size": int(settings["size"])}}
        else:
            assert aggregation is query.model["bucketAggs"][-1], "the date histogram comes last"
            made = {
                "date_histogram": {"field": aggregation["field"], "fixed_interval": settings["interval"], "min_doc_count": 0}
            }
        level["aggs"] = {aggregation["id"]: made}
        level = made
    (metric,) = query.model["metrics"]
    if metric["type"] != "count":
        level["aggs"] = {metric["id"]: {metric["type"]: {"field": metric["field"]}}}
    return search
