"""A report as data: what its rows are grouped by, and its columns."""

from typing import Literal

GroupBy = Literal["record", "day", "meter", "user", "organization", "operation", "model"]
