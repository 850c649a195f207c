"""The base of values and rows: they never change, and pass over fields that they do not know."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A value: a changed one is a copy."""

    model_config = ConfigDict(frozen=True, extra="ignore")
