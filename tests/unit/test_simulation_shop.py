"""The simulated shop: deterministic, with a rhythm, wrong where its truth says so, and told through files and bulk requests."""

import json
import time
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forewarn.config import parse
from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.series import SeriesKey
from forewarn.simulation.faults import KINDS
from forewarn.simulation.metrics import METRICS
from forewarn.simulation.shop import LOG_DAYS, STEP, Fault, Shop, shop
from forewarn.simulation.timetable import kinds_of
from forewarn.simulation.topology import CALLS, DEPENDS_ON, NAMES, SERVICES
from forewarn.simulation.writing import index_templates
from forewarn.sources.files import FileMetrics

END = 1_780_000_123_456
SEEDS = range(10)

Line = dict[str, Any]


@pytest.fixture(scope="module")
def shops() -> dict[int, Shop]:
    return {seed: shop(seed, END) for seed in SEEDS}


@pytest.fixture(scope="module")
def healthy() -> dict[int, Shop]:
    return {seed: shop(seed, END, faulty=False) for seed in SEEDS}


def row(made: Shop, metric: str, service: str) -> np.ndarray:
    batch = made.metrics[metric]
    return batch.values[batch.rows[SeriesKey(metric, (("service.name", service),))]]


def metrics_of(made: Shop, service: str) -> list[str]:
    entity = (("service.name", service),)
    return [metric for metric, batch in made.metrics.items() if SeriesKey(metric, entity) in batch.rows]


def window(made: Shop, fault: Fault) -> slice:
    return slice(made.grid.index(fault.onset), made.grid.index(fault.end))


def told(made: Shop, start: int, end: int) -> list[Line]:
    return [json.loads(document) for at, document in made.lines() if start <= at < end]


def test_five_weeks_of_buckets_end_at_the_last_whole_bucket(shops: dict[int, Shop]) -> None:
    made = shops[0]
    assert (made.grid.step, made.grid.end) == (STEP, END // STEP * STEP)
    assert made.grid.size * STEP == 35 * DAY
    assert tuple(made.metrics) == METRICS
    assert {batch.grid for batch in made.metrics.values()} == {made.grid}
    assert {key.entity[0][1] for key in made.metrics["requests"].keys} == set(NAMES)
    assert len(NAMES) == 15


def test_the_same_seed_and_end_give_the_same_shop_and_others_another(shops: dict[int, Shop]) -> None:
    again, other, later = shop(3, END), shops[4], shop(3, END + STEP)
    for metric in METRICS:
        np.testing.assert_array_equal(again.metrics[metric].values, shops[3].metrics[metric].values)
    assert again.truth == shops[3].truth
    assert list(islice(again.lines(), 2000)) == list(islice(shops[3].lines(), 2000))
    assert other.truth != again.truth != later.truth
    assert not np.array_equal(other.metrics["latency"].values, again.metrics["latency"].values, equal_nan=True)
    assert list(islice(other.lines(), 50)) != list(islice(again.lines(), 50))


@pytest.mark.parametrize(("seed", "days"), [(-1, 9), (0, 0), (0, 36)])
def test_impossible_shops_are_refused(seed: int, days: int) -> None:
    with pytest.raises(ValueError, match="expected a seed"):
        shop(seed, END, log_days=days)


@pytest.mark.parametrize("first", [0, 4, 10, 1000])
def test_every_kind_of_fault_comes_in_ten_seeds_in_a_row(first: int) -> None:
    found = {kind for seed in range(first, first + 10) for kind in kinds_of(seed, np.random.default_rng(seed))}
    assert found == set(KINDS)
    assert len(KINDS) >= 8


def test_ten_shops_have_every_kind_of_fault(shops: dict[int, Shop]) -> None:
    assert {fault.kind for made in shops.values() for fault in made.faults} == set(KINDS)


def test_faults_lie_an_hour_apart_in_the_last_day_and_on_the_grid(shops: dict[int, Shop]) -> None:
    for made in (*shops.values(), *(shop(seed, END + seed * 37 * MINUTE) for seed in range(20, 35))):
        assert 5 <= len(made.faults) <= 7
        assert len({fault.kind for fault in made.faults}) == len(made.faults)
        assert made.replayed_from + 30 * MINUTE <= made.faults[0].onset
        assert made.faults[-1].end <= made.grid.end - 30 * MINUTE
        for fault in made.faults:
            assert fault.onset <= fault.start < fault.end
            assert {fault.onset % STEP, fault.start % STEP, fault.end % STEP} == {0}
            assert (fault.service, fault.card) in KINDS[fault.kind].roots
            assert 25 * MINUTE <= fault.end - fault.onset <= 5 * HOUR
        for before, after in pairwise(made.faults):
            assert after.onset - before.end >= HOUR


def test_old_incidents_lie_before_the_log_and_are_told_apart(shops: dict[int, Shop]) -> None:
    for made in shops.values():
        assert 2 <= len(made.past) <= 3
        assert all(fault.end < made.grid.end - LOG_DAYS * DAY for fault in made.past)


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_changes_outside_the_time_of_a_fault(shops: dict[int, Shop], healthy: dict[int, Shop], metric: str) -> None:
    for seed, made in shops.items():
        times = made.grid.times()
        quiet = ~np.any([(times >= f.onset) & (times < f.end) for f in (*made.faults, *made.past)], axis=0)
        ours, without = made.metrics[metric].values[:, quiet], healthy[seed].metrics[metric].values[:, quiet]
        np.testing.assert_array_equal(ours, without)


def test_what_a_fault_is_about_leaves_its_noise_at_the_root(shops: dict[int, Shop], healthy: dict[int, Shop]) -> None:
    main = {
        "deploy_bad": "errors", "slow_dependency": "latency", "pool_exhausted": "connections_free",
        "silent_service": "requests", "new_error_pattern": "errors", "disk_filling": "disk", "memory_leak": "heap",
        "queue_backlog": "queue", "dns_failure": "errors", "too_many_files": "errors", "traffic_drop": "requests",
        "too_many_clients": "connections_free",
    }  # fmt: skip
    for seed, made in shops.items():
        for fault in made.faults:
            inside, metric = window(made, fault), main[fault.kind]
            faulty = row(made, metric, fault.service)[inside]
            normal = row(healthy[seed], metric, fault.service)
            if fault.kind == "silent_service":
                assert np.isnan(faulty).sum() >= 4
                continue
            noise = np.median(np.abs(normal[1:] - normal[:-1])) + 0.02
            assert np.abs(faulty - normal[inside]).max() > 5 * noise, (seed, fault)
            assert fault.touched[0] == fault.service


def test_services_that_are_not_touched_stay_within_their_noise(shops: dict[int, Shop], healthy: dict[int, Shop]) -> None:
    for seed, made in shops.items():
        for fault in made.faults:
            inside = window(made, fault)
            for service in set(NAMES) - set(fault.touched):
                for metric in metrics_of(made, service):
                    normal = row(healthy[seed], metric, service)
                    day = normal[288:] - normal[:-288]
                    spread = 1.4826 * np.median(np.abs(day - np.median(day))) + 0.02
                    off = np.abs(row(made, metric, service)[inside] - normal[inside])
                    assert np.median(off) < 4 * spread, (seed, fault.kind, service, metric)


def test_touched_services_are_reached_along_calls_or_work(shops: dict[int, Shop]) -> None:
    for made in shops.values():
        for fault in made.faults:
            if fault.kind in ("slow_dependency", "too_many_clients"):
                callers = {caller for caller, callee in made.depends_on if callee == fault.service}
                assert callers & set(fault.touched), fault
    assert {(call.caller, call.callee) for call in CALLS} == set(DEPENDS_ON)


def test_gradual_faults_climb_for_hours_before_they_hurt(shops: dict[int, Shop]) -> None:
    gradual = {"disk_filling": ("disk", 0.90), "memory_leak": ("heap", 0.92)}
    found = 0
    for made in shops.values():
        for fault in made.faults:
            if fault.kind in gradual:
                metric, limit = gradual[fault.kind]
                values = row(made, metric, fault.service)
                onset, start, end = (made.grid.index(t) for t in (fault.onset, fault.start, fault.end))
                crossing = onset + int(np.argmax(values[onset:end] > limit))
                assert (crossing - onset) * STEP >= 75 * MINUTE
                assert crossing <= start
                slow = np.convolve(values[onset:start], np.full(6, 1 / 6), "valid")
                assert (np.diff(slow[::6]) > 0).all()
                assert (
                    row(made, "errors", fault.service)[start:end].sum() > row(made, "errors", fault.service)[onset:start].max()
                )
                found += 1
    assert found >= 4


def test_values_are_possible(shops: dict[int, Shop]) -> None:
    for made in shops.values():
        for metric, batch in made.metrics.items():
            values = batch.values[~np.isnan(batch.values)]
            assert (values >= 0).all()
            if metric in ("requests", "errors", "queue", "connections_free"):
                np.testing.assert_array_equal(values, np.round(values))
            if metric in ("cpu", "heap", "disk"):
                assert values.max() <= 1
        assert (made.metrics["errors"].values <= made.metrics["requests"].values)[
            ~np.isnan(made.metrics["errors"].values)
        ].all()


def test_requests_and_latency_have_the_rhythm_of_days_and_weeks(healthy: dict[int, Shop]) -> None:
    for service in ("gateway", "orders"):
        requests = row(healthy[0], "requests", service)
        day, week = 288, 7 * 288
        assert np.corrcoef(requests[week:], requests[:-week])[0, 1] > 0.93
        assert np.corrcoef(requests[day:], requests[:-day])[0, 1] > 0.85
        assert requests.max() > 5 * np.percentile(requests, 2)
    assert row(healthy[0], "requests", "gateway").max() > 8 * row(healthy[0], "requests", "orders").max()


def test_a_campaign_raises_the_work_of_everybody_and_breaks_nothing(healthy: dict[int, Shop]) -> None:
    campaigns = 0
    for made in healthy.values():
        for event in made.events:
            if event.kind == "campaign" and event.start - 7 * DAY > made.grid.start:
                campaigns += 1
                inside = slice(made.grid.index(event.start) + 6, made.grid.index(event.end) - 6)
                before = slice(inside.start - 7 * 288, inside.stop - 7 * 288)
                for service in NAMES:
                    more = row(made, "requests", service)[inside].mean() / row(made, "requests", service)[before].mean()
                    assert 1.25 < more < 1.7
                failing = [
                    sum(row(made, "errors", name)[part].sum() for name in NAMES)
                    / sum(row(made, "requests", name)[part].sum() for name in NAMES)
                    for part in (inside, before)
                ]
                assert failing[0] < 1.3 * failing[1]
    assert campaigns >= 10


def test_lines_are_documents_in_order_with_time_service_level_and_message() -> None:
    made = shop(1, END, log_days=2)
    last, services, formats = 0, Counter[str](), Counter[bool]()
    for at, document in made.lines():
        assert last <= at < made.grid.end
        last = at
        line = json.loads(document)
        assert line["@timestamp"] == np.datetime_as_string(np.datetime64(at, "ms"), unit="ms") + "Z"
        assert line["log"]["level"]
        assert line["message"].strip()
        assert "{" not in line["message"].replace("{}", "")
        services[line["service"]["name"]] += 1
        formats["event" in line] += 1
    assert set(services) == set(NAMES)
    assert min(services.values()) > 500
    assert min(formats.values()) > 10_000
    assert 20_000 < sum(services.values()) / 2 < 40_000


def test_each_fault_is_told_by_its_root_while_it_lasts_and_by_nobody_before() -> None:
    words = {
        "npe": ("NullPointerException", "NoneType", "Cannot read properties"), "lock_wait": ("Lock wait timeout", "waiting"),
        "pool_exhausted": ("Connection is not available", "QueuePool limit"), "k8s_crashloop": ("CrashLoopBackOff",),
        "oom_kernel": ("Out of memory: Killed process",), "tls_expired": ("certificate has expired",),
        "disk_full": ("o space left on device",), "jvm_heap": ("OutOfMemoryError: Java heap space",),
        "kafka_rebalance": ("rebalanc", "CommitFailed"), "dns": ("UnknownHost", "Name or service not known", "ENOTFOUND"),
        "too_many_files": ("oo many open files",), "http_5xx_up": ("no live upstreams",), "pg_conns": ("too many clients",),
    }  # fmt: skip
    found = set()
    for seed in range(10):
        made = shop(seed, END, log_days=1)
        lines = list(made.lines())
        for fault in made.faults:
            own = [(at, line) for at, line in lines if f'"service":{{"name":"{fault.service}"}}' in line]
            said = [at for at, line in own if any(word in line for word in words[fault.card])]
            inside = [at for at in said if fault.onset <= at < fault.end]
            assert inside, (seed, fault)
            # Only another fault of the same service may use the same words.
            others = any(fault.kind != other.kind and fault.service == other.service for other in made.faults)
            assert len(inside) == len(said) or others, (seed, fault)
            if fault.kind == "silent_service":
                assert not [at for at, _ in own if fault.start <= at < fault.end - 2 * STEP]
            found.add(fault.card)
    assert len(found) >= 11


def test_multi_line_stack_traces_are_one_document() -> None:
    made = next(m for m in (shop(seed, END, log_days=1) for seed in range(20)) if any(f.card == "jvm_heap" for f in m.faults))
    fault = next(f for f in made.faults if f.card == "jvm_heap")
    traces = [line["message"] for line in told(made, fault.onset, fault.end) if "OutOfMemoryError" in line["message"]]
    assert traces
    assert all(trace.count("\n\tat ") >= 2 for trace in traces)


def test_benign_events_bring_no_line_of_a_fault_and_no_more_errors() -> None:
    made, without = shop(3, END, log_days=2), shop(3, END, faulty=False, log_days=2)
    assert not without.faults
    assert any(event.kind == "deploy" and event.start >= without.replayed_from for event in without.events)
    trouble = ("Exception", "Traceback", "refused (", "ECONN", "No space", "no space", "too many", "certificate", "OutOfMemory")
    lines = [json.loads(document) for _, document in without.lines()]
    assert not [line for line in lines if any(word in line["message"] for word in trouble)]
    serious = {"error", "ERROR", "FATAL", "fatal", "CRITICAL", "critical", "crit", "alert"}
    assert sum(line["log"]["level"] in serious for line in lines) < 0.05 * len(lines)
    assert sum(json.loads(d)["log"]["level"] in serious for _, d in made.lines()) > sum(
        line["log"]["level"] in serious for line in lines
    )


def test_files_hold_what_the_shop_holds(tmp_path: Path) -> None:
    made = shop(5, END, log_days=2)
    started = time.perf_counter()
    paths = made.write_ndjson(tmp_path)
    print(f"five weeks of metrics and two days of lines in {time.perf_counter() - started:.1f} s")
    assert {path.name[:4] for path in paths} == {"metr", "logs"}
    assert [path.name for path in tmp_path.glob("metrics-*.ndjson")] != []
    assert len(paths) == len(set(paths)) == len(list(tmp_path.glob("*.ndjson")))
    assert json.loads((tmp_path / "truth.json").read_text()) == made.truth
    written = [line for path in sorted(tmp_path.glob("logs-*.ndjson")) for line in path.read_text().splitlines()]
    assert written == [document for _, document in made.lines()]
    config = parse(made.configuration("sqlite:///shop.db", folder=tmp_path, listen="127.0.0.1:0"), {}, tmp_path)
    source = FileMetrics()
    for detector in config.detectors:
        assert source.check(detector) == []
        if not detector.name.startswith("log-"):
            batch = source.read(detector, made.grid)
            metric = str(detector.field).removeprefix("metrics.")
            expected = made.metrics[metric]
            assert len(batch.keys) == len(expected.keys)
            for key, values in zip(batch.keys, batch.values, strict=True):
                np.testing.assert_allclose(values, expected.values[expected.rows[SeriesKey(metric, key.entity)]], rtol=1e-12)
    source.close()


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    made = shop(2, END, log_days=1)
    first = {path.name: path.read_bytes() for path in made.write_ndjson(tmp_path)}
    assert {path.name: path.read_bytes() for path in made.write_ndjson(tmp_path)} == first


def test_a_days_lines_are_the_same_however_much_of_the_log_is_made() -> None:
    short, long = shop(6, END, log_days=1), shop(6, END, log_days=2)
    assert list(short.lines()) == [line for line in long.lines() if line[0] >= short.replayed_from]


def test_bulk_actions_hold_every_document_once_and_fit_the_mapping() -> None:
    made = shop(2, END, log_days=1)
    templates = index_templates("demo")
    identities, indices = set(), Counter[str]()
    for action in made.documents("demo"):
        assert action["_op_type"] == "create"
        identities.add((action["_index"], action["_id"]))
        name = action["_index"].rsplit("-", 1)[0]
        indices[name] += 1
        fits(action["_source"], templates[name]["template"]["mappings"]["properties"])
    assert len(identities) == sum(indices.values())
    assert indices["demo-logs"] == sum(1 for _ in made.lines())
    assert indices["demo-metrics"] == int((~np.isnan(made.metrics["requests"].values)).sum())


def fits(document: Line, properties: dict[str, Any]) -> None:
    kinds = {"double": float, "long": int, "keyword": str, "text": str, "date": str}
    for name, value in document.items():
        if isinstance(value, dict):
            fits(value, properties[name]["properties"])
        else:
            assert isinstance(value, kinds[properties[name]["type"]]), (name, value)


def test_its_configuration_uses_plain_functions_and_says_who_calls_whom(tmp_path: Path) -> None:
    made = shop(0, END)
    files = parse(made.configuration("sqlite:///a b.db", folder=tmp_path / "a: b", listen="127.0.0.1:0"), {}, tmp_path)
    cluster = parse(made.configuration("elasticsearch", hosts=["http://localhost:9200"], index_prefix="demo"), {}, tmp_path)
    assert {d.function for d in files.detectors} == {"count", "sum", "avg", "min", "max", "ratio"}
    assert [d.name for d in files.detectors] == [d.name for d in cluster.detectors]
    assert {d.selection.path for d in files.detectors} == {
        str(tmp_path / "a: b" / f"{n}-*.ndjson") for n in ("metrics", "logs")
    }
    assert {d.selection.index for d in cluster.detectors} == {"demo-metrics-*", "demo-logs-*"}
    limits = {d.name: d.threshold.above for d in files.detectors if d.threshold.above is not None}
    assert limits == {"heap": 0.92, "disk": 0.9}
    assert set(files.incidents.depends_on) == set(made.depends_on)
    assert [log.stream.level for log in files.logs] == ["log.level"]
    with pytest.raises(ValueError, match="either"):
        made.configuration("elasticsearch")


def test_services_have_owners_and_the_resources_that_their_faults_need() -> None:
    known = {service.name: service for service in SERVICES}
    assert all(service.owner for service in SERVICES)
    for kind, resource in {
        "memory_leak": "heap",
        "disk_filling": "disk",
        "queue_backlog": "queue",
        "pool_exhausted": "pool",
    }.items():
        assert all(getattr(known[root], resource) is not None for root, _ in KINDS[kind].roots)


def test_it_is_made_and_written_fast(tmp_path: Path) -> None:
    started = time.process_time()
    made = shop(1, END)
    made_after = time.process_time() - started
    made.write_ndjson(tmp_path)
    seconds = time.process_time() - started
    print(f"shop {made_after:.2f} s, with all files {seconds:.1f} s of processor time")
    assert seconds < 15
