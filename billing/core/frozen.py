"""The base of values and rows: immutable, and they ignore unknown fields."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable value; changes make a copy."""

    model_config = ConfigDict(frozen=True, extra="ignore")
