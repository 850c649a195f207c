"""Many rows as the text of one array: of plain values, or of composite ones.

A driver that turns each of ten thousand values into SQL by itself takes longer than the database.
"""

from collections.abc import Iterable, Sequence


def plain(values: Iterable[object]) -> str:
    """An array of values whose texts need no quotes: numbers, uuids, booleans."""
    return "{" + ",".join(map(str, values)) + "}"


def records(rows: Iterable[Sequence[object | None]]) -> str:
    """An array of composite values, fields in the order of their type; a str may be any text."""
    return record_texts([",".join(map(_field, row)) for row in rows])


def record_texts(rows: Sequence[str]) -> str:
    """As `records`, of rows that are texts already: their fields by commas, texts as `field`."""
    return '{"(' + ')","('.join(rows) + ')"}' if rows else "{}"


def field(value: str | None) -> str:
    """A text as a field of a row: quoted twice, within the row as an element of the array."""
    if value is None:
        return ""
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\\\\\").replace('"', '\\"\\"')
    return f'\\"{value}\\"'


def _field(value: object | None) -> str:
    return field(value) if value is None or isinstance(value, str) else str(value)
