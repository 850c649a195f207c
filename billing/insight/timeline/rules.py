"""The future half of a timeline: the matters' own agendas, projected as if all went well.

Pure: uses the functions that drive the workflows, from the same states, so that it shows what will
happen unless somebody acts.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from billing.core.money import show_decimal, show_money
from billing.insight.timeline.collection import CollectionProjection
from billing.insight.timeline.foreseen import ForeseenCredits, ForeseenFacts
from billing.insight.timeline.projection import Projection
from billing.insight.timeline.schemas import (
    AccountSnapshot,
    ComingEntry,
    Outlook,
    PurchaseSnapshot,
    ReversalSnapshot,
    TrialSnapshot,
)
from billing.insight.timeline.subscription import SubscriptionProjection
from billing.matters.agenda import Step, head
from billing.matters.kinds import ACCOUNT, PURCHASE, REVERSAL, TRIAL
from billing.money.account_agenda.rules import agenda as account_agenda
from billing.money.purchases.rules import agenda as purchase_agenda
from billing.money.reversals.rules import agenda as reversal_agenda
from billing.money.reversals.rules import reminder_due
from billing.money.subscriptions.schemas import Subscription
from billing.money.trials.rules import agenda as trial_agenda
from billing.platform.provider_inbox.rules import CHECK

FEW: Final = 12
"""The future entries that a timeline shows at least, unless asked for another number."""
MAX_COMING: Final = 100
"""The most future entries that a timeline shows."""
MAX_STEPS: Final = 1_000
"""A bound on the projected steps, whatever the agendas say."""


class Coming(NamedTuple):
    """The next entries, soonest first."""

    entries: list[ComingEntry]
    has_more: bool
    """True if more will follow them."""


def project(outlook: Outlook, count: int | None = None) -> Coming:
    """Return the next `count` entries; None: a few, and all until the period of a subscription that
    runs now has ended, so that its next charge is among them.
    """
    least = FEW if count is None else count
    most = MAX_COMING if count is None else count
    until = outlook.now if count is not None else _period_end(outlook)
    shown = list[ComingEntry]()
    for one in _entries(outlook):
        if len(shown) >= most or (len(shown) >= least and one.at > until):
            return Coming(shown, has_more=True)
        shown.append(one)
    return Coming(shown, has_more=False)


def _period_end(outlook: Outlook) -> datetime:
    """Return the last end of a current period; now if there is none."""
    rows = (one for snapshot in outlook.subscriptions for one in snapshot.rows.of(Subscription))
    return max((one.current_period_end for one in rows), default=outlook.now)


def _entries(outlook: Outlook) -> Iterator[ComingEntry]:
    """Yield the future entries, soonest first."""
    projections, now = _projections(outlook), outlook.now
    for _ in range(MAX_STEPS):
        due = [(step, future) for future in projections if (step := future.head()) is not None]
        if not due:
            return
        step, future = min(due, key=lambda one: (one[0].due, one[1].rank, one[1].workflow_id))
        now = max(now, step.due)
        yield from future.follow(step, now)
        projections += future.born
        future.born = []


def _projections(outlook: Outlook) -> list[Projection]:
    foreseen = ForeseenFacts(outlook.now, outlook.expiring, outlook.granted)
    ending = foreseen.credits
    projections: list[Projection] = [
        SubscriptionProjection(one, foreseen) for one in outlook.subscriptions
    ]
    projections += [CollectionProjection(one, foreseen) for one in outlook.collections]
    projections += [PurchaseProjection(one) for one in outlook.purchases]
    projections += [ReversalProjection(one) for one in outlook.reversals]
    projections += [TrialProjection(one, ending) for one in outlook.trials]
    if outlook.account is not None:
        projections.append(AccountProjection(outlook.account, ending))
    return projections


class PurchaseProjection(Projection):
    """The projection of a purchase whose money may or may not come."""

    rank = PURCHASE.rank

    def __init__(self, snapshot: PurchaseSnapshot) -> None:
        super().__init__(snapshot.workflow_id)
        self.snapshot = snapshot
        self.state = snapshot.state.model_copy(update={"events": ()})
        self.shown: set[str] = set()

    def head(self) -> Step | None:
        """Return the next step; repeated queries to Stripe or operators are shown once."""
        return head(step for step in purchase_agenda(self.state) if step.name not in self.shown)

    def follow(self, step: Step, at: datetime) -> list[ComingEntry]:
        """Do one step; return its entries."""
        snapshot = self.snapshot
        what = f"{show_decimal(snapshot.credits)} credits ({snapshot.pack})"
        words, gained, only_if = step.words, None, None
        self.shown.add(step.name)
        if step.name == CHECK and self.state.payment_status == "processing":
            self._move(status="completed")
        elif step.name == "retire":
            self._move(submission=None, unasked=None, payment_status="pending_approval")
        elif step.name == "open" and snapshot.state.flow != "saved_card":
            self._move(opened=True)
        elif step.name in ("open", "fulfil"):
            words, gained = f"{what} for {self._money()}", snapshot.credits
            self._move(status="completed", unsettled=None)
        elif step.name == "cancel":
            only_if = "it is not paid before"
            self._move(status="canceled")
        elif step.name == "expire":
            words = f"let the purchase of {what} for {self._money()} expire"
            only_if = "it is not paid before"
            self._move(status="expired")
        return [
            ComingEntry(
                at=at, name=step.name, workflow_id=self.workflow_id, words=words,
                amount_minor=snapshot.amount_minor, currency=snapshot.currency, credits=gained,
                only_if=only_if, key=step.key,
            )
        ]  # fmt: skip

    def _money(self) -> str:
        return show_money(self.snapshot.amount_minor, self.snapshot.currency)

    def _move(self, **fields: object) -> None:
        self.state = self.state.model_copy(update=fields)


class ReversalProjection(Projection):
    """The projection of pending refunds, and of a dispute's deadline."""

    rank = REVERSAL.rank

    def __init__(self, snapshot: ReversalSnapshot) -> None:
        super().__init__(snapshot.workflow_id)
        self.snapshot = snapshot
        self.state = snapshot.state.model_copy(update={"events": ()})
        self.seen: set[str] = set()

    def head(self) -> Step | None:
        """Return the next step; repeated checks of a pending refund are shown once."""
        return head(step for step in reversal_agenda(self.state) if step.key not in self.seen)

    def follow(self, step: Step, at: datetime) -> list[ComingEntry]:
        """Do one step; reminders follow each other until the evidence is due."""
        self.seen.add(step.key)
        asked, only_if, words = self.state.dispute, None, step.words
        minor, currency = self.snapshot.refunds.get(step.key), self.snapshot.currency
        if step.name == "remind" and asked is not None:
            minor, only_if = self.snapshot.dispute_minor, "the dispute is not over before"
            currency = self.snapshot.dispute_currency or currency
            words = f"{words}, {asked.due_at:%-d %b %Y}"
            reminded = asked.model_copy(update={"reminders": asked.reminders + 1})
            is_last = reminder_due(reminded.due_at, reminded.reminders) is None
            self.state = self.state.model_copy(update={"dispute": None if is_last else reminded})
        return [
            ComingEntry(
                at=at, name=step.name, workflow_id=self.workflow_id, words=words, key=step.key,
                amount_minor=minor, currency=None if minor is None else currency,
                only_if=only_if,
            )
        ]  # fmt: skip


class TrialProjection(Projection):
    """The projection of a trial of credits."""

    rank = TRIAL.rank

    def __init__(self, snapshot: TrialSnapshot, ending: ForeseenCredits) -> None:
        super().__init__(snapshot.workflow_id)
        self.state = snapshot.state
        self.grant_key = snapshot.grant_key
        self.ending = ending
        self.seen: set[str] = set()

    def head(self) -> Step | None:
        """Return the next step; None once a plan was paid for."""
        if self.ending.converted:
            return None
        return head(step for step in trial_agenda(self.state) if step.key not in self.seen)

    def follow(self, step: Step, at: datetime) -> list[ComingEntry]:
        """Do one step; at the trial's end its unspent credits expire."""
        self.seen.add(step.key)
        if step.name != "expire":
            return [self.plain(step, at)]
        self.state = self.state.model_copy(update={"status": "expired"})
        left = self.ending.take(self.grant_key)
        return [
            ComingEntry(
                at=at, name=step.name, workflow_id=self.workflow_id, key=step.key, credits=left,
                words=f"the trial ends; {show_decimal(left)} unspent credits expire",
                only_if="no plan is paid before",
            )
        ]  # fmt: skip


class AccountProjection(Projection):
    """The projection of the account's own matter: credits that expire, cards saved or removed."""

    rank = ACCOUNT.rank

    def __init__(self, snapshot: AccountSnapshot, ending: ForeseenCredits) -> None:
        super().__init__(snapshot.workflow_id)
        self.state = snapshot.state
        self.ending = ending
        self.seen: set[str] = set()

    def head(self) -> Step | None:
        """Return the next step; a card's repeated step is shown once."""
        # Notices change nothing; they are shown only once they have happened.
        expiry = {"next_expiry": self.ending.next_expiry(), "next_notice": None, "events": ()}
        state = self.state.model_copy(update=expiry)
        return head(step for step in account_agenda(state) if step.key not in self.seen)

    def follow(self, step: Step, at: datetime) -> list[ComingEntry]:
        """Do one step; return its entries."""
        self.seen.add(step.key)
        if step.name != "expire_credits":
            return [self.plain(step, at)]
        return [
            ComingEntry(
                at=at, name=step.name, workflow_id=self.workflow_id, key=step.key,
                words=f"{show_decimal(part.credits)} {part.name}"
                f" {'are free again' if part.is_freed else 'expire'}",
                credits=None if part.is_freed else part.credits,
                only_if="they are not used before" if part.grant_key else "it is not resolved",
            )
            for part in self.ending.end(at)
        ]  # fmt: skip
