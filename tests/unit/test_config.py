"""A configuration that is accepted becomes nouns: every setting lands where it belongs, in the unit it belongs in."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from forewarn.config import Config, TargetConfig, load, parse, parse_duration, with_store
from forewarn.config.watched import ROUND_BUCKETS
from forewarn.connection import ElasticSettings
from forewarn.detector import DAY, HOUR, MINUTE, Detector, MinDeviation, Selection, Threshold
from forewarn.errors import ConfigError
from forewarn.incident import IncidentSettings
from forewarn.pattern import LogStream

ENVIRON = {"ES_API_KEY": "topsecret-key", "FOREWARN_TOKEN": "topsecret-token"}

# The example of the design.
EXAMPLE = """
elasticsearch:
  hosts: [http://localhost:9200]
  api_key: "${ES_API_KEY}"              # substituted after parsing; secrets only from the environment or a file
store: elasticsearch                    # or sqlite:///forewarn.db (embedded)
detectors:
  - name: checkout-latency
    index: metrics-apm*                 # or path: data/*.ndjson for files
    query: "service.environment: production"    # Lucene query string, or Elasticsearch query DSL as a mapping
    function: p95                       # count, rate, avg, sum, min, max, median, pNN, cardinality, ratio
    field: transaction.duration.us
    unit: us
    split_by: [service.name]
    bucket: 5m
    query_delay: 60s
    timezone: Europe/Berlin
    direction: above                    # above | below | both
    min_deviation: {relative: 10%}      # ignore what nobody would care about
    threshold: {above: 2s}              # also warn before the forecast crosses it; units are converted
    owner: team-checkout
logs:
  - name: app-logs
    index: logs-*
    message: message
    split_by: [service.name]
    level: log.level
calendars: {}                           # holidays by country, RRULE events, maintenance windows
notify: {}                              # where, from which severity, for which owner, at which hours
datasource: {listen: "127.0.0.1:8080", tokens: ["${FOREWARN_TOKEN}"]}
"""

EMBEDDED = """
store: sqlite:///state/forewarn.db
detectors:
  - {name: requests, path: data/*.ndjson, function: count}
"""


def one(settings: str, base: Path = Path("/etc/forewarn"), **environ: str) -> Config:
    return parse(f"store: sqlite:///f.db\ndetectors:\n  - {{name: d, path: x.csv, {settings}}}\n", environ, base)


def detector(settings: str) -> Detector:
    return one(settings).detectors[0]


def test_the_example_of_the_design_becomes_its_detector() -> None:
    config = parse(EXAMPLE, ENVIRON, Path("/etc/forewarn"))
    assert config.detectors == (
        Detector(
            name="checkout-latency",
            selection=Selection(index="metrics-apm*", query="service.environment: production"),
            function="p95",
            field="transaction.duration.us",
            split_by=("service.name",),
            step=5 * MINUTE,
            delay=MINUTE,
            timezone="Europe/Berlin",
            direction="above",
            min_deviation=MinDeviation(relative=0.1),
            threshold=Threshold(above=2_000_000.0),
            unit="us",
            owner="team-checkout",
            fit_every=4 * HOUR,
            fits_per_tick=1000,
        ),
    )
    assert config.elasticsearch == ElasticSettings(("http://localhost:9200",), api_key="topsecret-key")
    assert (config.store.kind, config.store.path, config.store.prefix) == ("elasticsearch", None, "forewarn")
    assert (config.datasource.host, config.datasource.port) == ("127.0.0.1", 8080)
    assert config.datasource.tokens == ("topsecret-token",)
    assert config.notify == ()


def test_a_log_is_a_stream_and_a_detector_that_counts_its_patterns() -> None:
    (log,) = parse(EXAMPLE, ENVIRON, Path()).logs
    lines = Selection(index="logs-*")
    assert log.stream == LogStream("app-logs", lines, "message", ("service.name",), "log.level")
    few = MinDeviation(absolute=5.0)  # lines, unless the configuration says otherwise
    split = ("service.name", "pattern")
    few_lines = Detector("app-logs", lines, "count", split_by=split, min_deviation=few)
    assert log.detector == dataclasses.replace(few_lines, fit_every=4 * HOUR, fits_per_tick=1000)


def test_every_setting_of_a_log_is_mapped() -> None:
    text = """
store: sqlite:///f.db
calendars: {holidays: [DE]}
logs:
  - name: app
    path: app/*.log
    query: "service: shop"
    time_field: ts
    message: msg
    split_by: [service, host]
    level: severity
    redact: ['order-\\d+', 'ticket=\\S+']
    bucket: 10m
    query_delay: 2m
    timezone: Europe/Berlin
    direction: above
    min_deviation: {absolute: 3, relative: 20%}
    engine: seasonal_median
    owner: team-shop
    fit_every: 4h
    fit_window: 14d
    fits_per_tick: 9
    warm_up: 12h
    retire_after: 3d
"""
    (log,) = parse(text, {}, Path("/etc/forewarn")).logs
    lines = Selection(path="/etc/forewarn/app/*.log", query="service: shop", time_field="ts")
    assert log.stream == LogStream("app", lines, "msg", ("service", "host"), "severity", ("order-\\d+", "ticket=\\S+"))
    assert log.detector == Detector(
        "app",
        lines,
        "count",
        split_by=("service", "host", "pattern"),
        step=10 * MINUTE,
        delay=2 * MINUTE,
        timezone="Europe/Berlin",
        direction="above",
        min_deviation=MinDeviation(3.0, 0.2),
        owner="team-shop",
        holidays=("DE",),
        engine="seasonal_median",
        fit_every=4 * HOUR,
        fit_window=14 * DAY,
        fits_per_tick=9,
        warm_up=12 * HOUR,
        retire_after=3 * DAY,
    )


def test_logs_alone_are_enough_to_watch() -> None:
    config = parse("store: sqlite:///f.db\nlogs: [{name: app, path: app.log}]", {}, Path())
    assert config.detectors == ()
    assert config.logs[0].stream == LogStream("app", Selection(path="app.log"))


def test_incidents_know_who_calls_whom_and_which_fields_are_one() -> None:
    text = EMBEDDED + (
        "incidents:\n  hold: 30m\n  depends_on: {checkout: [payment, cart], cart: [redis]}\n"
        "  entity_fields: {service.name: [service, kubernetes.labels.app], host.name: [host]}\n"
    )
    settings = parse(text, {}, Path()).incidents
    assert settings.hold == 30 * MINUTE
    assert settings.depends_on == (("checkout", "payment"), ("checkout", "cart"), ("cart", "redis"))
    assert settings.same_as == (
        ("service", "service.name"),
        ("kubernetes.labels.app", "service.name"),
        ("host", "host.name"),
    )


def test_without_settings_incidents_are_those_of_the_noun_and_there_are_no_cards() -> None:
    config = parse(EMBEDDED, {}, Path())
    assert (config.incidents, config.knowledge, config.logs) == (IncidentSettings(), None, ())


def test_cards_are_in_a_folder_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "cards").mkdir()
    assert parse(EMBEDDED + "knowledge: {cards: cards}", {}, tmp_path).knowledge == str(tmp_path / "cards")


def test_what_is_left_out_is_the_default_of_the_noun_but_for_how_often_the_engine_is_to_fit() -> None:
    config = parse(EMBEDDED, {}, Path("/etc/forewarn"))
    plain = Detector("requests", Selection(path="/etc/forewarn/data/*.ndjson"), "count")
    assert config.detectors == (dataclasses.replace(plain, fit_every=4 * HOUR, fits_per_tick=1000),)
    assert config.elasticsearch is None
    assert (config.store.kind, config.store.path) == ("sqlite", "/etc/forewarn/state/forewarn.db")
    assert (config.store.partition, config.store.retention) == ("month", None)


def test_the_defaults_of_the_connection_are_those_of_its_noun() -> None:
    text = EMBEDDED + "elasticsearch: {hosts: ['http://localhost:9200']}"
    assert parse(text, {}, Path()).elasticsearch == ElasticSettings(("http://localhost:9200",))


def test_every_setting_of_a_detector_is_mapped() -> None:
    made = detector(
        "function: ratio, of: 'status: 500', query: {term: {service: shop}}, time_field: ts, split_by: [a, b, c], bucket: 1m,"
        "query_delay: 2m30s, timezone: America/New_York, direction: below, min_deviation: {absolute: 5%, relative: 0.2},"
        "threshold: {above: 90%, below: 0.01}, owner: me, holidays: [DE-BY, NO], engine: stan, fit_every: 4h, fit_window: 14d,"
        "seasonality: multiplicative, fits_per_tick: 7, warm_up: 2d, retire_after: 1d,"
        "sensitivity: low, silence: never, flatline: never"
    )
    assert made == Detector(
        "d",
        Selection(path="/etc/forewarn/x.csv", query={"term": {"service": "shop"}}, time_field="ts"),
        "ratio",
        of="status: 500",
        split_by=("a", "b", "c"),
        step=MINUTE,
        delay=150_000,
        timezone="America/New_York",
        direction="below",
        min_deviation=MinDeviation(0.05, 0.2),
        threshold=Threshold(0.9, 0.01),
        unit="ratio",
        owner="me",
        holidays=("DE-BY", "NO"),
        engine="stan",
        seasonality="multiplicative",
        fit_every=4 * HOUR,
        fit_window=14 * DAY,
        fits_per_tick=7,
        warm_up=2 * DAY,
        retire_after=DAY,
        sensitivity="low",
        silence="never",
        flatline="never",
    )


def test_a_sensitivity_may_be_a_budget_of_incidents() -> None:
    made = detector("function: count, sensitivity: {incidents_per_week: 2.5}")
    assert (made.sensitivity, made.incidents_per_week) == ("medium", 2.5)
    assert detector("function: count").incidents_per_week is None


@pytest.mark.parametrize(
    ("unit", "limit", "expected"),
    [
        ("us", "2s", 2_000_000.0),
        ("ms", "2s", 2000.0),
        ("ns", "1.5ms", 1_500_000.0),
        ("s", "2 min", 120.0),
        ("B", "1.5 GiB", 1.5 * 2**30),
        ("MB", "2GB", 2000.0),
        ("'%'", "90%", 90.0),
        ("ratio", "90%", 0.9),
        ("percent", "0.5ratio", 50.0),
        ("us", "250", 250.0),
        ("orders", "7 orders", 7.0),
        ("ms", "1e3", 1000.0),
    ],
)
def test_a_threshold_is_converted_to_the_unit_of_the_values(unit: str, limit: str, expected: float) -> None:
    assert detector(f"function: avg, field: f, unit: {unit}, threshold: {{above: {limit}}}").threshold.above == expected


def test_holidays_of_the_calendars_are_for_detectors_without_their_own() -> None:
    text = """
store: sqlite:///f.db
calendars: {holidays: [DE, NO]}
detectors:
  - {name: a, path: x.csv, function: count}
  - {name: b, path: x.csv, function: count, holidays: [FR]}
  - {name: c, path: x.csv, function: count, holidays: []}
"""
    assert [d.holidays for d in parse(text, {}, Path()).detectors] == [("DE", "NO"), ("FR",), ()]


def test_a_long_form_of_the_store_has_more_settings() -> None:
    text = EXAMPLE.replace("store: elasticsearch ", "store: {prefix: staging-fw, partition: day, retention: 90d} ")
    store = parse(text, ENVIRON, Path()).store
    assert (store.kind, store.prefix, store.partition, store.retention) == ("elasticsearch", "staging-fw", "day", 90 * DAY)


def test_targets_are_named_and_keep_their_order() -> None:
    text = EMBEDDED + (
        "notify:\n  ops: {type: log}\n"
        "  hook: {type: webhook, url: '${HOOK}', headers: {Authorization: 'Bearer ${TOKEN}', X-Team: shop}, timeout: 2s}\n"
    )
    log, hook = parse(text, {"HOOK": "https://chat.example/s3cr3t", "TOKEN": "abc"}, Path()).notify
    assert log == TargetConfig("ops", "log")
    headers = (("Authorization", "Bearer abc"), ("X-Team", "shop"))
    assert hook == TargetConfig("hook", "webhook", "https://chat.example/s3cr3t", headers, 2000)


def test_secrets_may_come_from_files_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "es.key").write_text("from-a-file\n")
    text = EXAMPLE.replace('"${ES_API_KEY}"', "{file: es.key}")
    elastic = parse(text, ENVIRON, tmp_path).elasticsearch
    assert elastic is not None
    assert elastic.api_key == "from-a-file"


def test_no_secret_is_in_the_repr() -> None:
    text = EXAMPLE.replace("notify: {}", "notify: {h: {type: webhook, url: '${URL}', headers: {X-Key: '${KEY}'}}}")
    config = parse(text, ENVIRON | {"URL": "https://h.example/topsecret", "KEY": "topsecret"}, Path())
    assert "topsecret" not in repr(config)
    assert "topsecret" not in str(dataclasses.replace(config, detectors=()))


def test_values_from_the_environment_end_as_plain_text_in_the_nouns() -> None:
    made = one(
        "function: count, query: {term: {env: '${STAGE}'}}, fits_per_tick: '${FITS}', owner: '${OWNER:-nobody}'",
        STAGE="live",
        FITS="9",
    )
    noun = made.detectors[0]
    assert repr(noun.selection.query) == "{'term': {'env': 'live'}}"
    assert (noun.fits_per_tick, noun.owner, type(noun.owner)) == (9, "nobody", str)


def test_a_file_is_read_with_paths_relative_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "forewarn.yml").write_text("\ufeff" + EMBEDDED, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    config = load("conf/forewarn.yml", {})
    assert config.detectors[0].selection.path == str(tmp_path / "conf/data/*.ndjson")
    assert config.store.path == str(tmp_path / "conf/state/forewarn.db")


def test_an_absolute_path_stays_absolute() -> None:
    config = parse(EMBEDDED.replace("sqlite:///state", "sqlite:////var/lib"), {}, Path("/etc"))
    assert config.store.path == "/var/lib/forewarn.db"


@pytest.mark.parametrize(
    ("listen", "expected"),
    [("localhost:0", ("localhost", 0)), ("'[::1]:8080'", ("::1", 8080)), ("127.0.0.2:9000", ("127.0.0.2", 9000))],
)
def test_a_loopback_address_needs_no_token(listen: str, expected: tuple[str, int]) -> None:
    datasource = parse(EMBEDDED + f"datasource: {{listen: {listen}}}", {}, Path()).datasource
    assert (datasource.host, datasource.port) == expected


def test_with_a_token_or_a_user_any_address_may_be_listened_on() -> None:
    by_token = parse(EMBEDDED + "datasource: {listen: '0.0.0.0:80', tokens: ['${T}']}", {"T": "t"}, Path()).datasource
    by_user = parse(EMBEDDED + "datasource: {listen: '0.0.0.0:80', users: {jo: '${T}'}}", {"T": "t"}, Path()).datasource
    assert (by_token.host, by_token.tokens, by_user.users) == ("0.0.0.0", ("t",), (("jo", "t"),))


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "nowhere.yml", {})


def test_a_file_that_is_not_utf8_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "latin.yml").write_bytes(b"detectors: \xe4")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(tmp_path / "latin.yml", {})


def test_reading_a_configuration_loads_no_heavy_library() -> None:
    heavy = ["prophet", "pandas", "holidays", "elasticsearch", "flask"]
    code = f"import sys, forewarn.config; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_bucket_that_is_suggested_is_accepted() -> None:
    assert [detector(f"function: count, bucket: {text}").step for text in ROUND_BUCKETS] == [
        parse_duration(t) for t in ROUND_BUCKETS
    ]


def test_another_store_replaces_the_configured_one() -> None:
    config = parse(EXAMPLE.replace("store: elasticsearch ", "store: {partition: day} "), ENVIRON, Path("/etc/forewarn"))
    replaced = with_store(config, "sqlite:///replay.db", Path("/home/me"))
    assert (replaced.store.kind, replaced.store.path, replaced.store.partition) == ("sqlite", "/home/me/replay.db", "day")
    assert with_store(replaced, "elasticsearch", Path("/home/me")) == config
    assert dataclasses.replace(replaced, store=config.store) == config


@pytest.mark.parametrize(
    ("address", "why"), [("elasticsearch", "needs the section `elasticsearch`"), ("replay.db", "expected elastic")]
)
def test_another_store_that_cannot_be_is_refused(address: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        with_store(parse(EMBEDDED, {}, Path()), address, Path())
    assert caught.value.path == "--store"
