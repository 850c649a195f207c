"""An operator at the running API, for the verbs that act through it.

With the token of BILLING_TOKEN, as an identity provider gave it; else with one that is minted from
the stack's own secret, and names who is logged in on this machine.
"""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx2
import typer

from billing.core.settings import load_settings
from cli import tokens
from cli.errors import StackError
from cli.servers import use_stack

TIMEOUT_SECONDS: Final = 30.0
Json = dict[str, Any]


def new_key() -> str:
    """An Idempotency-Key of what nobody has begun yet."""
    return str(uuid4())


@contextmanager
def operator(data: Path, key: str = "") -> Iterator[httpx2.Client]:
    """An operator at the running API. Errors: StackError when there is none, or it is away.

    What is done under a key is printed with it before, for an answer may be lost and the deed done.
    """
    use_stack(data.resolve())
    address, token = _address(), _token()
    if not address or not token:
        raise StackError("no stack is running: start one (make up), or set BILLING_PUBLIC_URL and "
                         "BILLING_TOKEN or JWT_SECRET")  # fmt: skip
    headers = {"Authorization": f"Bearer {token}"}
    again = ""
    if key:
        typer.echo(f"--key {key} makes this safe to repeat")
        again = f"; it may have been done: to repeat it safely, use --key {key}"
    try:
        with httpx2.Client(
            base_url=f"{address}/api/v1", headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False
        ) as client:
            yield client
    except httpx2.TransportError as error:
        words = f"the API on {address} does not answer: is it running?"
        raise StackError(f"{words}{again}") from error
    except KeyboardInterrupt:
        raise StackError(f"interrupted{again}") from None


def _address() -> str | None:
    """The API's address; None where nobody has said it, for money moves on no guess."""
    settings = load_settings()
    if "public_url" not in settings.model_fields_set:
        return None
    return settings.public_url.rstrip("/")


def _token() -> str | None:
    """The caller's token; None where there is nothing to make one of."""
    if given := os.environ.get("BILLING_TOKEN"):
        return given
    return tokens.own_token(tokens.EVERY_ACCOUNT, ["admin"], f"command-line:{_who()}")


def _who() -> str:
    """The name of who is logged in, or the number where the machine knows no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def content(answer: httpx2.Response) -> Json:
    """The JSON of an answer. Errors: StackError with the code of a refusal."""
    found: Json = answer.json()
    if not answer.is_success:
        raise StackError(f"{found.get('code')}: {found.get('detail')}")
    return found
