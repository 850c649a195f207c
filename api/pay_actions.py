"""The link to the payment page, beside the action of a payer who acts in a browser."""

from typing import Any, Final
from uuid import UUID

from billing.core.clock import real_now
from billing.money.payments.pay_links import Kind, PayLinks

_IN_A_BROWSER: Final = ("confirm_card", "redirect")


def with_page(
    links: PayLinks, action: dict[str, Any], account_id: UUID, kind: Kind, subject_id: UUID
) -> dict[str, Any]:
    """The action, with `pay_url` where the page can be used for it."""
    if action["type"] not in _IN_A_BROWSER:
        return action
    return action | {"pay_url": links.url(account_id, kind, subject_id, real_now())}
