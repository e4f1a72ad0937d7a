"""A budget of alerts in terms of what each series may raise: through their number, and what episodes became before."""

import pytest

from forewarn.anomaly import Anomaly, State
from forewarn.budget import WEEK, Tally, counted, faded, spacing
from forewarn.detector import Detector, Selection
from forewarn.series import SeriesKey


def budget(incidents: float | None) -> Detector:
    return Detector("load", Selection(path="x"), "avg", "v", incidents_per_week=incidents)


def episode(name: str, *, severity: float, host: str = "a", revision: int = 1, state: State = "open") -> tuple[int, Anomaly]:
    key = SeriesKey("load", (("host", host),))
    return 0, Anomaly(name, key, state, revision, 0, 1, 0, 2.0, severity, "above", 9.0, 1.0, 0.0, 2.0)


def test_twice_the_series_or_half_the_budget_mean_twice_the_time_between_false_alarms() -> None:
    tally = Tally(40.0, 10.0)
    one = spacing(budget(3.0), tally, 100)
    assert spacing(budget(3.0), tally, 200) == pytest.approx(2 * one)
    assert spacing(budget(1.5), tally, 100) == pytest.approx(2 * one)
    assert spacing(budget(3.0), Tally(400.0, 100.0), 100) == pytest.approx(100 * WEEK / 3 / 4, rel=0.05)


def test_the_fewer_episodes_become_incidents_the_more_of_them_fit_the_budget() -> None:
    assert spacing(budget(3.0), Tally(400.0, 10.0), 100) < spacing(budget(3.0), Tally(400.0, 200.0), 100)


def test_an_incident_is_counted_when_an_episode_becomes_weighty_where_nothing_weighty_is_open() -> None:
    changes = [
        episode("x", severity=10.0),
        episode("y", severity=30.0),
        episode("z", severity=40.0, host="b"),
        episode("x", severity=26.0, revision=2),  # joins y
        episode("y", severity=30.0, revision=2, state="closed"),
        episode("x", severity=26.0, revision=3, state="closed"),
        episode("w", severity=60.0),
    ]
    assert counted(Tally(), (), changes) == Tally(4.0, 3.0)


def test_the_tally_is_the_same_however_the_changes_are_cut() -> None:
    first, second = [episode("y", severity=30.0)], [episode("x", severity=50.0), episode("y", severity=30.0, revision=2)]
    at_once = counted(Tally(), (), [*first, *second])
    assert counted(counted(Tally(), (), first), [first[0][1]], second) == at_once == Tally(2.0, 1.0)


def test_what_was_long_ago_fades() -> None:
    tally = Tally(28.0, 14.0)
    for _ in range(28):
        tally = faded(tally)
    assert 9 < tally.episodes < 11.5


def test_without_a_budget_there_is_no_spacing() -> None:
    with pytest.raises(ValueError, match="no budget"):
        spacing(budget(None), Tally(), 3)
