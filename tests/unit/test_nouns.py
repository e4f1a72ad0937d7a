"""Detectors, models, forecasts, calibrations, anomalies and results keep what they promise."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.generated import START

from forewarn.anomaly import Carry, Scores, severity_band
from forewarn.connection import ElasticSettings
from forewarn.detector import DAY, FUNCTIONS, HOUR, MINUTE, Detector, Selection, percentile_of
from forewarn.forecast import NO_DATA, OK, Calibration, Forecast, Model, assemble
from forewarn.results import Notification, StoredScores, anomaly_id, score_id
from forewarn.series import SeriesKey, TimeGrid

A, B, C = (SeriesKey("web", (("host", name),)) for name in "abc")
GRID = TimeGrid(START, 6 * HOUR, 4)


def detector(function: str = "avg", step: int = 5 * MINUTE, delay: int = MINUTE) -> Detector:
    return Detector("web", Selection(index="logs-*"), function, step=step, delay=delay)


@pytest.mark.parametrize(
    ("function", "percent"),
    [
        ("p95", 95.0),
        ("p99.9", 99.9),
        ("p1", 1.0),
        ("median", 50.0),
        ("p0", None),
        ("p100", None),
        ("avg", None),
        ("p", None),
        ("xp95", None),
    ],
)
def test_the_percentile_of_a_function(function: str, percent: float | None) -> None:
    assert percentile_of(function) == percent
    assert detector(function).percentile == percent


@pytest.mark.parametrize("function", [*FUNCTIONS, "p95"])
def test_only_counts_rates_and_sums_are_zero_without_documents(function: str) -> None:
    assert detector(function).zero_when_empty == (function in ("count", "rate", "sum"))


@pytest.mark.parametrize(
    ("step", "coarse"),
    [
        (MINUTE, 15 * MINUTE),
        (5 * MINUTE, 15 * MINUTE),
        (10 * MINUTE, 20 * MINUTE),
        (7 * MINUTE, 14 * MINUTE),
        (HOUR, HOUR),
        (20 * MINUTE, 20 * MINUTE),
    ],
)
def test_the_coarse_step_is_the_multiple_of_the_bucket_nearest_to_a_quarter_of_an_hour(step: int, coarse: int) -> None:
    assert detector(step=step).coarse_step == coarse


@given(st.integers(0, 2 * 10**12), st.sampled_from([MINUTE, 5 * MINUTE, HOUR]), st.integers(0, 10 * MINUTE))
def test_a_bucket_may_be_read_from_its_nominal_time_on_and_no_moment_earlier(now: int, step: int, delay: int) -> None:
    d = detector(step=step, delay=delay)
    end = d.watermark(now)
    assert end % step == 0
    assert d.nominal(end) <= now < d.nominal(end + step)
    assert d.watermark(d.nominal(end)) == end
    assert d.watermark(d.nominal(end) - 1) == end - step


def test_the_fingerprint_changes_with_what_the_numbers_mean_and_with_nothing_else() -> None:
    one = detector()
    same = Detector("web", Selection(index="logs-*"), "avg", delay=HOUR, direction="above", owner="team", fits_per_tick=1)
    assert same.fingerprint == one.fingerprint
    others = [
        Detector("other", Selection(index="logs-*"), "avg"),
        Detector("web", Selection(index="logs-x"), "avg"),
        Detector("web", Selection(path="logs-*"), "max"),
        Detector("web", Selection(index="logs-*", query="a:b"), "avg"),
        Detector("web", Selection(index="logs-*", time_field="ts"), "avg"),
        Detector("web", Selection(index="logs-*"), "avg", field="x"),
        Detector("web", Selection(index="logs-*"), "avg", split_by=("host",)),
        Detector("web", Selection(index="logs-*"), "avg", step=MINUTE),
        Detector("web", Selection(index="logs-*"), "ratio", of="status:500"),
        Detector("web", Selection(index="logs-*"), "avg", min_count=5),
    ]
    assert len({one.fingerprint, *(d.fingerprint for d in others)}) == len(others) + 1


@pytest.mark.parametrize(
    ("severity", "band"),
    [
        (0.0, "warning"),
        (24.9, "warning"),
        (25.0, "minor"),
        (49.9, "minor"),
        (50.0, "major"),
        (75.0, "critical"),
        (100.0, "critical"),
    ],
)
def test_a_severity_lies_in_the_band_that_elastic_users_know(severity: float, band: str) -> None:
    assert severity_band(severity) == band


def model(keys: tuple[SeriesKey, ...], k: list[float]) -> Model:
    return Model("batch", keys, (START, START + DAY), 15 * MINUTE, {"weekly": True}, {"k": np.array(k)}, (OK,) * len(keys))


def test_rows_of_a_model_are_taken_with_their_parameters_and_status() -> None:
    taken = model((A, B, C), [1.0, 2.0, 3.0]).take([2, 0])
    assert taken.keys == (C, A)
    assert taken.arrays["k"].tolist() == [3.0, 1.0]
    assert (taken.engine, taken.window, taken.status) == ("batch", (START, START + DAY), (OK, OK))


def test_a_model_whose_arrays_do_not_fit_its_series_is_refused() -> None:
    with pytest.raises(ValueError, match="each of its 2 series"):
        model((A, B), [1.0])


def forecast(keys: tuple[SeriesKey, ...], value: float) -> Forecast:
    shape = (len(keys), GRID.size)
    return Forecast(keys, GRID, np.full(shape, value), np.full(shape, 0.1), (OK,) * len(keys), ("stan",) * len(keys))


def test_a_forecast_is_put_together_from_parts_in_the_order_of_its_keys() -> None:
    whole = assemble((C, A, B), GRID, [forecast((A,), 1.0), forecast((C,), 3.0)])
    assert whole.expected[:, 0].tolist()[:2] == [3.0, 1.0]
    assert np.isnan(whole.expected[2]).all()
    assert np.isnan(whole.sigma[2]).all()
    assert whole.status == (OK, OK, NO_DATA)
    assert whole.engine == ("stan", "stan", "")


def calibration(sigma: float = 0.0) -> Calibration:
    below, above = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])
    return Calibration((A,), START, below, above, np.array([sigma]), {"scale": np.array([1.0])})


def test_the_band_has_the_width_of_its_part_of_the_day() -> None:
    lower, upper = calibration().band(np.zeros((1, 4)), np.zeros((1, 4)), GRID)
    assert lower.tolist() == [[-1.0, -1.0, -2.0, -2.0]]
    assert upper.tolist() == [[3.0, 3.0, 4.0, 4.0]]


def test_the_band_widens_with_the_forecasts_sigma_and_never_narrows() -> None:
    sigma = np.array([[0.5, 1.0, 2.0, np.nan]])
    _, upper = calibration(sigma=1.0).band(np.zeros((1, 4)), sigma, GRID)
    assert upper.tolist() == [[3.0, 3.0, 8.0, 4.0]]


def test_a_calibration_is_taken_by_rows_with_its_own_arrays() -> None:
    taken = calibration(sigma=1.0).take([0])
    assert taken.rows == {A: 0}
    assert taken.arrays["scale"].tolist() == [1.0]
    assert calibration().take([]).keys == ()


def test_arrays_of_values_that_do_not_fit_are_refused() -> None:
    ok, wrong = np.zeros((1, 4)), np.zeros((1, 3))
    tiny = np.zeros((1, 4), dtype=np.int8)
    with pytest.raises(ValueError, match=r"expected \[1, 4\]"):
        Forecast((A,), GRID, ok, wrong, (OK,), ("stan",))
    with pytest.raises(ValueError, match=r"expected \[1, 4\]"):
        Scores((A,), GRID, ok, tiny, ok, wrong, tiny, ())
    with pytest.raises(ValueError, match="each of its 2 series"):
        Calibration((A, B), START, np.zeros((2, 1)), np.zeros((1, 1)), np.zeros(2))
    with pytest.raises(ValueError, match="each of its 1 series"):
        Carry((A,), START, {"x": np.zeros(2)})
    with pytest.raises(ValueError, match="expected arrays of"):
        StoredScores(A, MINUTE, np.zeros(2, dtype=np.int64), *(np.zeros(n) for n in (2, 2, 2, 2, 3)))


@given(st.integers(0, 2 * 10**12), st.integers(0, 2 * 10**12))
def test_ids_of_results_tell_kind_series_and_bucket_apart(one: int, other: int) -> None:
    assume(one != other)
    assert len({score_id(A.id, one, MINUTE), score_id(A.id, other, MINUTE), score_id(B.id, one, MINUTE)}) == 3
    assert score_id(A.id, one, MINUTE) not in (anomaly_id(A.id, one, MINUTE), score_id(A.id, one, HOUR))
    assert score_id(A.id, one, MINUTE) == score_id(A.id, one, MINUTE)


def test_a_notification_has_the_same_key_whenever_it_is_sent() -> None:
    first = Notification(7, "incident-1", 2, START, "updated", False, {})
    later = Notification(9, "incident-1", 2, START + HOUR, "updated", True, {"x": 1})
    assert first.key == later.key == "incident-1/2"


def test_no_credential_shows_when_settings_are_printed() -> None:
    shown = repr(ElasticSettings(("http://localhost:9200",), api_key="hush", username="u", password="hush"))
    assert "hush" not in shown
    assert "http://localhost:9200" in shown
