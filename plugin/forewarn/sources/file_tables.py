"""Files as tables of documents: which files a path means, their formats, and the SQL that gives a document's fields.

Owns: `files_of`, `tables_of`, `open_file`, Table, `table_sql`. Builds SQL and opens headers; runs no statement. Names of
columns and fields reach SQL as quoted identifiers or as parameters.
"""

import csv
import glob
import gzip
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from forewarn.errors import SourceRejected, SourceUnavailable
from forewarn.sources.file_filter import Parameters, select

_FORMATS: Final = {
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
    ".parquet": "parquet",
}
_DELIMITERS: Final = ",;\t|"
_MAX_HEADER: Final = 1 << 20
_MAX_SPELLINGS: Final = 6
"""Names of more parts are looked for as one nested or one flat name only: the spellings double with each dot."""

Types = Mapping[str, Any]
"""Column -> its type, with DuckDB's `id` and `children`."""


@dataclass(frozen=True, slots=True)
class Table:
    """Files of one format and one layout."""

    kind: str
    files: tuple[str, ...]
    delimiter: str = ""
    header: tuple[str, ...] = ()
    """CSV: the names of the columns, in order."""


def files_of(path: str) -> tuple[str, ...]:
    """The files that the path or glob means, sorted; raises SourceRejected for a plain name that is no file."""
    if Path(path).is_dir():
        raise SourceRejected(path, "is a folder; name its files, such as data/*.ndjson")
    if Path(path).exists():
        return (path,)
    if not glob.has_magic(path):
        raise SourceRejected(path, "there is no such file")
    found = glob.glob(path, recursive=True)  # noqa: PTH207  Path.glob takes no absolute patterns
    return tuple(sorted(filter(os.path.isfile, found)))  # a Path of each name would take most of the time of a read


def tables_of(files: Iterable[str]) -> list[Table]:
    """The files by format, CSV also by header; files without a complete line are left out, for now they hold nothing."""
    groups: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for name in files:
        kind = _FORMATS.get(Path(name.removesuffix(".gz")).suffix.lower())
        if kind is None:
            raise SourceRejected(name, f"the format is told by the name, which ends in none of {', '.join(_FORMATS)}")
        if not Path(name).exists():
            raise SourceUnavailable(name, "it has gone since it was listed")
        if not os.access(name, os.R_OK):
            raise SourceRejected(name, "no permission to read it")
        layout = _csv_layout(name) if kind == "csv" else ("", ())
        if layout is not None:
            groups.setdefault((kind, *layout), []).append(name)
    return [Table(kind, tuple(names), mark, header) for (kind, mark, header), names in groups.items()]


def open_file(name: str) -> io.BufferedIOBase:
    """The file's bytes, decompressed."""
    try:
        return gzip.open(name, "rb") if name.endswith(".gz") else Path(name).open("rb")
    except OSError as error:
        raise SourceUnavailable(name, str(error)) from error


def _csv_layout(name: str) -> tuple[str, tuple[str, ...]] | None:
    with open_file(name) as file:
        try:
            line = file.readline(_MAX_HEADER).decode("utf-8-sig")
        except (UnicodeDecodeError, EOFError, OSError) as error:
            raise SourceRejected(name, f"its header cannot be read: {error}") from error
    if not line.endswith(("\n", "\r")):
        return None
    delimiter = max(_DELIMITERS, key=line.count)
    return delimiter, tuple(next(csv.reader([line], delimiter=delimiter), []))


def table_sql(table: Table, fields: Sequence[str], parameters: Parameters, types: Callable[[Sequence[str]], Types]) -> str:
    """A SELECT of the table's documents: `file`, `broken` (not a document), and for each field f0, f1, … VARCHAR[].

    A field without values is NULL or an empty list; text "" is a value in NDJSON and Parquet and none in CSV.
    `types` tells the columns of Parquet files.
    """
    # DuckDB takes names for globs; in brackets a sign stands for itself.
    names = parameters.add([re.sub(r"([\[*?])", r"[\1]", name) for name in table.files])
    if table.kind == "csv":
        layout = parameters.add({f"c{number}": "VARCHAR" for number in range(len(table.header))})
        columns = [_csv_column(table.header, field) for field in fields]
        options = f"columns={layout}, delim={parameters.add(table.delimiter)}, header=true, auto_detect=false"
        source = f"read_csv({names}, {options}, quote='\"', escape='\"', store_rejects=true, rejects_limit=100, filename=true)"
        return select(f"filename AS file, false AS broken, {_as_fields(columns)}", source)
    if table.kind == "ndjson":
        spelled: list[str] = []
        columns = [_json_column(field, spelled, parameters) for field in fields]
        whole = "json IS NULL OR left(ltrim(json::VARCHAR), 1) <> '{'"
        source = f"read_ndjson_objects({names}, ignore_errors=true, filename=true)"
        found = f"CASE WHEN {whole} THEN NULL ELSE json_extract_string(json, {parameters.add(spelled)}) END"
        # Paths through lists are looked for only in documents that have some.
        inner = select(f"filename, json, {whole} AS broken, {found} AS s, contains(json::VARCHAR, '[') AS lists", source)
        return select(f"filename AS file, broken, {_as_fields(columns)}", f"({inner})")
    known = types(table.files)
    columns = [_parquet_column(known, field) for field in fields]
    source = f"read_parquet({names}, union_by_name=true, filename='forewarn file name')"
    return select(f'"forewarn file name" AS file, false AS broken, {_as_fields(columns)}', source)


def _as_fields(columns: Sequence[str]) -> str:
    return ", ".join(f"{column} AS f{number}" for number, column in enumerate(columns))


def _csv_column(header: Sequence[str], field: str) -> str:
    if field not in header:
        return "NULL::VARCHAR[]"
    column = f"c{header.index(field)}"
    return f"CASE WHEN {column} IS NULL OR {column} = '' THEN NULL ELSE [{column}] END"


def _spellings(field: str) -> list[tuple[str, ...]]:
    """The ways a dotted name may lie in a document: a.b as {"a": {"b": …}} and as {"a.b": …}."""
    parts = field.split(".")
    if len(parts) > _MAX_SPELLINGS:
        return [tuple(parts), (field,)]
    found = []
    for dots in product((False, True), repeat=len(parts) - 1):
        names = [parts[0]]
        for part, nested in zip(parts[1:], dots, strict=True):
            if nested:
                names.append(part)
            else:
                names[-1] += f".{part}"
        found.append(tuple(names))
    return found[::-1]


def _json_column(field: str, spelled: list[str], parameters: Parameters) -> str:
    """The first spelling with a value. All pointers are looked up in one pass over the document; s holds their texts.

    Only where that finds nothing, the path is tried through lists of objects, as Elasticsearch flattens them.
    """
    options, through = [], []
    for names in _spellings(field):
        pointer = "".join(f"/{name.replace('~', '~0').replace('/', '~1')}" for name in names)
        spelled.append(pointer)
        text = f"s[{len(spelled)}]"
        found = f"json_extract(json, {parameters.add(pointer)})"
        listed = f"list_filter(json_extract_string({found}, '$[*]'), lambda x: x IS NOT NULL)"
        # A text may look like a list or an object: only then is it worth asking what it is.
        options.append(
            f"CASE WHEN {text} IS NULL THEN NULL WHEN left({text}, 1) NOT IN ('[', '{{') THEN [{text}] "
            f"WHEN json_type({found}) = 'ARRAY' THEN {listed} WHEN json_type({found}) = 'OBJECT' THEN NULL ELSE [{text}] END"
        )
    parts = field.split(".")
    if len(parts) > 1 and len(parts) <= _MAX_SPELLINGS and not re.search(r'["\\]', field):
        for lists in product(("", "[*]"), repeat=len(parts) - 1):
            if any(lists):
                path = "$" + "".join(f'."{part}"{mark}' for part, mark in zip(parts, (*lists, ""), strict=True))
                values = f"json_extract_string(json, {parameters.add(path)})"
                through.append(f"nullif(list_filter({values}, lambda x: x IS NOT NULL), [])")
    if through:
        options.append(f"CASE WHEN lists THEN coalesce({', '.join(through)}) END")
    return f"CASE WHEN broken THEN NULL ELSE coalesce({', '.join(options)}) END"


def _parquet_column(columns: Types, field: str) -> str:
    for names in _spellings(field):
        kind: Any = columns.get(names[0])
        for name in names[1:]:
            kind = dict(kind.children).get(name) if kind is not None and kind.id == "struct" else None
        if kind is None:
            continue
        path = ".".join(_quoted(name) for name in names)
        if kind.id == "list":
            return f"list_filter({path}::VARCHAR[], lambda x: x IS NOT NULL)"
        if kind.id != "struct":
            return f"CASE WHEN {path} IS NULL THEN NULL ELSE [{path}::VARCHAR] END"
    return "NULL::VARCHAR[]"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
