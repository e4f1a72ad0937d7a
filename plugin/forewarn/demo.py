"""The demo as plain steps: a simulated shop laid out in a folder, its true faults against what was found, and the questions
that Grafana would ask.

Owns: Layout, lay_out, Verdict, judge, and the requests for annotations in both dialects. Must not run ticks, serve, print or
read a clock: `cli/demonstration.py` does.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from forewarn.anomaly import Anomaly
from forewarn.detector import DAY, MINUTE
from forewarn.series import SeriesKey
from forewarn.simulation.series import Fault, configuration, simulate

STEP: Final = 5 * MINUTE
REPLAYED: Final = 3 * DAY
"""The faults lie in these last days; what comes before is what detectors learn from."""
DATA: Final = "shop.ndjson"
CONFIG: Final = "forewarn.yml"


@dataclass(frozen=True, slots=True)
class Layout:
    """A demo in its folder: where its configuration is, what is replayed, and what is wrong there. Times in UTC ms."""

    config: Path
    documents: int
    start: int
    end: int
    faults: tuple[Fault, ...]


def lay_out(folder: Path, seed: int, now: int, listen: str) -> Layout:
    """Simulates the shop up to the last bucket that is due at `now`, and writes its documents and a configuration."""
    shop = simulate(seed, now - MINUTE, STEP)
    documents = shop.write_ndjson(folder / DATA)
    config = folder / CONFIG
    config.write_text(configuration(DATA, "sqlite:///forewarn.db", listen), encoding="utf-8")
    return Layout(config, documents, shop.grid.end - REPLAYED, shop.grid.end, shop.faults)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One fault and the first anomaly of its series that overlaps it; `delay` is how long after the fault began it was
    known, in ms. None: not found.
    """

    fault: Fault
    anomaly: Anomaly | None
    delay: int | None


def judge(faults: Sequence[Fault], anomalies: Sequence[Anomaly], lag: int) -> tuple[list[Verdict], list[Anomaly]]:
    """A verdict on every fault, in order of time, and the anomalies that overlap no fault of their series: false alarms.

    An anomaly is known `lag` ms after its first bucket began: the length of a bucket and the query delay.
    """
    verdicts: list[Verdict] = []
    true: set[str] = set()
    for fault in sorted(faults, key=lambda fault: (fault.start, fault.end)):
        key = SeriesKey(fault.metric, (("service.name", fault.service),))
        hits = [one for one in anomalies if one.key == key and one.start < fault.end and one.end > fault.start]
        true.update(one.id for one in hits)
        first = min(hits, key=lambda one: one.start, default=None)
        delay = None if first is None else max(first.start, fault.start) + lag - fault.start
        verdicts.append(Verdict(fault, first, delay))
    return verdicts, [one for one in anomalies if one.id not in true]


def simpod_question(start: int, end: int) -> tuple[str, str]:
    """The path and the body that simPod JSON posts for annotations in [start, end]."""
    question: dict[str, Any] = {
        "range": {"from": start, "to": end},
        "targets": [{"refId": "Anno", "target": "anomalies"}],
    }
    return "/grafana/query", json.dumps(question, separators=(",", ":"))


def infinity_question(start: int, end: int) -> str:
    """The path and query that Infinity gets for annotations in [start, end]."""
    return f"/infinity/annotations?from={start}&to={end}"


def curl_commands(url: str, start: int, end: int) -> tuple[str, str]:
    """Both questions as a person would ask them."""
    path, content = simpod_question(start, end)
    return f"curl -s {url}{path} -d '{content}'", f"curl -s '{url}{infinity_question(start, end)}'"


def annotation_ids(simpod: Any, infinity: Any) -> tuple[set[str], set[str]]:
    """The ids of the annotations in an answer of either dialect."""
    fields = {field["name"]: field["values"] for frame in simpod for field in frame["fields"]}
    return set(fields.get("id", ())), {row["id"] for row in infinity}
