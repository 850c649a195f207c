"""Many rows as the text of one Postgres array, of plain or composite values.

A driver that converts each of ten thousand values by itself takes longer than the database.
"""

from collections.abc import Iterable, Sequence


def plain(values: Iterable[object]) -> str:
    """Return an array of values that need no quotes: numbers, UUIDs, booleans."""
    return "{" + ",".join(map(str, values)) + "}"


def records(rows: Iterable[Sequence[object | None]]) -> str:
    """Return an array of composite values, fields in the order of their type; a str may be any."""
    return record_texts([",".join(map(_field, row)) for row in rows])


def record_texts(rows: Sequence[str]) -> str:
    """As `records`, from formatted rows: fields separated by commas, texts made by `field`."""
    return '{"(' + ')","('.join(rows) + ')"}' if rows else "{}"


def field(value: str | None) -> str:
    """Quote a text as a field of a row, which is itself a quoted element of the array."""
    if value is None:
        return ""
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\\\\\").replace('"', '\\"\\"')
    return f'\\"{value}\\"'


def _field(value: object | None) -> str:
    return field(value) if value is None or isinstance(value, str) else str(value)
