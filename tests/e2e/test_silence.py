"""What stops is told from files through the command line: one host, then everything, and the return raises nothing."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.places import open_store
from tests.processes import forewarn

from forewarn.anomaly import Anomaly
from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.incident import Incident

START = 1_780_272_000_000  # 2026-06-01T00:00Z, a Monday
STEP = 15 * MINUTE
HOSTS = 12
ONE_STOPS, ONE_IS_BACK = START + 4 * DAY + 2 * HOUR, START + 4 * DAY + 9 * HOUR
ALL_STOP, ALL_ARE_BACK = START + 4 * DAY + 14 * HOUR, START + 4 * DAY + 20 * HOUR
END = START + 5 * DAY
CONFIG = """
store: sqlite:///silence.db
detectors:
  - {name: cpu, path: metrics.ndjson, function: avg, field: cpu, split_by: [host.name], bucket: 15m, fit_window: 7d}
  - {name: documents, path: metrics.ndjson, function: count, split_by: [host.name], bucket: 15m, fit_window: 7d}
  - {name: unwatched, path: metrics.ndjson, function: max, field: cpu, bucket: 15m, fit_window: 7d, silence: never}
"""


@dataclass(frozen=True)
class Seen:
    config: Path
    anomalies: list[Anomaly]
    incidents: list[Incident]


def iso(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).isoformat()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("silence")
    rng = np.random.default_rng(2)
    with (folder / "metrics.ndjson").open("w") as file:
        for time in range(START, END, 5 * MINUTE):
            for number, noise in enumerate(rng.normal(0, 2, HOSTS).tolist()):
                down = ALL_STOP <= time < ALL_ARE_BACK or (number == 3 and ONE_STOPS <= time < ONE_IS_BACK)
                if not down:
                    line = {"@timestamp": iso(time), "host": {"name": f"h{number:02d}"}, "cpu": 40 + noise}
                    file.write(json.dumps(line) + "\n")
    config = folder / "forewarn.yml"
    config.write_text(CONFIG)
    done = forewarn("run", "-c", config, "--from", START + DAY, "--to", END, "--json")
    assert done.code == 0, done.err
    store = open_store(f"sqlite {folder / 'silence.db'}")
    try:
        return Seen(config, store.anomalies(START, END), store.incidents(START, END))
    finally:
        store.close()


def silences(seen: Seen, detector: str) -> list[Anomaly]:
    return [one for one in seen.anomalies if one.explanation["reason"] == "silent" and one.key.detector == detector]


def test_one_host_and_then_all_are_silent_in_both_detectors_that_watch(seen: Seen) -> None:
    alone, whole = silences(seen, "cpu")
    assert (alone.start, alone.end, alone.state) == (ONE_STOPS, ONE_IS_BACK, "closed")
    assert dict(alone.key.entity) == {"host.name": "h03"}
    assert (whole.start, whole.end, whole.state) == (ALL_STOP, ALL_ARE_BACK, "closed")
    assert whole.key.entity == ()
    assert (whole.explanation["silent_series"], whole.explanation["of_series"]) == (HOSTS, HOSTS)
    assert [one.key.entity for one in silences(seen, "documents")] == [()]  # of the host, a count of 0 says so already
    assert silences(seen, "unwatched") == []


def test_all_that_stops_in_one_place_is_one_incident(seen: Seen) -> None:
    about = [one for one in seen.incidents if one.end > ALL_STOP]
    assert len(about) == 1
    assert {anomaly.key.detector for anomaly in about[0].anomalies.values()} == {"cpu", "documents"}
    assert about[0].title.startswith("all 12 series of ")
    assert about[0].causes[0].entity[0][0] == "detector"
    assert about[0].opened <= ALL_STOP + 5 * STEP + MINUTE


def test_nothing_begins_at_a_return(seen: Seen) -> None:
    begun = [one for one in seen.anomalies if one.start >= ALL_ARE_BACK or ONE_IS_BACK <= one.start < ALL_STOP]
    assert begun == []


def test_explain_says_since_when_and_what_was_expected(seen: Seen) -> None:
    alone = silences(seen, "cpu")[0]
    said = forewarn("explain", alone.id, "-c", seen.config)
    assert said.code == 0, said.err
    for words in ("silent since 2026-06-05 02:00 UTC", "data every 15m", "last value", "data are back"):
        assert words in said.out
    answer: dict[str, Any] = forewarn("explain", alone.id, "-c", seen.config, "--json").json
    assert answer["actual"] is None
