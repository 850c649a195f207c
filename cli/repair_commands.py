"""The verbs that check and repair the books and workflows, also after a restore: `billing verify`,
`rebuild`, `park`, `unpark` and others.

All work on the running stack, or on the servers that the settings name.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Annotated, Any, Final, Protocol, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text
from temporalio.service import RPCError

from billing.core.errors import BillingError
from billing.core.settings import Settings
from billing.insight.integrity.schemas import Report
from cli.errors import StackError
from cli.pages import show_table
from cli.servers import use_database
from cli.stack_commands import Data, reporting_errors

T = TypeVar("T")
PROGRESS_SECONDS: Final = 10.0
RATE: Final = 30.0
"""Starts per second of a rebuild, by default."""


class Tell(Protocol):
    """Shows the progress: done, total, and what the command does or waits for."""

    def __call__(self, count: int, total: int, doing: str = "", /) -> None: ...


def verify(
    temporal: Annotated[bool, typer.Option(help="Also compare with running workflows.")] = True,
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All accounts: the default.")] = False,
    data: Data = None,
) -> None:
    """Evaluate every invariant of the books. Exit code 1: one is broken."""
    from cli import verify

    with reporting_errors(), _progress("accounts") as tell:
        if everything and account is not None:
            raise StackError("set either --all or --account")
        use_database(data)
        report = _asked(verify.verify(Settings(), account=account, temporal=temporal, tell=tell))
    show_table(Console(), _rows(report))
    wrong = sum(not check.ok for check in report.checks)
    typer.echo(f"{len(report.checks)} checks, {wrong} broken")
    if wrong:
        raise typer.Exit(1)


def rebuild(
    rate: Annotated[
        float, typer.Option(min=0, help="Maximum starts per second; 0: no limit.")
    ] = RATE,
    data: Data = None,
) -> None:
    """Start every missing workflow from the database. It is safe to repeat.

    Customers are served meanwhile. It ends when every workflow has begun or sleeps until its next
    step; exit code 1: some have not begun.
    """
    from cli import rebuild as rebuilding

    with reporting_errors(), _progress("matters") as tell:
        use_database(data)
        done = _asked(rebuilding.rebuild(Settings(), tell, rate))
    typer.echo(done.words)
    if done.late:
        raise typer.Exit(1)


def ask_taxes(
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    data: Data = None,
) -> None:
    """Query the tax provider for accounts never queried before."""
    from cli import ask_taxes

    with reporting_errors():
        use_database(data)
        settings = Settings()
        if settings.tax_provider == "catalog":
            raise StackError("BILLING_TAX_PROVIDER is catalog: there is no tax provider to ask")
        count = _asked(ask_taxes.ask_taxes(settings, account=account))
    typer.echo(f"{count} accounts are about to be asked for")


def park(
    reason: Annotated[str, typer.Option(help="Shown to whoever finds billing parked.")],
    data: Data = None,
) -> None:
    """Stop all steps and money movements. Use it after a restore; `billing unpark` ends it."""
    from cli import parking

    with reporting_errors():
        use_database(data)
        typer.echo(asyncio.run(parking.park(Settings(), reason)))


def unpark(data: Data = None) -> None:
    """Let steps run and money move again. Exit code 1: Temporal took not every call."""
    from cli import parking

    with reporting_errors():
        use_database(data)
        done = "money may move again, but "  # all that is asked of Temporal comes after it
        _tell(*_asked(parking.unpark(Settings()), done))


def resume(data: Data = None) -> None:
    """Have halted matters, and unreached charges, try again now. Exit code 1: Temporal took not
    every call.
    """
    from cli import resuming

    with reporting_errors():
        use_database(data)
        _tell(*_asked(resuming.resume(Settings())))


def step_back(data: Data = None) -> None:
    """Count what the release before does not know. Exit code 1: a step back to it is not safe."""
    from cli import step_back as stepping

    with reporting_errors():
        use_database(data)
        lines = asyncio.run(stepping.unknown(Settings()))
    for line in lines:
        typer.echo(line)
    if lines:
        typer.echo(f"a step back to {stepping.BEFORE} is not safe: it does not know these")
        raise typer.Exit(1)
    typer.echo(f"{stepping.BEFORE} knows every row that is in use")


def skip_numbers(
    number: Annotated[str, typer.Argument(help="The last number issued, such as INV-000123.")],
    reason: Annotated[str, typer.Option(help="Explains the gap in the numbers.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell how many, and skip none.")
    ] = False,
    data: Data = None,
) -> None:
    """Skip the numbers that were issued after the backup. Nothing undoes it: try --dry-run."""
    from cli import parking

    with reporting_errors():
        use_database(data)
        typer.echo(asyncio.run(parking.skip_numbers(Settings(), number, reason, dry_run=dry_run)))


def catch_up(
    since: Annotated[
        datetime | None, typer.Option(help="UTC; default: an hour before the data ends.")
    ] = None,
    data: Data = None,
) -> None:
    """Find and record what Stripe did after the backup."""
    from cli import catch_up as catching_up

    at = since.replace(tzinfo=UTC) if since else None
    with reporting_errors():
        use_database(data)
        try:
            counts = asyncio.run(catching_up.catch_up(Settings(), at, typer.echo))
        except BillingError as error:
            raise StackError(f"not done, repeat the command: {error.detail}") from error
    told = (f"{count} {what.replace('_', ' ')}" for what, count in sorted(counts.items()) if count)
    typer.echo(", ".join(told) or "nothing of ours")


@contextmanager
def _progress(what: str) -> Iterator[Tell]:
    """Yield what shows the progress: a bar on a terminal, else a line every ten seconds."""
    console, last = Console(soft_wrap=True), monotonic()

    def tell(count: int, total: int, doing: str = "", /) -> None:
        nonlocal last
        bar.update(task, completed=count, total=total or None, doing=doing)
        if not console.is_terminal and monotonic() - last > PROGRESS_SECONDS:
            typer.echo(f"{count} of {total} {what}{doing and ': '}{doing}")
            last = monotonic()

    shown = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    columns = (TextColumn(what), *shown, TextColumn("{task.fields[doing]}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None, doing="")
        yield tell


def _tell(sentence: str, failed: Sequence[str]) -> None:
    """Print what was done, and a line for each call that failed; end with exit code 1 if any."""
    typer.echo(sentence)
    for line in failed:
        typer.echo(line, err=True)
    if failed:
        raise typer.Exit(1)


def _asked(work: Coroutine[Any, Any, T], done: str = "") -> T:
    """Run `work`. Errors: StackError when Temporal does not answer, with what is `done` by then."""
    try:
        return asyncio.run(work)
    except RPCError as error:
        away = f"{done}Temporal does not answer ({error.message}): is it running?"
        raise StackError(away) from error
    except RuntimeError as error:
        from workflows.client import never_connected

        if not never_connected(error):
            raise
        raise StackError(f"{done}Temporal does not answer: is it running?") from error


def _rows(report: Report) -> Iterator[tuple[str | Text, str, str | Text]]:
    for check in report.checks:
        yield Text("✓", "green") if check.ok else Text("✗", "red"), check.invariant, check.sentence
        if not check.ok:
            yield "", "", Text(f"{check.violations}: {', '.join(check.examples)}", "red")
