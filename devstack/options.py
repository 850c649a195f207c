"""The options of a stack: its data folder, its parts and its ports.

The command line passes one frozen record to the supervisor's process.
"""

from pathlib import Path
from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict

from billing.core.profile import Profile
from cli import project

ROOT: Final = project.ROOT

ChildName = Literal["postgres", "temporal", "sandbox", "worker", "api"]

CHILDREN: Final[tuple[ChildName, ...]] = get_args(ChildName)
"""Every part, in the order of starting; stopping goes the other way round."""
POSTGRES_BUFFERS: Final = "256MB"


class Options(BaseModel):
    """One stack. `data` is absolute; `owner` is a pid: the stack stops when that process ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    profile: Profile = "default"
    free_ports: bool = False
    children: tuple[ChildName, ...] = CHILDREN
    ui: bool = True
    provision: bool = True
    owner: int | None = None
    postgres_buffers: str = POSTGRES_BUFFERS
