"""The verbs `billing months`: move months of uses between the table and files.

They connect as the tables' owner (DATABASE_OWNER_URL), as `billing migrate` does.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from billing.core.settings import Settings
from cli.errors import StackError
from cli.pages import show_table
from cli.servers import use_database
from cli.stack_commands import Data, reporting_errors

app = typer.Typer(help="Months of uses, in the table or in files.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Such as 2026-01; before: all older records.")]


@app.command("list")
def list_(data: Data = None) -> None:
    """List the months, their records and size, and where they are."""
    from cli import months

    with reporting_errors():
        use_database(data)
        lines = months.listing(Settings())
    show_table(Console(), lines)


@app.command()
def export(
    month: Name,
    to: Annotated[Path, typer.Option("--to", help="The folder of the file.")],
    data: Data = None,
) -> None:
    """Write a month to a Parquet file, read it back and compare. The table keeps it."""
    from cli import months

    with reporting_errors():
        use_database(data)
        typer.echo(months.export(Settings(), month, to))


@app.command()
def detach(
    month: Name,
    file: Annotated[Path | None, typer.Option(help="Where the file is now, if moved.")] = None,
    data: Data = None,
) -> None:
    """Remove an exported month from the table. Its sums stay; the file has its rows."""
    from cli import months

    with reporting_errors():
        use_database(data)
        typer.echo(months.detach(Settings(), month, file))


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A file that a month was exported to.")],
    data: Data = None,
) -> None:
    """Read a month back from its file into the table."""
    from cli import months

    with reporting_errors():
        use_database(data)
        typer.echo(months.bring_back(Settings(), file))


@app.command()
def verify(
    folder: Annotated[
        Path | None, typer.Option("--in", help="The folder of the files, if moved.")
    ] = None,
    data: Data = None,
) -> None:
    """Compare the files of detached months with their digests."""
    from cli import months

    with reporting_errors():
        use_database(data)
        right, wrong = months.verify(Settings(), folder)
        for line in right or ["no month is away"] * (not wrong):
            typer.echo(line)
        if wrong:
            raise StackError("\n".join(wrong))


@app.command()
def make(data: Data = None) -> None:
    """Create the months of the next half year, as the daily job does."""
    from cli import months

    with reporting_errors():
        use_database(data)
        typer.echo(months.make(Settings()))
