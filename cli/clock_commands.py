"""The verbs `billing clock show` and `billing clock advance`: a test account's time, by the API.

An operator's token is minted from the stack's own secret; everything due on the way happens.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import httpx2
import typer
from rich.console import Console

from cli import tokens
from cli.stack_commands import DEFAULT_DATA, Data, reporting_errors
from devstack.errors import StackError
from devstack.stack import use_stack

API: Final = "/api/v1"
TIMEOUT_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.2
Account = Annotated[str, typer.Argument(help="Account id or external id.")]
Json = dict[str, Any]

app = typer.Typer(help="The clock of a test account.", no_args_is_help=True)


@app.command()
def show(account: Account, data: Data = DEFAULT_DATA) -> None:
    """Show where the account's clock stands."""
    with reporting_errors(), _operator(data) as client:
        typer.echo(_words(_read(client, account)))


@app.command()
def advance(
    account: Account,
    days: Annotated[int, typer.Option(help="How many days to let pass.", min=0)],
    data: Data = DEFAULT_DATA,
) -> None:
    """Let days pass for a test account, and wait until its clock has arrived."""
    with reporting_errors(), _operator(data) as client:
        path = f"{API}/admin/accounts/{account}/clock"
        clock = _json(client.post(path, json={"advance_days": days}))
        with Console().status("on its way") as line:
            while clock["status"] == "advancing":
                time.sleep(POLL_SECONDS)
                clock = _read(client, account)
                line.update(f"at {clock['clock_at']}")
    typer.echo(_words(clock))
    if clock["status"] == "blocked":
        raise typer.Exit(1)


@contextmanager
def _operator(data: Data) -> Iterator[httpx2.Client]:
    """An operator at the running API. Errors: StackError when there is none, or it is away."""
    use_stack(data.resolve())
    address, secret = os.environ.get("BILLING_PUBLIC_URL"), os.environ.get("JWT_SECRET")
    if not address or not secret:
        raise StackError("no stack to ask: start one (make up), or set BILLING_PUBLIC_URL and "
                         "JWT_SECRET")  # fmt: skip
    token = tokens.mint_token(
        secret=secret,
        account=tokens.EVERY_ACCOUNT,
        roles=["admin"],
        subject="command-line",
        audience=os.environ.get("JWT_AUDIENCE", "durable-billing"),
        issuer=os.environ.get("JWT_ISSUER", "durable-billing"),
    )
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with httpx2.Client(
            base_url=address, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False
        ) as client:
            yield client
    except httpx2.TransportError as error:
        raise StackError(f"the API on {address} does not answer: is it running?") from error


def _read(client: httpx2.Client, account: str) -> Json:
    return _json(client.get(f"{API}/admin/accounts/{account}/clock"))


def _json(answer: httpx2.Response) -> Json:
    found: Json = answer.json()
    if not answer.is_success:
        raise StackError(f"{found.get('code')}: {found.get('detail')}")
    return found


def _words(clock: Json) -> str:
    target = f", on its way to {clock['target']}" if clock["target"] else ""
    why = f": {clock['blocked']}" if clock["blocked"] else ""
    return f"{clock['clock_at']} ({clock['status']}{why}){target}"
