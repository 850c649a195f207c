"""The bases of values and rows, which are immutable."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable value that ignores unknown fields; changes make a copy."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Strict(BaseModel):
    """An immutable value that refuses unknown fields; docstrings describe its fields in schemas."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
