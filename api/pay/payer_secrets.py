"""Payment secrets: whoever has one can confirm the payment, so only payers may read them."""

from collections.abc import Mapping
from typing import Any, Protocol, Self, TypeVar

from api.calls import Call
from api.gates import ALLOWED
from api.identity.auth import BILLING
from api.pay.pay_actions import NextAction


class Actionable(Protocol):
    """An answer that includes the payer's next action."""

    @property
    def next_action(self) -> NextAction:
        """The `type` of the action, and what the payer needs for it."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """Return a copy with other values."""


ActionableT = TypeVar("ActionableT", bound=Actionable)


def may_pay(call: Call) -> bool:
    """Return True for a caller who may pay and may therefore read payment secrets."""
    return not call.caller.roles.isdisjoint(ALLOWED[BILLING])


def for_caller(call: Call, answer: ActionableT) -> ActionableT:
    """Return the answer; a caller who may not pay sees only the next action's type, and no page."""
    if may_pay(call):
        return answer
    shown: dict[str, Any] = {"next_action": {"type": answer.next_action["type"]}}
    if hasattr(answer, "checkout_url"):
        shown["checkout_url"] = None
    return answer.model_copy(update=shown)
