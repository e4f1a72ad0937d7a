"""`forewarn explain ID`: why this anomaly or incident, from what was stored with it; nothing is computed again."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from forewarn.anomaly import FLATLINE, SHAPES, SILENT, Anomaly
from forewarn.cli.terminal import answer, config_option, json_option, out, read_config, reports_errors, store_option
from forewarn.codec import anomaly_json, incident_json
from forewarn.config import format_duration
from forewarn.errors import RequestError, StoreRejected
from forewarn.incident import Incident
from forewarn.wiring import build_store

SAID: Final = frozenset({"actual", "expected", "since", "shape"})
"""What the first lines of an anomaly say already, in words."""


@click.command()
@click.argument("identifier", metavar="ID")
@config_option
@store_option
@json_option
@reports_errors
def explain(identifier: str, config_path: str, store: str | None, as_json: bool) -> None:
    """Says why this anomaly or incident: what was expected, how unusual it was, which evidence decided, since when."""
    config = read_config(config_path, store)
    if config.store.path and not Path(config.store.path).exists():
        raise StoreRejected(f"{config.store.path} does not exist; nothing was ever run into this store")
    opened = build_store(config.store, config.elasticsearch)
    try:
        incident, anomaly = opened.incident(identifier), opened.anomaly(identifier)
    finally:
        opened.close()
    if incident is None and anomaly is None:
        raise RequestError("ID", f"no anomaly or incident has the id {identifier!r}")
    if as_json:
        answer(incident_json(incident) if incident is not None else anomaly_json(anomaly) if anomaly is not None else {})
    elif incident is not None:
        say_lines(incident_lines(incident))
    elif anomaly is not None:
        say_lines(anomaly_lines(anomaly))


def say_lines(lines: list[str]) -> None:
    """Prints lines as they are: log text is not markup."""
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def at(time: int) -> str:
    """UTC, to the minute."""
    return f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def silence_lines(said: Mapping[str, Any]) -> list[str]:
    """What the explanation of a silence says, in words."""
    lines = [f"  silent since {at(said['since'])}; there were data every {format_duration(said['expected_every'])}"]
    if "of_series" in said:
        lines.append(f"  {said['silent_series']} of {said['of_series']} series: {', '.join(said['series'])}")
    elif said.get("last_value") is not None:
        lines.append(f"  last value {said['last_value']:.4g}, at {at(said['last_seen'])}")
    return [*lines, f"  ended: {said['ended']}"] if "ended" in said else lines


def flatline_lines(said: Mapping[str, Any]) -> list[str]:
    """What the explanation of a flatline says, in words."""
    lines = [
        f"  stuck at {said['value']:.6g} since {at(said['since'])}: {said['equal_values']} equal values in a row",
        f"  before, at most {said['longest_before']} were equal, and {said['share_of_repeats']:.1%} equal to the one before;"
        f" up to {said['normal_up_to']} would be normal",
    ]
    return [*lines, f"  ended: {said['ended']}"] if "ended" in said else lines


def anomaly_lines(anomaly: Anomaly, indent: str = "") -> list[str]:
    """An anomaly in words."""
    first = f"{anomaly.key}: {anomaly.state}, {anomaly.severity_band} ({anomaly.severity:.0f})"
    if anomaly.explanation.get("reason") == SILENT:
        return [indent + line for line in (first, *silence_lines(anomaly.explanation))]
    if anomaly.explanation.get("reason") == FLATLINE:
        return [indent + line for line in (first, *flatline_lines(anomaly.explanation))]
    unknown = math.isnan(anomaly.lower) or math.isnan(anomaly.upper)
    normal = "" if unknown else f", normal {anomaly.lower:.4g} to {anomaly.upper:.4g}"
    lines = [
        first,
        f"  from {at(anomaly.start)} to {at(anomaly.end)}, at its most unusual at {at(anomaly.peak)}",
        f"  actual {anomaly.actual:.4g}, expected {anomaly.expected:.4g}{normal}",
        f"  score {anomaly.score:.2f} ({anomaly.direction}; 1 is the edge of normal)",
    ]
    if (shape := str(anomaly.explanation.get("shape"))) in SHAPES:
        lines.append(f"  what changed: {SHAPES[shape]}")
    for name, value in anomaly.explanation.items():
        if name not in SAID and isinstance(value, str | int | float):
            lines.append(f"  {name.replace('_', ' ')}: {value if isinstance(value, str | int) else f'{value:.4g}'}")
    return [indent + line for line in lines]


def incident_lines(incident: Incident) -> list[str]:
    """An incident in words: what, since when, why, and what to do."""
    until = "open" if incident.resolved is None else f"resolved {at(incident.resolved)}"
    how_bad = f"{incident.severity_band} ({incident.severity:.0f})"
    lines = [incident.title, f"  {how_bad}, since {at(incident.start)}, noticed {at(incident.opened)}, {until}"]
    if incident.merged_into:
        lines.append(f"  merged into {incident.merged_into}")
    if incident.owner:
        lines.append(f"  owner {incident.owner}")
    for cause in incident.causes:
        lines.append(f"probable cause {', '.join(value for _, value in cause.entity)} ({cause.confidence:.0%})")
        lines += [f"  {at(line.at)}  {line.text}" for line in cause.evidence]
    for change in incident.pattern_changes.values():
        lines.append(f"new pattern {change.text}")
    for heads_up in incident.heads_ups.values():
        lines.append(f"heads-up {heads_up.key}: {heads_up.state}, crosses {heads_up.limit:.4g} at about {at(heads_up.at)}")
    for advice in incident.recommendations:
        lines.append(f"do {advice.title} ({'; '.join(advice.why)})")
        lines += [f"  check {check}" for check in advice.checks]
        lines += [f"  {fix.step} (risk {fix.risk})" for fix in advice.fixes]
    for anomaly in incident.anomalies.values():
        lines += anomaly_lines(anomaly)
    return lines
