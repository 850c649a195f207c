"""Gates: each authenticates the caller, checks its role and finds the account to act for."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.security.base import SecurityBase

from api.calls import AccountCall, Call, EveryCall, ReadCall, UseCall, account_required
from api.identity.auth import ADMIN, BILLING, MEMBER, OPERATORS, SERVICE, Caller, Unauthenticated
from api.identity.request_windows import READS, may_move_money
from api.identity.tenants import Tenant
from api.requests.unknown_parameters import refuse_unknown
from api.services import Services
from api.shop_headers import check_platform, named_shop
from billing.core import context
from billing.core.errors import Invalid, NotAllowed, NotFound, Unavailable

ACCOUNT_HEADER: Final = "X-Account-Id"
_GATE_HEADERS: Final = frozenset(
    {b"authorization", b"idempotency-key", b"x-account-id", b"x-platform", b"x-shop-domain"}
)
# The roles that pass a gate: each includes the role that the gate requires.
ALLOWED: Final = {
    MEMBER: frozenset({MEMBER, BILLING, ADMIN, SERVICE}),
    BILLING: frozenset({BILLING, ADMIN, SERVICE}),
    SERVICE: frozenset({SERVICE, ADMIN}),
    ADMIN: frozenset({ADMIN}),
}


class _Gate(SecurityBase):
    """Authenticates the caller and checks its role; documented as the bearer scheme."""

    def __init__(self, needs: str) -> None:
        self.model = BearerModel(bearerFormat="JWT")
        self.scheme_name = "bearer"
        self.needs = needs
        self.roles = ALLOWED[needs]

    @property
    def is_for_customers(self) -> bool:
        """False if only operators pass."""
        return not self.roles <= OPERATORS

    async def prove(self, request: Request, sent: dict[bytes, str]) -> tuple[Caller, Services]:
        """Return the caller. 401 without a valid token, 429 over the rate limit, 403 without the
        role, and 503 for writes while this process's clock is wrong, and for requests that may move
        money while billing is parked.
        """
        services: Services = request.app.state.services
        try:
            caller = await services.verifier.verify(sent.get(b"authorization"))
        except (Unauthenticated, Unavailable):
            # Without the provider's list of keys, strangers cause the second by any key id.
            services.rates.count_address("reads", request)
            raise
        context.actor.set(caller.actor)
        named = sent.get(b"x-account-id", "") if caller.operates else caller.account
        account = services.tenants.known(named)
        await services.rates.count(request, caller, account.id if account else named)
        if caller.roles.isdisjoint(self.roles):
            raise NotAllowed("FORBIDDEN", f"this requires the role {self.needs}")
        if request.method not in READS:
            services.pulse.refuse()
        if may_move_money(request.method, request.scope["path"]):
            await services.barrier.refuse()
        refuse_unknown(request)
        if account is None and named:  # counted by name, at the account's own rate
            account = await services.tenants.find(named)
            if account is not None:
                await services.rates.count(request, caller, account.id)
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
            account = await services.tenants.own(caller.account, named)
        if account is not None:
            context.account.set(account.id)
            await check_platform(sent, [account], services)
        return account


class OperatorGate(_Gate):
    """For operators' routes that name the account in the path or body, or need none."""

    async def __call__(self, request: Request) -> Call:
        sent = gate_headers(request)
        named_shop.set((sent.get(b"x-platform"), sent.get(b"x-shop-domain")))
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


class MoneyCameGate(AccountGate):
    """For the statement that money came. With billing switched off (BILLING_ENABLED) it is only an
    operator's: if a second person must approve, there is no other way to book the money.
    """

    @property
    def is_for_customers(self) -> bool:
        return False

    async def __call__(self, request: Request) -> AccountCall:
        call = await super().__call__(request)
        if not (call.settings.billing_enabled or call.caller.operates):
            raise NotFound("NOT_FOUND")
        return call


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


class EveryGate(TenantGate):
    """For sums over all accounts, which an operator requests by naming no account."""

    async def __call__(self, request: Request) -> ReadCall:
        sent = gate_headers(request)
        caller, services = await self.prove(request, sent)
        if caller.operates and b"x-account-id" not in sent:  # an empty one is refused
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
