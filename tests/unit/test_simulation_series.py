"""The simulated shop: deterministic, with a rhythm, and wrong exactly where it says so."""

import json
from pathlib import Path

import numpy as np
import pytest

from forewarn.config import parse
from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.simulation.series import METRICS, SERVICES, Simulation, configuration, load, simulate

END = 1_780_000_123_456


@pytest.fixture(scope="module")
def shop() -> Simulation:
    return simulate(7, END)


@pytest.fixture(scope="module")
def healthy() -> Simulation:
    return simulate(7, END, faulty=False)


def inside(shop: Simulation, metric: str) -> np.ndarray:
    """Which buckets [S, T] of a metric lie in a fault."""
    times = shop.grid.times()
    wrong = np.zeros((len(SERVICES), shop.grid.size), dtype=bool)
    for fault in shop.faults:
        if fault.metric == metric:
            wrong[SERVICES.index(fault.service)] |= (times >= fault.start) & (times < fault.end)
    return wrong


def test_it_covers_five_weeks_up_to_the_end(shop: Simulation) -> None:
    assert shop.grid.end == END // (5 * MINUTE) * 5 * MINUTE
    assert shop.grid.size * shop.grid.step == 35 * DAY
    assert {batch.values.shape for batch in shop.metrics.values()} == {(3, 10_080)}
    assert tuple(shop.metrics) == METRICS


def test_the_same_seed_gives_the_same_values_and_another_gives_others(shop: Simulation) -> None:
    again, other = simulate(7, END), simulate(8, END)
    for metric in METRICS:
        np.testing.assert_array_equal(shop.metrics[metric].values, again.metrics[metric].values)
        assert not np.array_equal(shop.metrics[metric].values, other.metrics[metric].values, equal_nan=True)
    assert shop.faults == again.faults


@pytest.mark.parametrize("metric", METRICS)
def test_a_fault_changes_every_bucket_inside_and_none_outside(shop: Simulation, healthy: Simulation, metric: str) -> None:
    changed = ~np.isclose(shop.metrics[metric].values, healthy.metrics[metric].values, rtol=0, atol=0)
    np.testing.assert_array_equal(changed, inside(shop, metric))


def test_the_truth_has_every_kind_of_fault_near_the_end_and_on_the_grid(shop: Simulation) -> None:
    assert {fault.kind for fault in shop.faults} == {"spike", "dip", "shift", "silence"}
    for fault in shop.faults:
        assert shop.grid.end - 4 * DAY < fault.start < fault.end <= shop.grid.end
        assert fault.start % shop.grid.step == fault.end % shop.grid.step == 0


def test_a_fault_is_what_it_is_called(shop: Simulation, healthy: Simulation) -> None:
    for fault in shop.faults:
        row, window = SERVICES.index(fault.service), slice(shop.grid.index(fault.start), shop.grid.index(fault.end))
        faulty, normal = shop.metrics[fault.metric].values[row, window], healthy.metrics[fault.metric].values[row, window]
        if fault.kind == "silence":
            assert np.isnan(faulty).all()
        elif fault.kind == "dip":
            assert (faulty < 0.35 * normal).all()
        else:
            spread = np.nanstd(np.diff(healthy.metrics[fault.metric].values[row])) / np.sqrt(2)
            assert (faulty - normal > 3 * spread).all()


def test_values_are_possible(shop: Simulation) -> None:
    for metric, batch in shop.metrics.items():
        values = batch.values[~np.isnan(batch.values)]
        assert (values >= 0).all()
        if metric in ("requests", "retries"):
            np.testing.assert_array_equal(values, np.floor(values))
    assert np.nanmax(shop.metrics["errors"].values) <= 1
    assert (shop.metrics["retries"].values == 0).mean() > 0.7


def test_days_and_weeks_have_a_rhythm(healthy: Simulation) -> None:
    requests = healthy.metrics["requests"].values[0]
    day, week = DAY // healthy.grid.step, 7 * DAY // healthy.grid.step
    half = day // 2

    def alike(lag: int) -> float:
        return float(np.corrcoef(requests[lag:], requests[:-lag])[0, 1])

    assert alike(week) > 0.97 > alike(day) > 0.8
    assert alike(half) < 0.2
    busy = load(healthy.grid)
    assert 0.03 < busy.min() < 0.12
    assert 0.8 < busy.max() < 1.05


@pytest.mark.parametrize("step", [MINUTE, 10 * MINUTE, HOUR])
def test_any_step_that_divides_an_hour_will_do(step: int) -> None:
    shop = simulate(1, END, step, weeks=1)
    assert shop.grid.size * step == 7 * DAY
    assert all(fault.end > fault.start for fault in shop.faults)


@pytest.mark.parametrize(("step", "weeks"), [(7 * MINUTE, 5), (5 * MINUTE, 0), (2 * HOUR, 1)])
def test_other_steps_are_refused(step: int, weeks: int) -> None:
    with pytest.raises(ValueError, match="divides an hour"):
        simulate(1, END, step, weeks=weeks)


def test_documents_hold_what_was_reported(tmp_path: Path) -> None:
    shop = simulate(7, END, 30 * MINUTE, weeks=1)
    path = tmp_path / "shop.ndjson"
    documents = shop.write_ndjson(path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert documents == len(lines) == 3 * shop.grid.size
    stamps = [line["@timestamp"] for line in lines]
    assert stamps == sorted(stamps)
    read_back = {
        metric: np.array([[d.get(metric, np.nan) for d in lines if d["service"]["name"] == name] for name in SERVICES])
        for metric in METRICS
    }
    for metric in METRICS:
        np.testing.assert_array_equal(read_back[metric], shop.metrics[metric].values)
    times = np.array(sorted({stamp.removesuffix("Z") for stamp in stamps}), dtype="datetime64[ms]").astype(np.int64)
    np.testing.assert_array_equal(times, shop.grid.times())


def test_its_configuration_is_accepted_and_has_a_detector_for_each_metric(tmp_path: Path) -> None:
    config = parse(configuration("shop: *.ndjson", "sqlite:///a b.db", "127.0.0.1:0"), {}, tmp_path)
    assert tuple(detector.name for detector in config.detectors) == METRICS
    assert {detector.selection.path for detector in config.detectors} == {str(tmp_path / "shop: *.ndjson")}
    assert (config.store.path, config.datasource.port) == (str(tmp_path / "a b.db"), 0)
