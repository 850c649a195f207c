"""The address file of a running stack, stack.json: tests, demo, benchmarks and the CLI read it.

Written by rename when everything is ready, readable by its owner only, removed when it stops.
"""

from pathlib import Path

from pydantic import Field, ValidationError

from billing.core.frozen import Frozen
from billing.core.profile import Profile
from cli.errors import StackError
from devstack.data_folder import DataFolder
from devstack.options import ChildName
from devstack.ports import Ports


class StackInfo(Frozen):
    """Addresses and secrets of one stack. `env` configures one more process of the product."""

    pid: int
    data: Path
    logs: Path
    control: Path
    profile: Profile
    children: tuple[ChildName, ...]
    ui: bool
    ports: Ports

    api_url: str
    api_docs_url: str
    api_metrics_url: str
    worker_metrics_url: str
    sandbox_url: str
    temporal_address: str
    temporal_namespace: str
    temporal_ui_url: str
    temporal_metrics_url: str

    app_url: str = Field(repr=False)
    """The tenant role: row-level security is enforced."""
    operator_url: str = Field(repr=False)
    """The sweepers' role: sees all accounts."""
    owner_url: str = Field(repr=False)
    """Owner of the schema, for migrations."""
    superuser_url: str = Field(repr=False)
    """For tests that look behind every wall; no program of the product gets it."""
    postgres_url: str = Field(repr=False)
    """The tenant role over TCP, as another program would connect."""

    jwt_secret: str = Field(repr=False)
    jwt_audience: str
    jwt_issuer: str
    stripe_secret_key: str = Field(repr=False)
    stripe_webhook_secret: str = Field(repr=False)
    env: dict[str, str] = Field(repr=False)


def read_stack(data: Path) -> StackInfo:
    """Return the stack that runs on this folder. Errors: StackError when none is ready."""
    folder = DataFolder(data)
    try:
        info = StackInfo.model_validate_json(folder.stack_file.read_text())
    except (OSError, ValidationError) as error:
        raise StackError(f"no stack runs on {data}: start it with make up") from error
    if folder.running() is None:
        raise StackError(f"the stack on {data} was killed: start it again with make up")
    return info


def dsn(url: str) -> str:
    """Return a URL of the stack as libpq reads it: it does not name the driver."""
    return url.replace("postgresql+psycopg://", "postgresql://")
