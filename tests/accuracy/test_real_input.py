"""Real metrics through the whole of Forewarn: indexed as a user has them, replayed by the command line, fetched over HTTP.

The two series are NAB's. What was found is printed and written to build/real-input.json. Nothing was chosen on their labels:
what is asserted is what the product promises on any series, and what a detector that is of use at all must find.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest
from elasticsearch import Elasticsearch, helpers
from tests.accuracy.corpus import BUILD, LONG, Window, rows, windows
from tests.elasticsearch_server import remove_everything
from tests.places import open_store
from tests.processes import annotations, forewarn, serving

from forewarn.anomaly import severity_band
from forewarn.detector import DAY, HOUR, MINUTE, Detector, Selection
from forewarn.scoring.scorer import ResidualScorer

pytestmark = pytest.mark.timeout(LONG)

SERIES = ("machine_temperature_system_failure", "ec2_request_latency_system_failure")
STEP = 5 * MINUTE
YOUNG = 3 * DAY
"""A series is modelled in full once it spans this."""
LAG = STEP + MINUTE
"""An anomaly is known at the end of its first bucket and the query delay."""
MAPPING = {
    "dynamic": "strict",
    "properties": {"@timestamp": {"type": "date"}, "name": {"type": "keyword"}, "value": {"type": "double"}},
}
CONFIG = """
elasticsearch: {{hosts: ["{url}"]}}
store: {{at: elasticsearch, prefix: "{prefix}-{number}"}}
detectors:
  - name: {series}
    index: {prefix}-metrics
    query: "name: {series}"
    function: avg
    field: value
datasource: {{listen: "127.0.0.1:0", max_range: 200d, max_annotations: 10000}}
"""


@dataclass(frozen=True)
class Replayed:
    """What a replay of a whole series left: the anomalies in the store, and the annotations that were fetched."""

    series: str
    start: int
    end: int
    summary: dict[str, Any]
    anomalies: list[Any]
    simpod: dict[str, Any]
    infinity: dict[str, Any]


@pytest.fixture(scope="module")
def prefix(es_client: Elasticsearch, accuracy_data: Path) -> Iterator[str]:
    """The prefix of an index that holds all CloudWatch and known-cause series, a document for each of their rows."""
    prefix = f"t{uuid.uuid4().hex[:12]}"
    index = f"{prefix}-metrics"
    es_client.indices.create(index=index, mappings=MAPPING, settings={"number_of_replicas": 0})
    files = [
        file
        for category in ("realAWSCloudwatch", "realKnownCause")
        for file in sorted((accuracy_data / "nab" / "data" / category).glob("*.csv"))
    ]
    actions = (
        {"_index": index, "_source": {"@timestamp": time, "name": file.stem, "value": value}}
        for file in files
        for time, value in rows(file)
    )
    for _ in helpers.parallel_bulk(es_client, actions, thread_count=2, chunk_size=5000):
        pass  # it is lazy, and raises for a document that was refused
    es_client.indices.refresh(index=index)
    yield prefix
    remove_everything(es_client, prefix)


@pytest.fixture(scope="module", params=SERIES)
def replayed(
    request: pytest.FixtureRequest, prefix: str, elasticsearch_url: str, accuracy_data: Path, tmp_path_factory: Any
) -> Replayed:
    """A series run from its first row to its last with `forewarn run --from --to`, and its annotations over HTTP."""
    series, number = str(request.param), SERIES.index(request.param)
    times = [time for time, _ in rows(accuracy_data / "nab" / "data" / "realKnownCause" / f"{series}.csv")]
    start, end = times[0] // STEP * STEP, times[-1] // STEP * STEP + STEP
    folder = tmp_path_factory.mktemp(series)
    config = folder / "forewarn.yml"
    config.write_text(CONFIG.format(url=elasticsearch_url, prefix=prefix, number=number, series=series))
    checked = forewarn("check", "-c", config)
    assert checked.code == 0, checked.out + checked.err
    done = forewarn("run", "-c", config, "--from", start, "--to", end + MINUTE, "--json", patience=LONG)
    assert done.code == 0, done.err
    with serving("serve", "-c", config) as datasource:
        simpod, infinity = annotations(datasource.url, start, end)
        assert datasource.stop(SIGTERM) == 0
    store = open_store(f"elasticsearch {elasticsearch_url} {prefix}-{number}")
    try:
        anomalies = store.anomalies(start, end, limit=100_000)
    finally:
        store.close()
    return Replayed(series, start, end, done.json, anomalies, simpod, infinity)


def test_every_bucket_of_the_series_was_run(replayed: Replayed) -> None:
    detector = replayed.summary["detectors"][replayed.series]
    assert replayed.summary["failing"] == {}
    assert detector["series"] == 1
    assert detector["buckets"] == (replayed.end - replayed.start) // STEP
    days = (replayed.end - replayed.start) / DAY
    # Six a day; and one an hour as long as three days of data are not there yet, and there is no full model.
    assert 6 * (days - 1) <= detector["fits"] <= 6 * (days + 2) + YOUNG // HOUR


def test_fetched_annotations_are_the_anomalies_of_the_store(replayed: Replayed) -> None:
    stored = {one.id: (one.start, one.end) for one in replayed.anomalies}
    assert stored
    for fetched in (replayed.simpod, replayed.infinity):
        assert {name: (row["time"], row["timeEnd"]) for name, row in fetched.items()} == stored


def test_labelled_windows_are_found_without_flooding(replayed: Replayed) -> None:
    labelled = windows(f"realKnownCause/{replayed.series}.csv")
    found, false = judge(replayed, labelled)
    report(replayed, found, false)
    # Each series has three or four windows: who finds less than half of them is of no use.
    assert 2 * sum(one["found"] for one in found) >= len(found)
    # The promised rate is one of normal series, and these are none between their labels either: twice that, most of them of the
    # lowest severity; and what may open an incident (at least minor) once in ten days.
    days = (replayed.end - replayed.start) / DAY
    promised = Detector(replayed.series, Selection(), "avg", "value", step=STEP)
    assert len(false) <= 2 * days * DAY / ResidualScorer(promised).false_alarm_every
    worse = [one for one in false if severity_band(one.severity) != "warning"]
    assert len(worse) <= max(1, days / 10)
    assert not [one for one in worse if severity_band(one.severity) == "critical"]


def judge(replayed: Replayed, labelled: list[Window]) -> tuple[list[dict[str, Any]], list[Any]]:
    """For each window what was found, and the anomalies that touch none."""
    found, true = [], set()
    for window in labelled:
        hits = [one for one in replayed.anomalies if one.start <= window.end and one.end > window.start]
        true.update(one.id for one in hits)
        first = min((max(one.start, window.start) for one in hits), default=None)
        found.append({
            "from": iso(window.start), "to": iso(window.end), "point": iso(window.point), "found": bool(hits),
            "anomalies": len(hits), "severity": max((one.severity for one in hits), default=None),
            "known": first and iso(first + LAG),
            "hours_after_window_start": None if first is None else round((first + LAG - window.start) / HOUR, 2),
            "hours_after_labelled_point": None if first is None else round((first + LAG - window.point) / HOUR, 2),
        })  # fmt: skip
    return found, [one for one in replayed.anomalies if one.id not in true]


def report(replayed: Replayed, found: list[dict[str, Any]], false: list[Any]) -> None:
    """Prints what was found, and keeps it in build/real-input.json."""
    days = (replayed.end - replayed.start) / DAY
    fits = replayed.summary["detectors"][replayed.series]["fits"]
    print(f"\n{replayed.series}: {days:.1f} days, {len(replayed.anomalies)} anomalies, {len(false)} false alarms, {fits} fits")
    for one in found:
        if one["found"]:
            when = f"found {one['known']}, {one['hours_after_window_start']} h after the window began"
            when += f", {one['hours_after_labelled_point']:+} h from the labelled point; severity {one['severity']:.0f}"
        else:
            when = "not found"
        print(f"  window {one['from']} to {one['to']}: {when}")
    alarms = []
    for one in false:
        alarms.append({
            "from": iso(one.start), "to": iso(one.end), "severity": one.severity, "score": round(one.score, 2),
            "actual": one.actual, "expected": one.expected,
        })  # fmt: skip
        print("  false: {from} to {to}, severity {severity:.0f}, score {score}".format(**alarms[-1]))
    BUILD.mkdir(exist_ok=True)
    path = BUILD / "real-input.json"
    everything = json.loads(path.read_text()) if path.exists() else {}
    everything[replayed.series] = {"days": round(days, 1), "fits": fits, "windows": found, "false_alarms": alarms}
    path.write_text(json.dumps(everything, indent=1))


def iso(time: int) -> str:
    return f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%dT%H:%MZ}"
