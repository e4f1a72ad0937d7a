"""How the shop leaves the process: NDJSON files a day each, and actions for Elasticsearch's bulk requests, with the mapping.

Owns: the form of the documents of metrics, `index_templates`, and the writers. Knows no client; what it gives is plain data.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import DAY, MINUTE
from forewarn.series import SeriesBatch, TimeGrid
from forewarn.simulation.metrics import METRICS
from forewarn.simulation.topology import NAMES
from forewarn.simulation.vocabulary import stamps

Made = Iterable[tuple[NDArray[np.int64], list[str]]]
REPORTED: Final = 4 * MINUTE
"""When in its bucket a service reports; each a few seconds after the one before it."""
_KEYWORD: Final = {"type": "keyword", "ignore_above": 1024}
_LONG: Final = {"type": "long"}
_METRIC_MAPPING: Final = {
    "dynamic": "strict",
    "properties": {
        "@timestamp": {"type": "date"},
        "service": {"properties": {"name": _KEYWORD}},
        "metrics": {"properties": {name: {"type": "double"} for name in METRICS}},
    },
}
_LOG_MAPPING: Final = {
    "dynamic": "strict",
    "properties": {
        "@timestamp": {"type": "date"},
        "service": {"properties": {"name": _KEYWORD}},
        "log": {"properties": {"level": _KEYWORD}},
        "message": {"type": "text"},
        "http": {
            "properties": {
                "request": {"properties": {"method": _KEYWORD}},
                "response": {"properties": {"status_code": _LONG}},
            }
        },
        "url": {"properties": {"path": _KEYWORD}},
        "event": {"properties": {"duration": _LONG, "outcome": _KEYWORD}},
        "trace": {"properties": {"id": _KEYWORD}},
    },
}


def index_templates(index_prefix: str) -> dict[str, dict[str, Any]]:
    """Name -> body of the index templates, to be put before the documents are indexed (values are double, words keyword)."""
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    return {
        f"{index_prefix}-{name}": {
            "index_patterns": [f"{index_prefix}-{name}-*"],
            "priority": 500,
            "template": {"settings": settings, "mappings": mapping},
        }
        for name, mapping in (("metrics", _METRIC_MAPPING), ("logs", _LOG_MAPPING))
    }


def write_metrics(metrics: Mapping[str, SeriesBatch], grid: TimeGrid, folder: Path) -> list[Path]:
    """Writes `metrics-<day>.ndjson` for each day (UTC) and returns the paths."""
    return _by_day(metric_lines(metrics, grid), "metrics", folder)


def write_lines(made: Made, folder: Path) -> list[Path]:
    """Writes `logs-<day>.ndjson` for each day (UTC) and returns the paths."""
    return _by_day(made, "logs", folder)


def _by_day(made: Made, name: str, folder: Path) -> list[Path]:
    paths: list[Path] = []
    for times, lines in made:
        cuts = np.flatnonzero(np.diff(times // DAY)) + 1
        for low, high in zip([0, *cuts.tolist()], [*cuts.tolist(), times.size], strict=True):
            if low == high:
                continue
            path = folder / f"{name}-{_day(int(times[low]))}.ndjson"
            # Chunks need not begin at midnight: the second part of a day is added to the first.
            with path.open("a" if paths and path == paths[-1] else "w", encoding="utf-8") as file:
                file.write("\n".join(lines[low:high]) + "\n")
            if not paths or paths[-1] != path:
                paths.append(path)
    return paths


def metric_lines(
    metrics: Mapping[str, SeriesBatch], grid: TimeGrid, chunk: int = 288
) -> Iterator[tuple[NDArray[np.int64], list[str]]]:
    """Times and documents of the metrics, `chunk` buckets at a time: one for each service and bucket that it reported in."""
    rows = [_of_service(metrics, name) for name in NAMES]
    for low in range(0, grid.size, chunk):
        high = min(low + chunk, grid.size)
        columns = []
        for number, (name, measured) in enumerate(zip(NAMES, rows, strict=True)):
            times = grid.times()[low:high] + REPORTED + 3_000 * number
            body = ",".join(f'"{metric}":%s' for metric in measured)
            form = '{"@timestamp":"%s","service":{"name":"' + name + '"},"metrics":{' + body + "}}"
            values = np.stack([row[low:high] for row in measured.values()])
            texts = [list(map(repr, row)) for row in values.tolist()]
            reported = [not missing for missing in np.isnan(values.sum(axis=0)).tolist()]
            made = [form % line for line in zip(stamps(times), *texts, strict=True)]
            columns.append((times, made, reported))
        order = [(bucket, column) for bucket in range(high - low) for column in columns if column[2][bucket]]
        lines = [column[1][bucket] for bucket, column in order]
        yield np.array([column[0][bucket] for bucket, column in order], dtype=np.int64), lines


def _of_service(metrics: Mapping[str, SeriesBatch], name: str) -> dict[str, NDArray[np.float64]]:
    found = {}
    for metric, batch in metrics.items():
        for key, row in zip(batch.keys, batch.values, strict=True):
            if key.entity == (("service.name", name),):
                found[metric] = row
    return found


def metric_actions(metrics: Mapping[str, SeriesBatch], grid: TimeGrid, index_prefix: str) -> Iterator[dict[str, Any]]:
    """Actions for the documents of the metrics; their ids are service and time."""
    for times, lines in metric_lines(metrics, grid):
        for time, line in zip(times.tolist(), lines, strict=True):
            source = json.loads(line)
            yield _action(f"{index_prefix}-metrics-{_month(time)}", f"{source['service']['name']}-{time}", source)


def line_actions(made: Made, index_prefix: str) -> Iterator[dict[str, Any]]:
    """Actions for log lines; their ids are the time and their place in the whole."""
    number = 0
    for times, lines in made:
        for time, line in zip(times.tolist(), lines, strict=True):
            yield _action(f"{index_prefix}-logs-{_month(time)}", f"{time}-{number}", json.loads(line))
            number += 1


def _action(index: str, identity: str, source: Any) -> dict[str, Any]:
    return {"_op_type": "create", "_index": index, "_id": identity, "_source": source}


def _day(time: int) -> str:
    return str(np.datetime64(time, "ms").astype("datetime64[D]")).replace("-", ".")


def _month(time: int) -> str:
    return str(np.datetime64(time, "ms").astype("datetime64[M]")).replace("-", ".")
