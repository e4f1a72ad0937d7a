"""How a value that is stuck reads: on the command line, in an incident, on a dashboard; and that it recommends nothing."""

import math
from dataclasses import replace

import pytest

from forewarn.anomaly import Anomaly
from forewarn.cli.explaining import anomaly_lines
from forewarn.incident import Happening, IncidentSettings
from forewarn.incidents.correlation import Correlation
from forewarn.incidents.members import member_of
from forewarn.knowledge.clues import clues_of
from forewarn.pattern import PATTERN_FIELD
from forewarn.series import SeriesKey
from forewarn_datasource.annotations import annotation_of

KEY = SeriesKey("disk used", (("host.name", "h1"),))
SAID = {
    "actual": 41.25, "expected": 30.0, "reason": "flatline", "since": 1_780_272_000_000, "value": 41.25, "equal_values": 30,
    "normal_up_to": 8, "longest_before": 3, "share_of_repeats": 0.0123, "times_normal": 3.75, "state": {"least": 8},
}  # fmt: skip


@pytest.fixture
def stuck() -> Anomaly:
    start, nan = 1_780_272_000_000, math.nan
    return Anomaly(
        "a1", KEY, "open", 1, start, start + 9_000_000, start, 3.75, 42.0, "above", 41.25, 30.0, nan, nan, SAID
    )  # fmt: skip


def test_explain_says_what_is_stuck_and_what_was_usual(stuck: Anomaly) -> None:
    text = "\n".join(anomaly_lines(stuck))
    for words in ("stuck at 41.25 since 2026-06-01 00:00 UTC", "30 equal values", "at most 3 were equal", "1.2%", "up to 8"):
        assert words in text


def test_an_incident_and_an_annotation_name_it(stuck: Anomaly) -> None:
    assert member_of(stuck, {}).text == "disk used is stuck at 41.25"
    annotation = annotation_of(stuck, {})
    assert "stuck at 41.25" in annotation.title
    assert "above" not in annotation.title


def test_the_side_on_which_it_is_stuck_is_no_clue(stuck: Anomaly) -> None:
    opened, _ = Correlation(IncidentSettings(), ()).fold((), [Happening(stuck.end, stuck)], stuck.end)
    assert list(opened[0].anomalies) == ["a1"]
    assert clues_of(opened[0]) == ((), ())


def test_lines_that_come_in_equal_numbers_are_not_more_lines(stuck: Anomaly) -> None:
    words = {"pattern": "connection pool exhausted", "example": "connection pool exhausted", "level": "error"}
    counted = replace(stuck, key=SeriesKey("app", ((PATTERN_FIELD, "p1"),)), explanation={**SAID, **words})
    opened, _ = Correlation(IncidentSettings(), ()).fold((), [Happening(counted.end, counted)], counted.end)
    assert clues_of(opened[0]) == ((), ())
    more = replace(counted, explanation={**SAID, **words, "reason": "deviation"})
    opened, _ = Correlation(IncidentSettings(), ()).fold((), [Happening(more.end, more)], more.end)
    assert len(clues_of(opened[0])[0]) == 1
