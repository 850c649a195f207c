"""The taxes of the account's invoices, by its address and its standing with the tax office."""

from typing import Self
from uuid import UUID

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api.dependencies import MemberCall
from api.problems import responses
from api.routes.base import new_router
from api.schemas import Answer, Credits
from billing.catalog.taxes import rules
from billing.catalog.taxes.schemas import STANDARD
from billing.money.invoices import balances
from billing.money.taxation import store
from billing.money.taxation.reading import taxation

router = new_router("taxes")


class RateAnswer(Answer):
    """A rate in percent; `inclusive` where prices hold the tax already."""

    jurisdiction: str
    name: str
    rate: Credits
    inclusive: bool
    reason: str | None


class TaxAnswer(Answer):
    """The standing of an account with the tax office, and the standard rates of its next invoice.

    `rates` is empty where no tax is collected for the address. A `reason` says why a rate is zero.
    """

    country: str | None = Field(description="Of the default address, else of the account")
    exempt: bool
    exempt_because: str | None
    rates: list[RateAnswer]

    @classmethod
    async def read(cls, connection: AsyncConnection, account_id: UUID) -> Self:
        """The standing of an account, read in the caller's transaction."""
        facts = await taxation(connection, account_id)
        _, currency = await balances.read(connection, account_id)
        return cls.of(
            await store.profile(connection, account_id),
            country=facts.country,
            exempt=facts.exempt,
            rates=[RateAnswer.of(one) for one in rules.rates(facts, STANDARD, currency)],
        )


@router.get("/billing/tax", responses=responses("MERCHANT_NOT_FOUND"))
async def read_tax(call: MemberCall) -> TaxAnswer:
    """The taxes that the account's next invoice has [L5]."""
    async with call.transaction() as connection:
        return await TaxAnswer.read(connection, call.account.id)
