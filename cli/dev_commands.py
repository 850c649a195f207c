"""The verbs that run a stack on this machine: up and down."""

import time
from typing import Annotated, Final

import typer
from rich.console import Console

from billing.core.profile import Profile
from cli.errors import StackError
from cli.project import data_folder
from cli.stack_commands import Data, reporting_errors
from devstack import launch
from devstack.options import CHILDREN, ChildName, Options
from devstack.progress import StartProgress, show_stack

NOTHING_RUNS: Final = "interrupted; nothing is left running"


def up(
    data: Data = None,
    free_ports: Annotated[
        bool, typer.Option("--free-ports", help="Free ports instead of the fixed ones.")
    ] = False,
    headless: Annotated[
        bool, typer.Option("--headless", help="Without Temporal's web interface.")
    ] = False,
    only: Annotated[str, typer.Option(help="Only these parts, comma-separated.")] = "",
    owner: Annotated[int | None, typer.Option(help="Stop when this process ends.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Short timeouts and failpoints.")] = False,
) -> None:
    """Start the stack and keep it running."""
    console = Console()
    profile: Profile = "test" if test else "default"
    begun = time.monotonic()
    with reporting_errors(NOTHING_RUNS), StartProgress(console) as progress:
        options = Options(
            data=data_folder(data),
            profile=profile,
            free_ports=free_ports,
            children=chosen_parts(only),
            ui=not headless,
            owner=owner,
        )
        running = launch.launch(options, progress)
    console.print(f"ready in {time.monotonic() - begun:.1f} s; stop it with [bold]make down[/]")
    show_stack(console, running.info)


def down(data: Data = None) -> None:
    """Stop the stack; the data stays."""
    folder = data_folder(data)
    with reporting_errors():
        stopped = launch.stop(folder)
    Console().print("stopped" if stopped else f"no stack runs on {folder}")


def chosen_parts(only: str) -> tuple[ChildName, ...]:
    """Return the named parts, all when empty. Errors: StackError on an unknown name."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    if unknown := [name for name in names if name not in CHILDREN]:
        raise StackError(f"unknown part {unknown[0]!r}; known are {', '.join(CHILDREN)}")
    return tuple(name for name in CHILDREN if not names or name in names)
