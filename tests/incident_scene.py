"""A made-up evening in a shop: a connection pool runs dry, its callers slow down, and a disk fills up meanwhile.

Owns: the values (series, scores, anomalies, patterns, incidents) and `fill`, which publishes them. Numbers are computed from
the time, so that every run has the same. `HOSTILE` is text as an attacker would log it.
"""

import dataclasses
import json

import numpy as np

from forewarn.anomaly import Anomaly, Scores
from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.forecast import Calibration, Forecast, Model, ModelSpec
from forewarn.forecasting.fallback import SeasonalMedian
from forewarn.incident import Cause, Evidence, Fix, HeadsUp, Incident, PatternChange, Recommendation
from forewarn.pattern import PATTERN_FIELD, Pattern
from forewarn.ports import Store
from forewarn.results import Publication, ScoreBlock, SeriesRecord, anomaly_id
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid, stable_id

STEP = 5 * MINUTE
NOON = 1_795_348_800_000
"""2026-11-22 12:00 UTC."""
BEGAN = NOON + 8 * HOUR + 10 * MINUTE
NOW = BEGAN + 55 * MINUTE + MINUTE
GRID = TimeGrid(NOON, STEP, (NOW - NOON) // STEP)

SCRIPT = "<script>document.title='owned';window.owned=1</script>"
HOSTILE = (
    f'{SCRIPT}<img src=x onerror="window.owned=1;document.title=\'owned\'"><a href="javascript:window.owned=1">x</a>'
    "</pre></section><svg onload=window.owned=1>{{7*7}}${7*7}\u202egnp.exe\u0000\x1b[31mred\x1b[0m'\"`"
)


def key(detector: str, service: str, *more: tuple[str, str]) -> SeriesKey:
    return SeriesKey(detector, (("service.name", service), *more))


LATENCY, ERRORS = key("latency", "checkout"), key("errors", "checkout")
FREE, SLOW = key("free-connections", "payment"), key("latency", "payment")
DISK = key("disk", "orders-db")
LINES = key("shop-logs", "payment", (PATTERN_FIELD, "p-pool"))
SERIES = (LATENCY, ERRORS, FREE, SLOW, DISK, LINES)
UNITS = {LATENCY: "us", SLOW: "us", DISK: "ratio"}
OWNERS = {LATENCY: "team-edge", ERRORS: "team-edge", DISK: "team-platform"}


def _wave(times: Float, low: float, high: float) -> Float:
    return low + (high - low) * (0.5 - 0.5 * np.cos(2 * np.pi * (times / DAY - 0.1)))


def expected_of(series: SeriesKey, times: Float) -> Float:
    """What is normal for a series at these times."""
    ranges = {LATENCY: (240e3, 420e3), ERRORS: (1, 4), FREE: (30, 44), SLOW: (80e3, 150e3), LINES: (0.5, 1.5)}
    if series == DISK:
        return 0.84 + (times - NOW) / HOUR * 0.038
    return _wave(times, *ranges[series])


def actual_of(series: SeriesKey, times: Float) -> Float:
    """What was measured: normal, with some noise, and the trouble from BEGAN on."""
    rng = np.random.default_rng(int(series.id[:8], 16))
    normal = expected_of(series, times)
    values = normal * (1 + 0.05 * rng.standard_normal(times.size))
    trouble = times >= BEGAN + (10 * MINUTE if series in (LATENCY, ERRORS) else 0)
    factor = {LATENCY: 6.5, ERRORS: 22.0, FREE: 0.03, SLOW: 9.0, LINES: 60.0, DISK: 1.0}[series]
    rise = np.clip((times - BEGAN) / (20 * MINUTE), 0.5, 1.0)
    values = np.where(trouble, normal * (1 + (factor - 1) * rise) * (1 + 0.08 * rng.standard_normal(times.size)), values)
    if series == DISK:
        values = normal + 0.002 * rng.standard_normal(times.size)
    return np.maximum(np.round(values, 3), 0)


def _block() -> ScoreBlock:
    times = GRID.times().astype(np.float64)
    expected = np.array([expected_of(series, times) for series in SERIES])
    actual = np.array([actual_of(series, times) for series in SERIES])
    actual[:, 20:22] = np.nan  # a gap
    width = 0.2 * expected + 1e-9
    width[SERIES.index(DISK)] = 0.02
    score = np.round(np.abs(actual - expected) / width, 3)
    score[SERIES.index(DISK)] = 0.3
    side = np.where(np.isnan(score), 0, np.sign(np.nan_to_num(actual - expected))).astype(np.int8)
    scores = Scores(
        SERIES, GRID, score, side, expected - width, expected + width, np.zeros(actual.shape, dtype=np.int8), ("residual",)
    )
    return ScoreBlock(SeriesBatch(SERIES, GRID, actual), expected, scores, MINUTE)


def _records() -> list[SeriesRecord]:
    history = TimeGrid(NOON - 7 * DAY, 15 * MINUTE, 7 * 96)
    values = np.array([expected_of(series, history.times().astype(np.float64)) for series in SERIES])
    (model,) = SeasonalMedian().fit(SeriesBatch(SERIES, history, values), ModelSpec())
    records = []
    for row, series in enumerate(SERIES):
        width = np.array([[0.02 if series == DISK else 0.2 * float(values[row].mean())]])
        calibration = Calibration((series,), NOON, width, width, np.array([0.0]))
        records.append(
            SeriesRecord(
                series, NOW, STEP, UNITS.get(series, ""), OWNERS.get(series, "team-payment"), "UTC", "ok", model.engine, NOON,
                NOON - 7 * DAY, NOW, False, model.take([row]), calibration,
            )
        )  # fmt: skip
    return records


def predict(model: Model, grid: TimeGrid) -> Forecast:
    """What is normal, as the shop's own model."""
    expected = np.array([expected_of(series, grid.times().astype(np.float64)) for series in model.keys])
    return Forecast(model.keys, grid, expected, np.ones_like(expected), model.status, (model.engine,))


def anomaly_of(series: SeriesKey, start: int, severity: float, direction: str = "above", state: str = "open") -> Anomaly:
    block = BLOCK
    row, column = SERIES.index(series), GRID.index(NOW - STEP)
    return Anomaly(
        anomaly_id(series.id, start, STEP), series, state, 3, start, GRID.end, GRID.end - STEP,  # type: ignore[arg-type]  # one of its words
        float(block.scores.score[row, column]), severity, direction,  # type: ignore[arg-type]  # one of its words
        float(block.actual.values[row, column]), float(block.expected[row, column]),
        float(block.scores.lower[row, column]), float(block.scores.upper[row, column]), {"evidence": "residual"},
    )  # fmt: skip


BLOCK = _block()
ANOMALIES = (
    anomaly_of(FREE, BEGAN, 88.0, "below"),
    anomaly_of(SLOW, BEGAN, 79.0),
    anomaly_of(LATENCY, BEGAN + 10 * MINUTE, 71.0),
    anomaly_of(ERRORS, BEGAN + 10 * MINUTE, 83.0),
    anomaly_of(LINES, BEGAN, 64.0),
)
TEMPLATE = "HikariPool-1 - Connection is not available, request timed out after <*> ms"
EXAMPLE = (
    "HikariPool-1 - Connection is not available, request timed out after 30001 ms (total=40, active=40, idle=0, waiting=187)"
)
POOL = Pattern("p-pool", ("shop-logs", "payment"), "error", TEMPLATE, EXAMPLE, NOON - 5 * DAY, NOW, 5_214)
LEAK = Pattern(
    "p-leak", ("shop-logs", "payment"), "warn", "Connection leak detection triggered for conn<*> on thread <*>",
    "Connection leak detection triggered for conn173 on thread http-nio-8080-exec-42, stack trace follows\n"
    "java.lang.Exception: Apparent connection leak detected\n\tat shop.payment.RefundJob.run(RefundJob.java:88)",
    BEGAN - 15 * MINUTE, NOW, 31,
)  # fmt: skip
CHANGE = PatternChange(
    stable_id("change", "p-leak"), key("shop-logs", "payment", (PATTERN_FIELD, "p-leak")), "p-leak", "warn", LEAK.text,
    LEAK.example, BEGAN - 15 * MINUTE, BEGAN - 10 * MINUTE, 4.0,
)  # fmt: skip
AHEAD = HeadsUp(
    stable_id("heads-up", "disk"), DISK, "open", 3, BEGAN + 5 * MINUTE, NOW - MINUTE, 0.9, "above",
    NOW + 95 * MINUTE, NOW + 60 * MINUTE, NOW + 150 * MINUTE, 0.84, 0.84, "ratio",
)  # fmt: skip
CARD = Recommendation(
    "pool_exhausted",
    "Connection pool exhausted",
    6.4,
    ("signature `Connection is not available, request timed out`", "free-connections below"),
    "All connections of the pool are in use and nobody gives one back in time; requests wait for one and then fail.",
    "Requests that need the database are slow or fail; callers of this service follow within minutes.",
    (
        "`SHOW PROCESSLIST` or `pg_stat_activity`: are the connections working, or idle in a transaction?",
        "The log for `Connection leak detection triggered`: it names the code that keeps a connection.",
        "Deploys of the last hour: a new job that holds connections is the most frequent cause.",
    ),
    (
        Fix("Restart the service to free leaked connections; this buys time only.", "low", True),
        Fix("Roll back the deploy that leaks, or switch off the job that does.", "medium", True),
        Fix("Raise the pool's `maximumPoolSize`, if the database has connections to spare.", "medium", True),
        Fix("Kill sessions that are idle in a transaction (`pg_terminate_backend`).", "high", False),
    ),
    ("https://github.com/brettwooldridge/HikariCP/wiki/About-Pool-Sizing",),
)
OTHER_CARD = dataclasses.replace(
    CARD, card="conn_timeout", title="Connection timeouts", score=2.1, why=("shares the words timed out",)
)
OPEN = Incident(
    id=stable_id("incident", "pool"),
    state="open",
    revision=7,
    opened=BEGAN + 6 * MINUTE,
    updated=NOW,
    start=BEGAN - 15 * MINUTE,
    end=GRID.end,
    severity=88.0,
    title="payment: free-connections below normal: 1.19, expected 39.7 (and 2 more)",
    owner="team-payment",
    entities=(("service.name", "payment"), ("service.name", "checkout"), ("service.name", "orders-db")),
    causes=(
        Cause(
            (("service.name", "payment"),),
            0.78,
            (
                Evidence("order", "", BEGAN - 15 * MINUTE, "was the first to deviate"),
                Evidence("edge", "", BEGAN - 15 * MINUTE, "checkout depend on it"),
                Evidence("pattern", CHANGE.id, CHANGE.at, f"new warn line: {LEAK.text}"),
                Evidence("anomaly", ANOMALIES[0].id, BEGAN, "free-connections below normal: 1.19, expected 39.7"),
                Evidence("anomaly", ANOMALIES[1].id, BEGAN, "latency above normal: 1.2e+06, expected 1.3e+05"),
            ),
        ),
        Cause(
            (("service.name", "checkout"),),
            0.15,
            (Evidence("edge", "", BEGAN + 10 * MINUTE, "itself depends on payment"),),
        ),
        Cause((("service.name", "orders-db"),), 0.07, ()),
    ),
    recommendations=(CARD, OTHER_CARD),
    anomalies={anomaly.id: anomaly for anomaly in ANOMALIES},
    pattern_changes={CHANGE.id: CHANGE},
    heads_ups={AHEAD.id: AHEAD},
)
OVER = Incident(
    id=stable_id("incident", "over"), state="resolved", revision=4, opened=NOON + HOUR, updated=NOON + 3 * HOUR,
    start=NOON + HOUR, end=NOON + 2 * HOUR, severity=41.0, title="search: latency above normal: 910, expected 120", owner="",
    entities=(("service.name", "search"),), causes=(Cause((("service.name", "search"),), 1.0, ()),),
    resolved=NOON + 2 * HOUR + 15 * MINUTE,
)  # fmt: skip
MERGED = dataclasses.replace(
    OVER, id=stable_id("incident", "merged"), merged_into=OPEN.id, title="checkout: errors above normal"
)
NASTY = Incident(
    id=stable_id("incident", "hostile"), state="open", revision=1, opened=NOON + 2 * HOUR, updated=NOON + 3 * HOUR,
    start=NOON + 2 * HOUR, end=NOON + 3 * HOUR, severity=20.0, title=HOSTILE, owner=HOSTILE,
    entities=tuple((f"{HOSTILE}{n}", HOSTILE + "w" * 5_000) for n in range(100)),
    causes=(Cause(((HOSTILE, HOSTILE),), 0.9, tuple(Evidence(HOSTILE, HOSTILE, NOON, HOSTILE) for _ in range(100))),),
    recommendations=(
        Recommendation(
            HOSTILE, HOSTILE, 1.0, (HOSTILE,), HOSTILE, HOSTILE, (HOSTILE, "`" * 5_000), (Fix(HOSTILE, HOSTILE),),
            (f"javascript:{SCRIPT}", HOSTILE, "https://example.com/\"onmouseover=\"window.owned=1", "http://[bad"),
        ),
    ),
    anomalies={ANOMALIES[2].id: ANOMALIES[2]},
    pattern_changes={
        str(n): PatternChange(
            str(n), key("shop-logs", HOSTILE, (PATTERN_FIELD, str(n))), str(n), HOSTILE, HOSTILE + "x" * 100_000,
            HOSTILE + "y" * 100_000, NOON + 2 * HOUR, NOON + 3 * HOUR, 1.0,
        )
        for n in range(20)
    },
    heads_ups={"h": dataclasses.replace(AHEAD, id="h", key=SeriesKey(HOSTILE), unit=HOSTILE)},
)  # fmt: skip
INCIDENTS = (OPEN, OVER, MERGED)


def publication(*incidents: Incident) -> Publication:
    """The scene with these incidents."""
    return Publication(
        scores=(BLOCK,),
        anomalies=tuple((NOW, anomaly) for anomaly in ANOMALIES),
        series=tuple(_records()),
        incidents=tuple((incident.updated, incident) for incident in incidents),
        patterns=tuple((NOW, pattern) for pattern in (POOL, LEAK)),
    )


def fill(store: Store, *incidents: Incident) -> None:
    """Publishes the scene into an empty store."""
    store.publish(publication(*(incidents or INCIDENTS)))
    store.commit_head(json.dumps({"now": NOW}).encode(), None)
    store.refresh()
