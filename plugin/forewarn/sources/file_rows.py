"""The values that a detector counts, in memory: one read is a look at those of its range.

Owns: Plan, Rows, RowStore. Every answer is the one that a pass over the files would give, to the last bit, because the same
statements make it; where that is not sure, there is no answer, and the files have to be read. Holds `room` bytes.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import duckdb
import numpy as np
from numpy.typing import NDArray

from forewarn.detector import Detector
from forewarn.errors import SourceError
from forewarn.series import TimeGrid
from forewarn.sources.assembly import Assembly, Raw
from forewarn.sources.demands import needs_number
from forewarn.sources.file_buckets import Columns, Values, values_in_buckets
from forewarn.sources.file_parts import Part, Parts, Unsettled
from forewarn.sources.file_sheets import Sheet, Sheets
from forewarn.sources.file_shelf import Shelf
from forewarn.sources.file_statement import Describe, SettingRefused, aggregate_of, fields_asked, rows_of

_BATCH: Final = 32 << 20
"""Bytes of files that are parsed at once."""
_MOST_PLANS: Final = 512
_MOST_NAMES: Final = 500_000
"""Different entities, or different values of a field that are told apart, for which there is no answer."""

Times = NDArray[np.int64]


class _Numbers(dict[Any, int]):
    """Gives everything that is asked for the next number."""

    def __missing__(self, key: Any) -> int:
        number = self[key] = len(self)
        return number


@dataclass(eq=False, slots=True)
class Plan:
    """What a detector counts, whatever it makes of it: detectors of one plan share their rows."""

    fields: tuple[str, ...]
    """All fields that it looks at, the time first."""
    entities: _Numbers = field(default_factory=_Numbers)
    values: _Numbers = field(default_factory=_Numbers)
    started: bool = False
    """Whether it has been read."""

    @property
    def time_field(self) -> str:
        """The field that tells the time."""
        return self.fields[0]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The values of one part in order of time."""

    times: Times
    columns: Columns
    wrong: Times
    """When something that should be a number is none."""

    @property
    def size(self) -> int:
        """Bytes, more or less."""
        return 500 + self.times.nbytes + self.wrong.nbytes + sum(column.nbytes for column in self.columns.values())


class RowStore:
    """The rows of parts of files for many detectors. Not for several threads at once."""

    def __init__(self, database: duckdb.DuckDBPyConnection, room: int) -> None:
        self._database = database
        self._room = room
        self._parts = Parts()
        self._sheets = Sheets(database, self._parts, room // 4)
        self._rows: Shelf[tuple[Part, Plan], Rows] = Shelf(room // 4 * 3)
        self._plans: OrderedDict[object, Plan] = OrderedDict()
        self._seen: OrderedDict[str, list[Part]] = OrderedDict()

    @property
    def used(self) -> int:
        """Bytes of rows and tables, more or less."""
        return self._rows.used + self._sheets.used

    def read(self, detector: Detector, grid: TimeGrid, files: Sequence[str], types: Describe, assembly: Assembly) -> bool:
        """Puts the values of the grid's buckets into the assembly; False, and nothing put, if the files have to be read."""
        try:
            plan = self._plan_of(detector)
            found = self._inside(detector, plan, self._parts_of(detector, files), grid, types)
            if found is None or len(plan.entities) > _MOST_NAMES or len(plan.values) > _MOST_NAMES:
                return False
            columns = _cut_out(found, grid)
            if columns is not None and len(columns["bucket"]):
                self._aggregate(detector, plan, grid, columns, assembly)
        except (Unsettled, SettingRefused, SourceError, OSError, duckdb.Error):  # who goes through the files says what is wrong
            return False
        return columns is not None

    def _plan_of(self, detector: Detector) -> Plan:
        kind = (detector.field, needs_number(detector), detector.function == "ratio")
        selection = detector.selection
        key = (selection.time_field, repr(selection.query), repr(detector.of), detector.split_by, *kind)
        plan = self._plans.get(key)
        if plan is None:
            fields = fields_asked(detector)
            rows_of(detector, "documents", dict.fromkeys(fields, "f"), [])  # refuses what no statement can be made of
            plan = self._plans[key] = Plan(fields)
            if len(self._plans) > _MOST_PLANS:
                _, old = self._plans.popitem(last=False)
                self._rows.drop([held for held in self._rows.keys() if held[1] is old])  # noqa: SIM118  a method of Shelf
        self._plans.move_to_end(key)
        return plan

    def _parts_of(self, detector: Detector, files: Sequence[str]) -> list[Part]:
        """The parts that there are now; the rows of those that there were are let go."""
        path = detector.selection.path or ""
        parts = self._parts.of(files)
        before = self._seen.get(path)
        if before is not None and before != parts:
            self._rows.drop([(part, plan) for part in {*before} - {*parts} for plan in self._plans.values()])
        self._seen[path] = parts
        self._seen.move_to_end(path)
        if len(self._seen) > _MOST_PLANS:
            self._seen.popitem(last=False)
        return parts

    def _inside(
        self, detector: Detector, plan: Plan, parts: Sequence[Part], grid: TimeGrid, types: Describe
    ) -> list[Rows] | None:
        """The rows of the parts with documents on the grid; None if something cannot be read, or is too much to keep."""
        if any(part.size > self._room for part in parts):
            return None
        made: dict[Part, Rows] = {}

        def keep(sheet: Sheet) -> None:
            made.update((part, rows) for part, rows in self._reduce(detector, plan, sheet).items() if _is_on(grid, part, plan))

        for batch in _batches([part for part in parts if plan.time_field not in part.facts]):
            keep(self._sheets.load(batch, plan.fields, types))
        if any(part.facts[plan.time_field].faulty for part in parts):
            return None
        inside = [part for part in parts if _is_on(grid, part, plan)]
        # The first read of a plan reduces all parts while their documents are at hand; later ones just what they need.
        made |= {part: rows for part in inside if (rows := self._rows.get((part, plan))) is not None}
        wanted = inside if plan.started else parts
        plan.started = True
        absent = [part for part in wanted if part not in made and self._rows.get((part, plan)) is None]
        done: set[Part] = set()
        for part in absent:
            if part not in done and (sheet := self._sheets.find(part, plan.fields)) is not None:
                keep(sheet)
                done |= sheet.numbers.keys()
        for batch in _batches([part for part in absent if part not in done]):
            keep(self._sheets.load(batch, plan.fields, types))
        found = [made[part] for part in inside]
        return found if sum(rows.size for rows in found) <= self._room else None

    def _reduce(self, detector: Detector, plan: Plan, sheet: Sheet) -> dict[Part, Rows]:
        """The rows of all parts of a table that are not there yet."""
        parts = {number: part for part, number in sheet.numbers.items() if self._rows.get((part, plan)) is None}
        statement = rows_of(detector, sheet.name, sheet.columns, list(parts))
        with self._database.cursor() as connection:
            columns = connection.execute(statement.sql, statement.parameters).fetchnumpy()
        found = dict(zip(parts.values(), _rows_by_part(list(parts), columns, plan, len(detector.split_by)), strict=True))
        for part, rows in found.items():
            self._rows.put((part, plan), rows, rows.size)
        return found

    def _aggregate(self, detector: Detector, plan: Plan, grid: TimeGrid, columns: Columns, assembly: Assembly) -> None:
        entities, buckets, values = values_in_buckets(detector, grid, columns) or self._stated(detector, grid, columns)
        names: list[Raw] = list(plan.entities)
        assembly.put(map(names.__getitem__, entities.tolist()), (grid.start + grid.step * buckets).tolist(), values)

    def _stated(self, detector: Detector, grid: TimeGrid, columns: Columns) -> Values:
        with self._database.cursor() as connection:
            connection.register("rows_inside", columns)
            found = connection.execute(aggregate_of(detector, grid, "rows_inside").sql).fetchnumpy()
            connection.unregister("rows_inside")
        values = np.ma.filled(found["value"].astype(np.float64), np.nan)
        return np.ma.getdata(found["entity"]), np.ma.getdata(found["bucket"]), values


def _is_on(grid: TimeGrid, part: Part, plan: Plan) -> bool:
    facts = part.facts[plan.time_field]
    return facts.first < grid.end and facts.last >= grid.start


def _batches(parts: Sequence[Part]) -> Iterator[list[Part]]:
    batch: list[Part] = []
    for part in parts:
        if batch and sum(each.size for each in batch) + part.size > _BATCH:
            yield batch
            batch = []
        batch.append(part)
    if batch:
        yield batch


def _rows_by_part(numbers: Sequence[int], found: Mapping[str, Any], plan: Plan, fields: int) -> Iterator[Rows]:
    """The rows of each of the numbered parts."""
    part, times = np.ma.getdata(found["part"]), np.ma.getdata(found["t"])
    order = np.lexsort((times, part))
    part, times, wrong = part[order], times[order], np.ma.getdata(found["wrong"])[order]
    columns: Columns = {"entity": np.zeros(len(order), dtype=np.int32)}
    if fields:
        split = [np.ma.getdata(found[f"s{number}"]).tolist() for number in range(fields)]
        columns["entity"] = np.fromiter(map(plan.entities.__getitem__, zip(*split, strict=True)), np.int32, len(order))[order]
    elif len(order):
        columns["entity"][:] = plan.entities[()]
    if "v" in found:
        coded = (-1 if value is None else plan.values[value] for value in found["v"].tolist())
        columns["v"] = np.fromiter(coded, np.int32, len(order))[order]
    columns |= {name: np.ma.getdata(found[name])[order] for name in ("n", "hit") if name in found}
    for number in numbers:
        inside = slice(*np.searchsorted(part, [number, number + 1]))
        # Copies: a view would keep the rows of all the other parts.
        yield Rows(
            times[inside].copy(),
            {name: column[inside].copy() for name, column in columns.items()},
            times[inside][wrong[inside]],
        )


def _cut_out(found: Sequence[Rows], grid: TimeGrid) -> Columns | None:
    """The columns of all rows on the grid, with their `bucket`; None if there is something wrong among them."""
    times, columns = [], []
    for rows in found:
        if any(grid.start <= time < grid.end for time in rows.wrong.tolist()):
            return None
        inside = slice(*np.searchsorted(rows.times, [grid.start, grid.end]))
        times.append(rows.times[inside])
        columns.append({name: column[inside] for name, column in rows.columns.items()})
    if not times:
        return {"bucket": np.zeros(0, dtype=np.int64)}
    joined = {name: np.concatenate([each[name] for each in columns]) for name in columns[0]}
    return joined | {"bucket": (np.concatenate(times) - grid.start) // grid.step}
