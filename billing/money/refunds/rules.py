"""Times at which a refund is asked for and looked at, and what its provider answers. Pure."""

from typing import Literal

from pydantic import AwareDatetime

from billing.core.frozen import Frozen
from billing.matters.agenda import Lean, Step
from billing.money.payments.rules import next_check


class RefundOutcome(Frozen):
    """The standing of one refund, as the provider says now."""

    refund_id: str
    status: Literal["processing", "succeeded", "failed"]
    failure: str | None = None


class GivingBack(Lean):
    """A refund that is not finished, read from its row."""

    key: str
    payment: str
    """External id of the payment it gives back."""
    created_at: AwareDatetime
    is_known: bool = False
    """The provider has it, and it has not arrived yet."""
    checks: int = 0
    last_check_at: AwareDatetime | None = None


def refund_step(refund: GivingBack, invoice: str) -> Step:
    """Ask for it at once; while it is on its way, look at a payment's usual times."""
    due, words = refund.created_at, "give the money back"
    if refund.is_known:
        due = next_check(refund.created_at, refund.checks, refund.last_check_at)
        words = "see whether the money is back"
    return Step(
        name="refund",
        due=due,
        key=refund.key,
        words=words,
        invoice=invoice,
        payment=refund.payment,
    )
