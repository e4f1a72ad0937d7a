"""The configuration of Forewarn for the shop, as YAML text: detectors, logs, incidents, store and datasource.

Owns: `configuration`. Writes text; what the settings mean is decided by the configuration that reads it.
"""

# ruff: noqa: E501 - a detector stands on one line

import json
from collections.abc import Sequence
from pathlib import Path

_DETECTORS = """\
  - {name: requests, __METRICS__, function: sum, field: metrics.requests, direction: both, min_deviation: {relative: 20%, absolute: 10}, owner: team-edge}
  - {name: errors, __METRICS__, function: sum, field: metrics.errors, direction: above, min_deviation: {absolute: 5}, owner: team-edge}
  - {name: latency, __METRICS__, function: avg, field: metrics.latency, unit: ms, direction: above, min_deviation: {relative: 20%}, owner: team-edge}
  - {name: cpu, __METRICS__, function: avg, field: metrics.cpu, unit: ratio, direction: above, min_deviation: {absolute: 10%}, owner: team-platform}
  - {name: heap, __METRICS__, function: max, query: "metrics.heap:*", field: metrics.heap, unit: ratio, direction: above, min_deviation: {absolute: 5%}, threshold: {above: 92%}, owner: team-platform}
  - {name: disk, __METRICS__, function: max, query: "metrics.disk:*", field: metrics.disk, unit: ratio, direction: above, min_deviation: {absolute: 2%}, threshold: {above: 90%}, owner: team-platform}
  - {name: queue, __METRICS__, function: avg, query: "metrics.queue:*", field: metrics.queue, direction: above, min_deviation: {absolute: 50}, owner: team-logistics}
  - {name: free-connections, __METRICS__, function: min, query: "metrics.connections_free:*", field: metrics.connections_free, direction: below, min_deviation: {absolute: 3}, owner: team-platform}
  - {name: log-lines, __LOGS__, function: count, direction: below, min_deviation: {relative: 50%, absolute: 5}, owner: team-platform}
  - {name: log-errors, __LOGS__, function: ratio, of: "log.level: (error OR ERROR OR FATAL OR fatal OR CRITICAL OR crit OR alert)", unit: ratio, direction: above, silence: never, min_deviation: {absolute: 10%}, owner: team-platform}
"""
_SPLIT = "split_by: [service.name], bucket: 5m, fit_every: 1d"


def configuration(
    store: str,
    depends_on: Sequence[tuple[str, str]],
    *,
    folder: Path | None = None,
    hosts: Sequence[str] = (),
    index_prefix: str = "shop",
    listen: str = "127.0.0.1:8080",
) -> str:
    """The configuration for files in `folder`, or for indices `<index_prefix>-metrics-*` and `-logs-*` of the cluster `hosts`.

    `store` is `elasticsearch` or `sqlite:///path`. Raises ValueError unless exactly one of `folder` and `hosts` is given.
    """
    if (folder is None) == (not hosts):
        raise ValueError("give either the folder of the files or the hosts of the cluster")
    where = {
        name: f"index: {json.dumps(f'{index_prefix}-{name}-*')}"
        if folder is None
        else f"path: {json.dumps(str(folder / f'{name}-*.ndjson'))}"
        for name in ("metrics", "logs")
    }
    detectors = _DETECTORS
    for name, place in where.items():
        detectors = detectors.replace(f"__{name.upper()}__", f"{place}, {_SPLIT}")
    cluster = f"elasticsearch: {{hosts: {json.dumps(list(hosts))}}}\n" if hosts else ""
    callers = dict.fromkeys(caller for caller, _ in depends_on)
    edges = "".join(
        f"    {caller}: {json.dumps([callee for by, callee in depends_on if by == caller])}\n" for caller in callers
    )
    return f"""{cluster}store: {json.dumps(store)}
detectors:
{detectors}logs:
  - {{name: shop-logs, {where["logs"]}, message: message, level: log.level, {_SPLIT}}}
incidents:
  hold: 15m
  depends_on:
{edges}datasource: {{listen: {json.dumps(listen)}}}
"""
