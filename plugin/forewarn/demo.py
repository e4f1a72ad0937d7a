"""The demo as plain steps: the simulated shop laid out in a folder, its true faults against the incidents that were found, and
the questions that Grafana would ask.

Owns: Layout, lay_out, Verdict, judge, and the requests for annotations in both dialects. Must not run ticks, serve, print or
read a clock: `cli/demonstration.py` does.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from forewarn.detector import DAY, MINUTE
from forewarn.incident import Incident
from forewarn.simulation.faults import Fault
from forewarn.simulation.shop import STEP, Shop, shop

LEARNT: Final = 4 * DAY
"""How much of the past is scored in blocks before the last day, so that thresholds are learnt; models see five weeks."""
BUCKET: Final = STEP
CONFIG: Final = "forewarn.yml"


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A demo in its folder: where its configuration is, from where it is scored and replayed, and the truth. UTC ms."""

    config: Path
    documents: int
    start: int
    replayed: int
    end: int
    hold: int
    shop: Shop


def lay_out(folder: Path, seed: int, end: int, listen: str, hold: int = 15 * MINUTE) -> Layout:
    """Simulates the shop up to the bucket that ends at or before `end`, and writes its documents and a configuration."""
    made = shop(seed, end)
    paths = made.write_ndjson(folder)
    documents = sum(path.read_bytes().count(b"\n") for path in paths)
    config = folder / CONFIG
    config.write_text(made.configuration("sqlite:///forewarn.db", folder=folder, listen=listen), encoding="utf-8")
    return Layout(config, documents, made.replayed_from - LEARNT, made.replayed_from, made.grid.end, hold, made)


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """One fault and the incidents that found it, the first of them first; `delay` in ms after the onset of its cause."""

    fault: Fault
    incidents: tuple[Incident, ...]

    @property
    def found(self) -> Incident | None:
        """The first incident that found it."""
        return self.incidents[0] if self.incidents else None

    @property
    def delay(self) -> int | None:
        """From the onset of the cause to the opening, in nominal time."""
        return self.found.opened - self.fault.onset if self.found else None

    @property
    def cause_right(self) -> bool:
        """Whether the most probable cause is the true service."""
        causes = self.found.causes if self.found else ()
        return bool(causes) and ("service.name", self.fault.service) in causes[0].entity

    @property
    def resolution_right(self) -> bool:
        """Whether the first recommendation is the right one."""
        recommendations = self.found.recommendations if self.found else ()
        return bool(recommendations) and recommendations[0].card == self.fault.card

    def document(self) -> dict[str, Any]:
        """As JSON; times in UTC ms, the delay in seconds."""
        fault, found = self.fault, self.found
        return {
            "kind": fault.kind,
            "service": fault.service,
            "card": fault.card,
            "onset": fault.onset,
            "start": fault.start,
            "end": fault.end,
            "found": found is not None,
            "delay": None if self.delay is None else self.delay / 1000,
            "cause_right": self.cause_right,
            "resolution_right": self.resolution_right,
            "cause": found.causes[0].entity[0][1] if found and found.causes else None,
            "resolution": found.recommendations[0].card if found and found.recommendations else None,
            "incidents": [incident.id for incident in self.incidents],
        }


def judge(faults: Sequence[Fault], incidents: Sequence[Incident], hold: int) -> tuple[list[Verdict], list[Incident]]:
    """A verdict on every fault, in order of time, and the incidents that overlap no fault: the unexplained ones.

    An incident found a fault if it opened, in nominal time, between the onset of its cause and its end + 2 buckets, and
    has the true service among its entities; it counts for one fault, the first. It is unexplained if it overlaps no
    fault's onset to end + hold.
    """
    verdicts: list[Verdict] = []
    counted: set[str] = set()
    ordered = sorted(incidents, key=lambda one: (one.opened, one.id))
    for fault in sorted(faults, key=lambda fault: fault.onset):
        hits = [
            one
            for one in ordered
            if one.id not in counted
            and fault.onset <= one.opened <= fault.end + 2 * STEP
            and ("service.name", fault.service) in one.entities
        ]
        counted.update(one.id for one in hits)
        verdicts.append(Verdict(fault, tuple(hits)))
    windows = [(fault.onset, fault.end + hold) for fault in faults]
    unexplained = [
        one
        for one in ordered
        if not any(one.start < end and (one.state == "open" or one.end > start) for start, end in windows)
    ]
    return verdicts, unexplained


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
