"""The operator's client of the running API, for the verbs that use it.

It sends the token in BILLING_TOKEN, issued by an identity provider; else a token signed with the
stack's own secret, which names the user of this machine.
"""

import getpass
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import httpx2
import typer

from api.edge.slow_handlers import ANSWER_SECONDS
from billing.core.settings import load_settings
from billing.platform.accounts.schemas import ANY_ACCOUNT
from cli import tokens
from cli.errors import StackError
from cli.servers import use_stack

TIMEOUT_SECONDS: Final = ANSWER_SECONDS + 10
"""The 503 of a slow handler must arrive first: only an answer is followed by another try."""
AGAIN_AFTER_SECONDS: Final = (2.0, 10.0, 20.0)
Json = dict[str, Any]


def new_key() -> str:
    """Return a new Idempotency-Key."""
    return str(uuid4())


def segment(name: str) -> str:
    """Encode a name as one path segment: an external id may contain `#` or `?`."""
    return quote(name, safe="")


@contextmanager
def operator(data: Path | None, key: str = "") -> Iterator[httpx2.Client]:
    """Open a client of the running API. Errors: StackError if there is none, or no answer.

    It sends the key with each request, and prints it first: the answer may be lost although the
    request was carried out.
    """
    use_stack(data)
    address, token = _address(), _token()
    if not address or not token:
        raise StackError("no stack is running: start one (make up), or set BILLING_PUBLIC_URL and "
                         "BILLING_TOKEN or, without JWT_JWKS_URL, JWT_SECRET")  # fmt: skip
    headers = {"Authorization": f"Bearer {token}"}
    again = ""
    if key:
        headers["Idempotency-Key"] = key
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
    """Return the API's address; None if it is not set: a guess could move money elsewhere."""
    settings = load_settings()
    if "public_url" not in settings.model_fields_set:
        return None
    return settings.public_url.rstrip("/")


def _token() -> str | None:
    """Return the caller's token; None if there is no token and no secret that the API takes."""
    if given := os.environ.get("BILLING_TOKEN"):
        return given
    return tokens.own_token(ANY_ACCOUNT, ["admin"], f"command-line:{_who()}")


def _who() -> str:
    """Return the name of the logged-in user, or the user id if it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def content(answer: httpx2.Response) -> Json:
    """Return the JSON of an answer. Errors: StackError with the code of a refusal, or for an answer
    that only says that the request is stored; TransportError for one of another program, such as a
    proxy: what the API answered is not known.
    """
    try:
        found: Json = answer.json()
    except ValueError as error:
        raise httpx2.RemoteProtocolError(f"{answer.status_code} without JSON") from error
    if not answer.is_success:
        raise StackError(f"{found.get('code')}: {found.get('detail')}")
    if found.get("status") == "accepted":
        raise StackError(str(found["detail"]))
    return found


def post_page(
    client: httpx2.Client, path: str, *, params: Json, body: Json, key: str | None = None
) -> tuple[Json, bool]:
    """Send one page of an act on many, and again while it had no answer in time: the rest of it is
    left then. Return its answer, and whether it was sent again. Errors: those of `content`.

    Without a `key` a repeat must find only what is left.
    """
    again, is_repeat = iter(AGAIN_AFTER_SECONDS), False
    headers = {"Idempotency-Key": key} if key is not None else {}
    while True:
        answer = client.post(path, params=params, json=body, headers=headers)
        pause = next(again, None) if _is_unfinished(answer) else None
        if pause is None:
            return content(answer), is_repeat
        time.sleep(pause)
        is_repeat = True


def _is_unfinished(answer: httpx2.Response) -> bool:
    if answer.status_code == HTTPStatus.CONFLICT:
        return b"IDEMPOTENCY_IN_FLIGHT" in answer.content
    return answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
