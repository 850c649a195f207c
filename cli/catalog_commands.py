"""The verbs `billing catalog diff` and `billing catalog apply`.

Both work on the running stack, or on the database that the settings name.
"""

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import typer

from cli import catalog_table
from cli.errors import StackError
from cli.project import ROOT
from cli.servers import use_database
from cli.stack_commands import Data, reporting_errors

DEFAULT_FILE: Final = ROOT / "catalog.yaml"
File = Annotated[Path, typer.Option(help="The catalog to read.", show_default="catalog.yaml")]

app = typer.Typer(help="The catalog: plans, prices, packs, costs.", no_args_is_help=True)


@app.command()
def diff(file: File = DEFAULT_FILE, data: Data = None) -> None:
    """Show what apply would change, for whom, and the money affected."""
    from cli import catalog

    with reporting_errors():
        use_database(data)
        changes = asyncio.run(catalog.compare(catalog.read(file)))
    _show(catalog.words(changes))


@app.command()
def apply(
    file: File = DEFAULT_FILE,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    allow_large_change: Annotated[
        bool,
        typer.Option(
            "--allow-large-change", help="Allow removals, and price changes of over 50 %."
        ),
    ] = False,
    data: Data = None,
) -> None:
    """Show the changes, ask, and apply them. Existing purchases stay as they are."""
    from cli import catalog

    with reporting_errors():
        use_database(data)
        wanted = catalog.read(file)
        changes = asyncio.run(catalog.compare(wanted))
        _show(catalog.words(changes))
        if not changes:
            return
        if not allow_large_change:
            catalog.demand_small(changes)
        if not yes:
            _ask()
        asyncio.run(catalog.apply(wanted, changes))
    typer.echo("applied")


app.command()(catalog_table.fields)


def _show(lines: Iterable[str]) -> None:
    for line in list(lines) or ["nothing changes"]:
        typer.echo(line)


def _ask() -> None:
    if not sys.stdin.isatty():
        raise StackError("nothing was applied: there is no terminal to confirm at; use --yes")
    if not typer.confirm("Apply this?"):
        raise StackError("nothing was applied")
