"""The verbs `billing verify` and `billing rebuild`: right books, a workflow for all that is open.

Both work on the running stack, or on the servers that the environment names.
"""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from temporalio.service import RPCError

from billing.core.settings import Settings
from billing.insight.integrity.schemas import Report
from cli.stack_commands import DEFAULT_DATA, Data, reporting_errors
from devstack.errors import StackError
from devstack.stack import use_database

T = TypeVar("T")


def verify(
    temporal: Annotated[bool, typer.Option(help="Also compare with running workflows.")] = True,
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Evaluate every invariant of the books; exit code 1 when one is broken."""
    from cli import verify

    with reporting_errors():
        use_database(data.resolve())
        report = _asked(verify.verify(Settings(), account=account, temporal=temporal))
    Console(soft_wrap=True).print(_table(report))
    wrong = sum(not check.ok for check in report.checks)
    typer.echo(f"{len(report.checks)} checks, {wrong} broken")
    if wrong:
        raise typer.Exit(1)


def rebuild(data: Data = DEFAULT_DATA) -> None:
    """Start every workflow that is missing, from what Postgres knows; safe to repeat."""
    from cli import rebuild as rebuilding

    console = Console(soft_wrap=True)
    columns = (TextColumn("matters"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with reporting_errors():
        use_database(data.resolve())
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("matters", total=None)
            done = _asked(
                rebuilding.rebuild(
                    Settings(),
                    lambda count, total: bar.update(task, completed=count, total=total),
                )
            )
    typer.echo(done.words)


def ask_taxes(
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Have the tax provider asked for every account that it was never asked for."""
    from cli import ask_taxes

    with reporting_errors():
        use_database(data.resolve())
        settings = Settings()
        if settings.tax_provider == "catalog":
            raise StackError("BILLING_TAX_PROVIDER is catalog: there is nobody to ask")
        count = _asked(ask_taxes.ask_taxes(settings, account=account))
    typer.echo(f"{count} accounts are about to be asked for")


def _asked(work: Coroutine[Any, Any, T]) -> T:
    """Run it; a server that is away is told in one sentence."""
    try:
        return asyncio.run(work)
    except RPCError as error:
        raise StackError(f"Temporal does not answer ({error.message}): is it running?") from error
    except RuntimeError as error:
        if not str(error).startswith("Failed client connect"):  # the SDK's own bare error
            raise
        raise StackError("Temporal does not answer: is it running?") from error


def _table(report: Report) -> Table:
    table = Table.grid(padding=(0, 2))
    for check in report.checks:
        mark = "[green]✓[/]" if check.ok else "[red]✗[/]"
        table.add_row(mark, check.invariant, check.sentence)
        if not check.ok:
            table.add_row("", "", f"[red]{check.violations}: {', '.join(check.examples)}[/]")
    return table
