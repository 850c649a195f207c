"""A bank that says what a test needs, in place of the one made of dice."""

from collections.abc import Sequence
from itertools import count
from random import Random

from billing.money.payments.calls import Call
from billing.money.payments.rules import Decline, Outcome
from tests.unit.lives.collections import Bank


class Told(Bank):
    """A bank that gives these answers, one for each call; `looks` answers whoever just asks."""

    def __init__(self, answers: Sequence[str | Outcome], looks: str | None = None) -> None:
        super().__init__(Random(0))
        self.answers, self.looks = list(answers), looks
        self.calls: list[str] = []
        self.intents = count(1)

    def answer(self, call: Call) -> Outcome:
        self.calls.append(call.what)
        kind = self.looks if call.what == "look" and self.looks else self.answers.pop(0)
        if isinstance(kind, Outcome):
            return kind
        decline = Decline(code="card_declined", decline_code="do_not_honor", message="no")
        return Outcome.model_validate(
            {
                "kind": kind,
                "intent_id": call.payment.stripe_payment_intent_id or f"pi_{next(self.intents)}",
                "received_minor": call.payment.amount_minor if kind == "succeeded" else 0,
                "decline": decline if kind == "declined" else None,
            }
        )
