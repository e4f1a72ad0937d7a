"""Quantities with units (`2s`, `1.5 GiB`, `90%`), converted to the unit that a series is measured in.

Owns: Quantity, parse_quantity, convert and the tables of units. Units that no table holds are labels: they convert to
themselves only.
"""

import math
import re
from dataclasses import dataclass
from typing import Final

TABLES: Final = {
    "time": {
        "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0,
        "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0,
    },
    "size": {
        "B": 1.0, "bytes": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15,
        "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40, "PiB": 2.0**50,
    },
    "share": {"%": 0.01, "percent": 0.01, "ratio": 1.0, "percentunit": 1.0},
}  # fmt: skip
"""Kinds of units and how much of the kind's base one of each is."""

_QUANTITY: Final = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\s\d.,+-]\S*)?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and the unit it was written with; "" = no unit, which means the unit of the series."""

    number: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.number:g}{self.unit}"


def parse_quantity(text: str) -> Quantity:
    """The number and the unit of text such as `2s`, `1.5 GiB`, `90%`, `-3`; ValueError if it does not start with a number."""
    match = _QUANTITY.fullmatch(text)
    if match is None or not math.isfinite(float(match.group(1))):
        raise ValueError(f"{text!r} is not a number, with or without a unit")
    return Quantity(float(match.group(1)), match.group(2) or "")


def kind_of(unit: str) -> str:
    """The table a unit is in: time, size or share; "" if it is a label (or none)."""
    return next((kind for kind, table in TABLES.items() if unit in table), "")


def convert(quantity: Quantity, unit: str) -> float:
    """The number of the quantity in `unit`: 2s in us is 2000000.0. ValueError if it cannot be told in that unit."""
    if quantity.unit in ("", unit):
        return quantity.number
    kind = kind_of(quantity.unit)
    if not unit:
        raise ValueError(f"{quantity} has a unit, but the detector's own `unit` is not set")
    if not kind or kind != kind_of(unit):
        raise ValueError(f"{quantity} cannot be converted to the detector's unit, {unit}")
    # Rounded to 15 digits, so that 2s in us is 2000000 and not 2000000.0000000002.
    return float(f"{quantity.number * TABLES[kind][quantity.unit] / TABLES[kind][unit]:.15g}")
