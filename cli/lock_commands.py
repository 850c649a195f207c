"""The verbs `billing locks`: who blocks whom in Postgres, and the end of it."""

import asyncio
from typing import Annotated

import typer

from billing.core.settings import Settings
from cli.servers import use_database
from cli.stack_commands import DEFAULT_DATA, Data, reporting_errors

app = typer.Typer(help="Sessions of Postgres that block others.", no_args_is_help=True)


@app.callback()
def locks() -> None:
    """Sessions of Postgres that block others."""


@app.command("list")
def list_(data: Data = DEFAULT_DATA) -> None:
    """List the sessions that others wait for."""
    from cli import locks

    with reporting_errors():
        use_database(data.resolve())
        lines = asyncio.run(locks.listing(Settings()))
    for line in lines or ["nobody blocks anybody"]:
        typer.echo(line)


@app.command()
def end(
    pid: Annotated[int, typer.Argument(help="Of the session, as the list tells it.", min=1)],
    reason: Annotated[str, typer.Option(help="For the audit.")],
    data: Data = DEFAULT_DATA,
) -> None:
    """End a session that blocks others: what it did not commit is undone. As DATABASE_OWNER_URL."""
    from cli import locks

    with reporting_errors():
        use_database(data.resolve())
        typer.echo(asyncio.run(locks.end(Settings(), pid, reason)))
