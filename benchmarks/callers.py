"""The callers that a benchmark acts as."""

from collections.abc import Sequence
from typing import Final

from cli.tokens import mint_token
from devstack.stack import StackInfo

TOKEN_SECONDS: Final = 3 * 3600


def authorization(stack: StackInfo, account: str, roles: Sequence[str]) -> dict[str, str]:
    """Return the headers of a caller who acts for an account, or for all (`*`)."""
    token = mint_token(
        secret=stack.jwt_secret,
        account=account,
        roles=roles,
        subject="bench",
        audience=stack.jwt_audience,
        issuer=stack.jwt_issuer,
        ttl_seconds=TOKEN_SECONDS,
    )
    return {"Authorization": f"Bearer {token}"}
