"""What a route asks for: a proven caller with the right role, its account, the database, Temporal.

Routes name one of the aliases at the end; all of them are async, or each request would pay a hop
through the thread pool.
"""

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Query, Request
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.security.base import SecurityBase
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client

from api.auth import ADMIN, BILLING, MEMBER, SERVICE, Caller, Unauthenticated, Verifier
from api.balances import Balances
from api.checks import Checks
from api.holding import Holding
from api.inbox import Inbox, Tellers
from api.jwks import Jwks
from api.limits import RateLimit
from api.pricing import Prices
from api.recorder import Recorder
from api.tenants import Tenant, Tenants
from billing.accounts import store as accounts
from billing.accounts.schemas import Account
from billing.core import context
from billing.core.database import Database
from billing.core.errors import Invalid, NotAllowed, NotFound, Unavailable
from billing.core.settings import Settings

ACCOUNT_HEADER: Final = "X-Account-Id"
PLATFORM_HEADER: Final = "X-Platform"
SHOP_HEADER: Final = "X-Shop-Domain"
_GATE_HEADERS: Final = frozenset(
    {
        b"authorization",
        *(h.lower().encode() for h in (ACCOUNT_HEADER, PLATFORM_HEADER, SHOP_HEADER)),
    }
)

# Who may pass a gate: the roles that include the one it asks for.
ALLOWED: Final = {
    MEMBER: frozenset({MEMBER, BILLING, ADMIN, SERVICE}),
    BILLING: frozenset({BILLING, ADMIN, SERVICE}),
    SERVICE: frozenset({SERVICE, ADMIN}),
    ADMIN: frozenset({ADMIN}),
}


@dataclass(slots=True)
class Services:
    """What one API process holds open; `app.state.services`."""

    settings: Settings
    database: Database
    verifier: Verifier
    tenants: Tenants
    rate: RateLimit
    inbox: Inbox
    recorder: Recorder
    holding: Holding
    prices: Prices
    balances: Balances
    jwks: Jwks | None = None
    checks: Checks = field(default_factory=Checks)
    tellers: Tellers = field(default_factory=Tellers)
    temporal_client: Client | None = None

    @property
    def temporal(self) -> Client:
        """The client; it connects on its first call."""
        if self.temporal_client is None:
            raise Unavailable("TEMPORAL_UNAVAILABLE", "Temporal is away; nothing was changed")
        return self.temporal_client


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request; on its own, that of an operator for no account in particular."""

    caller: Caller
    services: Services

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        return self.services.settings

    @property
    def database(self) -> Database:
        """Both pools."""
        return self.services.database

    @property
    def temporal(self) -> Client:
        """For `workflows.start`; raises 503 when this process has no client."""
        return self.services.temporal

    @property
    def account_or_none(self) -> Tenant | None:
        """The account this request acts for."""
        return None


@dataclass(frozen=True, slots=True)
class AccountCall(Call):
    """One authenticated request on behalf of one account that exists."""

    account: Tenant

    @property
    def account_or_none(self) -> Tenant | None:
        """The account this request acts for."""
        return self.account

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that sees this account's rows and no other; commits at its end."""
        return self.services.database.tenant(self.account.id)

    def reading(self, *, fresh: bool) -> AbstractAsyncContextManager[AsyncConnection]:
        """As `transaction`, for reads that a replica may serve; `fresh` ones are counted apart."""
        return _reading(self.services, self.account, fresh=fresh)


@dataclass(frozen=True, slots=True)
class ReadCall(Call):
    """A read that answers zeros where the account is not known yet [A13]."""

    account: Tenant | None

    @property
    def account_or_none(self) -> Tenant | None:
        """The account this request acts for."""
        return self.account

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that sees the account's rows; none at all without an account."""
        known = (self.account.id,) if self.account else ()
        return self.services.database.tenant(*known)

    def reading(self, *, fresh: bool) -> AbstractAsyncContextManager[AsyncConnection]:
        """As `transaction`, for reads that a replica may serve; `fresh` ones are counted apart."""
        return _reading(self.services, self.account, fresh=fresh)


def _reading(
    services: Services, account: Tenant | None, *, fresh: bool
) -> AbstractAsyncContextManager[AsyncConnection]:
    """Past the replica only so often: it is there to spare the primary [X13]."""
    known = (account.id,) if account else ()
    if fresh and services.database.replica_engine is not None:
        services.rate.hit(f"fresh {account.id if account else ''}")
    return services.database.reading(*known, fresh=fresh)


class _Gate(SecurityBase):
    """Proves the caller and its role; documented as the bearer scheme."""

    def __init__(self, needs: str) -> None:
        self.model = BearerModel(bearerFormat="JWT")
        self.scheme_name = "bearer"
        self.needs = needs
        self.roles = ALLOWED[needs]

    async def prove(self, request: Request, sent: dict[bytes, str]) -> tuple[Caller, Services]:
        """401 without a good token, 429 over the rate, 403 without the role."""
        services: Services = request.app.state.services
        try:
            caller = await services.verifier.verify(sent.get(b"authorization"))
        except Unauthenticated:
            services.rate.hit(f"address {request.client.host if request.client else ''}")
            raise
        services.rate.hit(f"caller {caller.account} {caller.subject}")
        if caller.roles.isdisjoint(self.roles):
            raise NotAllowed("FORBIDDEN", f"this needs the role {self.needs}")
        context.actor.set(caller.actor)
        return caller, services

    async def tenant(
        self, sent: dict[bytes, str], caller: Caller, services: Services
    ) -> Tenant | None:
        """The account acted for: the token's own, or the one an operator names in the header."""
        named = sent.get(b"x-account-id")
        if caller.operates:
            if not named:
                raise Invalid(
                    "ACCOUNT_REQUIRED",
                    f"name the account in the header {ACCOUNT_HEADER}",
                    status=400,
                )
            account = await services.tenants.find(named)
        else:
            account = await services.tenants.find(caller.account)
            if named and named != caller.account and not (account and account.answers_to(named)):
                raise no_such_account()
        if account is not None:
            await check_platform(sent, [account], services)
        return account


class OperatorGate(_Gate):
    """For routes of operators that name no account, or name it in the path."""

    async def __call__(self, request: Request) -> Call:
        return Call(*await self.prove(request, gate_headers(request)))


class AccountGate(_Gate):
    """For routes on one account's things; 404 MERCHANT_NOT_FOUND when it is not known."""

    async def __call__(self, request: Request) -> AccountCall:
        sent = gate_headers(request)
        caller, services = await self.prove(request, sent)
        account = await self.tenant(sent, caller, services)
        if account is None:
            raise no_such_account()
        return AccountCall(caller, services, account)


class ReadGate(_Gate):
    """For reads that answer zeros or an empty list where the account is not known [A13]."""

    async def __call__(self, request: Request) -> ReadCall:
        sent = gate_headers(request)
        caller, services = await self.prove(request, sent)
        return ReadCall(caller, services, await self.tenant(sent, caller, services))


def no_such_account() -> NotFound:
    """The one answer for an account that is missing or another caller's."""
    return NotFound("MERCHANT_NOT_FOUND", "no such account")


async def account_named(connection: AsyncConnection, name: str) -> Account:
    """The account that an operator names by id or external id. Errors: MERCHANT_NOT_FOUND."""
    account = await accounts.find(connection, name)
    if account is None:
        raise no_such_account()
    return account


def gate_headers(request: Request) -> dict[bytes, str]:
    """The headers gates read, in one pass; of a repeated one the last counts."""
    return {
        name: value.decode("latin-1")
        for name, value in request.scope["headers"]
        if name in _GATE_HEADERS
    }


async def check_platform(
    headers: Mapping[bytes, str], accounts: Collection[Tenant], services: Services
) -> None:
    """403 PLATFORM_MISMATCH where the platform headers name another shop than theirs [A12]."""
    platform, domain = headers.get(b"x-platform"), headers.get(b"x-shop-domain")
    if platform is None and domain is None:
        return
    if not await services.tenants.live_on(accounts, platform, domain):
        raise NotAllowed("PLATFORM_MISMATCH", "the platform headers name another shop")


Fresh = Annotated[
    bool,
    Query(
        description="Read the primary also where a replica serves; limited apart. `as_of` says"
        " up to when an answer is complete."
    ),
]
"""Asks for what is true now, not for what a replica has heard of [X13]."""

MemberCall = Annotated[AccountCall, Depends(AccountGate(MEMBER))]
"""Any role: reads, and own usage."""

MemberRead = Annotated[ReadCall, Depends(ReadGate(MEMBER))]
"""Any role, for reads that answer zeros for an unknown account."""

BillingCall = Annotated[AccountCall, Depends(AccountGate(BILLING))]
"""Every other write of one account: role billing, or an operator who names the account."""

AdminCall = Annotated[Call, Depends(OperatorGate(ADMIN))]
"""Role admin, across accounts."""

ServiceCall = Annotated[Call, Depends(OperatorGate(SERVICE))]
"""Role service or admin, across accounts."""
