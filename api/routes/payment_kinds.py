"""The payment methods on offer, by country and currency [K1]."""

from typing import Annotated

from fastapi import Query
from pydantic import Field

from api.answers.pagination import Page, whole
from api.answers.problems import responses
from api.answers.schemas import Answer, CountryCode
from api.calls import AccountCall
from api.dependencies import MemberCall
from api.pay.pay_actions import offers_paypal
from api.routes.base import new_router
from billing.catalog.payment_kinds import store as payment_kinds
from billing.catalog.plans.schemas import Currency
from billing.core.currencies import chargeable
from billing.core.paypal_currencies import is_taken
from billing.money.addresses import store as address_store
from billing.money.invoices import balances
from billing.money.payments.schemas import PAYPAL

router = new_router("payment methods")


class OfferedAnswer(Answer):
    """A payment method on offer: `provider_type` is the provider's name of it, `type` its kind
    [K14].
    """

    type: str = Field(validation_alias="kind", description="`card`, `bank_transfer` or `other`")
    provider_type: str = Field(validation_alias="key", description="Its name in the catalog")
    provider: str = Field(
        description="What handles it: `stripe`, `paypal`, or `manual` for money from outside"
    )


class AvailableAnswer(Page[OfferedAnswer]):
    """The payment methods on offer, best first."""

    country: str | None
    currency: str


@router.get("/billing/payment-methods/available", responses=responses())
async def list_available_methods(
    call: MemberCall,
    country: Annotated[CountryCode | None, Query(description="ISO 3166-1, two letters")] = None,
    currency: Annotated[Currency | None, Query(description="ISO 4217")] = None,
) -> AvailableAnswer:
    """The payment methods on offer [K1], for the account's default address, else its country, and
    its currency, unless the query names others.
    """
    async with call.transaction() as connection:
        if country is None:
            address = await address_store.default(connection, call.account.id)
            country = (address or await call.read_account(connection)).country
        if currency is None:
            currency = (await balances.read(connection, call.account.id))[1]
        offered = await payment_kinds.current(connection)
    shown = [
        OfferedAnswer.of(one)
        for one in offered.values()
        if one.is_offered(country, currency) and _takes(call, one.provider, currency)
    ]
    return AvailableAnswer(
        country=country, currency=currency, data=shown, pagination=whole(len(shown))
    )


def _takes(call: AccountCall, provider: str, currency: str) -> bool:
    """True if the provider takes this money here."""
    if provider == PAYPAL:
        return offers_paypal(call) and is_taken(currency)
    return provider != "stripe" or chargeable(currency)
