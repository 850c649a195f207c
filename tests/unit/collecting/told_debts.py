"""A debt whose bank is told what to say."""

from random import Random

from billing.money.payment_methods.rules import CardDetails
from billing.money.payment_methods.schemas import Method
from billing.money.payments import kept_cards
from billing.money.payments.rules import Decline, Outcome
from tests.unit.lives.collections import Life
from tests.unit.lives.told import Told


def declined(charge: str, reason: str = "insufficient_funds", advice: str | None = None) -> Outcome:
    """A bank's refusal of the first intent."""
    decline = Decline(code="card_declined", decline_code=reason, message="no", advice=advice)
    return Outcome(kind="declined", intent_id="pi_1", decline=decline, charge_id=charge)


class Debt(Life):
    """A debt at a bank that says these things, and the keys of its steps but the checks."""

    def __init__(self, *answers: str | Outcome, looks: str | None = None) -> None:
        super().__init__(Random(0))
        self.bank = self.told = Told(answers, looks)
        self.steps: list[str] = []
        self.new_card()

    def choose(self) -> None:
        """The payer saves the same card again, or chooses it again."""
        (card,) = self.rows.of(Method)
        self.work().change(card, chosen_at=self.now)

    def reissue(self) -> None:
        """The bank gives the card another number, and the provider says so."""
        (card,) = self.rows.of(Method)
        w = self.work()
        w.change(card, fingerprint="before")
        name = card.stripe_payment_method_id
        kept_cards.keep_card(
            w, self.account_id, CardDetails(stripe_payment_method_id=name, fingerprint="after"),
            make_default=False,
        )  # fmt: skip

    def go(self, *, until: str | None = None) -> None:
        """Do what is due, until a step with this name in its key was done or nothing is left."""
        while (step := self.next_step()) is not None and len(self.steps) < 50:
            self.do(step)
            self.hold_true()
            key = step.key.partition("/")[2].replace(step.method or "no card", "mth")
            if not key.startswith("check"):
                self.steps.append(key)
            if key == until:
                return
