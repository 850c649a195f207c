"""The stack's own Temporal server, with its namespace.

One SQLite file holds everything; the pragmas and the two rates make it three times faster.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.health import answers
from devstack.binaries import temporal_program
from devstack.data_folder import DataFolder
from devstack.environment import system_environment
from devstack.ports import HOST, Ports
from devstack.process import Spec

NAMESPACE: Final = "billing"
IN_FLIGHT: Final = 100
"""Updates that a run may have in flight: each caller who waits for a matter has one."""

# One history shard loads 20 tasks a second unless told otherwise.
FLAGS: Final = (
    *("--dynamic-config-value", "history.transferProcessorMaxPollRPS=1000"),
    *("--dynamic-config-value", "history.timerProcessorMaxPollRPS=1000"),
    *("--dynamic-config-value", f"history.maxInFlightUpdates={IN_FLIGHT}"),
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
        """Return the process specification; ready means that namespace and attributes exist."""
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
                *("--db-filename", str(self.file), "--namespace", NAMESPACE, *FLAGS),
            ),
            env=system_environment(),
            cwd=self.folder.path,
            probe=self._ready,
        )

    def forget_everything(self) -> None:
        """Delete the stopped server's database, and with it every workflow."""
        for suffix in ("", "-wal", "-shm"):
            self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)

    async def _ready(self) -> bool:
        from devstack.temporal_attributes import register_attributes

        await register_attributes(self.address, NAMESPACE)
        return not self.ui or await answers(self.ports.temporal_ui, "/healthz")
