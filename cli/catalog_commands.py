"""The verbs `billing catalog diff` and `billing catalog apply`.

Both work on the running stack, or on the database that the environment names.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import typer

from cli import catalog_table
from cli.errors import StackError
from cli.project import ROOT
from cli.servers import use_database
from cli.stack_commands import DEFAULT_DATA, Data, reporting_errors

DEFAULT_FILE: Final = ROOT / "catalog.yaml"
File = Annotated[Path, typer.Option(help="The catalog to read.", show_default="catalog.yaml")]

app = typer.Typer(help="What is sold: plans, prices, packs, costs.", no_args_is_help=True)


@app.command()
def diff(file: File = DEFAULT_FILE, data: Data = DEFAULT_DATA) -> None:
    """Show what apply would change, whom it touches, and their money."""
    from cli import catalog

    with reporting_errors():
        use_database(data.resolve())
        changes = catalog.compare(catalog.read(file))
    _show(catalog.words(changes))


@app.command()
def apply(
    file: File = DEFAULT_FILE,
    yes: Annotated[bool, typer.Option("--yes", help="Go on without asking.")] = False,
    allow_large_change: Annotated[
        bool,
        typer.Option(
            "--allow-large-change", help="Also what goes away, and prices that change by over 50 %."
        ),
    ] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Show it, ask, and sell what the file says. Who has bought keeps what was bought."""
    from cli import catalog

    with reporting_errors():
        use_database(data.resolve())
        wanted = catalog.read(file)
        changes = catalog.compare(wanted)
        _show(catalog.words(changes))
        if not changes:
            return
        if not allow_large_change:
            catalog.demand_small(changes)
        if not yes:
            _ask()
        catalog.apply(wanted, changes)
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
