"""The taxes of the account's invoices, by its address and its tax status."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.problems import responses
from api.answers.schemas import Answer, Body, Credits
from api.dependencies import BillingCall, MemberCall
from api.routes.base import new_router
from api.workflow_calls import wait_until_done
from billing.catalog.taxes import rules
from billing.catalog.taxes.schemas import STANDARD
from billing.core import clock, ids
from billing.money.invoices import balances
from billing.money.taxation import service, store
from billing.money.taxation.reading import taxation
from billing.money.taxation.schemas import VatStatus

router = new_router("taxes")


class RateAnswer(Answer):
    """A rate in percent; `inclusive` if prices already include the tax."""

    jurisdiction: str
    name: str = Field(description="The name of the tax")
    rate: Credits
    inclusive: bool
    reason: str | None = Field(description="Why the rate is 0; null: it is not")


class TaxAnswer(Answer):
    """The tax status of an account, and the standard rates of its next invoice.

    `rates` is empty where no tax is collected for the address. A `reason` says why a rate is zero.
    """

    country: str | None = Field(description="Of the default address, else of the account")
    vat_id: str | None
    vat_status: VatStatus | None = Field(
        description="pending: the register has not answered yet; unknown: it has no such number"
    )
    vat_name: str | None = Field(
        description="The name that the register has for the id; null: not known"
    )
    exempt: bool = Field(description="True if the account pays no tax")
    exempt_because: str | None = Field(description="Why it is exempt; null: it is not")
    rates: list[RateAnswer] = Field(
        description="The standard rates of its next invoice; empty: no tax is collected"
    )

    @classmethod
    async def read(cls, connection: AsyncConnection, account_id: UUID) -> Self:
        """The tax status of an account, read in the caller's transaction."""
        at = await clock.now(connection, account_id)
        facts = (await taxation(connection, account_id)).at(at)
        _, currency = await balances.read(connection, account_id)
        return cls.of(
            await store.profile(connection, account_id),
            country=facts.country,
            exempt=facts.exempt,
            rates=[RateAnswer.of(one) for one in rules.rates(facts, STANDARD, currency)],
        )


class VatBody(Body):
    """An EU VAT id, in any spelling; null: the account has none."""

    vat_id: Annotated[str, Field(min_length=4, max_length=32)] | None = Field(
        examples=["DE136695976"], description="In any spelling; null: the account has none"
    )


@router.get("/billing/tax", responses=responses())
async def read_tax(call: MemberCall) -> TaxAnswer:
    """The taxes of the account's next invoice [L5]."""
    async with call.transaction() as connection:
        return await TaxAnswer.read(connection, call.account.id)


@router.put("/billing/tax", responses=responses("INVALID_TAX_ID"))
async def write_tax(body: VatBody, call: BillingCall) -> TaxAnswer:
    """Set the account's VAT id; the register is queried at once, and again until it answers.

    A business of another EU country accounts for the tax itself once its id is confirmed.
    """
    async with call.transaction() as connection:
        at = await clock.now(connection, call.account.id)
        matter = await service.give_vat_id(connection, call.account.id, body.vat_id, at)
    if matter is not None:
        await wait_until_done(call, matter, f"{ids.encode(ids.ACCOUNT, call.account.id)}/vat-")
    async with call.transaction() as connection:
        return await TaxAnswer.read(connection, call.account.id)
