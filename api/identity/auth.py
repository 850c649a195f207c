"""Callers, authenticated by bearer tokens.

A token is verified once and remembered until it expires. Every flaw of a token leads to the same
401, which does not say what was wrong; the log does.
"""

import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import jwt

from billing.core.clock import real_now
from billing.core.errors import BillingError
from billing.core.json_members import each_once
from billing.core.settings import MIN_HMAC_BYTES, Settings
from billing.platform.accounts.schemas import ANY_ACCOUNT

MEMBER: Final = "member"
BILLING: Final = "billing"
ADMIN: Final = "admin"
SERVICE: Final = "service"
ROLES: Final = frozenset({MEMBER, BILLING, ADMIN, SERVICE})
"""All roles: which one includes which says `ALLOWED` of the gates, and docs/tokens.md what for."""
OPERATORS: Final = frozenset({ADMIN, SERVICE})

MAX_TOKEN_CHARS: Final = 8_192
MAX_CLAIM_CHARS: Final = 255
CACHED_TOKENS: Final = 20_000
LEEWAY_SECONDS: Final = 5
_REQUIRED: Final = ["sub", "account_id", "roles", "aud", "iss", "exp"]
# Headers that would let a token choose its key or its rules.
_FORBIDDEN_HEADERS: Final = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip"})
_TYPES: Final = frozenset({"JWT", "AT+JWT"})


class NotOneRole(ValueError):
    """A token for all accounts does not have exactly one operator role."""


_REASONS: Final[dict[type[Exception], str]] = {
    jwt.ExpiredSignatureError: "it is expired",
    jwt.ImmatureSignatureError: "it is not yet valid",
    jwt.InvalidSignatureError: "no key of ours signed it",
    jwt.InvalidKeyError: "no key of ours signed it",
    jwt.InvalidAlgorithmError: "its algorithm is not ours",
    jwt.InvalidAudienceError: "its audience is not JWT_AUDIENCE",
    jwt.InvalidIssuerError: "its issuer is not JWT_ISSUER",
    jwt.MissingRequiredClaimError: "a claim is missing",
    NotOneRole: "for all accounts it needs exactly one role, service or admin",
}

_MALFORMED: Final = "it is malformed"
_logger = logging.getLogger("api.auth")


class Unauthenticated(BillingError):
    """The token is missing or not valid."""

    def __init__(self) -> None:
        super().__init__("UNAUTHENTICATED")


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller: its subject, its account (id, external id or `*`) and roles."""

    subject: str
    account: str
    roles: frozenset[str]
    expires_at: float

    @property
    def operates(self) -> bool:
        """True for a caller that may act for any account (roles admin and service)."""
        return self.account == ANY_ACCOUNT

    @property
    def actor(self) -> str:
        """For audit rows and logs: the strongest role and the subject, such as `admin:ops-7`."""
        strongest = next(role for role in (ADMIN, SERVICE, BILLING, MEMBER) if role in self.roles)
        return f"{strongest}:{self.subject}"


class Keys(Protocol):
    """A source of verification keys. Keys never come from the token itself.

    `generation` changes when a key is withdrawn: tokens verified with it must be verified again.
    """

    generation: int

    async def find(self, header: dict[str, Any]) -> tuple[Sequence[Any], str]:
        """Return the keys that may have signed, and the one algorithm they are for; raises
        `jwt.PyJWTError` when there is none.
        """


class Verifier:
    """Verifies bearer tokens. It remembers valid ones and checks their expiry at every use."""

    def __init__(self, keys: Keys, *, audience: str, issuer: str) -> None:
        self._keys = keys
        self._audience = audience
        self._issuer = issuer
        self._generation = keys.generation
        self._seen: OrderedDict[str, Caller] = OrderedDict()

    async def verify(self, authorization: str | None) -> Caller:
        """Return the caller behind an Authorization header; raises `Unauthenticated`."""
        if authorization is None or authorization[:7].lower() != "bearer ":
            _logger.info("a request was refused: it has no bearer token")
            raise Unauthenticated
        token = authorization[7:]
        if self._keys.generation != self._generation:
            self._generation = self._keys.generation
            self._seen.clear()
        known = self._seen.get(token)
        if known is not None and known.expires_at > real_now().timestamp():
            return known
        try:
            caller = await self._decode(token)
        except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
            _logger.info("a token was refused: %s", _REASONS.get(type(error), _MALFORMED))
            raise Unauthenticated from error
        self._remember(token, caller)
        return caller

    async def _decode(self, token: str) -> Caller:
        if len(token) > MAX_TOKEN_CHARS:
            raise ValueError("size")
        # Programs disagree on which of two members with the same name counts.
        header = _strict_part(token, 0)
        if _FORBIDDEN_HEADERS.intersection(header) or _type(header) not in _TYPES:
            raise ValueError("header")
        keys, algorithm = await self._keys.find(header)
        claims = self._claims(token, keys, algorithm)
        _strict_part(token, 1)
        return _caller(claims)

    def _claims(self, token: str, keys: Sequence[Any], algorithm: str) -> dict[str, Any]:
        for key in keys:
            with suppress(jwt.InvalidSignatureError):
                return jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=LEEWAY_SECONDS,
                    options={"require": _REQUIRED, "enforce_minimum_key_length": True},
                )
        raise jwt.InvalidSignatureError("signed by none of these keys")

    def _remember(self, token: str, caller: Caller) -> None:
        self._seen[token] = caller
        if len(self._seen) > CACHED_TOKENS:
            self._seen.popitem(last=False)


class SharedSecrets:
    """HMAC keys for every token, as the embedded stack uses them; two during a rotation."""

    generation = 0

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [secret.encode() for secret in secrets]
        if min(map(len, self._keys)) < MIN_HMAC_BYTES:
            raise ValueError(
                f"JWT_SECRET is too short: HS256 needs at least {MIN_HMAC_BYTES} bytes"
            )

    async def find(self, header: dict[str, Any]) -> tuple[Sequence[Any], str]:
        """Return the secrets; a token that names another algorithm is refused."""
        if header.get("alg") != "HS256":
            raise jwt.InvalidAlgorithmError("HS256 only")
        return self._keys, "HS256"


def open_verifier(settings: Settings, keys: Keys | None) -> Verifier:
    """Return the verifier for these settings; `keys` is the JWKS cache when there is one."""
    if keys is None:
        if not settings.jwt_secrets:
            raise ValueError("set JWT_SECRET (HS256) or JWT_JWKS_URL (RS256, ES256)")
        keys = SharedSecrets(settings.jwt_secrets)
    return Verifier(keys, audience=settings.jwt_audience, issuer=settings.jwt_issuer)


def _caller(claims: dict[str, Any]) -> Caller:
    subject, account, roles = claims["sub"], claims["account_id"], claims["roles"]
    for text in (subject, account):
        if not isinstance(text, str) or not is_name(text):
            raise ValueError("claims")
    if not isinstance(claims["exp"], (int, float)) or isinstance(claims["exp"], bool):
        raise ValueError("exp")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise ValueError("roles")
    if not roles_fit(roles, account):
        raise NotOneRole("roles") if account == ANY_ACCOUNT else ValueError("roles")
    return Caller(subject, account, ROLES.intersection(roles), float(claims["exp"]))


def roles_fit(roles: Sequence[str], account: str) -> bool:
    """Return True for an operator's token with one role for all accounts (`*`), or for one
    account's token.
    """
    known = ROLES.intersection(roles)
    if account == ANY_ACCOUNT:
        return len(known) == 1 and known <= OPERATORS
    return bool(known) and not known & OPERATORS


def is_name(text: str) -> bool:
    """Return True for a name without control characters, lone surrogates or surrounding space."""
    return 0 < len(text) <= MAX_CLAIM_CHARS and text.isprintable() and text == text.strip()


def _type(header: dict[str, Any]) -> str:
    return str(header.get("typ")).upper()


def _strict_part(token: str, index: int) -> dict[str, Any]:
    part = token.split(".", 3)[index] if token.count(".") == 2 else ""
    value = json.loads(jwt.utils.base64url_decode(part), object_pairs_hook=each_once)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
