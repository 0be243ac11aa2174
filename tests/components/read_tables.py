"""Reads our tables with programs of others, and tells where two of them read different rows.

    python tests/components/read_tables.py PLACE [LOCAL [OURS]]

PLACE is a folder of Delta tables, or the URI of one, or of one table: `abfss://…`, `s3://…`. The readers are

    chdb        ClickHouse in process, with delta-kernel-rs
    clickhouse  the same with ClickHouse's own reader of the log, where the table allows it
    deltalake   Python's bindings of delta-rs, into Arrow
    polars      Polars, its Parquet reader over the files that the log names
    limnograph  ourselves: what we read was written to OURS, as TABLE.parquet

Each reads every table whole. Rows are turned into JSON in one spelling, sorted and compared: doubles by the shortest decimal
that is only theirs, every NaN alike, times as microseconds in UTC, bytes in hexadecimal, maps as sorted pairs. Where two
differ, a line names the table, the row and the column, and the exit code is 1. Else it prints
{"TABLE": {"rows": N, "columns": N, "readers": […]}}.

ClickHouse has no NULL of a list, a struct or a map: it reads an empty list, a struct of NULLs, an empty map. Against it those
count as equal; the two others are compared with NULLs as they are.

Of a URI, READ_TABLES_OPTIONS has the storage options of delta-rs as a JSON object. chdb reads from disk alone: it reads
LOCAL, a copy of PLACE, and is left out without one.
"""

import json
import os
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import chdb
import polars
import pyarrow
import pyarrow.parquet
from deltalake import DeltaTable
from pyarrow import types

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)
# The reader that the others are compared with.
FIRST = "deltalake"
# Readers without NULLs of nested types.
LOOSE = ("chdb", "clickhouse")


def main():
    if len(sys.argv) not in (2, 3, 4):
        sys.exit("usage: read_tables.py PLACE [LOCAL [OURS]]")
    place, local, ours = (sys.argv[1:] + [None, None])[:3]
    place, ours = place.rstrip("/"), Path(ours).resolve() if ours else None
    options = json.loads(os.environ.get("READ_TABLES_OPTIONS", "{}"))
    is_remote = "://" in place
    folder = Path(local or place).resolve() if local or not is_remote else None
    if not is_remote:
        place = str(folder)
    # ClickHouse reads only below the folder in which it starts.
    os.chdir("/")
    names = names_of(place, folder, options)
    if not names:
        sys.exit(f"{place} holds no Delta table")
    told, differences = {}, []
    for name in names:
        at = f"{place}/{name}" if name else place
        on_disk = (folder / name if name else folder) if folder else None
        known = readers(at, on_disk, options)
        if ours:
            known["limnograph"] = lambda: pyarrow.parquet.read_table(ours / f"{name}.parquet")
        tables = {reader: read() for reader, read in known.items()}
        reference = tables.pop(FIRST)
        told_by, rows = [FIRST], {}
        for reader, table in tables.items():
            told_by.append(reader)
            if sorted(table.column_names) != sorted(reference.column_names):
                differences.append(f"{name or place}: {reader} reads the columns {sorted(table.column_names)}")
                continue
            is_loose = reader in LOOSE
            if is_loose not in rows:
                rows[is_loose] = rows_of(reference, reference.schema, is_loose)
            found = difference(rows[is_loose], rows_of(table, reference.schema, is_loose), reader)
            if found:
                differences.append(f"{name or place}: {found}")
        told[name or place] = {"rows": reference.num_rows, "columns": reference.num_columns, "readers": told_by}
    for line in differences:
        print(line, file=sys.stderr)
    if differences:
        sys.exit(1)
    print(json.dumps(told))


def names_of(place, folder, options):
    """The tables below a place; an empty name for the place itself."""
    if folder is not None:
        if (folder / "_delta_log").is_dir():
            return [""]
        return sorted(log.parent.relative_to(folder).as_posix() for log in folder.rglob("_delta_log") if log.is_dir())
    if DeltaTable.is_deltatable(place, options):
        return [""]
    sys.exit(f"{place} is no Delta table, and without a local copy it is not known which tables are below it")


def readers(at, on_disk, options):
    """What reads this table, by name; each answers an Arrow table."""
    known = {
        "deltalake": lambda: pyarrow.table(DeltaTable(at, storage_options=options).to_pyarrow_table()),
        "polars": lambda: polars.read_delta(at, storage_options=options or None).to_arrow(),
    }
    if on_disk is not None:
        known["chdb"] = lambda: by_chdb(on_disk, 1)
        if is_plain(on_disk):
            known["clickhouse"] = lambda: by_chdb(on_disk, 0)
    return known


def is_plain(folder):
    """Whether ClickHouse's own reader promises to understand the table: no features that a reader must know."""
    minimum = DeltaTable(str(folder)).protocol().min_reader_version
    return minimum == 1


def by_chdb(folder, kernel):
    path = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    settings = f"allow_experimental_delta_kernel_rs = {kernel}, session_timezone = 'UTC'"
    settings += ", output_format_arrow_string_as_string = 0"
    query = f"SELECT * FROM deltaLakeLocal('{path}') SETTINGS {settings}"
    answer = chdb.query(query, "ArrowStream")
    with pyarrow.ipc.open_stream(pyarrow.BufferReader(answer.bytes())) as stream:
        return stream.read_all()


def rows_of(table, schema, is_loose):
    """Rows as JSON texts, sorted; columns in order of their names. Text is what the schema calls so: for ClickHouse any bytes
    are a string."""
    names = sorted(table.column_names)
    columns = []
    for name in names:
        spell = speller(schema.field(name).type, is_loose)
        columns.append([spell(value) for value in table.column(name).to_pylist()])
    return sorted(json.dumps(dict(zip(names, row)), sort_keys=True) for row in zip(*columns))


def speller(kind, is_loose):
    """What turns a value of an Arrow type into the one spelling."""
    if types.is_struct(kind):
        members = [(field.name, speller(field.type, is_loose)) for field in kind]

        def of_struct(value):
            if value is None and not is_loose:
                return None
            return {name: spell((value or {}).get(name)) for name, spell in members}

        return of_struct
    if types.is_map(kind):
        key, item = speller(kind.key_type, is_loose), speller(kind.item_type, is_loose)
        return lambda value: None if value is None and not is_loose else sorted([key(k), item(v)] for k, v in pairs(value))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_list_view(kind):
        item = speller(kind.value_type, is_loose)
        return lambda value: None if value is None and not is_loose else [item(each) for each in value or []]
    for is_kind, spell in SPELLERS:
        if is_kind(kind):
            return lambda value: None if value is None else spell(value)
    raise TypeError(f"no spelling of {kind}")


def pairs(value):
    """The entries of a map, which Polars has as a list of structs."""
    return [tuple(entry.values()) if isinstance(entry, dict) else entry for entry in value or []]


def of_time(value):
    aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
    return f"{(aware - EPOCH) // MICROSECOND} us"


def of_text(value):
    return value if isinstance(value, str) else value.decode()


def is_text(kind):
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def is_bytes(kind):
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)


SPELLERS = [
    (types.is_boolean, bool),
    (types.is_integer, int),
    (types.is_floating, float),
    (is_text, of_text),
    (is_bytes, lambda value: value.hex()),
    (types.is_timestamp, of_time),
    (types.is_date, lambda value: f"{(value - EPOCH.date()).days} d"),
    (types.is_decimal, lambda value: format(value.normalize(), "f")),
]


def difference(ours, theirs, reader):
    """Where two sorted lists of rows first differ, in words."""
    if len(ours) != len(theirs):
        return f"{FIRST} reads {len(ours)} rows, {reader} {len(theirs)}"
    for index, (left, right) in enumerate(zip(ours, theirs)):
        if left != right:
            left, right = json.loads(left), json.loads(right)
            for column in left:
                mine, other = json.dumps(left[column]), json.dumps(right[column])
                if mine != other:
                    return f"row {index}, column {column}: {FIRST} reads {shown(mine, other)}, {reader} {shown(other, mine)}"
    return None


def shown(text, other):
    """The text around where it differs from the other."""
    if len(text) <= 200:
        return text
    same = len(os.path.commonprefix([text, other]))
    return f"…{text[max(0, same - 40):same + 60]}…"


if __name__ == "__main__":
    main()
