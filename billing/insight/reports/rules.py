"""Format values for a report: exact decimals, and no text that a spreadsheet would run. Pure."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from billing.core.money import show_decimal

RISKY: Final = ("=", "+", "-", "@", "\t", "\r", "\n", *"\uff1d\uff0b\uff0d\uff20")
"""A cell that begins so may be a formula to a spreadsheet; the last four are the wide forms."""


def shown(value: Any) -> str | int | bool | None:
    """A value as reports show it: decimals with at least two digits, instants in UTC."""
    if isinstance(value, Decimal):
        return show_decimal(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int) else str(value)


def line(values: Sequence[Any]) -> str:
    """One line of CSV, with its end (RFC 4180)."""
    out = io.StringIO()
    csv.writer(out).writerow([_cell(value) for value in values])
    return out.getvalue()


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula: a quote before one that looks like it."""
    return f"'{text}" if text.startswith(RISKY) else text


def _cell(value: Any) -> Any:
    # Only texts come from outside: a negative number of ours is a number.
    return harmless(value) if isinstance(value, str) else shown(value)
