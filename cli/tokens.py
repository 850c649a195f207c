"""Development tokens: what an identity provider would issue, signed with the stack's own secret.

The claims are those the API requires: sub, account_id, roles, aud, iss, exp.
"""

import time
from collections.abc import Sequence
from typing import Final

import jwt

from billing.core.settings import load_settings

ROLES: Final = ("member", "billing", "admin", "service")
EVERY_ACCOUNT: Final = "*"
"""The account of the operator's roles, admin and service."""


def signing_secret() -> str | None:
    """JWT_SECRET of this process, from the environment or its file."""
    secret = load_settings().jwt_secret
    return secret.get_secret_value() if secret else None


def mint_token(
    *,
    secret: str,
    account: str,
    roles: Sequence[str],
    subject: str,
    audience: str,
    issuer: str,
    ttl_seconds: int = 3600,
) -> str:
    """An HS256 token for one account (or `*`), good for `ttl_seconds` of real time.

    It is signed with the first secret of `JWT_SECRET`.
    """
    issued_at = int(time.time())
    return jwt.encode(
        {
            "sub": subject,
            "account_id": account,
            "roles": list(roles),
            "aud": audience,
            "iss": issuer,
            "iat": issued_at,
            "exp": issued_at + ttl_seconds,
        },
        secret.split(",", maxsplit=1)[0],
        algorithm="HS256",
    )
