"""A month of uses as a Parquet file: rows stream from Postgres into it and back, page by page.

Numbers keep every digit, instants their zone; ids and JSON are texts. Postgres and the file speak
CSV to each other, in which nothing and an empty text differ.
"""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Numeric

from billing.metering.usage.tables import billing_records
from cli.errors import StackError

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS: Final = tuple(column.name for column in billing_records.c)
BLOCK_BYTES: Final = 8 << 20
"""As much of the CSV is in memory at once; no row is as long."""
GROUP_ROWS: Final = 100_000
PAGE_ROWS: Final = 20_000
_INSTANT: Final = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


def need_pyarrow() -> None:
    """Raise StackError if pyarrow is not installed."""
    try:
        import pyarrow  # noqa: F401 (asked for, not used)
    except ImportError as error:
        raise StackError(
            "Parquet files need pyarrow: install durable-billing[months] (requirements-months.lock)"
        ) from error


def columns_of(path: Path) -> dict[str, sql.Composable]:
    """Return the columns of a file by name, each as an expression with which it is compared.

    The release that reads a month may have more columns than the one that wrote it, and numbers
    with more digits. Errors: StackError for another kind of file.
    """
    import pyarrow as pa
    from pyarrow import parquet

    with _reading(path):
        fields: list[pa.Field] = list(parquet.read_schema(path))
    unknown = sorted({field.name for field in fields} - set(COLUMNS))
    if unknown:
        raise StackError(f"{path} has columns that this release does not: {', '.join(unknown)}")
    return {field.name: _as_written(field) for field in fields}


def _as_written(field: "pa.Field") -> sql.Composable:
    import pyarrow as pa

    name = sql.Identifier(field.name)
    if not pa.types.is_decimal(field.type):
        return name
    digits = sql.Literal(field.type.precision), sql.Literal(field.type.scale)
    return sql.SQL("{}::numeric({}, {})").format(name, *digits)


def selected() -> sql.Composable:
    """Return the columns of a record in the form that `write` expects."""
    return sql.SQL(", ").join(
        sql.SQL(_INSTANT if isinstance(column.type, DateTime) else "{}").format(
            sql.Identifier(column.name)
        )
        for column in billing_records.c
    )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise StackError if the file cannot be written, such as on a full disk."""
    try:
        yield
    except OSError as error:
        words = f"MONTH_FILE_MISSING: {path} cannot be written: {error.strerror or error}"
        raise StackError(words) from error


def write(chunks: Iterable[Any], path: Path) -> int:
    """Write the rows of a CSV with a header line to a file; return how many."""
    from pyarrow import Table, csv, parquet

    schema, rows, pending = _schema(), 0, 0
    page: list[Any] = []
    names = csv.ReadOptions(column_names=list(COLUMNS), skip_rows=1, block_size=BLOCK_BYTES)
    types = csv.ConvertOptions(
        column_types=schema, null_values=[""], strings_can_be_null=True,
        quoted_strings_can_be_null=False, true_values=["t"], false_values=["f"],
    )  # fmt: skip
    lines = csv.ParseOptions(newlines_in_values=True)
    stream = io.BufferedReader(_Chunks(chunks), BLOCK_BYTES)
    with path.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)  # whose uses they are is nobody else's matter
        with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for batch in csv.open_csv(stream, names, lines, types):
                page, pending = [*page, batch], pending + batch.num_rows
                if pending >= GROUP_ROWS:
                    writer.write_table(Table.from_batches(page, schema))
                    rows, page, pending = rows + pending, [], 0
            writer.write_table(Table.from_batches(page, schema))
        file.flush()
        os.fsync(file.fileno())
    return rows + pending


def read(path: Path) -> Iterator[bytes]:
    """Yield the rows of a file as pages of CSV. Errors: StackError for another kind of file."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    with _reading(path), parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(PAGE_ROWS):
            sink = pa.BufferOutputStream()
            csv.write_csv(batch, sink, csv.WriteOptions(include_header=False))
            yield sink.getvalue().to_pybytes()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise StackError(f"MONTH_FILE_DAMAGED: {path} cannot be read: {error}") from error


def digest(path: Path) -> str:
    """Return a file's SHA-256. Errors: StackError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StackError(f"MONTH_FILE_MISSING: {path} cannot be read: {error.strerror}") from error


def keep(draft: Path, path: Path) -> None:
    """Rename a finished file and sync its folder, so that it survives a power cut."""
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([pa.field(one.name, _type(one)) for one in billing_records.c])


def _type(column: Column[Any]) -> "pa.DataType":
    import pyarrow as pa

    kind = column.type
    if isinstance(kind, Numeric):
        return pa.decimal128(kind.precision or 0, kind.scale or 0)
    for known, type_ in (
        (BigInteger, pa.int64()), (Boolean, pa.bool_()), (Date, pa.date32()),
        (DateTime, pa.timestamp("us", "UTC")),
    ):  # fmt: skip
        if isinstance(kind, known):
            return type_
    return pa.string()


class _Chunks(io.RawIOBase):
    """A readable file over chunks of bytes."""

    def __init__(self, chunks: Iterable[Any]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size
