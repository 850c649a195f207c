"""The countries of ISO 3166-1, from the table in the time zone data."""

from importlib import resources
from typing import Final

_TABLE: Final = resources.files("tzdata").joinpath("zoneinfo", "iso3166.tab")

CODES: Final = frozenset(
    line.partition("\t")[0]
    for line in _TABLE.read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
)
"""Two capital letters each."""


def known(code: str) -> str:
    """Return the code. Raises ValueError if no country has it."""
    if code not in CODES:
        raise ValueError(f"{code} is not an ISO 3166-1 country code")
    return code
