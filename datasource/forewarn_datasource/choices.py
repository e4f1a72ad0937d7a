"""What a variable of a dashboard can be set to.

Owns: Choice and the targets of a variable query. Pure functions of the listing.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from forewarn.errors import RequestError
from forewarn.results import SeriesRecord
from forewarn_datasource.catalogue import DETECTOR, fields, values
from forewarn_datasource.parameters import no_macro
from forewarn_datasource.queries import BANDS, unescape

TARGETS: Final = ("series", "detectors", "severities", "fields")


class Choice(NamedTuple):
    """What is shown and what is sent. Texts are unique: Grafana merges options with equal ones."""

    text: str
    value: str


def choices(target: str, records: Sequence[SeriesRecord], field: str) -> list[Choice]:
    """The options of one of TARGETS, or the values of an entity field (`entity:service.name`).

    `field` is the parameter that a refusal names.
    """
    wanted = unescape(no_macro(target, field).strip())
    if wanted == "series":
        return [Choice(str(record.key), record.key.id) for record in records]
    if wanted == "detectors":
        return [Choice(name, name) for name in values(records, DETECTOR)]
    if wanted == "severities":
        return [Choice(band, band) for band in BANDS]
    if wanted == "fields":
        return [Choice(name, name) for name in fields(records)]
    kind, _, name = wanted.partition(":")
    if kind == "entity" and name:
        return [Choice(value, value) for value in values(records, name)]
    raise RequestError(field, f"expected one of {', '.join(TARGETS)} or entity:<field>, got {target[:80]!r}")
