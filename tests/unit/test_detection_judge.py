"""The judge of detection judges rightly: figures as in the evaluation, series that repeat, a cache that changes nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.detection import clean, injected, series, special_days
from tests.detection.baseline import seasdiff
from tests.detection.events import Canvas
from tests.detection.group import Group, keys
from tests.detection.judge import Judged, best_threshold, merged, segments, tally, total
from tests.detection.product import Episode, run, scorer_of
from tests.generated import START

from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.registry import SLOT_GROUPS
from forewarn.series import TimeGrid


def judged(label: str, score: str, missing: str = "") -> Judged:
    """One character a cell: labels as 1; scores in tenths, as digits, or x for 2.0."""
    values = np.array([np.nan if c == "-" else 0.0 for c in missing or "." * len(label)])
    scores = np.array([2.0 if c == "x" else int(c) / 10 for c in score])
    return Judged.of("drawn", values, scores, np.array([c == "1" for c in label]), MINUTE)


def test_runs_and_merged_runs() -> None:
    flags = np.array([c == "1" for c in "1100000000001000000000001"])
    assert [part.tolist() for part in segments(flags)] == [[0, 12, 24], [2, 13, 25]]
    assert [part.tolist() for part in merged(flags)] == [[0, 24], [13, 25]]


def test_a_segment_is_found_in_its_first_eight_points_or_not_at_all() -> None:
    in_time = tally(judged("0" * 5 + "1" * 12, "0" * 5 + "0000000x0000"))
    late = tally(judged("0" * 5 + "1" * 12, "0" * 5 + "00000000x000"))
    assert (in_time.tp, in_time.fp, in_time.fn, in_time.found, in_time.segments) == (12, 0, 0, 1, 1)
    assert (late.tp, late.fp, late.fn, late.found) == (0, 0, 12, 0)
    assert (late.touched, late.labelled, late.true_events, late.events) == (1, 1, 1, 1)


def test_alarms_outside_labels_are_false_point_by_point_and_event_by_event() -> None:
    one = tally(judged("1" + "0" * 39, "x" + "0" * 9 + "x" + "0" * 12 + "xx" + "0" * 15))
    assert (one.tp, one.fp) == (1, 3)
    assert one.events == 2  # the alarm ten cells after the first one belongs to its event
    assert one.true_events == 1
    assert one.false_a_day == pytest.approx(1 / (40 / 1440))


def test_a_cell_without_data_has_neither_label_nor_alarm_and_splits_a_segment() -> None:
    one = judged("1111111", "x00x000", "...-...")
    assert one.label.tolist() == [True, True, True, False, True, True, True]
    assert (tally(one).tp, tally(one).fn, tally(one).events) == (3, 3, 1)


def test_the_best_threshold_is_the_best_of_all() -> None:
    rng = np.random.default_rng(3)
    many = [
        Judged("n", rng.random(300).round(2) + 0.4 * label, label, MINUTE)
        for label in (np.convolve(rng.random(300) < 0.03, np.ones(4), "same") > 0 for _ in range(3))
    ]
    found = total(many, best_threshold(many)).f1
    assert found == pytest.approx(max(total(many, at).f1 for at in np.arange(0.0, 1.5, 0.01).round(2)))


@pytest.mark.parametrize("name", list(series.FAMILIES))
def test_families_repeat_and_bear_labels(name: str) -> None:
    one, again, other = (series.family(name, 60, seed=seed, count=2) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.values, again.values)
    np.testing.assert_array_equal(one.label, again.label)
    assert not np.array_equal(one.values, other.values, equal_nan=True)
    assert one.digest == again.digest != other.digest
    assert one.label[:, one.judged_from :].any(axis=1).all()
    assert one.label.mean() < 0.2


def test_events_keep_their_distance_and_their_length() -> None:
    canvas = Canvas(np.random.default_rng(1), 5, np.zeros(5000))
    canvas.scatter(8, (10, 60), (5, 10))
    first, last = segments(canvas.label)
    assert first.size > 20
    assert ((last - first) >= 2).all()
    assert ((last - first) <= 12).all()
    assert (first[1:] - last[:-1] >= 16).all()
    assert (np.abs(canvas.values[canvas.label]) > 0).all()
    assert (canvas.values[~canvas.label] == 0).all()


def test_all_series_of_a_group_are_fitted_in_one_slot() -> None:
    assert len(set(keys(30))) == 30
    assert {int(key.id[:8], 16) % SLOT_GROUPS for key in keys(30)} == {0}


def test_clean_series_of_three_thousand_days() -> None:
    for minutes in clean.STEPS:
        assert clean.SERIES[minutes] * (clean.DAYS[minutes] - clean.EARLY) >= 3000


def test_the_baseline_knows_the_past_only_and_finds_what_sticks_out() -> None:
    rng = np.random.default_rng(5)
    size = 12 * DAY // (15 * MINUTE)
    y = 10 + 3 * np.sin(2 * np.pi * np.arange(size) / 96) + rng.normal(0, 0.3, size)
    y[-40] += 5
    y[-100:-90] = np.nan
    scores = seasdiff(y[None], 15 * MINUTE)[0]
    np.testing.assert_array_equal(scores[:-50], seasdiff(y[None, :-50], 15 * MINUTE)[0])
    assert np.nanargmax(scores) == size - 40
    before = scores[-100 - 50 : -100]
    assert scores[-90] >= before.max()


def _unclassed(episodes: tuple[Episode, ...]) -> list[Episode]:
    """Without the kind of stream, which only a live run tells."""
    return [
        replace(one, anomaly=replace(one.anomaly, explanation={**one.anomaly.explanation, "class": None})) for one in episodes
    ]


def test_scores_from_cached_forecasts_are_those_of_the_live_run(tmp_path: Path) -> None:
    whole = series.family("kpi", 60, count=3)
    grid = TimeGrid(START, HOUR, 30 * 24)
    group = Group("test", "kpi", grid, whole.values[:, : grid.size].copy(), whole.label[:, : grid.size])
    live = run(group, scorer_of(), cached=False, folder=tmp_path)
    again = run(group, scorer_of(), cached=True, folder=tmp_path, episodes=True)
    np.testing.assert_array_equal(live.score, again.score)
    np.testing.assert_array_equal(live.reason, again.reason)
    assert _unclassed(live.episodes) == _unclassed(again.episodes)
    assert np.isfinite(live.score).any()


def test_every_case_bears_its_event_and_nothing_else() -> None:
    found = [
        (case, row) for cases in injected.groups("gauge", 60) for case, row in zip(cases.rows, cases.group.values, strict=True)
    ]
    assert len(found) == injected.REPEATS * len(injected.CELLS)
    assert injected.parts("gauge") == len(injected.groups("gauge", 60))
    clean_rows = [row for case, row in found if case.kind == "none"]
    for number, (case, row) in enumerate(found):
        quiet = clean_rows[number // len(injected.CELLS)]
        changed = np.flatnonzero(~np.isclose(row, quiet, equal_nan=False))
        assert case.first < case.until <= row.size
        if case.kind == "none":
            assert changed.size == 0
        else:
            assert changed.min() >= case.first
            assert changed.max() < case.end


def test_civil_days_have_the_hours_that_clocks_give_them() -> None:
    grid = special_days.group(special_days.FLEETS[0], "civil").grid
    day, hour = special_days.civil("Europe/Paris", grid.times())
    lengths = np.bincount(day[day >= 0])
    change = (special_days.FLEETS[0].clocks[0] - special_days.FIRST).days
    assert lengths[change] == 100  # 25 hours of four quarters
    assert set(lengths[1:change].tolist()) == {96}
    assert hour.min() == 0
    assert hour.max() < 24


def test_what_is_special_leaves_the_other_days_as_they_were() -> None:
    fleet = special_days.FLEETS[1]
    plain, busy = (special_days.group(fleet, variant) for variant in ("civil", "effects"))
    day, _ = special_days.civil(fleet.zone, plain.grid.times())
    changed = np.unique(day[(plain.values != busy.values).any(axis=0)])
    expected = {(one - special_days.FIRST).days for one in (*fleet.holidays, *special_days.MONTH_ENDS)}
    assert set(changed.tolist()) <= expected
    assert {(one - special_days.FIRST).days for one in fleet.holidays} <= set(changed.tolist())
