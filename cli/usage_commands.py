"""The verbs `billing usage`: import a file of usage by the public API, and rebuild counters.

The import uses the running stack, or the API that `--url` and `--token` name.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final
from urllib.parse import quote

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from billing.core.settings import Settings
from billing.platform.accounts.schemas import ANY_ACCOUNT
from cli import tokens
from cli.errors import StackError
from cli.project import HAS_STACK
from cli.servers import running_stack, use_database
from cli.stack_commands import Data, reporting_errors

if TYPE_CHECKING:
    from cli.usage_import import Tally
    from durable_billing.client import BillingClient

STDIN: Final = "-"
UNFINISHED: Final = os.EX_TEMPFAIL
"""The exit code when the command must be repeated to finish; 2 is a wrong option."""

app = typer.Typer(help="Usage in bulk.", no_args_is_help=True)


class Kind(StrEnum):
    """File format of rows."""

    csv = "csv"
    jsonl = "jsonl"


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(help="A CSV or JSON lines file; - reads standard input.")],
    kind: Annotated[
        Kind | None, typer.Option("--format", help="Default: by the file's ending.")
    ] = None,
    account: Annotated[str, typer.Option(help="Account of rows that name none.")] = "",
    name: Annotated[str, typer.Option(help="Names standard input: same name, same rows.")] = "",
    url: Annotated[str, typer.Option(envvar="BILLING_URL", help="The API.")] = "",
    token: Annotated[str, typer.Option(envvar="BILLING_TOKEN", help="Its bearer token.")] = "",
    state: Annotated[Path | None, typer.Option(help="Progress: FILE.import.json.")] = None,
    rejected: Annotated[Path | None, typer.Option(help="Rejected: FILE.rejected.jsonl.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Send all rows again.")] = False,
    patience: Annotated[
        float, typer.Option(help="Seconds to wait for an unavailable API.")
    ] = 120.0,
    data: Data = None,
) -> None:
    """Record the rows of a file. Run it again to continue where it stopped.

    Exit code 1: rows were rejected, or the import failed. 75: unfinished, run it again.
    """
    with reporting_errors():
        client, address = _client(data, url, token, account)
        path = None if file == STDIN else Path(file)
        source = _source(path, name)
        base = path or Path(f"stdin-{quote(name, safe='')}" if name else "stdin")
        away = rejected or base.with_name(base.name + ".rejected.jsonl")
        kept = state or (path and path.with_name(path.name + ".import.json"))
        form = kind or (Kind.csv if path and path.suffix.lower() == ".csv" else Kind.jsonl)
        of = account or tokens.own_account(token)
        target = f"{address} ({f'account {of}' if of else 'no --account'})"
        tally = _progress(kept, source, target, restart)
        known = tally.finished
        if not known:
            _run(client, tally, path, form, kept, away, patience)
    words = f"{tally.recorded} recorded, {tally.duplicate} known before, {tally.rejected} rejected"
    words += f" ({away})" if tally.rejected else ""
    typer.echo(
        f"{file}: already finished ({words}); --restart sends all rows again"
        if known
        else f"{file}: {words}"
    )
    if tally.rejected:
        raise typer.Exit(1)


@app.command("rebuild-counters")
def rebuild_counters(
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Only compare; exit code 1 if any differ.")
    ] = False,
    data: Data = None,
) -> None:
    """Correct counters from their records. An account's uses wait while a day's are corrected."""
    from cli import counter_repair

    with reporting_errors():
        use_database(data)
        wrong = asyncio.run(
            counter_repair.check(Settings(), account, typer.echo, write=not compare)
        )
    typer.echo(f"{wrong} counters {'differ' if compare else 'set right'}")
    if compare and wrong:
        raise typer.Exit(1)


def _progress(state: Path | None, source: str, target: str, restart: bool) -> "Tally":
    """Return how far the import is; a restart forgets it. Errors: StackError."""
    from cli.usage_import import read_tally

    if restart and state is not None:
        state.unlink(missing_ok=True)
    return read_tally(state, source, target)


def _run(
    client: "BillingClient",
    tally: "Tally",
    path: Path | None,
    kind: Kind,
    state: Path | None,
    rejected: Path,
    patience: float,
) -> None:
    from cli.usage_file import UsageFile
    from cli.usage_import import Import, Unfinished
    from durable_billing.events import FIELDS

    one = Import(client, tally, state=state, rejected=rejected, patience_seconds=patience)
    with _opened(path) as stream, _bar(path) as show:
        rows = UsageFile(stream, kind.value, FIELDS)
        try:
            one.run(rows, lambda: show(rows.bytes_read))
        except Unfinished as error:
            Console(stderr=True).print(
                str(error), style="yellow", markup=False, highlight=False, soft_wrap=True
            )
            raise typer.Exit(UNFINISHED) from error


def _client(data: Path | None, url: str, token: str, account: str) -> "tuple[BillingClient, str]":
    """Return a client and its API's address: those given, else the running stack's."""
    try:
        from durable_billing.client import BillingClient
    except ImportError as error:
        raise StackError("the Python client is missing: pip install clients/python") from error
    if url:
        if not token:
            raise StackError("give a --token for that --url")
        return BillingClient(url, token, account=account or None), url.rstrip("/")
    if not HAS_STACK:
        raise StackError("name the API: set --url (BILLING_URL) and --token (BILLING_TOKEN)")
    stack = running_stack(data)

    def mint() -> str:
        return tokens.mint_token(
            secret=stack.jwt_secret,
            account=ANY_ACCOUNT,
            roles=["service"],
            subject="usage-import",
            audience=stack.jwt_audience,
            issuer=stack.jwt_issuer,
        )

    # A proxy set in the environment must not be used for the local stack.
    client = BillingClient(stack.api_url, token or mint, account=account or None, trust_env=False)
    return client, stack.api_url


def _source(path: Path | None, name: str) -> str:
    """Return the id prefix for rows without an id. Errors: StackError."""
    if path is None:
        return name
    from cli.usage_import import fingerprint

    try:
        return fingerprint(path)
    except OSError as error:
        raise StackError(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def _opened(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdin.buffer
        return
    with path.open("rb") as stream:
        yield stream


@contextmanager
def _bar(path: Path | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr, if it is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    unseen = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=unseen) as bar:
        total = path.stat().st_size if path else None
        task = bar.add_task(path.name if path else "standard input", total=total)
        yield lambda done: bar.update(task, completed=done)
