"""Constants of code as literals of a statement: an index with a condition serves no parameter."""

from collections.abc import Iterable


def texts(values: Iterable[str]) -> str:
    """Return a list for IN: `('open', 'paid')`."""
    listed = ", ".join(f"'{value}'" for value in values)
    return f"({listed})"
