"""Payment actions: the pay-page link and the offered payment methods."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Required, cast
from uuid import UUID

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import TypedDict

from api.calls import AccountCall
from billing.catalog.payment_kinds import store as payment_kinds
from billing.core.clock import real_now
from billing.core.errors import Conflict
from billing.money.payments.pay_links import LinkKind, PayLinks
from billing.money.payments.schemas import PAYPAL

_IN_A_BROWSER: Final = ("confirm_card", "redirect")


class NextAction(TypedDict, total=False):
    """The payer's next action; its other fields depend on `type`.

    `confirm_card` has the `client_secret` for Stripe.js, `redirect` the `url` to open; for both,
    `pay_url` is a page of this service that does it. `manual` has the `payment_reference` for a
    transfer, the `invoice_id` and the amount.
    """

    type: Required[
        Annotated[
            Literal["none", "confirm_card", "redirect", "manual", "wait"],
            Field(
                description="What the payer does: `none`: nothing; `confirm_card`: confirm it with"
                " Stripe.js; `redirect`: open `url`; `manual`: send a transfer; `wait`: it is"
                " undecided"
            ),
        ]
    ]
    client_secret: str
    url: str
    pay_url: str
    invoice_id: str
    payment_reference: str
    amount_cents: int
    currency: str


def with_page(
    links: PayLinks, action: Mapping[str, Any], account_id: UUID, kind: LinkKind, subject_id: UUID
) -> NextAction:
    """Return the action, with `pay_url` where the pay page supports it."""
    if action["type"] not in _IN_A_BROWSER:
        return cast("NextAction", action)
    page = links.url(account_id, kind, subject_id, real_now())
    return cast("NextAction", {**action, "pay_url": page})


def offers_paypal(call: AccountCall) -> bool:
    """True if this account may pay by PayPal: where it is set up, and no test account by the live
    one.
    """
    settings = call.settings
    return settings.takes_paypal and not (call.account.is_test and settings.has_live_paypal)


async def demand_offered(call: AccountCall, connection: AsyncConnection, flow: str) -> None:
    """Refuse a payment method that is not set up here, or that operators have switched off.

    Errors: PAYMENT_METHOD_NOT_OFFERED. Cards are always accepted; Stripe's dashboard decides which
    other methods its page shows.
    """
    if flow not in (PAYPAL, "manual"):
        return
    kinds = (await payment_kinds.current(connection)).values()
    known = [one for one in kinds if one.provider == flow]
    # A catalog may predate these kinds, or PayPal's: a kind it never listed is accepted.
    is_told = bool(kinds if flow == "manual" else known)
    is_off = is_told and not any(one.is_active for one in known)
    if is_off or (flow == PAYPAL and not offers_paypal(call)):
        raise Conflict("PAYMENT_METHOD_NOT_OFFERED")
