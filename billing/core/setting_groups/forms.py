"""The forms of settings in the environment: lists, thresholds, secrets."""

import json
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, IPvAnyNetwork, SecretStr
from pydantic_settings import NoDecode


def _listed(value: Any) -> Any:
    """Parse a list as operators write it: `0,3,7`, or JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


def split_secrets(secrets: SecretStr) -> list[str]:
    """Split secrets at commas; surrounding spaces are removed."""
    return [one.strip() for one in secrets.get_secret_value().split(",")]


Port = Annotated[int, Field(ge=0, le=65_535)]
KeptDays = Annotated[int, Field(ge=0, le=36_500)]
Threshold = Annotated[int | None, BeforeValidator(lambda sent: None if sent == "off" else sent)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
Networks = Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_listed)]
