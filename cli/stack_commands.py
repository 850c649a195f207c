"""The verbs that run a stack: up, down, status, token, migrate.

Each is a small function; the work is in the modules it calls.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console

from cli import tokens
from devstack import launch
from devstack.errors import StackError
from devstack.options import CHILDREN, ROOT, ChildName, Options, Profile
from devstack.progress import StartProgress, show_stack
from devstack.stack import find_stack, read_stack, use_stack

DEFAULT_DATA: Final = ROOT / ".data"

Data = Annotated[
    Path, typer.Option(envvar="STACK_DATA", help="The folder of the stack.", show_default=".data")
]


def up(
    data: Data = DEFAULT_DATA,
    free_ports: Annotated[bool, typer.Option(help="Free ports instead of the fixed ones.")] = False,
    headless: Annotated[bool, typer.Option(help="Without Temporal's web page.")] = False,
    only: Annotated[str, typer.Option(help="Parts by name, with commas.")] = "",
    owner: Annotated[int | None, typer.Option(help="Stop when this process ends.")] = None,
    test: Annotated[bool, typer.Option(help="Short timeouts and failpoints.")] = False,
) -> None:
    """Start the stack and keep it running."""
    console = Console()
    profile: Profile = "test" if test else "default"
    begun = time.monotonic()
    with reporting_errors(), StartProgress(console) as progress:
        options = Options(
            data=data.resolve(),
            profile=profile,
            free_ports=free_ports,
            children=chosen_parts(only),
            ui=not headless,
            owner=owner,
        )
        running = launch.launch(options, progress)
    console.print(f"ready in {time.monotonic() - begun:.1f} s; stop it with [bold]make down[/]")
    show_stack(console, running.info)


def down(data: Data = DEFAULT_DATA) -> None:
    """Stop the stack; the data stays."""
    with reporting_errors():
        stopped = launch.stop(data.resolve())
    Console().print("stopped" if stopped else f"no stack runs on {data}")


def status(data: Data = DEFAULT_DATA) -> None:
    """Show what runs and where."""
    with reporting_errors():
        show_stack(Console(), read_stack(data.resolve()))


def doctor(data: Data = DEFAULT_DATA) -> None:
    """Check whether the product is well; exit code 1 when something is wrong or cannot be asked."""
    from billing.core.settings import Settings
    from cli.doctor import examine

    with reporting_errors():
        stack = find_stack(data.resolve())
        well = examine(Settings(), stack, Console())
    if not well:
        raise typer.Exit(1)


def token(
    account: Annotated[str, typer.Option(help="Account id, or * for the operator.")] = "*",
    roles: Annotated[str, typer.Option(help="With commas: member, billing, admin, service.")] = "",
    sub: Annotated[str, typer.Option(help="Whose token it is.")] = "developer",
    ttl: Annotated[int, typer.Option(help="Seconds it is good for.")] = 3600,
    data: Data = DEFAULT_DATA,
) -> None:
    """Print a development token for the running stack."""
    wanted = roles or ("admin" if account == tokens.EVERY_ACCOUNT else "billing")
    names = [name.strip() for name in wanted.split(",")]
    with reporting_errors():
        if unknown := [name for name in names if name not in tokens.ROLES]:
            raise StackError(f"no role {unknown[0]!r}: there are {', '.join(tokens.ROLES)}")
        use_stack(data.resolve())
        secret = tokens.signing_secret()
        if not secret:
            raise StackError("no secret to sign with: start a stack (make up) or set JWT_SECRET")
    minted = tokens.mint_token(
        secret=secret,
        account=account,
        roles=names,
        subject=sub,
        audience=os.environ.get("JWT_AUDIENCE", "durable-billing"),
        issuer=os.environ.get("JWT_ISSUER", "durable-billing"),
        ttl_seconds=ttl,
    )
    typer.echo(minted)


def migrate(
    revision: Annotated[str, typer.Argument(help="Where to; the newest when left out.")] = "head",
    data: Data = DEFAULT_DATA,
) -> None:
    """Bring the database up to date (DATABASE_OWNER_URL, else the running stack's)."""
    from devstack import provision

    with reporting_errors():
        use_stack(data.resolve())
        provision.migrate(revision)
    typer.echo(f"database is at {revision}")


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Turn the stack's refusals, and a database that is away, into one line and exit code 1."""
    try:
        yield
    except StackError as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        _refuse("interrupted; nothing is left running")
    except _database_errors() as error:
        from api.problems import database_is_away

        if not database_is_away(error):
            raise
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
        _refuse(f"the database does not answer: start the stack with make up ({reason})")


def _database_errors() -> tuple[type[Exception], ...]:
    """Asked for only when something failed: the drivers take long to load."""
    import psycopg
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    return psycopg.OperationalError, DBAPIError, PoolTimeout


def _refuse(sentence: str) -> NoReturn:
    Console(stderr=True).print(sentence, style="red", highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def chosen_parts(only: str) -> tuple[ChildName, ...]:
    """Parts named with commas, all when empty. Errors: StackError on an unknown name."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    if unknown := [name for name in names if name not in CHILDREN]:
        raise StackError(f"no part {unknown[0]!r}: there are {', '.join(CHILDREN)}")
    return tuple(name for name in CHILDREN if not names or name in names)
