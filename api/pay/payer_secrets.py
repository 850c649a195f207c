"""Secrets of payments: with one a payment is confirmed, so only those who may pay read it."""

from collections.abc import Mapping
from typing import Any, Protocol, Self, TypeVar

from api.dependencies import ALLOWED, Call
from api.identity.auth import BILLING
from api.pay.pay_actions import NextAction


class Actionable(Protocol):
    """An answer that says what its payer does next."""

    @property
    def next_action(self) -> NextAction:
        """`type`, and beside it what the payer needs for it."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """A copy with other values."""


ActionableT = TypeVar("ActionableT", bound=Actionable)


def may_pay(call: Call) -> bool:
    """True for a caller who may pay, to whom no secret of a payment is one."""
    return not call.caller.roles.isdisjoint(ALLOWED[BILLING])


def for_caller(call: Call, answer: ActionableT) -> ActionableT:
    """The answer; of what to do next a caller who may not pay sees the type alone, and no page."""
    if may_pay(call):
        return answer
    shown: dict[str, Any] = {"next_action": {"type": answer.next_action["type"]}}
    if hasattr(answer, "checkout_url"):
        shown["checkout_url"] = None
    return answer.model_copy(update=shown)
