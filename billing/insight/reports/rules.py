"""The format of report values: exact decimals, and no text a spreadsheet would run. Pure."""

import csv
import io
import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from billing.core.money import show_decimal
from billing.core.periods import show_instant

FORMULAS: Final = "=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b"
"""Characters with which a spreadsheet formula begins, with their full-width and small forms."""
RISKY: Final = (*FORMULAS, "\t", "\r", "\n")
"""Characters with which a text may begin that a spreadsheet takes for a formula."""
# Spreadsheets with German or French settings split lines at `;`, others at tabs. A quotation mark
# counts for them only where their cell begins, and some cut off the blanks there.
_CELLS: Final = re.compile(rf'((?:^(?=\s)|[;\t\r\n])(?:"|[^\S\t\r\n])*)(?=[{re.escape(FORMULAS)}])')


def shown(value: Any) -> str | int | bool | None:
    """Return a value as reports show it: decimals with at least two digits, instants in UTC."""
    if isinstance(value, Decimal):
        return show_decimal(value)
    if isinstance(value, datetime):
        return show_instant(value)
    if isinstance(value, date):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int) else str(value)


def line(values: Sequence[Any]) -> str:
    """Return one line of CSV, with its line end (RFC 4180)."""
    out = io.StringIO()
    csv.writer(out).writerow([_cell(value) for value in values])
    return out.getvalue()


def harmless(text: str) -> str:
    """Return the text, with a quote before each part that a spreadsheet could run as a formula."""
    return _CELLS.sub(r"\1'", f"'{text}" if text.startswith(RISKY) else text)


def _cell(value: Any) -> Any:
    # Only strings come from outside: a negative number of ours is harmless.
    return harmless(value) if isinstance(value, str) else shown(value)
