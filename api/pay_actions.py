"""The payer's ways: the link to the payment page beside an action, and PayPal, where offered."""

from typing import Any, Final
from uuid import UUID

from api.dependencies import AccountCall
from billing.core.clock import real_now
from billing.core.errors import Conflict
from billing.money.payments.pay_links import Kind, PayLinks
from billing.money.payments.schemas import PAYPAL

_IN_A_BROWSER: Final = ("confirm_card", "redirect")


def with_page(
    links: PayLinks, action: dict[str, Any], account_id: UUID, kind: Kind, subject_id: UUID
) -> dict[str, Any]:
    """The action, with `pay_url` where the page can be used for it."""
    if action["type"] not in _IN_A_BROWSER:
        return action
    return action | {"pay_url": links.url(account_id, kind, subject_id, real_now())}


def offers_paypal(call: AccountCall) -> bool:
    """True if this account may pay by PayPal: where it is set up, and no test account by the live
    one.
    """
    settings = call.settings
    return settings.takes_paypal and not (call.account.is_test and settings.has_live_paypal)


def demand_paypal(call: AccountCall, flow: str) -> None:
    """Refuse PayPal where it is not offered: PAYMENT_METHOD_NOT_OFFERED."""
    if flow == PAYPAL and not offers_paypal(call):
        raise Conflict("PAYMENT_METHOD_NOT_OFFERED", "PayPal is not offered here")
