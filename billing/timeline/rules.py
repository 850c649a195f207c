"""The future half of a timeline: the matters' own agendas, carried on as if all went well.

Pure: the same functions that drive the workflows, from the same states, so that what is shown
is what will happen unless somebody acts.
"""

from datetime import datetime
from typing import Final

from billing.accounts.rules import agenda as account_agenda
from billing.core.agenda import Step, head
from billing.core.matter import RANK
from billing.core.money import show_decimal, show_money
from billing.purchases.rules import agenda as purchase_agenda
from billing.timeline.collecting import CHECK, CollectionFuture
from billing.timeline.purse import Future, Purse
from billing.timeline.schemas import (
    AccountPicture,
    Coming,
    Outlook,
    PurchasePicture,
    TrialPicture,
)
from billing.timeline.subscription import SubscriptionFuture
from billing.trials.rules import agenda as trial_agenda

MAX_STEPS: Final = 1_000
"""A bound on the steps carried on in mind, whatever the agendas say."""


def project(outlook: Outlook, count: int) -> list[Coming]:
    """The next `count` steps, soonest first."""
    futures = _futures(outlook)
    now, coming = outlook.now, list[Coming]()
    for _ in range(MAX_STEPS):
        due = [(step, future) for future in futures if (step := future.head()) is not None]
        if not due or len(coming) >= count:
            break
        step, future = min(due, key=lambda one: (one[0].due, one[1].rank, one[1].workflow_id))
        now = max(now, step.due)
        coming += future.follow(step, now)
        futures += future.born
        future.born = []
    return coming[:count]


def _futures(outlook: Outlook) -> list[Future]:
    purse = Purse(outlook.lapsing)
    futures: list[Future] = [SubscriptionFuture(one, purse) for one in outlook.subscriptions]
    futures += [CollectionFuture(one) for one in outlook.collections]
    futures += [PurchaseFuture(one) for one in outlook.purchases]
    futures += [TrialFuture(one, purse) for one in outlook.trials]
    if outlook.account is not None:
        futures.append(AccountFuture(outlook.account, purse))
    return futures


class PurchaseFuture(Future):
    """A purchase that waits for its money; nobody knows whether it comes."""

    rank = RANK["purchase"]

    def __init__(self, picture: PurchasePicture) -> None:
        super().__init__(picture.workflow_id)
        self.picture = picture
        self.state = picture.state
        self.shown: set[str] = set()

    def head(self) -> Step | None:
        """The first step; what repeats, asking Stripe or the operators, is shown once."""
        return head(step for step in purchase_agenda(self.state) if step.name not in self.shown)

    def follow(self, step: Step, at: datetime) -> list[Coming]:
        """One step on."""
        picture = self.picture
        what = f"{show_decimal(picture.credits)} credits ({picture.pack})"
        words, gained, only_if = step.words, None, None
        self.shown.add(step.name)
        if step.name == CHECK and self.state.payment_status == "processing":
            self._move(status="completed")
        elif step.name == "retire":
            self._move(submission=None, payment_status="pending_approval")
        elif step.name == "open" and picture.state.road != "saved_card":
            self._move(opened=True)
        elif step.name in ("open", "fulfil"):
            words, gained = f"{what} for {self._money()}", picture.credits
            self._move(status="completed", unsettled=None)
        elif step.name == "expire":
            words = f"let the purchase of {what} for {self._money()} expire"
            only_if = "it is not paid before"
            self._move(status="expired")
        return [
            Coming(
                at=at, name=step.name, workflow_id=self.workflow_id, words=words,
                amount_minor=picture.amount_minor, currency=picture.currency, credits=gained,
                only_if=only_if, key=step.key,
            )
        ]  # fmt: skip

    def _money(self) -> str:
        return show_money(self.picture.amount_minor, self.picture.currency)

    def _move(self, **fields: object) -> None:
        self.state = self.state.model_copy(update=fields)


class TrialFuture(Future):
    """A trial of credits."""

    rank = RANK["trial"]

    def __init__(self, picture: TrialPicture, purse: Purse) -> None:
        super().__init__(picture.workflow_id)
        self.state = picture.state
        self.grant_key = picture.grant_key
        self.purse = purse
        self.seen: set[str] = set()

    def head(self) -> Step | None:
        """Its end, and what comes before it; nothing once a plan was paid for."""
        if self.purse.converted:
            return None
        return head(step for step in trial_agenda(self.state) if step.key not in self.seen)

    def follow(self, step: Step, at: datetime) -> list[Coming]:
        """At its end what is unspent of the trial's credits lapses."""
        self.seen.add(step.key)
        if step.name != "expire":
            return [
                Coming(
                    at=at, name=step.name, workflow_id=self.workflow_id, words=step.words,
                    key=step.key,
                )
            ]  # fmt: skip
        self.state = self.state.model_copy(update={"status": "expired"})
        left = self.purse.take(self.grant_key)
        return [
            Coming(
                at=at, name=step.name, workflow_id=self.workflow_id, key=step.key, credits=left,
                words=f"the trial ends; {show_decimal(left)} unspent credits lapse",
                only_if="no plan is paid before",
            )
        ]  # fmt: skip


class AccountFuture(Future):
    """Credits that lapse, cards on their way in or out."""

    rank = RANK["account"]

    def __init__(self, picture: AccountPicture, purse: Purse) -> None:
        super().__init__(picture.workflow_id)
        self.state = picture.state
        self.purse = purse
        self.seen: set[str] = set()

    def head(self) -> Step | None:
        """The first step; each card's next one is shown, not all its repetitions."""
        # Notices move nothing; they are shown when they have happened.
        expiry = {"next_expiry": self.purse.next_expiry(), "next_notice": None}
        state = self.state.model_copy(update=expiry)
        return head(step for step in account_agenda(state) if step.key not in self.seen)

    def follow(self, step: Step, at: datetime) -> list[Coming]:
        """One step on."""
        self.seen.add(step.key)
        if step.name != "lapse":
            return [
                Coming(
                    at=at, name=step.name, workflow_id=self.workflow_id, words=step.words,
                    key=step.key,
                )
            ]  # fmt: skip
        return [
            Coming(
                at=at, name=step.name, workflow_id=self.workflow_id, key=step.key,
                words=f"{show_decimal(part.credits)} {part.name} lapse",
                credits=part.credits,
                only_if="they are not used before" if part.grant_key else "it is not resolved",
            )
            for part in self.purse.end(at)
        ]  # fmt: skip
