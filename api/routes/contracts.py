"""The contract with an account, as its own users see it, and what it has spent of it so far."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import AliasPath, BeforeValidator, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.problems import responses
from api.answers.public_ids import AccountId, encoded
from api.answers.schemas import Answer, Credits
from api.dependencies import MemberCall
from api.routes.base import new_router
from api.routes.subscription_answers import CommitmentPart
from billing.catalog.plans import rules
from billing.catalog.rating.schemas import OverageTerms, Then
from billing.core import ids
from billing.money.contracts import service
from billing.money.contracts.schemas import Contract
from billing.money.subscriptions import store

router = new_router("subscriptions")


class ContractPriceAnswer(Answer):
    """An agreed price."""

    plan: str
    interval: Annotated[str, BeforeValidator(rules.show_interval)] = Field(
        description="The interval of the price, such as `month` or `3 months`"
    )
    currency: str
    amount_cents: int = Field(
        validation_alias="amount_minor",
        description="The price per interval, of one seat if the plan is sold by seats, in minor"
        " units",
    )
    minimum_cents: int | None = Field(validation_alias="minimum_minor")


class CommitmentAnswer(Answer):
    """An agreed commitment."""

    amount_cents: int = Field(
        validation_alias="amount_minor",
        description="What is spent at least in all its periods, in minor units",
    )
    currency: str
    periods: int = Field(description="The number of periods in which it is spent")
    on_early_end: str


class ContractLimitAnswer(Answer):
    """An agreed limit."""

    meter: str
    included: Credits
    then: Then
    prices: dict[str, OverageTerms] = Field(
        description="The price of units beyond by currency, in whole units of it: of one unit, or"
        " terms with tiers",
    )


class ContractAnswer(Answer):
    """A contract of an account, in force or upcoming.

    `commitment` is agreed for the next subscription or renewal; `running_commitment` is that of the
    current subscription, from the contract that it was sold under.
    """

    contract_id: Annotated[str, encoded(ids.CONTRACT)] = Field(validation_alias="id")
    account_id: AccountId
    reference: str | None = Field(description="The operator's name of the contract; null: none")
    prices: list[ContractPriceAnswer] = Field(
        validation_alias=AliasPath("terms", "prices"),
        description="The prices of plans for this account",
    )
    limits: list[ContractLimitAnswer] = Field(validation_alias=AliasPath("terms", "limits"))
    collection: str | None = Field(
        validation_alias=AliasPath("terms", "collection"),
        description="`charge`: a card pays each invoice; `send_invoice`: it is sent and paid by"
        " transfer; null: as it is",
    )
    days_until_due: int | None = Field(
        validation_alias=AliasPath("terms", "net_days"),
        description="Days after which an invoice that is sent is due; null: none are sent",
    )
    commitment: CommitmentAnswer | None = Field(
        validation_alias=AliasPath("terms", "commitment"),
        description="What the next subscription or renewal will spend at least; null: no minimum",
    )
    running_commitment: CommitmentPart | None = Field(
        None, description="What the present subscription spends at least; null: no minimum"
    )
    effective_from: datetime
    effective_to: datetime | None
    created_at: datetime

    @classmethod
    async def read(cls, connection: AsyncConnection, contract: Contract) -> Self:
        """The contract with what is spent so far, read in the caller's transaction."""
        sold = await store.find_open(connection, contract.account_id)
        running = await CommitmentPart.read(connection, sold) if sold is not None else None
        return cls.of(contract).model_copy(update={"running_commitment": running})


@router.get("/billing/contract", responses=responses("CONTRACT_NOT_FOUND"))
async def read_contract(call: MemberCall) -> ContractAnswer:
    """The contract in force, else the one that begins next, and the spending of its commitment."""
    async with call.transaction() as connection:
        return await ContractAnswer.read(connection, await service.get(connection, call.account.id))
