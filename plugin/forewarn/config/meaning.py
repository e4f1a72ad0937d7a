"""What the settings mean together: sections into the configuration of the program, impossible combinations refused.

Owns: Config and its parts, and `config_of`. Single values were checked when they were read; here are the rules that need
more than one of them.
"""

import math
from dataclasses import asdict, dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal, cast

from forewarn.config.durations import format_duration, parse_duration
from forewarn.config.kinds import Place
from forewarn.config.sections import (
    CalendarsSection,
    DatasourceSection,
    DetectorSection,
    ElasticsearchSection,
    StoreSection,
    TargetSection,
    TopSection,
)
from forewarn.config.units import Quantity, convert, kind_of
from forewarn.config.values import STORE
from forewarn.connection import ElasticSettings
from forewarn.detector import DAY, Detector, Direction, MinDeviation, Selection, Threshold

WITHOUT_FIELD: Final = frozenset({"count", "rate", "ratio"})
ROUND_BUCKETS: Final = (
    "1s", "2s", "5s", "10s", "15s", "20s", "30s", "1m", "2m", "3m", "5m", "6m", "10m", "12m", "15m", "20m", "30m",
    "1h", "2h", "3h", "4h", "6h", "8h", "12h", "1d",
)  # fmt: skip
"""Buckets to suggest instead of one that does not divide a day."""
_SQLITE: Final = "sqlite:///"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where results and state live: the cluster of the configuration, or the SQLite file `path`."""

    kind: Literal["elasticsearch", "sqlite"]
    path: str | None
    prefix: str
    partition: str
    """month or day"""
    retention: int | None
    """Milliseconds that dated results are kept; None = for good."""


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """One target that is told; `url` and `headers` may hold secrets and are not in the repr. `timeout` is in ms."""

    name: str
    type: Literal["log", "webhook"]
    url: str | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout: int = 10_000


@dataclass(frozen=True, slots=True)
class DatasourceConfig:
    """Where the datasource listens, who may ask, and how much; durations in ms."""

    host: str
    port: int
    tokens: tuple[str, ...] = field(repr=False)
    users: tuple[tuple[str, str], ...] = field(repr=False)
    max_range: int
    max_points: int
    max_buckets: int
    max_annotations: int
    max_ahead: int
    cache_for: int
    stale_after: int
    public_url: str


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration. Only `cli`, `schedule` and the two `wiring` modules hold it; a room gets its slice."""

    detectors: tuple[Detector, ...]
    elasticsearch: ElasticSettings | None
    store: StoreSettings
    datasource: DatasourceConfig
    notify: tuple[TargetConfig, ...]


def config_of(top: TopSection, base: Path) -> Config:
    """The configuration that the sections describe; ConfigError with the key's path if they contradict each other."""
    root = Place("", base)
    cluster = None if top.elasticsearch is None else _cluster(top.elasticsearch, root.at("elasticsearch"))
    detectors: list[Detector] = []
    for number, section in enumerate(top.detectors):
        place = replace(root.at("detectors").item(number), about=f"detector {section.name}")
        if any(section.name == other.name for other in detectors):
            first = [other.name for other in detectors].index(section.name)
            raise place.at("name").refuse(f"is taken by detectors[{first}]; names are unique")
        if section.index is not None and cluster is None:
            raise place.at("index").refuse("needs the section `elasticsearch`")
        detectors.append(_detector(section, top.calendars, place))
    return Config(
        tuple(detectors),
        cluster,
        _store(top.store, cluster, root.at("store")),
        _datasource(top.datasource, root.at("datasource")),
        tuple(_target(name, section, root.at("notify").at(name)) for name, section in top.notify),
    )


def with_store(config: Config, address: str, base: Path) -> Config:
    """The same configuration with another store: `elasticsearch`, or `sqlite:///path` relative to `base`. For `--store`."""
    place = Place("--store", base)
    section = StoreSection(STORE.read(address, place))
    store = _store(section, config.elasticsearch, place)
    return replace(config, store=replace(config.store, kind=store.kind, path=store.path))


def _cluster(section: ElasticsearchSection, place: Place) -> ElasticSettings:
    if section.api_key is not None and (section.username is not None or section.password is not None):
        raise place.at("api_key").refuse("give either `api_key` or `username` and `password`, not both")
    if (section.username is None) != (section.password is None):
        missing = "password" if section.password is None else "username"
        raise place.at(missing).refuse("`username` and `password` are given together")
    if len(set(section.hosts)) != len(section.hosts):
        raise place.at("hosts").refuse("an address is listed twice")
    if not section.verify_certs and (section.ca_certs or section.fingerprint):
        raise place.at("verify_certs").refuse("is false, so that `ca_certs` and `fingerprint` would have no effect")
    for key in ("ca_certs", "fingerprint"):
        if getattr(section, key) is not None and not any(host.startswith("https:") for host in section.hosts):
            raise place.at(key).refuse("has an effect for https addresses only, and `hosts` has none")
    if section.ca_certs is not None and not Path(section.ca_certs).is_file():
        raise place.at("ca_certs").refuse(f"there is no file {section.ca_certs}")
    fingerprint = section.fingerprint.replace(":", "").lower() if section.fingerprint else None
    return replace(ElasticSettings(**asdict(section)), fingerprint=fingerprint)


def _store(section: StoreSection, cluster: ElasticSettings | None, place: Place) -> StoreSettings:
    if section.at.startswith(_SQLITE):
        if section.prefix != StoreSection.__dataclass_fields__["prefix"].default:
            raise place.at("prefix").refuse("names indices, and a SQLite store has none")
        path = str(place.base / section.at.removeprefix(_SQLITE))
        return StoreSettings("sqlite", path, section.prefix, section.partition, section.retention)
    if cluster is None:
        raise place.refuse(
            "`elasticsearch` needs the section `elasticsearch`; for an embedded store write sqlite:///forewarn.db"
        )
    return StoreSettings("elasticsearch", None, section.prefix, section.partition, section.retention)


def _datasource(section: DatasourceSection, place: Place) -> DatasourceConfig:
    host, port = section.listen
    if not (section.tokens or section.users) and not _loopback(host):
        raise place.at("tokens").refuse(f"needed because {host} can be reached by other machines; or listen on 127.0.0.1")
    values: dict[str, Any] = {name: getattr(section, name) for name in section.__dataclass_fields__ if name != "listen"}
    return DatasourceConfig(host=host, port=port, **values)


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _target(name: str, section: TargetSection, place: Place) -> TargetConfig:
    place = replace(place, about=f"a {section.type}")
    if section.type == "webhook" and section.url is None:
        raise place.at("url").refuse("is required: where to post to")
    for key in ("url", "headers"):
        if section.type == "log" and getattr(section, key):
            raise place.at(key).refuse("is for webhooks only")
    lowered = [header.lower() for header, _ in section.headers]
    for taken in ("content-type", "content-length", "host", "idempotency-key", "transfer-encoding"):
        if taken in lowered:
            raise place.at("headers").at(taken).refuse("is set by Forewarn itself")
    if len(set(lowered)) != len(lowered):
        raise place.at("headers").refuse("a header is given twice; case makes no difference in their names")
    return TargetConfig(name, cast("Literal['log', 'webhook']", section.type), section.url, section.headers, section.timeout)


def _detector(section: DetectorSection, calendars: CalendarsSection, place: Place) -> Detector:
    _check_selection(section, place)
    _check_times(section, place)
    unit = _unit(section, place)
    threshold, distance = section.threshold, section.min_deviation
    limits = Threshold(
        _in_unit(threshold.above, unit, place.at("threshold").at("above")),
        _in_unit(threshold.below, unit, place.at("threshold").at("below")),
    )
    if limits.above is not None and limits.below is not None and limits.above <= limits.below:
        raise place.at("threshold").refuse(f"`above` must be more than `below`, got {limits.above:g} and {limits.below:g}")
    absolute = _in_unit(distance.absolute, unit, place.at("min_deviation").at("absolute"))
    if absolute is not None and absolute < 0:
        raise place.at("min_deviation").at("absolute").refuse(f"expected 0 or more, got {distance.absolute}")
    return Detector(
        name=section.name,
        selection=Selection(section.index, section.path, section.query, section.time_field),
        function=section.function,
        field=section.field,
        of=section.of,
        split_by=section.split_by,
        step=section.bucket,
        delay=section.query_delay,
        timezone=section.timezone,
        direction=cast("Direction", section.direction),
        min_deviation=MinDeviation(absolute or 0.0, distance.relative),
        threshold=limits,
        unit=unit,
        owner=section.owner,
        holidays=calendars.holidays if section.holidays is None else section.holidays,
        engine=section.engine,
        fit_every=section.fit_every,
        fit_window=section.fit_window,
        fits_per_tick=section.fits_per_tick,
        warm_up=section.warm_up,
        retire_after=section.retire_after,
    )


def _check_selection(section: DetectorSection, place: Place) -> None:
    if section.index is not None and section.path is not None:
        raise place.at("path").refuse("give either `index` or `path`, not both")
    if section.index is None and section.path is None:
        raise place.at("index").refuse("is required, or `path` for files")
    if section.function in WITHOUT_FIELD and section.field is not None:
        why = "give `of` instead" if section.function == "ratio" else "for what a field holds use sum, avg, ..."
        raise place.at("field").refuse(f"{section.function} counts documents and takes no field; {why}")
    if section.function not in WITHOUT_FIELD and section.field is None:
        raise place.at("field").refuse(f"is required: the field that {section.function} is computed of")
    if section.function == "ratio" and section.of is None:
        raise place.at("of").refuse("is required for ratio: the documents whose share is computed")
    if section.function != "ratio" and section.of is not None:
        raise place.at("of").refuse(f"is for ratio only, and the function is {section.function}")
    repeated = [name for number, name in enumerate(section.split_by) if name in section.split_by[:number]]
    if repeated:
        raise place.at("split_by").refuse(f"{repeated[0]} is listed twice")


def _check_times(section: DetectorSection, place: Place) -> None:
    if not _fits_a_day(section.bucket):
        close = min(map(parse_duration, ROUND_BUCKETS), key=lambda known: abs(math.log(known / section.bucket)))
        raise place.at("bucket").refuse(
            "expected a bucket that divides a day evenly, as does the multiple of it nearest to 15 minutes "
            f"(such as {format_duration(close)}), got {format_duration(section.bucket)}"
        )
    if section.fit_every % section.bucket or section.fit_every < section.bucket:
        every, bucket = format_duration(section.fit_every), format_duration(section.bucket)
        raise place.at("fit_every").refuse(f"expected a multiple of the bucket, {bucket}, got {every}")
    if section.fit_window < section.fit_every:
        every, window = format_duration(section.fit_every), format_duration(section.fit_window)
        raise place.at("fit_window").refuse(f"expected at least `fit_every`, {every}, got {window}")
    if section.retire_after < section.bucket:
        after, bucket = format_duration(section.retire_after), format_duration(section.bucket)
        raise place.at("retire_after").refuse(f"expected at least one bucket, {bucket}, got {after}")


def _fits_a_day(bucket: int) -> bool:
    coarse = Detector("", Selection(), "count", step=bucket).coarse_step
    return bucket % 1000 == 0 and DAY % bucket == 0 and DAY % coarse == 0


def _unit(section: DetectorSection, place: Place) -> str:
    if section.function != "ratio":
        return section.unit
    if section.unit and (kind_of(section.unit) != "share" or convert(Quantity(1.0, section.unit), "ratio") != 1.0):
        raise place.at("unit").refuse(f"a ratio is a number from 0 to 1; expected ratio or nothing, got {section.unit!r}")
    return section.unit or "ratio"


def _in_unit(quantity: Quantity | None, unit: str, place: Place) -> float | None:
    if quantity is None:
        return None
    try:
        return convert(quantity, unit)
    except ValueError as error:
        raise place.refuse(str(error)) from None
