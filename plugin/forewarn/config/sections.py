"""The settings: every one declared once, with its type, its default and its help.

Owns: the sections of the file. What settings mean together is decided in `meaning.py`. Defaults of a detector and of the
connection are those of their nouns.
"""

# ruff: noqa: RUF009 - `setting` makes a dataclass field, and the sections given as defaults are frozen

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from forewarn.config.document import FromEnvironment
from forewarn.config.kinds import (
    FILE,
    SECRET,
    SWITCH,
    TEXT,
    Kind,
    Place,
    duration,
    integer,
    list_of,
    map_of,
    nested,
    one_of,
    read_section,
    setting,
)
from forewarn.config.units import Quantity
from forewarn.config.values import (
    BUCKET,
    COUNTRY,
    EXPRESSION,
    FINGERPRINT,
    FUNCTION,
    HEADER,
    HEADER_NAME,
    HOST,
    INDEX,
    LISTEN,
    NAME,
    PREFIX,
    QUANTITY,
    QUERY,
    SENSITIVENESS,
    SHARE,
    STORE,
    TIME,
    TIMEZONE,
    URL,
)
from forewarn.connection import ElasticSettings
from forewarn.detector import DAY, HOUR, MINUTE, Detector, Maintenance, Selection
from forewarn.forecast import SEASONALITY
from forewarn.incident import IncidentSettings
from forewarn.pattern import LogStream

SECOND: Final = 1000
ENGINES: Final = ("auto", "batch", "stan", "seasonal_median", "rolling_median")
_DETECTOR: Final[Mapping[str, Any]] = {field.name: field.default for field in dataclasses.fields(Detector)}
_MAINTENANCE: Final[Mapping[str, Any]] = {field.name: field.default for field in dataclasses.fields(Maintenance)}
_SELECTION: Final[Mapping[str, Any]] = {field.name: field.default for field in dataclasses.fields(Selection)}
_STREAM: Final[Mapping[str, Any]] = {field.name: field.default for field in dataclasses.fields(LogStream)}
_INCIDENTS: Final[Mapping[str, Any]] = {field.name: field.default for field in dataclasses.fields(IncidentSettings)}
_ELASTIC: Final[Mapping[str, Any]] = {field.name: field.default for field in dataclasses.fields(ElasticSettings)}


@dataclass(frozen=True, slots=True)
class ElasticsearchSection:
    """`elasticsearch:` - the cluster that is read, and written when it is the store."""

    hosts: tuple[str, ...] = setting(list_of(HOST, 1), "Nodes of the cluster.")
    api_key: str | None = setting(SECRET, "API key, in its encoded form. Instead of a user name.", _ELASTIC["api_key"])
    username: str | None = setting(TEXT, "User name, together with `password`.", _ELASTIC["username"])
    password: str | None = setting(SECRET, "Password of `username`.", _ELASTIC["password"])
    ca_certs: str | None = setting(FILE, "Certificates of the authority that signed the cluster's.", _ELASTIC["ca_certs"])
    verify_certs: bool = setting(SWITCH, "Whether the cluster's certificate must be valid.", _ELASTIC["verify_certs"])
    fingerprint: str | None = setting(FINGERPRINT, "SHA-256 of the cluster's own certificate.", _ELASTIC["fingerprint"])
    request_timeout: int = setting(
        duration(SECOND, 60 * MINUTE), "How long a request may take before it counts as failed.", _ELASTIC["request_timeout"]
    )


@dataclass(frozen=True, slots=True)
class StoreSection:
    """`store:` - where results and state live."""

    at: str = setting(STORE, "The cluster of `elasticsearch`, or a file (embedded, relative to this file).", "elasticsearch")
    prefix: str = setting(PREFIX, "What the names of the indices begin with.", "forewarn")
    partition: str = setting(one_of("month", "day"), "What one dated index holds. Fixed when the store is created.", "month")
    retention: int | None = setting(duration(DAY), "How long scores and anomalies are kept; none = for good.", None)


@dataclass(frozen=True, slots=True)
class MinDeviationSection:
    """`min_deviation:` - deviations that nobody would care about."""

    absolute: Quantity | None = setting(QUANTITY, "The least distance from the expected value.", None)
    relative: float = setting(SHARE, "The least distance, as a share of the expected value.", 0.0)


@dataclass(frozen=True, slots=True)
class ThresholdSection:
    """`threshold:` - limits that a forecast should not cross."""

    above: Quantity | None = setting(QUANTITY, "The upper limit. Units are converted to `unit`.", None)
    below: Quantity | None = setting(QUANTITY, "The lower limit. Units are converted to `unit`.", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedSection:
    """What items of `detectors:` and of `logs:` have in common."""

    name: str = setting(NAME, "What it is called; unique among detectors and logs.")
    index: str | None = setting(INDEX, "Where the documents are in Elasticsearch. Exactly one of `index` and `path`.", None)
    path: str | None = setting(
        FILE, "Files instead: CSV, NDJSON or Parquet for detectors, NDJSON or plain text for logs; may hold wildcards.", None
    )
    query: str | Mapping[str, Any] | None = setting(QUERY, "Which documents; all, if not given.", None)
    time_field: str = setting(TEXT, "The field with the time of a document.", _SELECTION["time_field"])
    split_by: tuple[str, ...] = setting(
        list_of(TEXT, 0, 3), "Fields that split the documents into series of their own.", _DETECTOR["split_by"]
    )
    bucket: int = setting(BUCKET, "The length of a bucket; divides a day evenly.", _DETECTOR["step"])
    query_delay: int = setting(duration(0, DAY), "How long after its end a bucket is read.", _DETECTOR["delay"])
    timezone: str = setting(TIMEZONE, "Where days and weeks begin for what is measured.", _DETECTOR["timezone"])
    direction: str = setting(one_of("above", "below", "both"), "Which side is anomalous.", _DETECTOR["direction"])
    min_deviation: MinDeviationSection = setting(
        nested(MinDeviationSection), "Smaller deviations are never anomalous.", MinDeviationSection()
    )
    owner: str = setting(TEXT, "Who is concerned.", _DETECTOR["owner"])
    holidays: tuple[str, ...] | None = setting(
        list_of(COUNTRY), "Countries whose public holidays are unlike other days; none = those of `calendars`.", None
    )
    engine: str = setting(
        one_of(*ENGINES), "How forecasts are fitted; `auto` takes the fastest that fits.", _DETECTOR["engine"]
    )
    seasonality: str = setting(
        one_of(*SEASONALITY),
        "Whether the waves of days and weeks add to the level, or grow with it.",
        _DETECTOR["seasonality"],
    )
    fit_every: int | None = setting(
        duration(MINUTE, 28 * DAY), "How often a series is fitted anew; none = 4h, once a day with `engine: stan`.", None
    )
    fit_window: int = setting(duration(DAY, 3650 * DAY), "How much history a fit sees.", _DETECTOR["fit_window"])
    fits_per_tick: int | None = setting(
        integer(1, 1_000_000), "How many series are fitted in one tick at most; none = 1000, with `engine: stan` 120.", None
    )
    warm_up: int = setting(
        duration(0, 3650 * DAY),
        "How much of the past is scored, without telling anybody, on the first start.",
        _DETECTOR["warm_up"],
    )
    retire_after: int = setting(
        duration(MINUTE, 3650 * DAY), "How long a series may be silent before it is retired.", _DETECTOR["retire_after"]
    )
    sensitivity: str | float = setting(
        SENSITIVENESS,
        "How often a series without faults alarms: a third (low) or three times as often (high) as at medium; or a budget of "
        "incidents a week, for all of them together.",
        _DETECTOR["sensitivity"],
    )
    silence: str = setting(
        one_of("auto", "never"),
        "Whether a series that stops is an anomaly; `auto`: if its data came regularly.",
        _DETECTOR["silence"],
    )
    flatline: str = setting(
        one_of("auto", "never"),
        "Whether a series that has the same value again and again is an anomaly; `auto`: if its values usually change.",
        _DETECTOR["flatline"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSection(WatchedSection):
    """One item of `detectors:`; its files are CSV, NDJSON or Parquet."""

    function: str = setting(FUNCTION, "What is computed over the documents of a bucket. `rate` is per second.")
    field: str | None = setting(TEXT, "The field that `function` is computed of; not for count, rate and ratio.", None)
    counter: bool = setting(
        SWITCH, "Whether the field only ever grows, but for resets: then its gain a second is watched.", _DETECTOR["counter"]
    )
    revise_within: int = setting(
        duration(0, DAY),
        "How long after a bucket's end documents of it may come and still be learnt from; 0s = nothing is read twice.",
        _DETECTOR["revise_within"],
    )
    of: str | Mapping[str, Any] | None = setting(QUERY, "For `ratio`: the documents whose share is computed.", None)
    min_count: int = setting(
        integer(1, 1_000_000_000),
        "The fewest values (ratio: documents) of a bucket: one with fewer has no data. Above 1 silence is not watched. Not for "
        "count, rate, sum and cardinality.",
        _DETECTOR["min_count"],
    )
    threshold: ThresholdSection = setting(
        nested(ThresholdSection), "Limits to warn of before they are crossed.", ThresholdSection()
    )
    unit: str = setting(TEXT, "The unit of the values, such as us, ms, B or %.", _DETECTOR["unit"])


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSection(WatchedSection):
    """One item of `logs:`; its files are NDJSON or plain text."""

    RESERVED: ClassVar[Mapping[str, str]] = {"properties": "series of what structured lines hold beside their message"}

    message: str = setting(TEXT, "The field with the text of a line.", _STREAM["message"])
    level: str | None = setting(TEXT, "The field with the level, such as log.level; none = lines have none.", _STREAM["level"])
    redact: tuple[str, ...] = setting(
        list_of(EXPRESSION, 0, 50), "What is cut out of stored example lines, beside passwords, tokens and the like.", ()
    )


@dataclass(frozen=True, slots=True)
class IncidentsSection:
    """`incidents:` - what belongs together."""

    hold: int = setting(duration(0, 7 * DAY), "How long an incident must be quiet before it is resolved.", _INCIDENTS["hold"])
    depends_on: tuple[tuple[str, tuple[str, ...]], ...] = setting(
        map_of(list_of(TEXT), TEXT), "For a service, the services that it calls.", ()
    )
    entity_fields: tuple[tuple[str, tuple[str, ...]], ...] = setting(
        map_of(list_of(TEXT), TEXT), "For a field, other fields that mean the same.", ()
    )


@dataclass(frozen=True, slots=True)
class KnowledgeSection:
    """`knowledge:` - what to do about it."""

    cards: str | None = setting(FILE, "A folder of resolution cards of your own, beside the built-in ones.", None)


@dataclass(frozen=True, slots=True)
class MaintenanceSection:
    """One item of `calendars.maintenance:` - a time in which nothing is learnt and nothing alarms."""

    start: int = setting(TIME, "When the window begins, such as 2026-11-20T02:00Z.")
    end: int = setting(TIME, "When it ends; what still goes on then is told.")
    every: int | None = setting(
        duration(HOUR, 366 * DAY),
        "After how long it comes again, for good, such as 1w; none = it is once. Does not follow summer time.",
        _MAINTENANCE["every"],
    )
    detectors: tuple[str, ...] | None = setting(
        list_of(NAME, 1), "Names of the detectors and logs that it is about; none = all.", None
    )


@dataclass(frozen=True, slots=True)
class CalendarsSection:
    """`calendars:` - days unlike others."""

    RESERVED: ClassVar[Mapping[str, str]] = {
        "events": "recurring events by RRULE",
    }

    holidays: tuple[str, ...] = setting(
        list_of(COUNTRY), "Public holidays of these countries, for every detector without its own.", ()
    )
    maintenance: tuple[MaintenanceSection, ...] = setting(
        list_of(nested(MaintenanceSection)),
        "Windows in which nothing is learnt and nothing alarms; one that is added later masks all fits from then on.",
        (),
    )


@dataclass(frozen=True, slots=True)
class TargetSection:
    """One target under `notify:`."""

    RESERVED: ClassVar[Mapping[str, str]] = {
        "min_severity": "from which severity a target is told",
        "owners": "for which owners",
        "hours": "at which hours",
    }

    type: str = setting(
        one_of("log", "webhook", reserved={"mail": "e-mail", "chat": "chat", "slack": "chat", "alertmanager": "Alertmanager"}),
        "A line in the log, or a POST of JSON.",
    )
    url: str | None = setting(URL, "Where a webhook posts to.", None)
    headers: tuple[tuple[str, str], ...] = setting(map_of(HEADER, HEADER_NAME), "Headers that a webhook adds.", ())
    timeout: int = setting(duration(100, 5 * MINUTE), "How long a webhook may take.", 10 * SECOND)


@dataclass(frozen=True, slots=True)
class DatasourceSection:
    """`datasource:` - what Grafana talks to."""

    listen: tuple[str, int] = setting(LISTEN, "Address and port to listen on; port 0 is any free one.", ("127.0.0.1", 8080))
    tokens: tuple[str, ...] = setting(
        list_of(SECRET), "Bearer tokens. Without tokens and users everybody is let in, on a loopback address only.", ()
    )
    users: tuple[tuple[str, str], ...] = setting(map_of(SECRET, NAME), "Users and their passwords, for basic auth.", ())
    max_range: int = setting(duration(MINUTE, 3650 * DAY), "The longest time range of one request.", 31 * DAY)
    max_points: int = setting(integer(1, 10_000_000), "The most rows that one request is answered with.", 50_000)
    max_buckets: int = setting(integer(1, 100_000_000), "The most stored buckets that one request reads.", 250_000)
    max_annotations: int = setting(integer(1, 10_000), "The most annotations that one request is answered with.", 500)
    max_ahead: int = setting(duration(0, 365 * DAY), "How far beyond the last tick forecasts are given.", 7 * DAY)
    cache_for: int = setting(duration(0, 60 * MINUTE), "How long an answer may be repeated; 0s = never.", 5 * SECOND)
    stale_after: int = setting(
        duration(MINUTE, 7 * DAY),
        "How far the last tick may lie behind before the state for alert rules is refused.",
        60 * MINUTE,
    )
    public_url: str = setting(URL, "Where people reach the datasource, for links.", "")


def _item(cls: type, noun: str) -> Kind:
    """An item of a list, which messages call by its name."""

    def read(value: Any, place: Place) -> Any:
        name = value.get("name") if isinstance(value, dict) else None
        known = isinstance(name, str) and not isinstance(name, FromEnvironment)
        return read_section(cls, value, dataclasses.replace(place, about=f"{noun} {name}") if known else place)

    return Kind("mapping", read, section=cls)


@dataclass(frozen=True, slots=True)
class TopSection:
    """The file."""

    detectors: tuple[DetectorSection, ...] = setting(
        list_of(_item(DetectorSection, "detector")), "What is watched: numbers of documents. Required, or `logs`.", ()
    )
    logs: tuple[LogSection, ...] = setting(list_of(_item(LogSection, "log")), "What is watched: patterns of log lines.", ())
    elasticsearch: ElasticsearchSection | None = setting(
        nested(ElasticsearchSection), "The cluster; needed for `index` and for `store: elasticsearch`.", None
    )
    store: StoreSection = setting(nested(StoreSection, "at"), "Where results and state live.", StoreSection())
    incidents: IncidentsSection = setting(nested(IncidentsSection), "What belongs together.", IncidentsSection())
    knowledge: KnowledgeSection = setting(nested(KnowledgeSection), "What to do about it.", KnowledgeSection())
    calendars: CalendarsSection = setting(nested(CalendarsSection), "Days unlike others.", CalendarsSection())
    notify: tuple[tuple[str, TargetSection], ...] = setting(
        map_of(nested(TargetSection), NAME), "Who is told, by a name for each.", ()
    )
    datasource: DatasourceSection = setting(nested(DatasourceSection), "What Grafana talks to.", DatasourceSection())
