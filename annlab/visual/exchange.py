"""All tables as CSV or Parquet, in and out; the ending of the file's name says which.

    export_table(catalog, "images", "images.parquet")
    import_table(catalog, "interactions", "clicks.csv")
    export_all(catalog, "folder", "csv")         # one file a table
    import_all(catalog, "folder")                # in the order in which tables refer to each other

A file has a column for each column of the table, under its name. In CSV an empty cell is NULL, times are ISO 8601 in
UTC, lists and mappings are JSON. Files that others wrote may name only some columns, give times as seconds since 1970,
and tags as words with commas between them.

Personal columns go in and never out; names of judges go out as pseudonyms, which are the same in every export of a
catalog. An import is one transaction: all rows or none, and the error names the first row that is wrong. Vectors are in
no such file: images that it calls indexed become pending, unless the caller says that the index has them.
"""

import csv
import datetime
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Connection, Float, Integer, Table, exc, func, select

from annlab.encoders.outputs import refuse_existing
from annlab.visual import schema
from annlab.visual.catalog import Catalog, CatalogError
from annlab.visual.upsert import upsert

_AT_ONCE = 5000  # rows
FORMATS = ("csv", "parquet")


def export_all(catalog: Catalog, folder: str | os.PathLike[str], form: str = "csv", *,
               overwrite: bool = False) -> dict[str, int]:  # fmt: skip
    """Write every table to a file of its own; the numbers of rows by table. FileExistsError if one is there already."""
    if form not in FORMATS:
        raise ValueError(f"the format is csv or parquet, not {form!r}")
    Path(folder).mkdir(parents=True, exist_ok=True)
    targets = {name: Path(folder) / f"{name}.{form}" for name in schema.TABLES}
    refuse_existing(list(targets.values()), overwrite)
    return {name: export_table(catalog, name, target, overwrite=overwrite) for name, target in targets.items()}


def import_all(catalog: Catalog, folder: str | os.PathLike[str], **options: Any) -> dict[str, int]:
    """Read the files of `export_all` in one transaction, those that are there; options as for `import_table`."""
    found: dict[str, int] = {}
    with catalog.writing() as connection:
        for name in schema.TABLES:
            for path in [Path(folder) / f"{name}.{form}" for form in FORMATS]:
                if path.exists():
                    if name in found:
                        raise CatalogError(f"{folder} has {name} as CSV and as Parquet: remove one of them")
                    found[name] = import_table(catalog, name, path, connection=connection, **options)
    if not found:
        raise FileNotFoundError(f"{folder} has no file of a table, such as images.csv or images.parquet")
    return found


def export_table(catalog: Catalog, name: str, path: str | os.PathLike[str], *, overwrite: bool = False) -> int:
    """Write one table to a file, all of it as of one moment; how many rows. FileExistsError if the file is there."""
    table, target = _table(name), Path(path)
    write = {".csv": _write_csv, ".parquet": _write_parquet}.get(target.suffix)
    if write is None:
        raise ValueError(f"{target} ends in neither .csv nor .parquet")
    refuse_existing([target], overwrite)
    columns = [column for column in table.c if not schema.is_personal(column)]
    query = select(*columns).order_by(*table.primary_key).execution_options(stream_results=True, yield_per=_AT_ONCE)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        with catalog.database.reading() as connection:
            secret = str(connection.scalar(select(schema.settings.c.value).where(schema.settings.c.name == "secret")))
            hidden = {column.name for column in columns if column.info.get("pseudonym")}
            rows = connection.execute(query).mappings()
            n = write(temporary, columns, (_without_names(dict(row), hidden, secret) for row in rows))
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return n


def import_table(catalog: Catalog, name: str, path: str | os.PathLike[str], *, on_conflict: str = "raise",
                 vectors: str = "absent", connection: Connection | None = None) -> int:  # fmt: skip
    """Read rows of one table from a file: all of them or none.

    Parameters
    ----------
    on_conflict : {"raise", "replace", "skip"}
        What to do about rows whose key is in the catalog.
    vectors : {"absent", "present"}
        Of images: "absent" makes those that the file calls indexed pending, since a table holds no vectors. "present"
        believes the file: the index came along.

    Returns
    -------
    int
        How many rows the file has.

    Raises
    ------
    CatalogError
        A row breaks a rule, or a cell is not of its column's type, with the number of the row.
    """
    table, source = _table(name), Path(path)
    if on_conflict not in ("raise", "replace", "skip") or vectors not in ("absent", "present"):
        raise ValueError("on_conflict is raise, replace or skip; vectors is absent or present")
    read = {".csv": _read_csv, ".parquet": _read_parquet}.get(source.suffix)
    if read is None:
        raise ValueError(f"{source} ends in neither .csv nor .parquet")
    rows, n = read(source), 0
    with catalog.writing(connection) as active:
        while part := list(islice(rows, _AT_ONCE)):
            values = [_row(table, row, f"{source}, row {n + i}") for i, row in enumerate(part, 1)]
            if table is schema.images and vectors == "absent":
                values = [_without_vector(row) for row in values]
            _store(active, table, values, on_conflict, source, n)
            n += len(part)
        if not catalog.database.is_sqlite and "id" in table.c:  # the server counts on from the largest id
            largest = select(func.coalesce(func.max(table.c.id), 1)).scalar_subquery()
            active.execute(select(func.setval(func.pg_get_serial_sequence(table.name, "id"), largest)))
    return n


# ---- values


def _row(table: Table, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A row of a file as values of the columns of a table."""
    unknown = set(given) - set(table.c.keys())
    if unknown:
        raise CatalogError(f"{where}: {table.name} has no column {str(sorted(map(str, unknown))[0])!r}; it has "
                           f"{', '.join(table.c.keys())}")  # fmt: skip
    row = {}
    for name, value in given.items():
        try:
            row[name] = _value(table.c[name], value)
        except (ValueError, TypeError, OverflowError, KeyError):
            raise CatalogError(f"{where}, column {name}: not what this column holds ({table.c[name].type!r})") from None
    return row


def _value(column: Column[Any], value: Any) -> Any:
    kind = column.type
    if value is None or value == "":
        return () if isinstance(kind, schema.Strings) else None
    if isinstance(kind, schema.Moment):
        return schema.as_moment(value if isinstance(value, datetime.datetime) else _time(str(value)))
    if isinstance(kind, schema.Strings):
        listed = value if isinstance(value, list) else json.loads(value) if value.startswith("[") else value.split(",")
        return tuple(str(word).strip() for word in listed)
    if isinstance(kind, schema.Json):
        return json.loads(value) if isinstance(value, str) else value
    if isinstance(kind, schema.Degrees | Float):
        return float(value)
    if isinstance(kind, Boolean):
        return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()] if value != "" else None
    if isinstance(kind, Integer | BigInteger):
        return _whole(value)
    return str(value)


def _whole(value: Any) -> int:
    """A whole number of 64 bits, without a detour over floats, which know none beyond 2^53 exactly."""
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            value = float(value)  # as spreadsheets write them: 3.0, 1e3
    if isinstance(value, bool) or int(value) != value or not -(2**63) <= value < 2**63:
        raise ValueError("not a whole number of 64 bits")
    return int(value)


def _time(value: str) -> Any:
    try:
        return float(value)
    except ValueError:
        return datetime.datetime.fromisoformat(value)


def _without_vector(row: dict[str, Any]) -> dict[str, Any]:
    lost = row.get("status") == schema.INDEXED
    return {**row, "status": schema.PENDING, "encoder": None} if lost else row


def _without_names(row: dict[str, Any], hidden: Iterable[str], secret: str) -> dict[str, Any]:
    for name in hidden:
        digest = hmac.new(secret.encode(), str(row[name]).encode(), hashlib.sha256).hexdigest()
        row[name] = f"judge-{digest[:12]}"
    return row


def _table(name: str) -> Table:
    if name not in schema.TABLES:
        raise ValueError(f"there is no table {name!r}; there are {', '.join(schema.TABLES)}")
    return schema.TABLES[name]


# ---- rows into the database


def _store(connection: Connection, table: Table, rows: list[dict[str, Any]], on_conflict: str, source: Path,
           before: int) -> None:  # fmt: skip
    """Insert rows; if one of them breaks a rule, find out which."""
    defaults: dict[str, Any] = {c.name: getattr(c.default, "arg", None) for c in table.c if c.default is not None}
    now = datetime.datetime.now(datetime.UTC)
    defaults |= {c.name: now for c in table.c if isinstance(c.type, schema.Moment) and not c.nullable}
    names = {name for row in rows for name in row}
    whole = [{n: _given(row.get(n), defaults.get(n)) for n in names | defaults.keys()} for row in rows]

    def put(some: list[dict[str, Any]]) -> None:
        with connection.begin_nested():
            if on_conflict == "raise":
                connection.execute(table.insert(), some)
            else:
                upsert(connection, table, some, replace=on_conflict == "replace")

    try:
        put(whole)
    except (exc.IntegrityError, exc.StatementError):
        for number, row in enumerate(whole, before + 1):
            with _explained(f"{source}, row {number}"):
                put([row])
        raise


@contextmanager
def _explained(where: str) -> Iterator[None]:
    try:
        yield
    except exc.IntegrityError as error:
        raise CatalogError(f"{where}: {schema.explain(str(error.orig))}") from None
    except exc.StatementError as error:
        if isinstance(error.orig, ValueError | TypeError):
            raise CatalogError(f"{where}: {error.orig}") from None
        raise


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value


# ---- files


def _write_csv(path: Path, columns: list[Column[Any]], rows: Iterator[dict[str, Any]]) -> int:
    n = 0
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.name for column in columns])
        for row in rows:
            writer.writerow([_cell(row[column.name]) for column in columns])
            n += 1
    return n


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, tuple | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return value


def _read_csv(path: Path) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(2**30)
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            for row in reader:
                if row and len(row) != len(header):
                    raise CatalogError(f"{path}, line {reader.line_num}: {len(row)} cells, but {len(header)} columns")
                if row:
                    yield dict(zip(header, row))
        except (csv.Error, UnicodeDecodeError) as error:
            raise CatalogError(f"{path}, line {reader.line_num}: this is no CSV in UTF-8 ({error})") from None


def _write_parquet(path: Path, columns: list[Column[Any]], rows: Iterator[dict[str, Any]]) -> int:
    import pyarrow
    import pyarrow.parquet

    of_type: Callable[[Column[Any]], Any] = _arrow_types(pyarrow)
    layout = pyarrow.schema([(column.name, of_type(column)) for column in columns])
    n = 0
    with pyarrow.parquet.ParquetWriter(path, layout) as writer:
        while part := list(islice(rows, _AT_ONCE)):
            listed = [
                {k: _cell(v) if isinstance(v, tuple | list | dict) else v for k, v in row.items()} for row in part
            ]
            writer.write_table(pyarrow.Table.from_pylist(listed, schema=layout))
            n += len(part)
    return n


def _arrow_types(pyarrow: Any) -> Callable[[Column[Any]], Any]:
    def of(column: Column[Any]) -> Any:
        kind = column.type
        if isinstance(kind, schema.Moment):
            return pyarrow.timestamp("us", tz="UTC")
        if isinstance(kind, Boolean):
            return pyarrow.bool_()
        if isinstance(kind, Float):
            return pyarrow.float64()
        return pyarrow.int64() if isinstance(kind, Integer | BigInteger) else pyarrow.string()

    return of


def _read_parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_AT_ONCE):
                yield from batch.to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise CatalogError(f"{path} is no Parquet file, or is damaged ({str(error).splitlines()[0]})") from None
