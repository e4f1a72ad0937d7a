"""Whatever cannot be meant is refused at start, with the path of the key and what was expected there."""

# ruff: noqa: E501 - a case is easier to check on one line than on four

from pathlib import Path

import pytest

from forewarn.config import parse
from forewarn.errors import ConfigError

TOP = "elasticsearch: {hosts: ['http://localhost:9200']}\n"

# settings of the second of two detectors, path below it, what the message must say
DETECTOR = [
    ("function: count", "index", "is required, or `path` for files"),
    ("function: count, index: a, path: b.csv", "path", "give either `index` or `path`, not both"),
    ("index: a", "function", "is required"),
    ("index: a, function: mean", "function", "expected one of count, rate, avg"),
    ("index: a, function: medain, field: f", "function", 'did you mean "median"?'),
    ("index: a, function: p100, field: f", "function", "expected a percentile above p0 and below p100, got 'p100'"),
    ("index: a, function: p0, field: f", "function", "above p0"),
    ("index: a, function: p-5, field: f", "function", "above p0"),
    ("index: a, function: 95, field: f", "function", "got 95"),
    ("index: a, function: avg", "field", "is required: the field that avg is computed of"),
    ("index: a, function: p95", "field", "is required: the field that p95 is computed of"),
    ("index: a, function: cardinality", "field", "is required"),
    ("index: a, function: count, field: f", "field", "count counts documents and takes no field"),
    ("index: a, function: rate, field: f", "field", "rate counts documents and takes no field"),
    ("index: a, function: ratio, of: x, field: f", "field", "give `of` instead"),
    ("index: a, function: ratio", "of", "is required for ratio"),
    ("index: a, function: count, of: x", "of", "is for ratio only, and the function is count"),
    ("index: a, function: ratio, of: x, unit: us", "unit", "a ratio is a number from 0 to 1"),
    ("index: a, function: ratio, of: x, unit: '%'", "unit", "a ratio is a number from 0 to 1"),
    ("index: a, function: count, bukcet: 5m", "bukcet", 'unknown setting; did you mean "bucket"?'),
    ("index: a, function: count, splitby: [x]", "splitby", 'did you mean "split_by"?'),
    ("index: a, function: count, zzz: 1", "zzz", "unknown setting; expected one of bucket, counter, direction"),
    ("index: a, function: count, sensitivity: hihg", "sensitivity", "expected low, medium, high, or {incidents_per_week: number}"),
    ("index: a, function: count, sensitivity: 3", "sensitivity", "expected low, medium, high, or"),
    ("index: a, function: count, sensitivity: {}", "sensitivity", "expected {incidents_per_week: 3}, got an empty mapping"),
    ("index: a, function: count, sensitivity: {per_week: 3}", "sensitivity", 'did you mean "incidents_per_week"?'),
    ("index: a, function: count, sensitivity: {incidents_per_week: 0}", "sensitivity.incidents_per_week", "a number above 0"),
    ("index: a, function: sum, field: x, counter: true", "counter", "is for max, min, avg, median of a counter"),
    ("index: a, function: sum, field: x, min_count: 2", "min_count", "sum is as good over few documents as over many"),
    ("index: a, function: avg, field: x, min_count: 0", "min_count", "from 1"),
    ("index: a, function: count, silence: off", "silence", "expected one of auto, never"),
    ("index: a, function: count, flatline: off", "flatline", "expected one of auto, never"),
    ("index: 'a b', function: count", "index", "expected index, alias, data stream"),
    ("index: [a], function: count", "index", "got a list"),
    ("index: 5, function: count", "index", "got 5; put it in quotes"),
    ("index: '', function: count", "index", "expected index"),
    ("index: a, function: count, query: 5", "query", "expected a Lucene query string or a mapping"),
    ("index: a, function: count, query: {}", "query", "got a mapping"),
    ("index: a, function: count, bucket: 5", "bucket", 'got 5; write its unit, as in "5s"'),
    ("index: a, function: count, bucket: 5 minutes", "bucket", "expected a duration such as 90s, 5m, 1h30m or 7d, got '5 minutes'"),
    ("index: a, function: count, bucket: true", "bucket", "got true"),
    ("index: a, function: count, bucket: 500ms", "bucket", "expected at least 1s, got '500ms'"),
    ("index: a, function: count, bucket: 7d", "bucket", "expected at most 1d"),
    ("index: a, function: count, bucket: 7m", "bucket", "divides a day evenly"),
    ("index: a, function: count, bucket: 7m", "bucket", "(such as 6m), got 7m"),
    ("index: a, function: count, bucket: 1s500ms", "bucket", "(such as 2s), got 1s500ms"),
    ("index: a, function: count, bucket: 40s", "bucket", "(such as 30s), got 40s"),
    ("index: a, function: count, query_delay: 60", "query_delay", 'write its unit, as in "60s"'),
    ("index: a, function: count, query_delay: 2d", "query_delay", "expected at most 1d"),
    ("index: a, function: count, timezone: Europe/Belrin", "timezone", 'did you mean "Europe/Berlin"?'),
    ("index: a, function: count, timezone: ../etc/passwd", "timezone", "expected a time zone such as Europe/Berlin"),
    ("index: a, function: count, timezone: Europe", "timezone", "expected a time zone"),
    ("index: a, function: count, timezone: 1", "timezone", "got 1"),
    ("index: a, function: count, direction: up", "direction", "expected one of above, below, both, got 'up'"),
    ("index: a, function: count, direction: abvoe", "direction", 'did you mean "above"?'),
    ("index: a, function: count, min_deviation: 10%", "min_deviation", "expected settings (a mapping), got '10%'"),
    ("index: a, function: count, min_deviation: {relative: 10}", "min_deviation.relative", "above 1 only in percent"),
    ("index: a, function: count, min_deviation: {relative: -10%}", "min_deviation.relative", "expected a share such as 10% or 0.1"),
    ("index: a, function: count, min_deviation: {relative: much}", "min_deviation.relative", "got 'much'"),
    ("index: a, function: count, min_deviation: {relative: [1]}", "min_deviation.relative", "got a list"),
    ("index: a, function: count, min_deviation: {absolute: -1}", "min_deviation.absolute", "expected 0 or more, got -1"),
    ("index: a, function: count, min_deviation: {percent: 1}", "min_deviation.percent", "unknown setting"),
    ("index: a, function: count, threshold: {above: .nan}", "threshold.above", "expected a number"),
    ("index: a, function: count, threshold: {above: true}", "threshold.above", "got true"),
    ("index: a, function: count, threshold: {above: 2s}", "threshold.above", "2s has a unit, but the detector's own `unit` is not set"),
    ("index: a, function: avg, field: f, unit: B, threshold: {below: 2s}", "threshold.below", "2s cannot be converted to the detector's unit, B"),
    ("index: a, function: count, threshold: {above: 1, below: 2}", "threshold", "`above` must be more than `below`, got 1 and 2"),
    ("index: a, function: count, split_by: service", "split_by", "expected a list of text, at most 3"),
    ("index: a, function: count, split_by: [a, b, c, d]", "split_by", "at most 3, got 4"),
    ("index: a, function: count, split_by: [a, b, a]", "split_by", "a is listed twice"),
    ("index: a, function: count, split_by: [a, 5]", "split_by[1]", "expected text, got 5"),
    ("index: a, function: count, split_by: [a, ~]", "split_by[1]", "got nothing"),
    ("index: a, function: count, holidays: [Germany]", "holidays[0]", "expected country code such as DE"),
    ("index: a, function: count, holidays: [DE, de-by]", "holidays[1]", "or DE-BY"),
    ("index: a, function: count, engine: prophet", "engine", "expected one of auto, batch, stan"),
    ("index: a, function: count, seasonality: auto", "seasonality", "expected one of additive, multiplicative"),
    ("index: a, function: count, fit_every: 1m", "fit_every", "expected a multiple of the bucket, 5m, got 1m"),
    ("index: a, function: count, fit_every: 7m", "fit_every", "expected a multiple of the bucket, 5m, got 7m"),
    ("index: a, function: count, fit_every: 7d, fit_window: 2d", "fit_window", "expected at least `fit_every`, 7d, got 2d"),
    ("index: a, function: count, fit_window: 1h", "fit_window", "expected at least 1d, got '1h'"),
    ("index: a, function: count, fits_per_tick: 0", "fits_per_tick", "expected a whole number from 1 to 1000000, got 0"),
    ("index: a, function: count, fits_per_tick: 1.5", "fits_per_tick", "got 1.5"),
    ("index: a, function: count, fits_per_tick: '5'", "fits_per_tick", "got '5'"),
    ("index: a, function: count, fits_per_tick: '${SECRET}'", "fits_per_tick", "got a value from the environment"),
    ("index: a, function: count, bucket: 1h, retire_after: 5m", "retire_after", "expected at least one bucket, 1h, got 5m"),
    ("index: a, function: count, owner: {team: x}", "owner", "expected text, got a mapping"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "below", "why"), DETECTOR)
def test_a_detector_that_cannot_be_meant_is_refused(settings: str, below: str, why: str) -> None:
    text = f"{TOP}detectors:\n  - {{name: fine, index: a, function: count}}\n  - {{name: wrong, {settings}}}\n"
    with pytest.raises(ConfigError) as caught:
        parse(text, {"SECRET": "topsecret"}, Path())
    assert caught.value.path == f"detectors[1].{below}"
    assert why in caught.value.why
    assert caught.value.why.endswith("(detector wrong)")
    assert "topsecret" not in str(caught.value)


ONE = "detectors: [{name: d, index: a, function: count}]\n"
FROM = "start: 2026-11-20T02:00Z"
FILES = "store: sqlite:///f.db\ndetectors: [{name: d, path: a, function: count}]\n"


def window(more: str) -> str:
    return f"calendars: {{maintenance: [{{{FROM}, {more}}}]}}"


# whole text, path, what the message must say
FILE = [
    (TOP, "detectors", "is required"),
    (TOP + "detectors: []", "detectors", "is required: what is watched, here or under `logs`"),
    (TOP + "detectors: {name: d}", "detectors", "such as [...], got a mapping"),
    (TOP + "detectors: [d]", "detectors[0]", "expected settings (a mapping), got 'd'"),
    (TOP + "detectors: [{index: a, function: count}]", "detectors[0].name", "is required"),
    (TOP + "detectors: [{name: a b, index: a, function: count}]", "detectors[0].name", "expected name of letters, digits"),
    (TOP + "detectors: [{name: 7, index: a, function: count}]", "detectors[0].name", "put it in quotes"),
    (TOP + ONE.replace("]", ", {name: d, index: b, function: count}]"), "detectors[1].name", "is taken by detectors[0]"),
    (TOP + ONE + "detector: []", "detector", 'unknown setting; did you mean "detectors"?'),
    (TOP + ONE + "logs: [{name: app}]", "logs[0].index", "is required, or `path` for files (log app)"),
    (TOP + ONE + "logs: [{name: d, index: a}]", "logs[0].name", "is taken by detectors[0]"),
    (TOP + "logs: [{name: a, index: a}, {name: a, index: b}]", "logs[1].name", "is taken by logs[0]"),
    (TOP + ONE + "logs: [{name: app, index: a, path: b}]", "logs[0].path", "not both"),
    (TOP + ONE + "logs: [{name: app, index: a, function: count}]", "logs[0].function", "unknown setting"),
    (TOP + ONE + "logs: [{name: app, index: a, massage: m}]", "logs[0].massage", 'did you mean "message"?'),
    (TOP + ONE + "logs: [{name: app, index: a, split_by: [pattern]}]", "logs[0].split_by", "Forewarn itself adds"),
    (TOP + ONE + "logs: [{name: app, index: a, redact: ['(']}]", "logs[0].redact[0]", "expected regular expression"),
    (TOP + ONE + "logs: [{name: app, index: a, redact: [x, '(a+)+$']}]", "logs[0].redact[1]", "that repeats nothing that repeats"),
    (TOP + ONE + "logs: [{name: app, index: a, redact: ['(x|xy)*z']}]", "logs[0].redact[0]", "that repeats nothing that repeats"),
    (TOP + ONE + "logs: [{name: app, index: a, redact: x}]", "logs[0].redact", "expected a list"),
    (TOP + ONE + "logs: [{name: app, index: a, bucket: 7m}]", "logs[0].bucket", "divides a day evenly"),
    (TOP + ONE + "logs: [{name: app, index: a, min_deviation: {absolute: 2s}}]", "logs[0].min_deviation.absolute", "has a unit"),
    (TOP + ONE + "logs: [{name: app, index: a, properties: [x]}]", "logs[0].properties", "not available yet"),
    ("store: sqlite:///f.db\nlogs: [{name: app, index: a}]", "logs[0].index", "needs the section `elasticsearch`"),
    (TOP + ONE + "incidents: {hold: 15}", "incidents.hold", "write its unit"),
    (TOP + ONE + "incidents: {depends_on: {a: b}}", "incidents.depends_on.a", "expected a list of text"),
    (TOP + ONE + "incidents: {depends_on: {a: [b, a]}}", "incidents.depends_on.a", "does not depend on itself"),
    (TOP + ONE + "incidents: {entity_fields: {a: [c], b: [c]}}", "incidents.entity_fields.b", "c already means a"),
    (TOP + ONE + "incidents: {entity_fields: {a: [b], b: [c]}}", "incidents.entity_fields.a", "b has equivalents of its own"),
    (TOP + ONE + "knowledge: {cards: nowhere}", "knowledge.cards", "there is no folder nowhere"),
    (TOP + ONE + "calendars: {events: [x]}", "calendars.events", "not available yet"),
    (TOP + ONE + "calendars: {maintenance: [x]}", "calendars.maintenance[0]", "expected settings (a mapping), got 'x'"),
    (TOP + ONE + "calendars: {maintenance: {start: x}}", "calendars.maintenance", "expected a list of mapping"),
    (TOP + ONE + f"calendars: {{maintenance: [{{{FROM}}}]}}", "calendars.maintenance[0].end", "is required: time with its zone"),
    (TOP + ONE + window("end: 2026-11-20T02:00Z"), "calendars.maintenance[0].end", "expected a time after `start`"),
    (TOP + ONE + window("end: 2026-11-20T02:30+01:00"), "calendars.maintenance[0].end", "expected a time after `start`"),
    (TOP + ONE + window("end: 2026-11-20T04:00"), "calendars.maintenance[0].end", "with its zone, as in 02:00Z or 03:00+01:00"),
    (TOP + ONE + window("end: 2026-11-20"), "calendars.maintenance[0].end", "got '2026-11-20'"),
    (TOP + ONE + window("end: tomorrow"), "calendars.maintenance[0].end", "such as 2026-11-20T02:00Z, got 'tomorrow'"),
    (TOP + ONE + window("end: 4"), "calendars.maintenance[0].end", "expected a time with its zone"),
    (TOP + ONE + window("end: 2026-11-21T03:00Z, every: 1d"), "calendars.maintenance[0].every", "as long as the window, 1d1h"),
    (TOP + ONE + window("end: 2026-11-20T04:00Z, every: 1m"), "calendars.maintenance[0].every", "expected at least 1h"),
    (TOP + ONE + window("end: 2026-11-20T04:00Z, weekly: true"), "calendars.maintenance[0].weekly", "unknown setting"),
    (TOP + ONE + window("end: 2026-11-20T04:00Z, detectors: []"), "calendars.maintenance[0].detectors", "at least 1"),
    (
        TOP + ONE.replace("name: d", "name: latency") + window("end: 2026-11-20T04:00Z, detectors: [latency, latenzy]"),
        "calendars.maintenance[0].detectors[1]",
        'there is no detector or log latenzy; did you mean "latency"?',
    ),
    (TOP + ONE + "calendars: {holidays: DE}", "calendars.holidays", "expected a list"),
    (TOP + ONE + "calendars: [DE]", "calendars", "expected settings (a mapping), got a list"),
    ("store: sqlite:///f.db\n" + ONE, "detectors[0].index", "needs the section `elasticsearch`"),
    ("detectors: [{name: d, path: a, function: count}]", "store", "needs the section `elasticsearch`"),
    (TOP + ONE + "store: sqlite", "store.at", "expected elasticsearch or sqlite:///path, got 'sqlite'"),
    (TOP + ONE + "store: sqlite:///", "store.at", "expected elasticsearch or sqlite:///path"),
    (TOP + ONE + "store: postgres://x", "store.at", "expected elasticsearch or sqlite:///path"),
    (TOP + ONE + "store: 5", "store", "got 5"),
    (TOP + ONE + "store: {prefix: Big}", "store.prefix", "expected lower-case letters"),
    (TOP + ONE + "store: {at: sqlite:///f.db, prefix: x}", "store.prefix", "a SQLite store has none"),
    (TOP + ONE + "store: {partition: week}", "store.partition", "expected one of month, day"),
    (TOP + ONE + "store: {retention: 1h}", "store.retention", "expected at least 1d"),
    ("elasticsearch: {}\n" + ONE, "elasticsearch.hosts", "is required"),
    ("elasticsearch: {hosts: []}\n" + ONE, "elasticsearch.hosts", "at least 1"),
    ("elasticsearch: {hosts: http://es:9200}\n" + ONE, "elasticsearch.hosts", "such as [...]"),
    ("elasticsearch: {hosts: ['localhost:9200']}\n" + ONE, "elasticsearch.hosts[0]", "such as http://localhost:9200"),
    ("elasticsearch: {hosts: ['http://localhost']}\n" + ONE, "elasticsearch.hosts[0]", "an address with its port"),
    ("elasticsearch: {hosts: ['http://h:99999']}\n" + ONE, "elasticsearch.hosts[0]", "an address with its port"),
    ("elasticsearch: {hosts: ['http://u:topsecret@h:1']}\n" + ONE, "elasticsearch.hosts[0]", "without a user name"),
    ("elasticsearch: {hosts: ['http://h:1', 'http://h:1/']}\n" + ONE, "elasticsearch.hosts", "listed twice"),
    ("elasticsearch: {hosts: ['http://h:1'], api_key: topsecret}\n" + ONE, "elasticsearch.api_key", "does not stand in this file"),
    ("elasticsearch: {hosts: ['http://h:1'], api_key: '${NO:-topsecret}'}\n" + ONE, "elasticsearch.api_key", "does not stand in"),
    ("elasticsearch: {hosts: ['http://h:1'], api_key: '${EMPTY}'}\n" + ONE, "elasticsearch.api_key", "is set, but empty"),
    ("elasticsearch: {hosts: ['http://h:1'], api_key: '${ABSENT}'}\n" + ONE, "elasticsearch.api_key", "variable ABSENT is not set"),
    ("elasticsearch: {hosts: ['http://h:1'], api_key: {file: no.key}}\n" + ONE, "elasticsearch.api_key.file", "cannot read the secret"),
    ("elasticsearch: {hosts: ['http://h:1'], api_key: {path: no.key}}\n" + ONE, "elasticsearch.api_key", "expected {file: path}"),
    (
        "elasticsearch: {hosts: ['http://h:1'], api_key: '${SECRET}', username: u, password: '${SECRET}'}\n" + ONE,
        "elasticsearch.api_key",
        "not both",
    ),
    ("elasticsearch: {hosts: ['http://h:1'], username: u}\n" + ONE, "elasticsearch.password", "are given together"),
    ("elasticsearch: {hosts: ['http://h:1'], password: '${SECRET}'}\n" + ONE, "elasticsearch.username", "are given together"),
    ("elasticsearch: {hosts: ['https://h:1'], verify_certs: no}\n" + ONE, "elasticsearch.verify_certs", "expected true or false, got 'no'"),
    ("elasticsearch: {hosts: ['https://h:1'], ca_certs: no.pem}\n" + ONE, "elasticsearch.ca_certs", "there is no file no.pem"),
    ("elasticsearch: {hosts: ['http://h:1'], ca_certs: no.pem}\n" + ONE, "elasticsearch.ca_certs", "https addresses only"),
    (
        f"elasticsearch: {{hosts: ['https://h:1'], verify_certs: false, fingerprint: {'ab' * 32}}}\n" + ONE,
        "elasticsearch.verify_certs",
        "would have no effect",
    ),
    ("elasticsearch: {hosts: ['https://h:1'], fingerprint: abc}\n" + ONE, "elasticsearch.fingerprint", "64 hexadecimal digits"),
    ("elasticsearch: {hosts: ['http://h:1'], request_timeout: 30}\n" + ONE, "elasticsearch.request_timeout", "write its unit"),
    (FILES + "notify: [log]", "notify", "expected a mapping of names, got a list"),
    (FILES + "notify: {ops: log}", "notify.ops", "expected settings (a mapping), got 'log'"),
    (FILES + "notify: {ops: {}}", "notify.ops.type", "is required: one of log, webhook"),
    (FILES + "notify: {ops: {type: slack}}", "notify.ops.type", "'slack' is not available yet in this version"),
    (FILES + "notify: {ops: {type: lgo}}", "notify.ops.type", 'did you mean "log"?'),
    (FILES + "notify: {'o p s': {type: log}}", "notify", "expected name of letters"),
    (FILES + "notify: {ops: {type: log, url: 'http://h'}}", "notify.ops.url", "is for webhooks only (a log)"),
    (FILES + "notify: {ops: {type: log, min_severity: 50}}", "notify.ops.min_severity", "not available yet"),
    (FILES + "notify: {ops: {type: webhook}}", "notify.ops.url", "is required: where to post to"),
    (FILES + "notify: {ops: {type: webhook, url: 'ftp://topsecret'}}", "notify.ops.url", "expected an address such as https://host"),
    (FILES + "notify: {ops: {type: webhook, url: '${SECRET}'}}", "notify.ops.url", "expected an address such as https://host"),
    (
        FILES + "notify: {ops: {type: webhook, url: 'http://h', headers: {Authorization: topsecret}}}",
        "notify.ops.headers.Authorization",
        "a secret does not stand in this file",
    ),
    (
        FILES + "notify: {ops: {type: webhook, url: 'http://h', headers: {X-Team: '${LINES}'}}}",
        "notify.ops.headers.X-Team",
        "printable ASCII on one line",
    ),
    (FILES + "notify: {ops: {type: webhook, url: 'http://h', headers: {'a b': c}}}", "notify.ops.headers", "expected name of a header"),
    (
        FILES + "notify: {ops: {type: webhook, url: 'http://h', headers: {Host: c}}}",
        "notify.ops.headers.host",
        "is set by Forewarn itself",
    ),
    (FILES + "notify: {ops: {type: webhook, url: 'http://h', headers: {A: c, a: d}}}", "notify.ops.headers", "given twice"),
    (FILES + "notify: {ops: {type: webhook, url: 'http://h', timeout: 1h}}", "notify.ops.timeout", "expected at most 5m"),
    (FILES + "datasource: {listen: '0.0.0.0:8080'}", "datasource.tokens", "0.0.0.0 can be reached by other machines"),
    (FILES + "datasource: {listen: 'shop.example:8080'}", "datasource.tokens", "or listen on 127.0.0.1"),
    (FILES + "datasource: {listen: 8080}", "datasource.listen", 'such as "127.0.0.1:8080"'),
    (FILES + "datasource: {listen: '127.0.0.1:70000'}", "datasource.listen", "expected an address and a port"),
    (FILES + "datasource: {listen: '::1:8080'}", "datasource.listen", '"[::1]:8080"'),
    (FILES + "datasource: {tokens: topsecret}", "datasource.tokens", "expected a list of secret: ${NAME} or {file: path}, such as [...], got text"),
    (FILES + "datasource: {tokens: [topsecret]}", "datasource.tokens[0]", "a secret does not stand in this file"),
    (FILES + "datasource: {users: topsecret}", "datasource.users", "expected a mapping of names, got text"),
    (FILES + "datasource: {users: {jo: topsecret}}", "datasource.users.jo", "a secret does not stand in this file"),
    (FILES + "datasource: {max_range: 31}", "datasource.max_range", "write its unit"),
    (FILES + "datasource: {max_points: many}", "datasource.max_points", "expected a whole number from 1 to"),
    (FILES + "datasource: {maxrange: 1d}", "datasource.maxrange", 'did you mean "max_range"?'),
    (FILES + "datasource: {max_range: 1d, max_range: 2d}", "datasource.max_range", "is given twice, on lines 3 and 3"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "path", "why"), FILE)
def test_a_file_that_cannot_be_meant_is_refused(text: str, path: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, {"SECRET": "topsecret", "EMPTY": " ", "LINES": "a\r\nX-Evil: topsecret"}, Path())
    assert caught.value.path == path
    assert why in caught.value.why
    assert "topsecret" not in str(caught.value)


def test_the_message_reads_as_one_line_for_people() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(TOP + "detectors: [{name: checkout, index: a, function: count, bucket: 5}]", {}, Path())
    assert str(caught.value) == (
        'detectors[0].bucket: expected a duration such as 90s, 5m, 1h30m or 7d, got 5; write its unit, as in "5s" (detector checkout)'
    )


def test_a_secret_of_an_unreadable_file_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "empty.key").write_text("\n")
    (tmp_path / "binary.key").write_bytes(b"topsecret\xff")
    for name, why in (("empty.key", "is empty"), ("binary.key", "it is not UTF-8 text"), (".", "Is a directory")):
        with pytest.raises(ConfigError, match=why) as caught:
            parse(f"elasticsearch: {{hosts: ['http://h:1'], api_key: {{file: {name}}}}}\n{ONE}", {}, tmp_path)
        assert "topsecret" not in str(caught.value)
