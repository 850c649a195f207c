"""Accounts, for operators: create or update by external id, list, and read."""

from datetime import datetime
from typing import Annotated, Final, Self

from fastapi import Query, Response
from pydantic import AfterValidator, Field, StrictBool, StringConstraints, model_validator

from api.answers.pagination import Page, Paging, paginate, paginate_bounded
from api.answers.problems import KEYED, responses
from api.answers.public_ids import AccountId
from api.answers.schemas import Answer, Body, CountryCode, Instant, OneWord, Text, Zone
from api.dependencies import ServiceCall
from api.idempotency import OptionalKey
from api.requests.card_numbers import FreeText, NoCardNumber
from api.routes.base import new_router
from api.shop_headers import check_shop
from api.tax_rates import until_asked, want_rates
from billing.catalog.products.schemas import Name
from billing.core.clock import now_by
from billing.core.errors import Conflict
from billing.ledger.credits import service as credits
from billing.money.trials import service as trial_service
from billing.platform.accounts import store
from billing.platform.accounts.schemas import AccountFields, Preference
from billing.platform.accounts.shops import shop_host
from billing.platform.accounts.tables import accounts
from billing.platform.provider_inbox.rules import AT_ONCE

GONE_THROUGH: Final = 100_000
"""Accounts that one page of a search reads at most: under a second, whatever is searched for."""

router = new_router("accounts")


def _not_ours(name: str) -> str:
    if name.startswith("acc_"):
        raise ValueError("must not look like an id of this service")
    return name


def _a_shop(domain: str) -> str:
    if shop_host(domain) is None:
        raise ValueError("must be the domain of a shop, such as `shop.example`")
    return domain


def _not_before_events(start: datetime) -> datetime:
    if start < AT_ONCE:
        raise ValueError(f"must not be before {AT_ONCE:%Y-%m-%d}")
    return start


# Visible ASCII, so that it fits a header; never mistaken for an id of ours or for `*`.
ExternalId = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][!-~]{0,254}$"), AfterValidator(_not_ours)
]
Email = Annotated[
    str,
    StringConstraints(pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$", max_length=254),
    NoCardNumber,
]


class AccountBody(Body):
    """An account to create, or fields to change; a field left out keeps its value.

    `is_test` cannot change later; `clock_at` starts a test account on a frozen clock.
    """

    external_id: ExternalId = Field(
        description="Your own id of the account: no spaces, no slash, and it does not begin with"
        " `acc_`",
    )
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,31}$")] = Field(
        "merchant", description="Your own word for what the account is, such as `merchant`"
    )
    name: FreeText | None = Field(
        None,
        description="The customer's name, which invoices show unless the billing details name"
        " another",
    )
    email: Email | None = Field(
        None,
        description="The customer's e-mail address, which invoices show unless the billing details"
        " name another",
    )
    zone: Zone = "UTC"
    country: CountryCode | None = None
    locale: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = "en"
    platform: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")] | None = None
    platform_domain: Annotated[Text, AfterValidator(_a_shop)] | None = None
    is_test: StrictBool = False
    clock_at: Annotated[Instant, AfterValidator(_not_before_events)] | None = None
    issuer: Text | None = Field(
        None, description="The key of the seller on its invoices; null: the default seller"
    )
    preferred_billing_method: Preference | None = None
    verified_as: Annotated[tuple[Name, ...], Field(max_length=20)] = Field(
        (), description="The customer's verified statuses, such as `student`"
    )

    @model_validator(mode="after")
    def _platform_is_whole(self) -> Self:
        sent = len(self.model_fields_set & {"platform", "platform_domain"})
        if sent == 1 or (self.platform is None) != (self.platform_domain is None):
            raise ValueError("send both platform and platform_domain, or neither")
        return self


class AccountAnswer(Answer):
    """An account. `clock_at` is null where time is real."""

    id: AccountId = Field(description="As `account_id`")
    account_id: AccountId = Field(validation_alias="id")
    external_id: str
    kind: str = Field(description="Your own word for what the account is")
    name: str | None = Field(description="The customer's name")
    email: str | None = Field(description="The customer's e-mail address")
    zone: str
    country: str | None
    locale: str
    platform: str | None
    platform_domain: str | None
    preferred_billing_method: Preference | None
    verified_as: list[str] = Field(
        description="What the customer is verified as, such as `student`; coupons may ask for it"
    )
    is_test: bool
    clock_at: datetime | None
    clock_status: str | None = Field(
        description="`ready`, `advancing` to the instant that was asked for, or `blocked`; null:"
        " real time",
    )
    status: str = Field(description="The state of the account: `active`")
    created_at: datetime


@router.post(
    "/admin/accounts",
    response_model=AccountAnswer,
    status_code=201,
    responses={
        200: {"model": AccountAnswer, "description": "The account existed and was updated"},
        **responses(
            "ACCOUNT_FIXED",
            "CLOCK_NEEDS_TEST_ACCOUNT",
            "TEST_ACCOUNT_ON_LIVE_KEY",
            "ISSUER_NOT_FOUND",
            *KEYED,
        ),
    },
)
async def upsert_account(body: AccountBody, call: ServiceCall, once: OptionalKey) -> Response:
    """Create the account with this external id, or update it.

    A live Stripe key allows no test accounts. The platform headers, if sent, name the shop that the
    account has before a change, of a new account that of the body [A12].
    """
    if body.is_test and call.settings.has_live_stripe:
        raise Conflict("TEST_ACCOUNT_ON_LIVE_KEY")
    async with once.claim(call) as claim:
        wanted = AccountFields.model_validate(body.model_dump(exclude_unset=True))
        async with call.database.operator() as connection:
            known = await store.find(connection, body.external_id)
            account, created = await credits.open_account(connection, wanted)
            check_shop(known or account)
            if not created:
                await trial_service.remember_identity(connection, account)
            asking = await want_rates(call, connection, account.id, now_by(account.clock_at))
            status, shown = 201 if created else 200, AccountAnswer.of(account)
            await claim.keep(connection, status, shown)
        await until_asked(call, asking)
        return claim.answer(status, shown)


@router.get("/admin/accounts", responses=responses("INVALID_CURSOR"))
async def list_accounts(
    call: ServiceCall,
    paging: Paging,
    q: Annotated[str | None, Query(max_length=100)] = None,
    is_test: bool | None = None,
    platform: OneWord = None,
) -> Page[AccountAnswer]:
    """All accounts, newest first; `q` searches for a part of external id, name or e-mail.

    A search without `page` and `offset` goes through 100,000 accounts a page: while it has more,
    follow its cursor, also from a page without rows. `total` counts those of the newest 100,000.
    """
    query = store.listing(text=q, is_test=is_test, platform=platform)
    keys, show = (accounts.c.created_at, accounts.c.id), AccountAnswer.of
    async with call.database.operator() as connection:
        if not q or paging.is_numbered:
            return await paginate(connection, query, keys, paging, show)
        return await paginate_bounded(connection, query, keys, paging, show, GONE_THROUGH)


@router.get("/admin/accounts/{account_id}", responses=responses("MERCHANT_NOT_FOUND"))
async def read_account(account_id: str, call: ServiceCall) -> AccountAnswer:
    """One account, by id or external id."""
    return AccountAnswer.of(await call.find_account(account_id))
