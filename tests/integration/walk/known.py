"""Promises that the product does not keep yet, each with the reason; in the end there are none."""

from typing import Final

KNOWN: Final[dict[str, str]] = {}
