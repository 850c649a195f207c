"""Development tokens: like an identity provider's, but signed with the stack's own secret.

The claims are those the API requires: sub, account_id, roles, aud, iss, exp.
"""

import time
from collections.abc import Sequence
from typing import Final

import jwt

from api.identity import auth
from billing.core.settings import Settings, load_settings
from billing.platform.accounts.schemas import ANY_ACCOUNT
from cli.errors import UsageError

TTL_SECONDS: Final = 3600


def refuse_unfit(account: str, roles: Sequence[str], subject: str) -> None:
    """Raise UsageError for claims that the API would refuse."""
    if unknown := [name for name in roles if name not in auth.ROLES]:
        known = ", ".join(sorted(auth.ROLES))
        raise UsageError(f"unknown role {unknown[0]!r}; known are {known}")
    for option, name in (("--account", account), ("--sub", subject)):
        if not auth.is_name(name):
            raise UsageError(
                f"{option} {name!r} is not a name: use 1 to {auth.MAX_CLAIM_CHARS} visible"
                " characters"
            )
    if not auth.roles_fit(roles, account):
        raise UsageError(
            f"the API refuses role {', '.join(roles)} for account {account}:"
            " use exactly one of service and admin for *, and member and billing for one account"
            " (--account)"
        )


async def refuse_unknown(settings: Settings, account: str) -> None:
    """Raise UsageError for an account that does not exist."""
    from billing.core.database import open_database
    from billing.platform.accounts import store

    async with open_database(settings) as database, database.operator() as connection:
        if await store.find(connection, account) is None:
            raise UsageError(
                f"no account {account}: create it with POST /admin/accounts, or make its token"
                " first with --new-account"
            )


def own_token(
    account: str, roles: Sequence[str], subject: str, *, ttl_seconds: int = TTL_SECONDS
) -> str | None:
    """Return a token that the API of these settings accepts.

    None without a JWT_SECRET, and with a JWT_JWKS_URL: the API then takes no token of a secret.
    """
    settings = load_settings()
    if settings.jwt_jwks_url or not settings.jwt_secrets:
        return None
    return mint_token(
        secret=settings.jwt_secrets[0],
        account=account,
        roles=roles,
        subject=subject,
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
        ttl_seconds=ttl_seconds,
    )


def mint_token(
    *,
    secret: str,
    account: str,
    roles: Sequence[str],
    subject: str,
    audience: str,
    issuer: str,
    ttl_seconds: int = TTL_SECONDS,
) -> str:
    """Return an HS256 token for one account (or `*`), valid for `ttl_seconds` of real time.

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


def own_account(token: str) -> str:
    """Return the account that a token is of; empty for any account, or if it cannot be read.

    The API checks the token; here it only tells two imports apart.
    """
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return ""
    account = str(claims.get("account_id", ""))
    return "" if account == ANY_ACCOUNT else account
