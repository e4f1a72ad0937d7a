"""The SQL that turns documents in files into the values of a detector's buckets. Builds statements, runs none.

Owns: Statement, `values_of`, `survey_of`, and the same in three steps: `documents_of`, `rows_of`, `aggregate_of`. Documents
go through four stages: their time, the detector's conditions, one row for each value of the split fields, one row for each
value of the field. What cannot be read on the way becomes a fault beside the values, so that one pass over the files finds
both and neither hides the other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from forewarn.detector import Detector
from forewarn.series import TimeGrid
from forewarn.sources.demands import needs_number
from forewarn.sources.file_conditions import Condition, QueryRefused, conditions_of, fields_of
from forewarn.sources.file_filter import Parameters, select, where
from forewarn.sources.file_tables import Table, Types, table_sql
from forewarn.sources.lucene import parse

_MISSING: Final = "('', '-', 'na', 'n/a', 'nan', 'null', 'none')"
"""What stands for no number, in any case of letters."""

# Numbers are seconds up to the year 5138, else milliseconds, microseconds, nanoseconds. A thousandth of a millisecond is
# added before seconds are cut: 1767225600.123 times 1000 lies just below the millisecond that is meant.
_TIME: Final = """CASE WHEN x IS NULL OR x = '' THEN NULL
    WHEN isfinite(try_cast(x AS DOUBLE)) THEN try_cast(floor(CASE
        WHEN abs(try_cast(x AS DOUBLE)) < 1e11 THEN try_cast(x AS DOUBLE) * 1e3 + 1e-3
        WHEN abs(try_cast(x AS DOUBLE)) < 1e14 THEN try_cast(x AS DOUBLE)
        WHEN abs(try_cast(x AS DOUBLE)) < 1e17 THEN try_cast(x AS DOUBLE) / 1e3
        ELSE try_cast(x AS DOUBLE) / 1e6 END) AS BIGINT)
    ELSE epoch_ms(try_cast(x AS TIMESTAMPTZ)) END"""

_NUMBER: Final = f"""CASE WHEN v IS NULL OR lower(trim(v)) IN {_MISSING} THEN NULL
    WHEN lower(v) = 'true' THEN 1 WHEN lower(v) = 'false' THEN 0
    WHEN isfinite(try_cast(v AS DOUBLE)) THEN try_cast(v AS DOUBLE) END"""
_NO_NUMBER: Final = f"lower(trim(v)) NOT IN {_MISSING} AND lower(v) NOT IN ('true', 'false') AND try_cast(v AS DOUBLE) IS NULL"


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL and its parameters."""

    sql: str
    parameters: dict[str, object]


Describe = Callable[[Sequence[str]], Types]


class SettingRefused(ValueError):
    """A query that files cannot be searched by; `setting` is the one that holds it."""

    def __init__(self, setting: str, why: str) -> None:
        self.setting = setting
        super().__init__(why)


def values_of(detector: Detector, grid: TimeGrid, tables: Sequence[Table], types: Describe) -> Statement:
    """Rows (fault, file, sample, documents, entity..., bucket start, value), by entity and bucket or by fault.

    A fault is "line", "time" or "number" with the file and a sample of what could not be read; then the rest is NULL.
    """
    parameters = Parameters()
    rows = _rows(detector, tables, types, parameters, (grid.start, grid.end))
    start, step = parameters.add(grid.start), parameters.add(grid.step)
    keys = [f"CASE WHEN fault IS NULL THEN s{number} END" for number in range(len(detector.split_by))]
    keys.append(f"CASE WHEN fault IS NULL THEN {start} + ((t - {start}) // {step}) * {step} END")
    columns = f"{_FAULT}, count(*) AS documents, {', '.join(keys)}, {_aggregate(detector, grid)} AS value"
    return Statement(select(columns, f"({rows})") + " GROUP BY ALL", parameters.values)


def documents_of(tables: Sequence[Table], fields: Sequence[str], files: Mapping[str, int], types: Describe) -> Statement:
    """Rows (part, fault, t, f0, f1, …) of all documents: the number that `files` has for a document's file, what is wrong with
    it, its time in ms as the first of `fields` tells it, and the values of `fields`, VARCHAR[].
    """
    parameters = Parameters()
    rows = _timed(_documents(tables, fields, types, parameters))
    names, numbers = parameters.add(list(files)), parameters.add(list(files.values()))
    columns = ", ".join(f"f{number}" for number in range(len(fields)))
    part = f"{numbers}[list_position({names}, file)]::INTEGER AS part"
    return Statement(select(f"{part}, fault, t, {columns}", f"({rows})"), parameters.values)


def rows_of(detector: Detector, documents: str, columns: Mapping[str, str], parts: Sequence[int]) -> Statement:
    """Rows (part, t, wrong, s0, …, and n, v or hit as the function needs) of those `parts` of a table of `documents_of`, whose
    `columns` hold the fields: every value that the detector counts, at all times. `wrong`: the value should be a number.
    """
    parameters = Parameters()
    known = select("*, NULL::VARCHAR AS sample", documents, f"list_contains({parameters.add(list(parts))}, part)")
    rows = _selected(detector, known, columns, parameters, "t IS NOT NULL")
    kept = ["part", "t", "fault IS NOT NULL AS wrong", *(f"s{number}" for number in range(len(detector.split_by)))]
    kept += ["hit"] if detector.function == "ratio" else []
    kept += ["coalesce(n, 'nan'::DOUBLE) AS n" if needs_number(detector) else "v"] if detector.field is not None else []
    return Statement(select(", ".join(kept), f"({rows})"), parameters.values)


def aggregate_of(detector: Detector, grid: TimeGrid, rows: str) -> Statement:
    """Rows (entity, bucket, value) of rows (entity, bucket, and n, v or hit); there NaN is no number, and v < 0 no value."""
    given = ["entity", "bucket"] + (["hit"] if detector.function == "ratio" else [])
    if detector.field is not None:
        given.append("CASE WHEN NOT isnan(n) THEN n END AS n" if needs_number(detector) else "CASE WHEN v >= 0 THEN v END AS v")
    inner = select(", ".join(given), rows)
    return Statement(select(f"entity, bucket, {_aggregate(detector, grid)} AS value", f"({inner})") + " GROUP BY ALL", {})


def fields_asked(detector: Detector) -> tuple[str, ...]:
    """All fields that the detector looks at, the time first; raises SettingRefused for a query that cannot be used."""
    conditions = _conditions(detector)
    looked_at = [name for condition in conditions.values() for name in fields_of(condition)]
    named = (detector.selection.time_field, *detector.split_by, *filter(None, [detector.field]), *looked_at)
    return tuple(dict.fromkeys(named))


def survey_of(detector: Detector, tables: Sequence[Table], types: Describe) -> tuple[Statement, Statement]:
    """Over all documents of all times: the faults, as in `values_of`; and the number of documents and of those with a
    value in the time field, the field and the split fields, in this order.
    """
    parameters = Parameters()
    rows = _rows(detector, tables, types, parameters, None)
    faults = Statement(select(f"{_FAULT}, count(*)", f"({rows})", "fault IS NOT NULL") + " GROUP BY ALL", parameters.values)
    parameters = Parameters()
    fields = [detector.selection.time_field, *filter(None, [detector.field]), *detector.split_by]
    counts = ", ".join(f"count_if(len(f{number}) > 0)" for number in range(len(fields)))
    documents = _documents(tables, fields, types, parameters)
    return faults, Statement(select(f"count(*), {counts}", f"({documents})"), parameters.values)


_FAULT: Final = """fault, CASE WHEN fault IS NOT NULL THEN file END AS file,
    min(CASE WHEN fault IS NOT NULL THEN sample END) AS sample"""


def _documents(tables: Sequence[Table], fields: Sequence[str], types: Describe, parameters: Parameters) -> str:
    return " UNION ALL ".join(table_sql(table, fields, parameters, types) for table in tables)


def _conditions(detector: Detector) -> dict[str, Condition]:
    conditions = {}
    for setting, query in (("query", detector.selection.query), ("of", detector.of)):
        try:
            conditions[setting] = conditions_of(query, parse)
        except QueryRefused as error:
            raise SettingRefused(setting, str(error)) from error
    return conditions


def _rows(
    detector: Detector, tables: Sequence[Table], types: Describe, parameters: Parameters, span: tuple[int, int] | None
) -> str:
    fields = {name: f"f{number}" for number, name in enumerate(fields_asked(detector))}
    rows = _timed(_documents(tables, list(fields), types, parameters))
    within = "true" if span is None else f"t >= {parameters.add(span[0])} AND t < {parameters.add(span[1])}"
    return _selected(detector, rows, fields, parameters, within)


def _timed(documents: str) -> str:
    """The documents with their time, taken from f0, or the fault that keeps them from being any."""
    rows = select("*, f0[1] AS x", f"({documents})")
    rows = select(f"*, {_TIME} AS t", f"({rows})")
    fault = "CASE WHEN broken THEN 'line' WHEN t IS NULL AND x <> '' THEN 'time' END AS fault"
    return select(f"*, {fault}, x AS sample", f"({rows})")


def _selected(detector: Detector, rows: str, fields: Mapping[str, str], parameters: Parameters, within: str) -> str:
    """One row for each value that counts of the documents `within`, beside all faults."""
    field, sql = detector.field, {}
    for setting, condition in _conditions(detector).items():
        try:
            sql[setting] = where(condition, fields.__getitem__, detector.selection.time_field, parameters)
        except QueryRefused as error:
            raise SettingRefused(setting, str(error)) from error
    hit = f", {sql['of']} AS hit" if detector.function == "ratio" else ""
    rows = select(f"*{hit}", f"({rows})", f"fault IS NOT NULL OR ({within} AND {sql['query']})")
    for number, name in enumerate(detector.split_by):
        values = f"CASE WHEN len({fields[name]}) > 0 THEN list_distinct({fields[name]}) ELSE [''] END"
        rows = select(f"*, unnest({values}) AS s{number}", f"({rows})")
    if field is None:
        return rows
    rows = select(f"*, unnest(CASE WHEN len({fields[field]}) > 0 THEN {fields[field]} ELSE [NULL] END) AS v", f"({rows})")
    if not needs_number(detector):
        return rows
    wrong = f"fault IS NULL AND {_NO_NUMBER}"
    faults = f"CASE WHEN {wrong} THEN 'number' ELSE fault END AS fault, CASE WHEN {wrong} THEN v ELSE sample END AS sample"
    return select(f"* REPLACE ({faults}), {_NUMBER} AS n", f"({rows})")


def _aggregate(detector: Detector, grid: TimeGrid) -> str:
    """The value of a bucket, NULL if it holds too few of what its value is made of."""
    value = _function(detector, grid)
    if detector.min_count == 1:
        return value
    held = "count(*)" if detector.field is None else "count(n)"
    return f"CASE WHEN {held} >= {int(detector.min_count)} THEN {value} END"


def _function(detector: Detector, grid: TimeGrid) -> str:
    """Values are added in the order of their size: so neither threads nor the slicing of a grid show in the last bit.

    `file_buckets` computes the same of rows in memory; each operation here is one there.
    """
    if detector.percentile is not None:
        place = f"((count(n) - 1)::DOUBLE * '{detector.percentile / 100!r}'::DOUBLE)"
        ranked = "list(n ORDER BY n) FILTER (n IS NOT NULL)"
        low, high = (f"({ranked})[{end}({place})::BIGINT + 1]" for end in ("floor", "ceil"))
        return f"{low} + ({high} - {low}) * ({place} - floor({place}))"
    return {
        "count": "count(*)::DOUBLE",
        "rate": f"count(*)::DOUBLE * 1000::DOUBLE / {grid.step}::DOUBLE",
        "ratio": "count_if(hit)::DOUBLE / count(*)::DOUBLE",
        "cardinality": "count(DISTINCT v)::DOUBLE",
        "sum": "coalesce(fsum(n ORDER BY n), 0)",
        "avg": "fsum(n ORDER BY n) / count(n)::DOUBLE",
        "min": "CASE WHEN min(n) = 0 THEN 0 ELSE min(n) END",  # and no negative zero
        "max": "CASE WHEN max(n) = 0 THEN 0 ELSE max(n) END",
    }[detector.function]
