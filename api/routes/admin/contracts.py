"""Contracts with single accounts: plan prices, how they pay, minimum spend [B10, B14]."""

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from api.answers.problems import responses
from api.answers.schemas import Body, CatalogName, Credits, Instant
from api.dependencies import AdminCall
from api.requests.card_numbers import FreeText
from api.requests.dry_runs import undone_if
from api.routes.base import new_router
from api.routes.contracts import ContractAnswer
from api.routes.subscription_previews import TryOut
from api.workflow_calls import notify
from billing.catalog.plans import rules
from billing.catalog.plans.schemas import AgreedPrice, Limit, Minor, PositiveMinor
from billing.catalog.plans.spec import Every, PricedIn
from billing.catalog.rating.schemas import OverageTerms, PriceTerms, Then
from billing.money.contracts import service
from billing.money.contracts.schemas import CommitmentTerms, EarlyEnd
from billing.money.contracts.service import NewContract

router = new_router("subscriptions")


class ContractPriceBody(Body):
    """The price of a plan per interval, such as `month` or `3 months`, in minor units.

    `minimum_cents` is the minimum of a period, including all usage in it.
    """

    plan: CatalogName
    interval: Every = Field(
        "month", description="The interval of the price, such as `month` or `3 months`"
    )
    currency: PricedIn
    amount_cents: Minor = Field(
        description="The price per interval, of one seat if the plan is sold by seats, in minor"
        " units",
    )
    minimum_cents: PositiveMinor | None = None


class ContractLimitBody(Body):
    """The included units of a meter per allowance cycle, and what happens beyond them."""

    included: Annotated[Credits, Field(ge=0)]
    then: Then = "block"
    prices: dict[PricedIn, OverageTerms] = Field(
        {},
        validate_default=True,
        description="The price of units beyond by currency, in whole units of it: of one unit, or"
        " terms with tiers; with `then: overage` only",
    )

    @field_validator("prices")
    @classmethod
    def _overage_has_prices(
        cls, prices: dict[str, PriceTerms], info: ValidationInfo
    ) -> dict[str, PriceTerms]:
        then = info.data.get("then")
        if then is not None and (then == "overage") != bool(prices):
            raise ValueError("are required with `then: overage` and not allowed otherwise")
        return prices


class CommitmentBody(Body):
    """The minimum that a subscription spends over its first `periods` under the contract.

    `on_early_end` says what happens to the rest if it ends earlier.
    """

    amount_cents: PositiveMinor = Field(
        description="What is spent at least in all its periods, in minor units"
    )
    currency: PricedIn
    periods: Annotated[int, Field(strict=True, ge=1, le=120)] = Field(
        description="The number of periods in which it is spent"
    )
    on_early_end: EarlyEnd = "charge"


class ContractBody(Body):
    """The whole contract: what it leaves out is as for other accounts."""

    prices: Annotated[tuple[ContractPriceBody, ...], Field(max_length=100)] = Field(
        description="The prices of plans for this account"
    )
    limits: Annotated[dict[CatalogName, ContractLimitBody], Field(max_length=100)] = Field(
        {}, description="The limits of meters for this account, by the key of the meter"
    )
    reference: FreeText | None = Field(None, description="Your own name of the contract")
    collection: Literal["charge", "send_invoice"] | None = Field(
        None,
        description="`charge`: a card pays each invoice; `send_invoice`: it is sent and paid by"
        " transfer; null: as it is",
    )
    days_until_due: Annotated[int, Field(strict=True, ge=1, le=365)] | None = None
    commitment: CommitmentBody | None = Field(
        None, description="The minimum to spend over several periods; null: none"
    )
    effective_from: Instant | None = Field(
        None, description="From when it applies; by default from now"
    )
    effective_to: Instant | None = Field(
        None, description="Until when it applies; null: until it is ended, or another begins"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.collection == "send_invoice") != (self.days_until_due is not None):
            raise ValueError(
                "days_until_due is required with collection send_invoice, and not allowed otherwise"
            )
        return self

    @property
    def wanted(self) -> NewContract:
        """The contract as its service takes it."""
        prices = tuple(
            AgreedPrice(
                plan=one.plan,
                interval=rules.parse_interval(one.interval),
                currency=one.currency,
                amount_minor=one.amount_cents,
                minimum_minor=one.minimum_cents,
            )
            for one in self.prices
        )
        limits = tuple(
            Limit(meter=meter, included=one.included, then=one.then, prices=one.prices)
            for meter, one in sorted(self.limits.items())
        )
        given = self.model_dump(exclude={"prices", "limits", "commitment"})
        given["net_days"] = given.pop("days_until_due")
        committed = None
        if self.commitment is not None:
            known = self.commitment.model_dump(exclude={"amount_cents"})
            committed = CommitmentTerms(amount_minor=self.commitment.amount_cents, **known)
        return NewContract(**given, prices=prices, limits=limits, commitment=committed)


@router.put(
    "/admin/accounts/{account_id}/contract",
    responses=responses("MERCHANT_NOT_FOUND", "PLAN_NOT_FOUND", "METER_NOT_FOUND", "CONTRACT_SOLD"),
)
async def put_contract(
    account_id: str, body: ContractBody, call: AdminCall, dry_run: TryOut = False
) -> ContractAnswer:
    """Agree a contract, replacing what was agreed for that time [B10, B14].

    It applies to new sales from then on, and to a running subscription from its next period, as
    `upcoming` shows. Repeating the request changes nothing.
    """
    account = await call.find_account(account_id)
    async with undone_if(dry_run, call.database.tenant(account.id)) as connection:
        made, matter = await service.put(connection, account.id, body.wanted)
        answer = await ContractAnswer.read(connection, made)
    if matter is not None and not dry_run:
        await notify(call, matter)
    return answer


@router.get(
    "/admin/accounts/{account_id}/contract",
    responses=responses("MERCHANT_NOT_FOUND", "CONTRACT_NOT_FOUND"),
)
async def get_contract(account_id: str, call: AdminCall) -> ContractAnswer:
    """The contract in force, else the one that begins next."""
    account = await call.find_account(account_id)
    async with call.database.tenant(account.id) as connection:
        return await ContractAnswer.read(connection, await service.get(connection, account.id))


@router.delete(
    "/admin/accounts/{account_id}/contract",
    responses=responses("MERCHANT_NOT_FOUND", "CONTRACT_NOT_FOUND", "CONTRACT_SOLD"),
)
async def end_contract(account_id: str, call: AdminCall) -> ContractAnswer:
    """End the contract and upcoming ones: what was sold under them keeps price and commitment.

    Returns the contract that was in force, or that would have begun first.
    """
    account = await call.find_account(account_id)
    async with call.database.tenant(account.id) as connection:
        ended, matter = await service.end(connection, account.id)
        answer = await ContractAnswer.read(connection, ended)
    if matter is not None:
        await notify(call, matter)
    return answer
