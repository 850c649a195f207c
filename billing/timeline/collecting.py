"""How collecting goes on: an invoice without a case is paid at its first charge, one with a case
is shown through all its slots to the final action, for nobody knows which try succeeds.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from billing.core import keys
from billing.core.agenda import Step, head
from billing.core.matter import RANK
from billing.core.money import show_money
from billing.dunning.rules import (
    Case,
    Collecting,
    CollectionState,
    FinalAction,
    Policy,
    collection_agenda,
)
from billing.timeline.purse import Future
from billing.timeline.schemas import CollectionPicture, Coming, Owed

CHECK: Final = "check"
FINAL_WORDS: Final[dict[FinalAction, str]] = {
    "unpaid": "the subscription becomes unpaid",
    "cancel": "the subscription is canceled",
    "uncollectible": "the invoice is given up as uncollectible",
}


class CollectingFuture(Future):
    """What a subscription and a collection share: the invoices they collect."""

    only_action: FinalAction | None = None
    """The one final action, whatever the case's policy says."""

    def __init__(
        self,
        workflow_id: str,
        invoices: Sequence[Collecting],
        owed: dict[str, Owed],
        currency: str,
        card: str | None,
    ) -> None:
        super().__init__(workflow_id)
        self.invoices = {invoice.invoice: invoice for invoice in invoices}
        self.owed = dict(owed)
        self.currency = currency
        self.card = card
        self.assumed: str | None = None
        """What must have gone as shown for everything from now on."""
        self.checked: set[str] = set()
        self.seen: set[str] = set()
        self.acts: dict[str, Callable[[Step, datetime], list[Coming]]] = {
            "charge": self._charge,
            "settle": self._settle,
            "give_up": self._give_up,
            "end_approval": self._end_approval,
            "open": self._open,
            "retire": self._retire,
            CHECK: self._check,
        }

    @abstractmethod
    def plan(self) -> list[Step]:
        """The matter's own agenda."""

    @abstractmethod
    def new_policy(self) -> tuple[Policy, str]:
        """Dunning policy and zone of a case that opens."""

    def on_paid(self, owed: Owed, at: datetime) -> Decimal | None:
        """An invoice is settled; the credits that come with it."""

    def on_unpaid(self) -> None:
        """A charge failed and a case is open."""

    def on_given_up(self, action: FinalAction, at: datetime) -> None:
        """All slots of a case are used up."""

    def head(self) -> Step | None:
        """The first step; asking Stripe again and again is shown once per payment."""
        return head(
            step
            for step in self.plan()
            if step.key not in self.seen and (step.name != CHECK or stem(step) not in self.checked)
        )

    def follow(self, step: Step, at: datetime) -> list[Coming]:
        """One step on; of a step that is not foreseen here only the step itself is shown."""
        self.seen.add(step.key)
        act = self.acts.get(step.name)
        return act(step, at) if act is not None else [self.coming(step, at, step.words)]

    def coming(self, step: Step, at: datetime, words: str, **more: Any) -> Coming:
        """The step as a person sees it."""
        more.setdefault("only_if", self.assumed)
        known = None if step.key.startswith("next-") else step.key
        return Coming(
            at=at, name=step.name, workflow_id=self.workflow_id, words=words, key=known, **more
        )

    def pay(self, invoice: str, at: datetime) -> Decimal | None:
        """The invoice's money is in."""
        self.invoices.pop(invoice, None)
        owed = self.owed.pop(invoice, None)
        return self.on_paid(owed, at) if owed is not None else None

    def _charge(self, step: Step, at: datetime) -> list[Coming]:
        invoice = stem(step)
        collecting, owed = self.invoices[invoice], self.owed[invoice]
        amount = {"amount_minor": owed.remaining_minor, "currency": self.currency}
        money = show_money(owed.remaining_minor, self.currency)
        by = f" by {self.card}" if self.card else ", but there is no card to charge"
        words = f"{step.words}: {money} for {owed.label}{by}"
        named = collecting.pay_first or collecting.undecided is not None
        if collecting.case is None and (self.card or named):
            gained = self.pay(invoice, at)
            return [self.coming(step, at, words, credits=gained, **amount)]
        only_if = f"{owed.label} is not paid before" if collecting.case else "no card comes before"
        shown = self.coming(step, at, words, only_if=only_if, **amount)
        self._fail(collecting, step, at)
        return [shown]

    def _fail(self, collecting: Collecting, step: Step, at: datetime) -> None:
        """The same bookkeeping as a declined or skipped try has (billing.dunning.service)."""
        case = collecting.case
        if case is None:
            policy, zone = self.new_policy()
            case = Case(
                status="open",
                policy=policy,
                zone=zone,
                day_zero_at=collecting.day_zero_at,
                last_slot=0,
                last_slot_ran_at=at,
                last_true_attempt_at=at,
            )
        moved: dict[str, Any] = {"last_true_attempt_at": at} if self.card else {}
        slot = keys.slot_of(step.key)
        if slot is not None:
            moved |= {"last_slot": max(slot, case.last_slot), "last_slot_ran_at": at}
        self.invoices[collecting.invoice] = collecting.model_copy(
            update={
                "case": case.model_copy(update=moved),
                "tried": (*collecting.tried, step.key),
                "undecided": None,
            }
        )
        self.on_unpaid()

    def _settle(self, step: Step, at: datetime) -> list[Coming]:
        payment = stem(step)
        invoice = next(i.invoice for i in self.invoices.values() if i.unsettled == payment)
        owed = self.owed[invoice]
        gained = self.pay(invoice, at)
        words = f"book {show_money(owed.remaining_minor, self.currency)} on {owed.label}"
        return [
            self.coming(
                step, at, words, credits=gained,
                amount_minor=owed.remaining_minor, currency=self.currency,
            )
        ]  # fmt: skip

    def _give_up(self, step: Step, at: datetime) -> list[Coming]:
        invoice = stem(step)
        case, owed = self.invoices.pop(invoice).case, self.owed.pop(invoice)
        only_if = f"{owed.label} is not paid before"
        action = self.only_action or (case.policy.final_action if case else "unpaid")
        self.on_given_up(action, at)
        shown = self.coming(
            step, at, f"final action for {owed.label}: {FINAL_WORDS[action]}", only_if=only_if,
            amount_minor=owed.remaining_minor, currency=self.currency,
        )  # fmt: skip
        self.assumed = only_if
        return [shown]

    def _end_approval(self, step: Step, at: datetime) -> list[Coming]:
        self._change(
            stem(step), payment=None, payment_status=None, road=None, opened=False, payment_at=None
        )
        return [self.coming(step, at, step.words, only_if="nobody decides on the payment before")]

    def _retire(self, step: Step, at: datetime) -> list[Coming]:
        """The open payment is called back; what waits to take over then awaits its approval."""
        waiting = self.invoices[stem(step)].submission
        self._change(
            stem(step),
            payment=waiting,
            road="manual" if waiting else None,
            payment_status="pending_approval" if waiting else None,
            payment_at=at if waiting else None,
            submission=None,
            opened=False,
            stale=False,
            awaits_payer=False,
        )
        return [self.coming(step, at, step.words)]

    def _open(self, step: Step, at: datetime) -> list[Coming]:
        self._change(stem(step), opened=True)
        return [self.coming(step, at, "open the payment, so that the payer can finish it")]

    def _check(self, step: Step, at: datetime) -> list[Coming]:
        self.checked.add(stem(step))
        collecting = self.invoices.get(stem(step))
        shown = [self.coming(step, at, step.words)]
        if collecting is not None and collecting.payment_status == "processing":
            self.pay(collecting.invoice, at)
        return shown

    def _change(self, invoice: str, **fields: Any) -> None:
        self.invoices[invoice] = self.invoices[invoice].model_copy(update=fields)


class CollectionFuture(CollectingFuture):
    """An open invoice pursued by itself."""

    rank = RANK["collection"]
    only_action = "uncollectible"

    def __init__(self, picture: CollectionPicture) -> None:
        invoice = picture.state.invoice
        super().__init__(
            picture.workflow_id,
            (invoice,) if invoice is not None else (),
            picture.owed,
            picture.currency,
            picture.card,
        )
        self.state = picture.state
        self.zone = picture.zone

    def plan(self) -> list[Step]:
        """The pure agenda of a collection."""
        one = next(iter(self.invoices.values()), None)
        return collection_agenda(self.state.model_copy(update={"invoice": one}))

    def new_policy(self) -> tuple[Policy, str]:
        """Collection ends as uncollectible, always."""
        return Policy(final_action="uncollectible"), self.zone


def pursue(
    collecting: Collecting, owed: Owed, *, workflow_id: str, currency: str, zone: str,
    card: str | None,
) -> CollectionFuture:  # fmt: skip
    """The collection that an ended subscription leaves behind for one of its invoices."""
    state = CollectionState(status="collecting", invoice=collecting, subject=collecting.invoice)
    return CollectionFuture(
        CollectionPicture(
            workflow_id=workflow_id,
            state=state,
            zone=zone,
            currency=currency,
            card=card,
            owed={collecting.invoice: owed},
        )
    )


def stem(step: Step) -> str:
    """The invoice, payment or matter that a step's key begins with."""
    return step.key.partition("/")[0]
