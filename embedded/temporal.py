"""The stack's own Temporal server, its namespace and its search attributes.

One SQLite file holds everything; the pragmas and the two limits make it three times faster.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey

from embedded.binaries import temporal_program
from embedded.child import Spec
from embedded.environment import system_environment
from embedded.errors import StackError
from embedded.folder import DataFolder
from embedded.health import answers
from embedded.ports import HOST, Ports
from workflows.attributes import ACCOUNT_ID, BILLING_STATUS, NEXT_DUE_AT, PLAN

NAMESPACE: Final = "billing"

ATTRIBUTES: Final[tuple[SearchAttributeKey[Any], ...]] = (
    ACCOUNT_ID,
    BILLING_STATUS,
    NEXT_DUE_AT,
    PLAN,
)

# One history shard loads 20 tasks a second unless told otherwise.
FLAGS: Final = (
    *("--dynamic-config-value", "history.transferProcessorMaxPollRPS=1000"),
    *("--dynamic-config-value", "history.timerProcessorMaxPollRPS=1000"),
    *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal"),
    *("--log-level", "warn", "--log-format", "json"),
)


@dataclass(frozen=True, kw_only=True)
class Temporal:
    """One server: its file and its ports."""

    folder: DataFolder
    ports: Ports
    ui: bool

    @property
    def file(self) -> Path:
        """The database file."""
        return self.folder.path / "temporal.db"

    @property
    def address(self) -> str:
        """host:port of the gRPC front end."""
        return f"{HOST}:{self.ports.temporal}"

    def spec(self) -> Spec:
        """How the supervisor runs it; ready means namespace and attributes are there."""
        wanted = [
            word
            for key in ATTRIBUTES
            for word in ("--search-attribute", f"{key.name}={_kind(key)}")
        ]
        screen: tuple[str, ...] = ("--headless",)
        if self.ui:
            screen = ("--ui-port", str(self.ports.temporal_ui), "--ui-disable-news-fetch")
        return Spec(
            name="temporal",
            argv=(
                *(str(temporal_program()), "server", "start-dev", "--ip", HOST),
                *("--port", str(self.ports.temporal)),
                *("--http-port", str(self.ports.temporal_http)),
                *("--metrics-port", str(self.ports.temporal_metrics), *screen),
                *("--db-filename", str(self.file), "--namespace", NAMESPACE, *FLAGS, *wanted),
            ),
            env=system_environment(),
            cwd=self.folder.path,
            probe=self._ready,
        )

    def forget_everything(self) -> None:
        """Delete the stopped server's database: every workflow is gone."""
        for suffix in ("", "-wal", "-shm"):
            self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)

    async def _ready(self) -> bool:
        client = await Client.connect(self.address, namespace=NAMESPACE)
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=NAMESPACE)
        )
        await _register_attributes(client)
        return not self.ui or await answers(self.ports.temporal_ui, "/healthz")


async def _register_attributes(client: Client) -> None:
    """Add what an older file lacks: the server's own flag acts on new namespaces only.

    Errors: StackError when one exists with another type, which the server would accept silently.
    """
    service = client.operator_service
    listed = await service.list_search_attributes(ListSearchAttributesRequest(namespace=NAMESPACE))
    there = listed.custom_attributes
    for key in ATTRIBUTES:
        if there.get(key.name, key.indexed_value_type) != key.indexed_value_type:
            raise StackError(
                f"Temporal's database has the search attribute {key.name}, but not as "
                f"{_kind(key)}: delete temporal.db in the data folder, start, run billing rebuild"
            )
    missing = {k.name: k.indexed_value_type for k in ATTRIBUTES if k.name not in there}
    if missing:
        request = AddSearchAttributesRequest(namespace=NAMESPACE)
        for name, kind in missing.items():
            request.search_attributes[name] = IndexedValueType.ValueType(kind)
        await service.add_search_attributes(request)


def _kind(key: SearchAttributeKey[Any]) -> str:
    """The server's word for the type: Keyword, Datetime, KeywordList."""
    return key.indexed_value_type.name.title().replace("_", "")
