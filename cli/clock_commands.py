"""The verbs `billing clock show` and `billing clock advance`: a test account's time, by the API.

Everything due in between happens.
"""

import time
from typing import Annotated, Final

import httpx2
import typer
from rich.console import Console

from cli.operator_client import Json, content, new_key, operator, segment
from cli.stack_commands import Account, Data, Key, reporting_errors

POLL_SECONDS: Final = 0.2

app = typer.Typer(help="The clock of a test account.", no_args_is_help=True)


@app.command()
def show(account: Account, data: Data = None) -> None:
    """Show the current time of the account's clock."""
    with reporting_errors(), operator(data) as client:
        typer.echo(_words(_read(client, account)))


@app.command()
def advance(
    account: Account,
    days: Annotated[int, typer.Option(help="Number of days.", min=0)],
    key: Key = "",
    data: Data = None,
) -> None:
    """Advance a test account's clock by days, and wait for it."""
    key = key or new_key()
    with reporting_errors(), operator(data, key) as client:
        path = f"/admin/accounts/{segment(account)}/clock"
        clock = content(client.post(path, json={"advance_days": days}))
        with Console().status("on its way") as line:
            while clock["status"] == "advancing":
                time.sleep(POLL_SECONDS)
                clock = _read(client, account)
                line.update(f"at {clock['clock_at']}")
    typer.echo(_words(clock))
    if clock["status"] == "blocked":
        raise typer.Exit(1)


def _read(client: httpx2.Client, account: str) -> Json:
    return content(client.get(f"/admin/accounts/{segment(account)}/clock"))


def _words(clock: Json) -> str:
    target = f", on its way to {clock['target']}" if clock["target"] else ""
    why = f": {clock['blocked']}" if clock["blocked"] else ""
    return f"{clock['clock_at']} ({clock['status']}{why}){target}"
