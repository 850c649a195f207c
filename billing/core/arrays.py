"""Columns of many rows as array texts, one per column.

A driver that turns each of ten thousand values into SQL by itself takes longer than the database.
"""

from collections.abc import Iterable, Sequence


def plain(values: Iterable[object]) -> str:
    """An array of values whose texts need no quotes: numbers, uuids, booleans."""
    return "{" + ",".join(map(str, values)) + "}"


def texts(values: Sequence[str | None]) -> str:
    """An array of any texts."""
    return "{" + ",".join(["NULL" if v is None else _quoted(v) for v in values]) + "}"


def sparse(values: Sequence[str | None]) -> str | None:
    """As `texts`; nothing at all where nothing is given."""
    return None if values.count(None) == len(values) else texts(values)


def _quoted(value: str) -> str:
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'
