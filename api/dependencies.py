"""Dependencies of handlers: an authenticated caller with its role and account.

Handlers use the aliases at the end. All are async: a sync one would run in the thread pool.
"""

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Query, Request
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.security.base import SecurityBase
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client

from api.identity.auth import ADMIN, BILLING, MEMBER, SERVICE, Caller, Unauthenticated
from api.identity.request_windows import may_move_money
from api.identity.tenants import Tenant, is_on_platform
from api.requests.unknown_parameters import refuse_unknown
from api.services import Services
from billing.core import context
from billing.core.database import Database
from billing.core.errors import Invalid, NotAllowed, NotFound
from billing.core.settings import Settings
from billing.platform.accounts import store as accounts
from billing.platform.accounts.schemas import Account

NOBODY: Final = UUID(int=0)
ACCOUNT_HEADER: Final = "X-Account-Id"
PLATFORM_HEADER: Final = "X-Platform"
SHOP_HEADER: Final = "X-Shop-Domain"
_GATE_HEADERS: Final = frozenset(
    {b"authorization", b"idempotency-key", b"x-account-id", b"x-platform", b"x-shop-domain"}
)
_NO_SHOP: Final = (None, None)
# The platform and shop named in the headers of an operator's request.
_shop: ContextVar[tuple[str | None, str | None]] = ContextVar("shop", default=_NO_SHOP)

# The roles that pass a gate: each includes the role that the gate requires.
ALLOWED: Final = {
    MEMBER: frozenset({MEMBER, BILLING, ADMIN, SERVICE}),
    BILLING: frozenset({BILLING, ADMIN, SERVICE}),
    SERVICE: frozenset({SERVICE, ADMIN}),
    ADMIN: frozenset({ADMIN}),
}


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request; this base class serves an operator without a particular account.

    `account` is the account that the request acts for.
    """

    caller: Caller
    services: Services
    account: Tenant | None = None

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        return self.services.settings

    @property
    def database(self) -> Database:
        """The connection pools."""
        return self.services.database

    @property
    def temporal(self) -> Client:
        """The client for `workflows.start`. Raises 503 when this process has no client."""
        return self.services.temporal

    async def find_account(self, name: str) -> Account:
        """Find the account that an operator names by id or external id.

        Errors: MERCHANT_NOT_FOUND, PLATFORM_MISMATCH.
        """
        async with self.database.operator() as connection:
            return await account_named(connection, name)

    async def refuse_other_shop(self, account_id: UUID) -> None:
        """Refuse an object of an account that is not of the shop in the headers.

        Errors: PLATFORM_MISMATCH [A12].
        """
        if _shop.get() != _NO_SHOP:
            async with self.database.operator() as connection:
                check_shop(await accounts.get(connection, account_id))


@dataclass(frozen=True, slots=True)
class ReadCall(Call):
    """A read that answers zeros when the account is not known yet [A13]."""

    @property
    def account_id(self) -> UUID:
        """The account's id; for an unknown account an id that no row has."""
        return self.account.id if self.account else NOBODY

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a transaction that sees only this account's rows, and no rows without an account."""
        known = (self.account.id,) if self.account else ()
        return self.services.database.tenant(*known)

    def reading(self, *, fresh: bool) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a transaction that a replica may serve; `fresh` reads have their own rate limit,
        because the replica should relieve the primary [X13].
        """
        known = (self.account.id,) if self.account else ()
        if fresh and self.services.database.replica_engine is not None:
            self.services.rates.count_fresh(self.account_id)
        return self.services.database.reading(*known, fresh=fresh)


@dataclass(frozen=True, slots=True)
class AccountCall(ReadCall):
    """One authenticated request for an account that exists."""

    account: Tenant

    async def read_account(self, connection: AsyncConnection) -> Account:
        """Return the account with all its fields."""
        return await accounts.get(connection, self.account.id)


@dataclass(frozen=True, slots=True)
class EveryCall(ReadCall):
    """An operator's read of all accounts together, without test accounts."""

    def reading(self, *, fresh: bool) -> AbstractAsyncContextManager[AsyncConnection]:  # noqa: ARG002
        """Open a transaction that sees the rows of all accounts."""
        return self.services.database.operator()


@dataclass(frozen=True, slots=True)
class UseCall(Call):
    """One use: its account is already known, or the body of a service names it."""

    sent: Mapping[bytes, str] = field(default_factory=dict)

    async def of_user(self, user_id: str | None) -> AccountCall:
        """Return the call for the account; it may be the one whose external id is the user's [A14].

        Errors: ACCOUNT_REQUIRED, MERCHANT_NOT_FOUND, PLATFORM_MISMATCH.
        """
        if self.account is not None:
            return AccountCall(self.caller, self.services, self.account)
        if user_id is None:
            raise account_required("in user_id, or in the header X-Account-Id")
        return await self.of_account(user_id)

    async def of_account(self, name: str) -> AccountCall:
        """Return the call for the account with this id or external id."""
        account = await self.services.tenants.find(name)
        if account is None:
            raise NotFound("MERCHANT_NOT_FOUND")
        context.account.set(account.id)
        await check_platform(self.sent, [account], self.services)
        return AccountCall(self.caller, self.services, account)


class _Gate(SecurityBase):
    """Authenticates the caller and checks its role; documented as the bearer scheme."""

    def __init__(self, needs: str) -> None:
        self.model = BearerModel(bearerFormat="JWT")
        self.scheme_name = "bearer"
        self.needs = needs
        self.roles = ALLOWED[needs]

    async def prove(self, request: Request, sent: dict[bytes, str]) -> tuple[Caller, Services]:
        """Return the caller. 401 without a valid token, 429 over the rate limit, 403 without the
        role, and 503 for requests that may move money while billing is parked.
        """
        services: Services = request.app.state.services
        try:
            caller = await services.verifier.verify(sent.get(b"authorization"))
        except Unauthenticated:
            services.rates.count_address("reads", request)
            raise
        named = sent.get(b"x-account-id", "") if caller.operates else caller.account
        account = services.tenants.known(named)
        await services.rates.count(request, caller, account.id if account else named)
        if caller.roles.isdisjoint(self.roles):
            raise NotAllowed("FORBIDDEN", f"this requires the role {self.needs}")
        if may_move_money(request.method, request.scope["path"]):
            await services.barrier.refuse()
        refuse_unknown(request)
        if account is None and named:  # counted by name, at the account's own rate
            account = await services.tenants.find(named)
            if account is not None:
                await services.rates.count(request, caller, account.id)
        context.actor.set(caller.actor)
        return caller, services


class TenantGate(_Gate):
    """Base of the gates of one account's routes."""

    async def tenant(
        self, sent: dict[bytes, str], caller: Caller, services: Services
    ) -> Tenant | None:
        """Return the account to act for: the token's own, or the one an operator's header names."""
        named = sent.get(b"x-account-id")
        if caller.operates:
            if not named:
                raise account_required(f"in the header {ACCOUNT_HEADER}")
            account = await services.tenants.find(named)
        else:
            account = await services.tenants.find(caller.account)
            if named and named != caller.account and not (account and account.answers_to(named)):
                raise NotFound("MERCHANT_NOT_FOUND")
        if account is not None:
            context.account.set(account.id)
            await check_platform(sent, [account], services)
        return account


class OperatorGate(_Gate):
    """For operators' routes that name the account in the path or body, or need none."""

    async def __call__(self, request: Request) -> Call:
        sent = gate_headers(request)
        _shop.set((sent.get(b"x-platform"), sent.get(b"x-shop-domain")))
        sent.pop(b"x-account-id", None)  # else each name sent would have a rate of its own
        return Call(*await self.prove(request, sent))


class AccountGate(TenantGate):
    """For routes of one account; 404 MERCHANT_NOT_FOUND when it does not exist."""

    async def __call__(self, request: Request) -> AccountCall:
        sent = gate_headers(request)
        caller, services = await self.prove(request, sent)
        account = await self.tenant(sent, caller, services)
        if account is None:
            raise NotFound("MERCHANT_NOT_FOUND")
        return AccountCall(caller, services, account)


class ReadGate(TenantGate):
    """For reads that answer zeros or an empty list when the account does not exist [A13].

    A service that names a user in path or query, but no account, reads the user's own account.
    """

    async def __call__(self, request: Request) -> ReadCall:
        sent = gate_headers(request)
        caller, services = await self.prove(request, sent)
        if _names_none(sent, caller) and SERVICE in caller.roles:
            user = request.path_params.get("user_id") or request.query_params.get("user_id")
            if user:
                sent[b"x-account-id"] = user
        return ReadCall(caller, services, await self.tenant(sent, caller, services))


class EveryGate(ReadGate):
    """For sums over all accounts, which an operator requests by naming no account."""

    async def __call__(self, request: Request) -> ReadCall:
        sent = gate_headers(request)
        caller, services = await self.prove(request, sent)
        if _names_none(sent, caller):
            return EveryCall(caller, services)
        return ReadCall(caller, services, await self.tenant(sent, caller, services))


class UseGate(TenantGate):
    """For uses: the body of a service may name the account by its user [A14]."""

    every_operator = False

    async def __call__(self, request: Request) -> UseCall:
        sent = gate_headers(request)
        caller, services = await self.prove(request, sent)
        if _names_none(sent, caller) and (self.every_operator or SERVICE in caller.roles):
            return UseCall(caller, services, None, sent)
        account = await self.tenant(sent, caller, services)
        if account is None:
            raise NotFound("MERCHANT_NOT_FOUND")
        return UseCall(caller, services, account, sent)


class RecordGate(UseGate):
    """For operators' routes of one record, whose account is used when the header names none."""

    every_operator = True


def _names_none(sent: Mapping[bytes, str], caller: Caller) -> bool:
    """Return True for an operator that names no account in the header."""
    return caller.operates and not sent.get(b"x-account-id")


def account_required(where: str) -> Invalid:
    """Return the error for an operator's request that names no account."""
    return Invalid("ACCOUNT_REQUIRED", f"name the account {where}")


async def account_named(connection: AsyncConnection, name: str) -> Account:
    """Find the account that an operator names by id or external id.

    Errors: MERCHANT_NOT_FOUND, PLATFORM_MISMATCH.
    """
    account = await accounts.find(connection, name)
    if account is None:
        raise NotFound("MERCHANT_NOT_FOUND")
    check_shop(account)
    context.account.set(account.id)
    return account


async def account_filter(connection: AsyncConnection, name: str | None) -> UUID | None:
    """Return the account whose rows an operator lists; None means all accounts.

    Errors: MERCHANT_NOT_FOUND.
    """
    return (await account_named(connection, name)).id if name else None


def gate_headers(request: Request) -> dict[bytes, str]:
    """Read the headers that gates need, in one pass.

    Errors: BAD_REQUEST for a header sent twice: a proxy in front may have trusted the other one.
    """
    sent: dict[bytes, str] = {}
    for name, value in request.scope["headers"]:
        if name in _GATE_HEADERS:
            if name in sent:
                raise Invalid("BAD_REQUEST", f"{name.decode()} was sent twice")
            sent[name] = value.decode("latin-1")
    return sent


async def check_platform(
    headers: Mapping[bytes, str], tenants: Collection[Tenant], services: Services
) -> None:
    """Refuse platform headers that name another account's shop. Errors: PLATFORM_MISMATCH [A12]."""
    platform, domain = headers.get(b"x-platform"), headers.get(b"x-shop-domain")
    if platform is None and domain is None:
        return
    if not await services.tenants.are_on_platform(tenants, platform, domain):
        raise _of_another_shop()


def check_shop(account: Account) -> None:
    """Check the platform headers for the account that an operator's request concerns [A12].

    Errors: PLATFORM_MISMATCH.
    """
    if not is_on_platform(account, *_shop.get()):
        raise _of_another_shop()


def _of_another_shop() -> NotAllowed:
    return NotAllowed("PLATFORM_MISMATCH")


Fresh = Annotated[
    bool,
    Query(
        description="Read the primary instead of a replica; with a rate of its own. `as_of` says"
        " up to when an answer is complete."
    ),
]
"""Reads the primary instead of a replica that may lag [X13]."""

MemberCall = Annotated[AccountCall, Depends(AccountGate(MEMBER))]
"""Any role: reads, and own usage."""

MemberRead = Annotated[ReadCall, Depends(ReadGate(MEMBER))]
"""Any role, for reads that answer zeros for an unknown account."""

EveryRead = Annotated[ReadCall, Depends(EveryGate(MEMBER))]
"""Like `MemberRead`; an operator that names no account reads all of them together."""

MemberUse = Annotated[UseCall, Depends(UseGate(MEMBER))]
"""Any role, for uses: a service may name the account by its user."""

BillingUse = Annotated[UseCall, Depends(UseGate(BILLING))]
"""Role billing or an operator, for records: a service may name the account by its record."""

BillingCall = Annotated[AccountCall, Depends(AccountGate(BILLING))]
"""Every other write of one account: role billing, or an operator who names the account."""

RecordCall = Annotated[UseCall, Depends(RecordGate(SERVICE))]
"""Role service or admin, for a record, whose account is used when the header names none."""

AdminCall = Annotated[Call, Depends(OperatorGate(ADMIN))]
"""Role admin, across accounts."""

ServiceCall = Annotated[Call, Depends(OperatorGate(SERVICE))]
"""Role service or admin, across accounts."""
