"""The verb `billing usage rebuild-counters`: usage counters made from the records again."""

import asyncio
from typing import Annotated

import typer

from billing.core.settings import Settings
from embedded.commands import DEFAULT_DATA, Data, told
from embedded.stack import use_stack

app = typer.Typer(help="What was used.", no_args_is_help=True)


@app.callback()
def usage() -> None:
    """What was used."""


@app.command("rebuild-counters")
def rebuild_counters(
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    compare: Annotated[bool, typer.Option(help="Only look; exit code 1 if any differ.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Set counters right that their records do not bear out; an account's uses wait meanwhile."""
    from embedded import counters

    with told():
        use_stack(data.resolve())
        wrong = asyncio.run(counters.check(Settings(), account, typer.echo, write=not compare))
    typer.echo(f"{wrong} counters {'differ' if compare else 'set right'}")
    if compare and wrong:
        raise typer.Exit(1)
