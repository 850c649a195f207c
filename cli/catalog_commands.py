"""The verbs `billing catalog diff` and `billing catalog apply`.

Both work on the running stack, or on the database that the environment names.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.stack_commands import DEFAULT_DATA, Data, reporting_errors
from devstack.options import ROOT
from devstack.stack import use_database

DEFAULT_FILE: Final = ROOT / "catalog.yaml"
File = Annotated[Path, typer.Option(help="The catalog to read.", show_default="catalog.yaml")]

app = typer.Typer(help="What is sold: plans, prices, packs, costs.", no_args_is_help=True)


@app.command()
def diff(file: File = DEFAULT_FILE, data: Data = DEFAULT_DATA) -> None:
    """Show what apply would change, whom it touches, what it does to the monthly revenue."""
    from cli import catalog

    with reporting_errors():
        use_database(data.resolve())
        changes = catalog.compare(file)
    _say(change.words for change in changes)


@app.command()
def apply(file: File = DEFAULT_FILE, data: Data = DEFAULT_DATA) -> None:
    """Sell exactly what the file says; whoever has bought keeps what was bought."""
    from cli import catalog

    with reporting_errors():
        use_database(data.resolve())
        changes = catalog.apply(file)
    _say(change.words for change in changes)


def _say(lines: Iterable[str]) -> None:
    for line in list(lines) or ["nothing changes"]:
        typer.echo(line)
