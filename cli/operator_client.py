"""An operator at the running API, for the verbs that act through it.

The token is minted from the stack's own secret.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2

from cli import tokens
from cli.errors import StackError
from cli.servers import use_stack

TIMEOUT_SECONDS: Final = 30.0
Json = dict[str, Any]


@contextmanager
def operator(data: Path) -> Iterator[httpx2.Client]:
    """An operator at the running API. Errors: StackError when there is none, or it is away."""
    use_stack(data.resolve())
    address, secret = os.environ.get("BILLING_PUBLIC_URL"), tokens.signing_secret()
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
            base_url=f"{address}/api/v1", headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False
        ) as client:
            yield client
    except httpx2.TransportError as error:
        raise StackError(f"the API on {address} does not answer: is it running?") from error


def content(answer: httpx2.Response) -> Json:
    """The JSON of an answer. Errors: StackError with the code of a refusal."""
    found: Json = answer.json()
    if not answer.is_success:
        raise StackError(f"{found.get('code')}: {found.get('detail')}")
    return found
