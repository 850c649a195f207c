"""Refuses JSON in which a member appears twice: readers disagree on which one counts."""

from typing import Any


class Repeated(ValueError):
    """A member appears twice."""


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of these members, for `json.loads`. Raises Repeated."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Repeated("a member appears twice")
    return value
