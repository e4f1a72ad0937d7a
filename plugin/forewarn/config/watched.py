"""What is watched: items of `detectors:` and of `logs:` into nouns, impossible combinations refused.

Owns: LogConfig, detector_of, log_of, ROUND_BUCKETS.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, cast

from forewarn.config.durations import format_duration, parse_duration
from forewarn.config.kinds import Place
from forewarn.config.sections import CalendarsSection, DetectorSection, LogSection, WatchedSection
from forewarn.config.units import Quantity, convert, kind_of
from forewarn.detector import (
    DAY,
    FOR_COUNTERS,
    GOOD_WHEN_FEW,
    HOUR,
    Detector,
    Direction,
    Flatline,
    Maintenance,
    MinDeviation,
    Selection,
    Silence,
    Threshold,
)
from forewarn.pattern import PATTERN_FIELD, LogStream

WITHOUT_FIELD: Final = frozenset({"count", "rate", "ratio"})

ROUND_BUCKETS: Final = (
    "1s", "2s", "5s", "10s", "15s", "20s", "30s", "1m", "2m", "3m", "5m", "6m", "10m", "12m", "15m", "20m", "30m",
    "1h", "2h", "3h", "4h", "6h", "8h", "12h", "1d",
)  # fmt: skip
"""Buckets to suggest instead of one that does not divide a day."""


SLOW_ENGINE: Final = "stan"
"""The engine whose fits take half a second each."""
FEWEST_LINES: Final = 5.0
"""Lines of one pattern in a bucket, more or fewer than expected, below which nobody would care."""


@dataclass(frozen=True, slots=True)
class LogConfig:
    """One log stream, and the detector of its patterns' counts: split by the stream's fields and then by pattern."""

    stream: LogStream
    detector: Detector


def detector_of(section: DetectorSection, calendars: CalendarsSection, place: Place) -> Detector:
    """The detector that an item of `detectors:` describes."""
    _check_place(section, place)
    _check_function(section, place)
    unit = _unit(section, place)
    threshold = section.threshold
    limits = Threshold(
        _in_unit(threshold.above, unit, place.at("threshold").at("above")),
        _in_unit(threshold.below, unit, place.at("threshold").at("below")),
    )
    if limits.above is not None and limits.below is not None and limits.above <= limits.below:
        raise place.at("threshold").refuse(f"`above` must be more than `below`, got {limits.above:g} and {limits.below:g}")
    return Detector(
        function=section.function,
        field=section.field,
        counter=section.counter,
        revise_within=section.revise_within,
        of=section.of,
        min_count=section.min_count,
        split_by=section.split_by,
        threshold=limits,
        unit=unit,
        **_watched(section, calendars, unit, place),
    )


def log_of(section: LogSection, calendars: CalendarsSection, place: Place) -> LogConfig:
    """The log stream that an item of `logs:` describes, with its detector."""
    _check_place(section, place)
    if PATTERN_FIELD in section.split_by:
        raise place.at("split_by").refuse(f"{PATTERN_FIELD} is what Forewarn itself adds; lines are split by other fields")
    watched = _watched(section, calendars, "", place)
    if watched["min_deviation"] == MinDeviation():
        watched["min_deviation"] = MinDeviation(absolute=FEWEST_LINES)
    detector = Detector(function="count", split_by=(*section.split_by, PATTERN_FIELD), **watched)
    stream = LogStream(section.name, detector.selection, section.message, section.split_by, section.level, section.redact)
    return LogConfig(stream, detector)


def _watched(section: WatchedSection, calendars: CalendarsSection, unit: str, place: Place) -> dict[str, Any]:
    """What a detector has in common with any other, whatever it watches."""
    _check_times(section, place)
    absolute = _in_unit(section.min_deviation.absolute, unit, place.at("min_deviation").at("absolute"))
    if absolute is not None and absolute < 0:
        why = f"expected 0 or more, got {section.min_deviation.absolute}"
        raise place.at("min_deviation").at("absolute").refuse(why)
    return {
        "name": section.name,
        "selection": Selection(section.index, section.path, section.query, section.time_field),
        "step": section.bucket,
        "delay": section.query_delay,
        "timezone": section.timezone,
        "direction": cast("Direction", section.direction),
        "min_deviation": MinDeviation(absolute or 0.0, section.min_deviation.relative),
        "owner": section.owner,
        "holidays": calendars.holidays if section.holidays is None else section.holidays,
        "engine": section.engine,
        "seasonality": section.seasonality,
        "fit_every": _fit_every(section),
        "fit_window": section.fit_window,
        "fits_per_tick": section.fits_per_tick or (120 if section.engine == SLOW_ENGINE else 1000),
        "warm_up": section.warm_up,
        "retire_after": section.retire_after,
        "silence": cast("Silence", section.silence),
        "flatline": cast("Flatline", section.flatline),
        "maintenance": tuple(
            Maintenance(window.start, window.end, window.every)
            for window in calendars.maintenance
            if window.detectors is None or section.name in window.detectors
        ),
        **_sensitivity(section.sensitivity),
    }


def _sensitivity(value: str | float) -> dict[str, Any]:
    return {"sensitivity": value} if isinstance(value, str) else {"incidents_per_week": value}


def _check_place(section: WatchedSection, place: Place) -> None:
    if section.index is not None and section.path is not None:
        raise place.at("path").refuse("give either `index` or `path`, not both")
    if section.index is None and section.path is None:
        raise place.at("index").refuse("is required, or `path` for files")
    repeated = [name for number, name in enumerate(section.split_by) if name in section.split_by[:number]]
    if repeated:
        raise place.at("split_by").refuse(f"{repeated[0]} is listed twice")


def _check_function(section: DetectorSection, place: Place) -> None:
    if section.function in WITHOUT_FIELD and section.field is not None:
        why = "give `of` instead" if section.function == "ratio" else "for what a field holds use sum, avg, ..."
        raise place.at("field").refuse(f"{section.function} counts documents and takes no field; {why}")
    if section.function not in WITHOUT_FIELD and section.field is None:
        raise place.at("field").refuse(f"is required: the field that {section.function} is computed of")
    if section.counter and section.function not in FOR_COUNTERS:
        raise place.at("counter").refuse(
            f"is for {', '.join(FOR_COUNTERS)} of a counter, and the function is {section.function}"
        )
    if section.min_count > 1 and section.function in GOOD_WHEN_FEW:
        raise place.at("min_count").refuse(f"{section.function} is as good over few documents as over many")
    if section.function == "ratio" and section.of is None:
        raise place.at("of").refuse("is required for ratio: the documents whose share is computed")
    if section.function != "ratio" and section.of is not None:
        raise place.at("of").refuse(f"is for ratio only, and the function is {section.function}")


def _check_times(section: WatchedSection, place: Place) -> None:
    if not _fits_a_day(section.bucket):
        close = min(map(parse_duration, ROUND_BUCKETS), key=lambda known: abs(math.log(known / section.bucket)))
        raise place.at("bucket").refuse(
            "expected a bucket that divides a day evenly, as does the multiple of it nearest to 15 minutes "
            f"(such as {format_duration(close)}), got {format_duration(section.bucket)}"
        )
    fit_every = _fit_every(section)
    if fit_every % section.bucket or fit_every < section.bucket:
        every, bucket = format_duration(fit_every), format_duration(section.bucket)
        raise place.at("fit_every").refuse(f"expected a multiple of the bucket, {bucket}, got {every}")
    if section.fit_window < fit_every:
        every, window = format_duration(fit_every), format_duration(section.fit_window)
        raise place.at("fit_window").refuse(f"expected at least `fit_every`, {every}, got {window}")
    if section.retire_after < section.bucket:
        after, bucket = format_duration(section.retire_after), format_duration(section.bucket)
        raise place.at("retire_after").refuse(f"expected at least one bucket, {bucket}, got {after}")


def _fit_every(section: WatchedSection) -> int:
    """As configured, or what the engine can bear: at least that, in whole buckets."""
    if section.fit_every is not None:
        return section.fit_every
    least = DAY if section.engine == SLOW_ENGINE else 4 * HOUR
    return -(-least // section.bucket) * section.bucket


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
