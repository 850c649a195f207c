"""The values by which a report's rows can be grouped."""

from typing import Literal

GroupBy = Literal["record", "day", "meter", "user", "organization", "operation", "model"]
