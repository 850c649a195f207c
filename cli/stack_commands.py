"""The verbs doctor, token and migrate, and the parts that all commands share.

Each verb is a small function; the modules that it calls do the work.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console

from billing.core.settings import load_settings, reasons
from billing.platform.accounts.schemas import ANY_ACCOUNT
from cli import tokens
from cli.errors import StackError
from cli.project import HAS_STACK
from cli.servers import servers_named, use_database, use_stack

Data = Annotated[
    Path | None,
    typer.Option(
        envvar="STACK_DATA", help="The stack's folder; .data when left out.", show_default=False
    ),
]
"""None if it was left out: only then the database that `.env` names goes before a stack."""
Account = Annotated[str, typer.Argument(help="The account: acc_… or its external id.")]
Key = Annotated[str, typer.Option(help="Idempotency-Key: a repeat does nothing twice.")]


def doctor(data: Data = None) -> None:
    """Check the health of the product. Exit code 1: a check failed or could not be made."""
    from billing.core.settings import Settings
    from cli.doctor import examine

    with reporting_errors():
        stack = use_database(data)
        well = examine(Settings(), stack, Console())
    if not well:
        raise typer.Exit(1)


def status(data: Data = None) -> None:
    """Show what runs, where, and how it is.

    A word on each part; `billing doctor` checks all of them.
    """
    from billing.core.settings import Settings
    from cli.doctor import show_parts

    with reporting_errors():
        stack = use_database(data)
        if stack is not None:
            from devstack.progress import show_stack

            show_stack(Console(), stack)
        show_parts(Settings(), stack, Console())


def token(
    account: Annotated[str, typer.Option(help="Account id, or * for the operator.")] = "*",
    roles: Annotated[str, typer.Option(help="Comma list: member, billing, admin, service.")] = "",
    sub: Annotated[str, typer.Option(help="The subject.")] = "developer",
    ttl: Annotated[int, typer.Option(help="Validity in seconds.", min=1)] = tokens.TTL_SECONDS,
    new_account: Annotated[
        bool, typer.Option("--new-account", help="Allow an account that does not exist yet.")
    ] = False,
    data: Data = None,
) -> None:
    """Print a development token for the running stack. Refuses what the API would not accept."""
    wanted = roles or ("admin" if account == ANY_ACCOUNT else "billing")
    names = [name.strip() for name in wanted.split(",")]
    with reporting_errors():
        tokens.refuse_unfit(account, names, sub)
        has_database = use_stack(data) or servers_named(data)
        minted = tokens.own_token(account, names, sub, ttl_seconds=ttl)
        if minted is None:
            raise StackError(
                "no secret to sign with: start a stack (make up) or set JWT_SECRET; with"
                " JWT_JWKS_URL the identity provider signs"
            )
        if has_database and account != ANY_ACCOUNT and not new_account:
            asyncio.run(tokens.refuse_unknown(load_settings(), account))
    typer.echo(minted)


def migrate(
    revision: Annotated[str, typer.Argument(help="Target; the newest when left out.")] = "head",
    data: Data = None,
) -> None:
    """Migrate the database, and restore missing rights.

    The database is DATABASE_OWNER_URL, else the running stack's. Missing constraints, indexes,
    triggers and policies are restored too. Exit code 1: something could not be restored.
    """
    from cli import provision

    with reporting_errors():
        use_stack(data)
        done = provision.migrate(revision)
    for line in done.lines:
        typer.echo(line)
    if not done.is_whole:
        raise typer.Exit(1)


@contextmanager
def reporting_errors(interrupted: str = "interrupted") -> Iterator[None]:
    """Report a refusal, an unavailable database or a missing right in one line with exit code 1; a
    request that can never succeed with exit code 2. `interrupted` is the line for Ctrl-C.
    """
    try:
        yield
    except StackError as error:
        _refuse(str(error), error.exit_code)
    except ValidationError as error:
        if error.title != "Settings":
            raise
        _refuse(reasons(error))
    except SettingsError as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        _refuse(interrupted)
    except _database_errors() as error:
        if (problem := _problem(error)) is None:
            raise
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
        _refuse(f"{problem} ({reason})")


def _problem(error: Exception) -> str | None:
    """Return the problem of the database and its solution; None for an error of the program."""
    from billing.core import database_errors as errors
    from billing.core.database_roles import SEE_ALL

    if errors.hides_rows(error):
        return (
            "row-level security hides rows from the role of DATABASE_OPERATOR_URL:"
            f" {SEE_ALL}, see docs/runbook.md#rights"
        )
    if errors.lacks_right(error):
        return "a role lacks a right: run billing migrate, see docs/runbook.md#rights"
    if not errors.database_is_away(error):
        return None
    if errors.is_full(error):
        return "Postgres has no free connections: see docs/runbook.md#pools"
    if errors.has_no_room(error):
        return "Postgres's disk is full, make room: see docs/runbook.md#disk"
    if errors.takes_no_writes(error):
        return "Postgres takes no writes: see docs/runbook.md#database"
    if errors.refuses_password(error):
        urls = "DATABASE_URL, DATABASE_OPERATOR_URL and DATABASE_OWNER_URL"
        return f"Postgres refuses the password: see {urls}"
    cure = "start the stack with make up" if HAS_STACK else "see DATABASE_URL"
    return f"the database does not answer: {cure}"


def _database_errors() -> tuple[type[Exception], ...]:
    """Return the drivers' errors, imported only after a failure: the drivers load slowly."""
    import psycopg
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    return psycopg.OperationalError, DBAPIError, PoolTimeout


def _refuse(sentence: str, exit_code: int = 1) -> NoReturn:
    Console(stderr=True).print(sentence, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(exit_code)
