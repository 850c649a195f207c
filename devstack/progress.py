"""Shows the start of a stack on the console: a line per part, with a spinner until it is ready.

On a terminal it is redrawn in place; elsewhere each part gets one plain line when ready.
"""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from devstack.stack import StackInfo

TITLES: Final = {
    "postgres": "PostgreSQL",
    "temporal": "Temporal",
    "sandbox": "Stripe sandbox",
    "provision": "migrations and catalog",
    "worker": "worker",
    "api": "API",
}


class StartProgress:
    """The listener for `launch`, used in a `with` block."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._spinners: dict[str, Spinner] = {}
        self._live = Live(console=console, refresh_per_second=12, transient=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.update(self._table(), refresh=True)
            self._live.stop()

    def __call__(self, event: dict[str, str]) -> None:
        """Show one event of the supervisor."""
        if note := event.get("note"):
            self._console.print(note)
        part, state = event.get("part", ""), event.get("state", "")
        if state == "starting":
            self._begun[part] = time.monotonic()
            self._spinners[part] = Spinner("dots")
        elif state == "ready":
            self._took[part] = time.monotonic() - self._begun[part]
            if not self._console.is_terminal:
                self._console.print(f"{TITLES[part]} ready in {self._took[part]:.1f} s")
        if self._console.is_terminal:
            self._live.update(self._table())

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for part in self._begun:
            took = self._took.get(part)
            mark = self._spinners[part] if took is None else Text("✓", style="green")
            table.add_row(mark, TITLES[part], "" if took is None else f"{took:.1f} s")
        return table


def show_stack(console: Console, info: StackInfo) -> None:
    """Print the most important addresses."""
    table = Table.grid(padding=(0, 3))
    rows = {
        "api": ("API docs", info.api_docs_url),
        "temporal": ("Temporal UI", info.temporal_ui_url),
        "sandbox": ("Stripe sandbox", info.sandbox_url),
        "postgres": ("PostgreSQL", f"{info.ports.postgres} on 127.0.0.1"),
    }
    for part, (title, address) in rows.items():
        if part in info.children and (part != "temporal" or info.ui):
            table.add_row(f"  {title}", Text(address, style="cyan"))
    table.add_row("  everything else", Text(str(info.data / "stack.json"), style="cyan"))
    console.print(table)
