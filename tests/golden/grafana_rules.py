"""How Grafana reads what the datasource answers: its own parser for simPod, and two oracles that follow its source.

`parsed` runs @grafana/data in Node. `infinity_frame` is Infinity's framer, `annotation_events` the mapping of annotations of
the dashboards' engine; both are stricter than Grafana where that protects us.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Frame = dict[str, tuple[str, list[Any]]]


def parsed(bodies: list[str]) -> list[list[dict[str, Any]]]:
    assert (HERE / "node_modules").is_dir(), "tests/golden/node_modules is missing: run `make node`"
    done = subprocess.run(
        ["node", "grafana.js"], check=False, cwd=HERE, input=json.dumps(bodies), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    frames: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return frames


def number(value: Any) -> float | None:
    return None if value is None or isinstance(value, bool) else float(value)


def infinity_frame(body: str, columns: list[dict[str, str]], fmt: str) -> tuple[Frame, str]:
    rows = json.loads(body)  # an empty body raises here, as in Infinity
    rows = [rows] if isinstance(rows, dict) else rows
    out: Frame = {}
    for column in sorted(columns, key=lambda column: column["text"]) if rows else []:
        raw = [row.get(column["selector"]) for row in rows]
        kind = "time" if column["type"].startswith("timestamp") else column["type"]
        assert not any(isinstance(value, list | dict) for value in raw), f"{column['text']}: nested value"
        assert kind != "string" or all(value is None or isinstance(value, str) for value in raw), f"{column['text']}: no string"
        numeric = kind == "number" or "epoch" in column["type"]
        out[column["text"]] = kind, [number(value) for value in raw] if numeric else raw
    kinds = [kind for kind, _ in out.values()]
    time = next((values for kind, values in out.values() if kind == "time"), None)  # the first time field by NAME
    labels = sum(kind in ("string", "boolean") for kind in kinds)
    if fmt == "timeseries" and time and labels and len(kinds) > 1 + labels:
        return out, "wide" if None not in time and time == sorted(time) else "long"  # "long" breaks alerts
    if "number" in kinds and (len(rows) == 1 or "string" in kinds):
        return out, "numeric-long"
    return out, "no-data" if not rows else "wide" if time and "number" in kinds else "table"


def annotation_events(frame: Frame) -> list[dict[str, Any]]:
    """`frame`: {display name: (kind, values)} of ONE frame."""
    low = {name.lower(): field for name, field in frame.items()}
    source = {key: low.get(key.lower()) for key in ("time", "timeEnd", "title", "text", "tags", "id", "newState")}
    source["time"] = source["time"] or next((field for field in frame.values() if field[0] == "time"), None)
    source["text"] = source["text"] or next((field for field in frame.values() if field[0] == "string"), None)
    if not (source["time"] and source["text"]):
        return []
    rows = [
        {key: field[1][n] for key, field in source.items() if field and field[1][n] is not None}
        for n in range(len(source["time"][1]))
    ]
    for row in rows:
        row["isRegion"] = bool(row.get("timeEnd")) and row["timeEnd"] != row.get("time")
        if isinstance(row.get("tags"), str):
            row["tags"] = row["tags"].split(",")
    return [row for n, row in enumerate(rows) if not row.get("id") or row["id"] not in [other.get("id") for other in rows[:n]]]
