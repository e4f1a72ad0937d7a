"""Points into episodes: when one opens, goes on, closes, and what it says about itself."""

import json

import numpy as np
import pytest
from tests.generated import START

from forewarn.anomaly import Anomaly, Scores
from forewarn.detector import DAY, HOUR, MINUTE, Detector, Selection
from forewarn.forecast import OK, Forecast
from forewarn.results import anomaly_id
from forewarn.scoring.episodes import Episodes
from forewarn.scoring.severity import severity
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid

STEP = 5 * MINUTE
DELAY = 30_000
KEY = SeriesKey("latency", (("host", "a"),))
REASONS = ("as expected", "deviation")
Folded = tuple[tuple[Anomaly, ...], tuple[tuple[int, Anomaly], ...]]


def fold(
    values: list[float],
    scores: list[float],
    opened: tuple[Anomaly, ...] = (),
    start: int = START,
    step: int = STEP,
    keys: tuple[SeriesKey, ...] = (KEY,),
) -> Folded:
    """Folds one series (or the same values for several keys); expected 10, band 8 to 12."""
    S, T = len(keys), len(values)
    grid = TimeGrid(start, step, T)
    actual = np.tile(np.array(values, np.float64), (S, 1))
    level = np.tile(np.array(scores, np.float64), (S, 1))
    known = np.isfinite(level)
    ten = np.full((S, T), 10.0)
    direction = np.sign(np.where(known, actual - ten, 0)).astype(np.int8)
    made = Scores(keys, grid, level, direction, ten - 2, ten + 2, (level >= 0.5).astype(np.int8), REASONS)
    detector = Detector("latency", Selection(path="x"), "avg", "v", step=step)
    forecast = Forecast(keys, grid, ten, np.ones((S, T)), (OK,) * S, ("stan",) * S)
    return Episodes(detector).fold(opened, SeriesBatch(keys, grid, actual), forecast, made, DELAY)


def due(bucket: int) -> int:
    return START + (bucket + 1) * STEP + DELAY


def test_an_episode_opens_at_a_score_of_one_with_an_id_of_its_first_bucket() -> None:
    opened, changes = fold([10, 30, 10], [0.1, 2.0, 0.9999])
    assert [time for time, _ in changes] == [due(1)]
    anomaly = changes[0][1]
    assert anomaly.id == anomaly_id(KEY.id, START + STEP, STEP)
    assert (anomaly.state, anomaly.revision, anomaly.direction) == ("open", 1, "above")
    assert (anomaly.start, anomaly.end, anomaly.peak) == (START + STEP, START + 2 * STEP, START + STEP)
    assert (anomaly.score, anomaly.actual, anomaly.expected, anomaly.lower, anomaly.upper) == (2.0, 30.0, 10.0, 8.0, 12.0)
    assert [a.id for a in opened] == [anomaly.id]


def test_nothing_opens_below_one_or_without_a_score() -> None:
    assert fold([10, 30, 30], [0.1, 0.99, np.nan]) == ((), ())


def test_it_goes_on_while_the_value_stays_away_and_each_step_is_a_revision() -> None:
    _, changes = fold([30, 28, 25, 40], [2.0, 0.9, 0.2, 3.0])
    assert [(time, a.revision, a.end) for time, a in changes] == [(due(k), k + 1, START + (k + 1) * STEP) for k in range(4)]
    last = changes[-1][1]
    assert (last.peak, last.actual, last.score) == (START + 3 * STEP, 40.0, 3.0)
    assert [a.severity for _, a in changes] == sorted(a.severity for _, a in changes)


@pytest.mark.parametrize("calm", [19.0, 11.0, 10.0, 1.0])  # halfway back, in the band, as expected, on the other side
def test_it_closes_after_twenty_quiet_buckets_and_keeps_its_end(calm: float) -> None:
    opened, changes = fold([30, 30] + [calm] * 19, [2.0, 1.5] + [0.3] * 19)
    assert len(opened) == 1
    assert len(changes) == 2
    closed, changes = fold([calm], [0.3], opened, START + 21 * STEP)
    assert closed == ()
    time, anomaly = changes[0]
    assert time == due(21)
    assert (anomaly.state, anomaly.revision, anomaly.end) == ("closed", 3, START + 2 * STEP)


def test_quiet_buckets_must_be_in_a_row() -> None:
    values = [30.0] + [10.0] * 15 + [30.0] + [10.0] * 15
    scores = [2.0] + [0.1] * 15 + [0.8] + [0.1] * 15
    opened, changes = fold(values, scores)
    assert len(opened) == 1
    assert len(changes) == 2
    assert changes[-1][1].end == START + 17 * STEP


def test_missing_data_neither_ends_nor_prolongs_an_episode() -> None:
    opened, changes = fold([30.0] + [np.nan] * 100, [2.0] + [np.nan] * 100)
    assert len(changes) == 1
    assert opened[0].end == START + STEP
    opened, changes = fold([29.0], [0.9], opened, START + 101 * STEP)
    assert (len(opened), changes[0][1].revision, changes[0][1].end) == (1, 2, START + 102 * STEP)


def test_after_seven_days_an_episode_is_the_new_normal() -> None:
    n = 7 * 24 + 3
    opened, changes = fold([30.0] * n, [2.0] + [0.6] * (n - 1), step=HOUR)
    assert opened == ()
    assert changes[-1][1].state == "closed"
    assert changes[-1][1].end - START == 7 * DAY
    silent, changes = fold([30.0] + [np.nan] * n, [2.0] + [np.nan] * n, step=HOUR)
    assert silent == ()
    assert changes[-1][1].state == "closed"


def test_a_new_one_opens_after_the_old_one_closed() -> None:
    values, scores = [30.0] + [10.0] * 20 + [1.0], [2.0] + [0.1] * 20 + [4.0]
    _, changes = fold(values, scores)
    assert [(a.state, a.direction) for _, a in changes] == [("open", "above"), ("closed", "above"), ("open", "below")]
    assert changes[0][1].id == changes[1][1].id != changes[2][1].id


def test_changes_come_in_order_of_time_and_series_and_others_stay_open() -> None:
    keys = tuple(SeriesKey("latency", (("host", name),)) for name in "abc")
    opened, changes = fold([30, 31, 10], [2.0, 2.5, 0.1], keys=keys)
    assert [(time, a.key.id) for time, a in changes] == sorted((time, a.key.id) for time, a in changes)
    assert len(changes) == 6
    later, _ = fold([10.0], [0.1], opened, START + 3 * STEP, keys=keys[:1])
    assert {a.key for a in later} == set(keys)


def test_the_explanation_is_plain_data_and_says_what_a_person_asks() -> None:
    _, changes = fold([10, 30, 28], [0.1, 2.0, 1.1])
    told = json.loads(json.dumps(changes[-1][1].explanation, allow_nan=False))
    assert told["actual"] == 30.0
    assert told["expected"] == 10.0
    assert told["expected_range"] == [8.0, 12.0]
    assert told["deviation"] == 20.0
    assert told["times_normal"] == 2.0
    assert told["reason"] == "deviation"
    assert told["since"] == START + STEP
    assert told["anomalous_buckets"] == 2


def test_severity_grows_with_depth_and_length_between_0_and_100() -> None:
    assert severity(1.0, STEP, STEP) == 0.0
    assert severity(1e9, 30 * DAY, STEP) <= 100.0
    deep = [severity(score, STEP, STEP) for score in (1.0, 1.5, 3.0, 8.0, 16.0, 100.0)]
    long = [severity(1.2, length, STEP) for length in (STEP, 2 * STEP, HOUR, 6 * HOUR, DAY, 3 * DAY)]
    assert deep == sorted(deep)
    assert long == sorted(long)
    assert severity(16.0, STEP, STEP) >= 75.0
    assert severity(1.0, DAY, STEP) < 50.0
