"""The series that the store knows, and which of them a selection means.

Owns: Catalogue, entity fields and their values. Remembers the listing for a moment, since every panel asks for it; must not
hold anything else between requests.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from forewarn.errors import RequestError
from forewarn.ports import ResultReader
from forewarn.results import SeriesRecord
from forewarn.series import SeriesKey
from forewarn_datasource.parameters import shown
from forewarn_datasource.queries import EVERYTHING, Selection, unescape

DETECTOR: Final = "detector"
LISTED: Final = 10_000


class UnknownName(RequestError):
    """A series or detector that the store does not know (HTTP 404)."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The series known at one moment, ordered by (detector, entity)."""

    at: int
    records: tuple[SeriesRecord, ...]
    by_id: dict[str, SeriesRecord]


class Catalogue:
    """Finds series by id or printed name, and filters them."""

    def __init__(self, reader: ResultReader, clock: Callable[[], int], cache_for: int) -> None:
        self._reader = reader
        self._clock = clock
        self._cache_for = cache_for
        self._listing: Listing | None = None

    def listing(self) -> Listing:
        """All series, at most LISTED of them, as of no longer than `cache_for` ms ago."""
        now, known = self._clock(), self._listing
        if known is None or not known.at <= now < known.at + self._cache_for:
            records = tuple(self._reader.series(limit=LISTED))
            known = Listing(now, records, {record.key.id: record for record in records})
            self._listing = known  # one assignment: threads that meet here read the listing twice, and that is all
        return known

    def choose(self, chosen: Selection, field: str = "series") -> tuple[SeriesRecord, ...]:
        """The series of a selection: those named, in that order, or all that the listing has; then detectors and filters.

        Raises UnknownName for a series or detector that does not exist.
        """
        listing = self.listing()
        if chosen.series is None or EVERYTHING & set(chosen.series):
            records: Iterable[SeriesRecord] = listing.records
        else:
            records = {found.key: found for found in (self._find(name, listing, field) for name in chosen.series)}.values()
        if chosen.detectors is not None:
            known = {record.key.detector for record in listing.records} | {record.key.detector for record in records}
            if missing := [name for name in chosen.detectors if name not in known]:
                raise UnknownName("detector", f"no series of a detector {shown(missing[0])} is known")
            records = [record for record in records if record.key.detector in chosen.detectors]
        return tuple(record for record in records if all(f.accepts(value_of(record.key, f.key)) for f in chosen.filters))

    def known(self, series_id: str) -> SeriesRecord | None:
        """One series by its id, None if the store has none."""
        return self.listing().by_id.get(series_id) or self._reader.find(series_id)

    def narrowed(self, chosen: Selection) -> bool:
        """Whether the selection leaves out any series; if not, the store can be asked without their ids."""
        named = chosen.series is not None and not EVERYTHING & set(chosen.series)
        return named or chosen.detectors is not None or bool(chosen.filters)

    def _find(self, name: str, listing: Listing, field: str) -> SeriesRecord:
        for candidate in dict.fromkeys((name, unescape(name))):
            for series_id in (candidate, _id_of_printed(candidate)):
                record = listing.by_id.get(series_id) or (self._reader.find(series_id) if series_id else None)
                if record is not None:
                    return record
        raise UnknownName(field, f"no series {shown(name)} is known; give an id that the variable `series` lists")


def _id_of_printed(name: str) -> str:
    try:
        return SeriesKey.parse(name).id
    except ValueError:
        return ""


def value_of(key: SeriesKey, field: str) -> str:
    """The value of an entity field, "" where the series has none; `detector` is the detector's name."""
    return next((value for name, value in key.entity if name == field), key.detector if field == DETECTOR else "")


def fields(records: Sequence[SeriesRecord]) -> list[str]:
    """The names that filters and variables can use: `detector` and every entity field, sorted."""
    return [DETECTOR, *sorted({name for record in records for name, _ in record.key.entity} - {DETECTOR})]


def values(records: Sequence[SeriesRecord], field: str) -> list[str]:
    """The values of a field over these series, sorted; series without it are left out."""
    return sorted({value for record in records if (value := value_of(record.key, field))})
