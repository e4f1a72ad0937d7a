"""What the settings mean together: sections into the configuration of the program, impossible combinations refused.

Owns: Config and its parts, and `config_of`. Single values were checked when they were read; here are the rules that need
more than one of them.
"""

from dataclasses import asdict, dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal, cast

from forewarn.config.durations import format_duration
from forewarn.config.kinds import Place, nearest
from forewarn.config.sections import (
    CalendarsSection,
    DatasourceSection,
    ElasticsearchSection,
    IncidentsSection,
    KnowledgeSection,
    StoreSection,
    TargetSection,
    TopSection,
    WatchedSection,
)
from forewarn.config.values import STORE
from forewarn.config.watched import LogConfig, detector_of, log_of
from forewarn.connection import ElasticSettings
from forewarn.detector import Detector
from forewarn.incident import IncidentSettings

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
    logs: tuple[LogConfig, ...] = ()
    incidents: IncidentSettings = field(default_factory=IncidentSettings)
    knowledge: str | None = None
    """The folder of the user's own resolution cards."""


def config_of(top: TopSection, base: Path) -> Config:
    """The configuration that the sections describe; ConfigError with the key's path if they contradict each other."""
    root = Place("", base)
    cluster = None if top.elasticsearch is None else _cluster(top.elasticsearch, root.at("elasticsearch"))
    detectors, logs = _watched(top, cluster, root)
    return Config(
        detectors,
        cluster,
        _store(top.store, cluster, root.at("store")),
        _datasource(top.datasource, root.at("datasource")),
        tuple(_target(name, section, root.at("notify").at(name)) for name, section in top.notify),
        logs,
        _incidents(top.incidents, root.at("incidents")),
        _cards(top.knowledge, root.at("knowledge")),
    )


def _watched(
    top: TopSection, cluster: ElasticSettings | None, root: Place
) -> tuple[tuple[Detector, ...], tuple[LogConfig, ...]]:
    if not (top.detectors or top.logs):
        raise root.at("detectors").refuse("is required: what is watched, here or under `logs`")
    places: dict[str, str] = {}

    def placed(section: WatchedSection, where: str, number: int, noun: str) -> Place:
        place = replace(root.at(where).item(number), about=f"{noun} {section.name}")
        if section.name in places:
            raise place.at("name").refuse(f"is taken by {places[section.name]}; names are unique")
        if section.index is not None and cluster is None:
            raise place.at("index").refuse("needs the section `elasticsearch`")
        places[section.name] = place.path
        return place

    detectors = tuple(
        detector_of(section, top.calendars, placed(section, "detectors", number, "detector"))
        for number, section in enumerate(top.detectors)
    )
    logs = tuple(
        log_of(section, top.calendars, placed(section, "logs", number, "log")) for number, section in enumerate(top.logs)
    )
    _check_maintenance(top.calendars, tuple(places), root.at("calendars").at("maintenance"))
    return detectors, logs


def _check_maintenance(calendars: CalendarsSection, names: tuple[str, ...], place: Place) -> None:
    for number, window in enumerate(calendars.maintenance):
        here = place.item(number)
        if window.end <= window.start:
            raise here.at("end").refuse("expected a time after `start`")
        if window.every is not None and window.every < window.end - window.start:
            length = format_duration(window.end - window.start)
            raise here.at("every").refuse(f"expected at least as long as the window, {length}")
        for at, name in enumerate(window.detectors or ()):
            if name not in names:
                known = nearest(name, names) or f"; expected one of {', '.join(names)}"
                raise here.at("detectors").item(at).refuse(f"there is no detector or log {name}{known}")


def _incidents(section: IncidentsSection, place: Place) -> IncidentSettings:
    edges = tuple((caller, callee) for caller, callees in section.depends_on for callee in callees)
    for caller, callee in edges:
        if caller == callee:
            raise place.at("depends_on").at(caller).refuse("a service does not depend on itself")
    same: dict[str, str] = {}
    canonical = [name for name, _ in section.entity_fields]
    for name, others in section.entity_fields:
        for other in others:
            if other in canonical:
                raise place.at("entity_fields").at(name).refuse(f"{other} has equivalents of its own; list them in one place")
            if same.setdefault(other, name) != name:
                raise place.at("entity_fields").at(name).refuse(f"{other} already means {same[other]}")
    return IncidentSettings(hold=section.hold, depends_on=tuple(dict.fromkeys(edges)), same_as=tuple(same.items()))


def _cards(section: KnowledgeSection, place: Place) -> str | None:
    if section.cards is not None and not Path(section.cards).is_dir():
        raise place.at("cards").refuse(f"there is no folder {section.cards}")
    return section.cards


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
