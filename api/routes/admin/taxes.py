"""Jurisdictions that tax is collected for, and exemptions of single accounts, for operators."""

from datetime import date
from typing import Annotated

from fastapi import Path
from pydantic import Field

from api.answers.pagination import Page, as_page
from api.answers.problems import responses
from api.answers.schemas import Answer, Body, Credits
from api.calls import account_named
from api.dependencies import AdminCall
from api.requests.card_numbers import FreeText
from api.routes.admin.catalog import ChangesAnswer
from api.routes.base import new_router
from api.routes.taxes import TaxAnswer
from billing.catalog.plans.service import put_inclusion, put_jurisdiction
from billing.catalog.taxes import store as taxes
from billing.catalog.taxes.spec import JurisdictionKey, JurisdictionSpec
from billing.core import clock
from billing.core.currencies import KnownCurrency
from billing.money.taxation import service

router = new_router("taxes")


class LaterRatesAnswer(Answer):
    """Rates in percent by category, valid from a day on (UTC)."""

    since: date = Field(description="The day from which they apply, in UTC")
    rates: dict[str, Credits] = Field(description="The rates in percent, by category of goods")


class JurisdictionAnswer(Answer):
    """A country or region that tax is collected for, with its rates in percent by category."""

    key: str = Field(description="The country by ISO 3166-1, or its region by ISO 3166-2")
    name: str = Field(description="The name of the tax")
    rates: dict[str, Credits] = Field(description="The rates in percent, by category of goods")
    later: list[LaterRatesAnswer] = Field(description="The rates that are to come")
    instead_of_country: bool = Field(
        description="True: a region's tax takes the place of its country's, else it is added"
    )


class InclusionBody(Body):
    """Currencies whose prices include tax; in others it is added to them."""

    currencies: Annotated[list[KnownCurrency], Field(max_length=200, examples=[["EUR"]])] = Field(
        description="All such currencies, ISO 4217; of those left out the prices exclude tax"
    )


class ExemptionBody(Body):
    """The reason for an exemption, such as the number of its certificate; null ends it."""

    because: FreeText | None = Field(
        examples=["certificate 4711"],
        description="The reason, which is on invoices; null ends the exemption",
    )


@router.get("/admin/taxes", responses=responses())
async def list_taxes(call: AdminCall) -> Page[JurisdictionAnswer]:
    """The jurisdictions that tax is collected for."""
    async with call.database.operator() as connection:
        found = (await taxes.current(connection)).jurisdictions
    return as_page(JurisdictionAnswer.of(one) for _, one in sorted(found.items()))


@router.put("/admin/taxes/{key}", responses=responses())
async def put_tax(
    key: Annotated[
        JurisdictionKey,
        Path(description="The country by ISO 3166-1, or its region by ISO 3166-2: `DE`, `CA-QC`"),
    ],
    body: JurisdictionSpec,
    call: AdminCall,
) -> ChangesAnswer:
    """Collect tax for a country or region, or change its rates, for drafts from now on."""
    async with call.database.operator() as connection:
        return ChangesAnswer.of_changes(await put_jurisdiction(connection, key, body))


@router.put("/admin/tax-inclusion", responses=responses())
async def put_tax_inclusion(body: InclusionBody, call: AdminCall) -> ChangesAnswer:
    """Set the currencies whose prices include tax, for invoices drafted from now on."""
    async with call.database.operator() as connection:
        return ChangesAnswer.of_changes(await put_inclusion(connection, body.currencies))


@router.put("/admin/accounts/{account_id}/tax-exemption", responses=responses("MERCHANT_NOT_FOUND"))
async def put_exemption(account_id: str, body: ExemptionBody, call: AdminCall) -> TaxAnswer:
    """Exempt an account from taxes, or end that, for invoices drafted from now on."""
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id)
        at = clock.now_by(account.clock_at)
        await service.exempt(connection, account.id, body.because, at)
        return await TaxAnswer.read(connection, account.id)
