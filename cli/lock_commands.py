"""The verbs `billing locks`: list and end Postgres sessions that block others."""

import asyncio
from typing import Annotated

import typer

from billing.core.settings import Settings
from cli.servers import use_database
from cli.stack_commands import Data, reporting_errors

app = typer.Typer(help="Postgres sessions that block others.", no_args_is_help=True)


@app.command("list")
def list_(data: Data = None) -> None:
    """List sessions that others wait for, or may have to."""
    from cli import locks

    with reporting_errors():
        use_database(data)
        lines = asyncio.run(locks.listing(Settings()))
    nobody = "nobody blocks anybody, keeps a table locked, or is idle in a transaction"
    for line in lines or [nobody]:
        typer.echo(line)


@app.command()
def end(
    pid: Annotated[int, typer.Argument(help="The session's pid, from the list.", min=1)],
    reason: Annotated[str, typer.Option(help="For the audit.")],
    data: Data = None,
) -> None:
    """End a session that blocks others. Postgres rolls it back. Needs DATABASE_OWNER_URL."""
    from cli import locks

    with reporting_errors():
        use_database(data)
        typer.echo(asyncio.run(locks.end(Settings(), pid, reason)))
