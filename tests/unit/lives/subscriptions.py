"""Lives of subscriptions without a database: the product's decisions, and promises kept apart."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from itertools import count
from random import Random
from typing import Any, Final, cast
from uuid import UUID

from billing.catalog.rating.rules import charge, cost, lowest
from billing.catalog.taxes.schemas import Taxation
from billing.core import periods
from billing.core.errors import Conflict, Invalid, PaymentRequired
from billing.core.periods import MONTH
from billing.matters.agenda import Step
from billing.matters.deciding import Course
from billing.matters.effects import Add, Bear, Change, Do, Effect, Issue, Rows, Work
from billing.matters.kinds import COLLECTION, SUBSCRIPTION
from billing.money.collecting.handing_over import MOVE_EVENTS
from billing.money.dunning import cases
from billing.money.dunning.schemas import DunningCase
from billing.money.invoices.arrears import USAGE, Arrear
from billing.money.invoices.schemas import BalanceEntry, Invoice, InvoiceLine
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer
from billing.money.payments.schemas import Attempt, Payment
from billing.money.subscriptions import payment_effects
from billing.money.subscriptions.commands import plan_changes, running
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.previews import deciding, keeping
from billing.money.subscriptions.previews.tokens import Promise
from billing.money.subscriptions.schemas import (
    Item,
    Offered,
    Paying,
    PlanWish,
    Subscription,
    SubscriptionChange,
)
from billing.money.subscriptions.transitions import RULES
from tests.unit.lives import catalogs, promises, wishes
from tests.unit.lives.collections import Bank, Life, declines
from tests.unit.lives.corrections import correction
from tests.unit.lives.debts import Debt

PRICE: Final = 4900
ENDED: Final = ("canceled", "incomplete_expired")


class SubscriptionLife(Life):
    """One subscription: its rows, its clock, its bank, its use, and people who meddle."""

    rules = RULES

    def __init__(self, dice: Random, first: int = 0) -> None:
        self.dice = dice
        self.bank = Bank(dice, numbers=count(first))
        self.now = self.birth = catalogs.birth_of(dice)
        self.ids = self.counted(first)
        self.finished, self.put_off = set(), {}
        self.heard = first
        self.granted: list[str] = []
        self.pursued: set[UUID] = set()
        self.usage: dict[datetime, Arrear] = {}
        self.used_share = Decimal(0)
        self.plan = catalogs.plan_of(dice, self.new_id())
        self.plans = catalogs.others_of(self.plan, iter(self.new_id, None))
        self.plan_lots, self.wish = catalogs.Lots(), cast("PlanWish | None", None)
        self.at_start = dice.random() < 0.5
        self.taxation = catalogs.TAXED if dice.random() < 0.3 else Taxation()
        self.lost_from: datetime | None = None
        self.born = born = self.newborn()
        self.subscription_id = born.id
        self.plan_item = Item(
            id=self.new_id(), account_id=born.account_id, subscription_id=born.id, kind="plan",
            price_id=born.price_id, description="Pro", quantity=1, amount_minor=PRICE,
        )  # fmt: skip
        self.rows = Rows([born, self.plan_item])
        if dice.random() < 0.8:
            self.new_card()
        card = payments.default_card(self.rows)
        self.ask_of_it(partial(running.begin, method_id=card.id if card else None))

    def counted(self, first: int) -> Iterator[int]:
        return count(first + 1)

    def newborn(self) -> Subscription:
        interval, trial = self.dice.choice((MONTH, MONTH, catalogs.YEAR)), self.dice.random() < 0.4
        zone, birth = self.dice.choice(catalogs.ZONES), self.birth
        first, ends = periods.to_wall(birth, zone), birth + timedelta(days=self.plan.trial_days)
        anchor = periods.to_wall(ends, zone) if trial else first
        end = ends if trial else periods.boundary(anchor, zone, interval, 1)
        return Subscription(
            id=self.new_id(), account_id=self.new_id(), plan_id=self.plan.id, plan_key="pro",
            price_id=self.new_id(), currency="EUR", amount_minor=PRICE,
            interval_unit=interval.unit, interval_count=interval.count,
            status="trialing" if trial else "incomplete", anchor_wall=anchor, zone=zone,
            period_number=-1 if trial else 0, current_period_start=birth, current_period_end=end,
            cycle_start=birth, cycle_end=min(end, periods.boundary(first, zone, MONTH, 1)),
            trial_end=ends if trial else None, trial_end_behavior=self.plan.trial_end_behavior,
            incomplete_expires_at=None if trial else birth + timedelta(hours=23),
            created_at=birth, updated_at=birth,
        )  # fmt: skip

    @property
    def subscription(self) -> Subscription:
        return self.rows.get(Subscription, self.subscription_id)

    @property
    def account_id(self) -> UUID:
        return self.subscription.account_id

    @property
    def workflow_id(self) -> str:
        return SUBSCRIPTION.workflow_id(self.subscription_id)

    def facts(self, rows: Rows, answer: Answer | None = None) -> SubscriptionFacts:
        now = rows.get(Subscription, self.subscription_id)
        lost = now.current_period_start == self.lost_from
        return SubscriptionFacts(
            at=self.now, real_at=self.now, new_id=self.new_id, answer=answer,
            declines=declines(rows), clock_at=self.now, subscription_id=self.subscription_id,
            terms=self.plan.dunning, zone=now.zone,
            plans=self.plans, credits_at_start=self.at_start, usage=tuple(self.usage.values()),
            offers=self.offers(rows), lots=self.plan_lots.lots(self.now),
            taxation=self.taxation, used_share=self.used_share,
            period_went_back=lost, period_is_lost=lost,
        )  # fmt: skip

    def offers(self, rows: Rows) -> tuple[Offered, ...]:
        """Those of the plan that is asked for, by key."""
        if self.wish is None:
            return ()
        own = self.plans[rows.get(Subscription, self.subscription_id).plan_id]
        wanted = self.wish.plan or own.key
        plan = next(one for one in self.plans.values() if one.key == wanted)
        return catalogs.offers_of(plan, PRICE, self.birth)

    # -- what time does ------------------------------------------------------------------------

    def do(self, step: Step) -> Course[Any]:
        lost = self.subscription.current_period_start == self.lost_from
        bought = self._applied()
        course = super().do(step)
        assert (
            not lost
            or self.subscription.current_period_start == self.lost_from
            or self.subscription.status not in ("active", "past_due", "unpaid")
            or self._applied() != bought  # its payer asked for another one, and paid
        ), "a period follows one whose payment went back"
        self.look_at(course.effects)
        return course

    def _applied(self) -> set[UUID]:
        """The changes of its terms, or out of a pause, that are done."""
        return {one.id for one in self.rows.of(SubscriptionChange) if one.status == "applied"}

    def ask_of_it(self, verb: wishes.Verb, expected: Sequence[str] | None = None) -> None:
        """As the executor does a command; what is refused, as expected, changes nothing."""
        work = Work(self.rows.copy(), self.facts(self.rows))
        try:
            verb(work)
        except (Conflict, PaymentRequired) as error:
            if expected is not None and error.code not in expected:
                raise
            return
        except Invalid as error:
            if not error.detail.startswith("cancel_at: its last period"):
                raise
            return
        self.rows = work.rows
        self.look_at(work.effects)

    def look_at(self, effects: Sequence[Effect]) -> None:
        self._uses_up_the_balance(effects)
        self.plan_lots.take_in(effects)
        self._hand_over_events(effects)
        self.granted += [
            one.arguments["key"] for one in effects if isinstance(one, Do) and one.verb == "grant"
        ]
        self.pursued |= {
            one.subject_id for one in effects if isinstance(one, Bear) and one.kind == COLLECTION
        }

    def _hand_over_events(self, effects: Sequence[Effect]) -> None:
        """Whoever pursues a debt from now on hears of its payments."""
        moved = {one.arguments["invoice_id"] for one in effects
                 if isinstance(one, Do) and one.verb == MOVE_EVENTS}  # fmt: skip
        about = {one.id for one in self.rows.of(Payment) if one.invoice_id in moved}
        self.rows.waiting_events = tuple(
            one for one in self.rows.waiting_events if one.about not in about
        )

    # -- what people do ------------------------------------------------------------------------

    def meddle(self) -> None:
        mine = self.workflow_id
        owed = [one for one in self.rows.of(Invoice)
                if one.workflow_id == mine and one.status == "open"]  # fmt: skip
        verbs = [self.new_card, self.use, self.use, self.command, self.change_plan,
                 self.change_plan, self.outage, self.confirm, self.tell, self.lose]  # fmt: skip
        if owed:
            self.invoice_id = self.dice.choice(owed).id
            verbs += [
                self.ask,
                self.offer,
                self.submit,
                self.approve,
                self.reject,
                self.steer,
                self.correct,
            ]
        self.dice.choice(verbs)()

    def use(self) -> None:
        """Use beyond the plan in the open cycle; of an ended subscription nothing is counted."""
        row = self.subscription
        counts = row.status not in (*ENDED, "incomplete", "paused")
        if not counts or not row.cycle_start <= self.now < row.cycle_end:
            return
        self.used_share = Decimal(self.dice.choice(("0", "0.3", "1")))
        units, terms = Decimal(self.dice.choice((1, 20, 300))), self.plan.limits[0].prices["EUR"]
        known = self.usage.get(row.cycle_start) or Arrear(
            start_at=row.cycle_start, end_at=row.cycle_end, zone=row.zone, currency="EUR",
            meter="calls", name="Calls", unit="call", sold=row.plan_key, tax_category="standard",
            included=Decimal(10), terms=terms,
            quantity=Decimal(10), overage=Decimal(0), overage_total=Decimal(0), events=0,
        )  # fmt: skip
        cost = charge(terms, known.overage, units, "EUR", paid=known.overage_total)
        self.usage[row.cycle_start] = known.model_copy(
            update={
                # A change of plan brought another price: each use keeps that of its time.
                "terms": known.terms if known.terms == terms else None,
                "quantity": known.quantity + units,
                "overage": known.overage + units,
                "overage_total": known.overage_total + cost,
                "events": known.events + 1,
            }
        )

    def command(self) -> None:
        """A customer changes their mind."""
        self.ask_of_it(wishes.wish_of(self.dice, self.now, self.new_id, self.paying()))

    def change_plan(self) -> None:
        """A change costs what its preview said, whatever it is."""
        self.plan_lots.spend(self.dice, self.now)
        self.wish, paying = catalogs.wish_of(self.dice), self.paying()
        verb = partial(plan_changes.change, wish=self.wish)
        tried = Work(self.rows.copy(), self.facts(self.rows))
        try:
            verb(tried, paying=paying.model_copy(update={"by_card": True}))
        except (Conflict, PaymentRequired):
            self.wish = None
            return
        seen = deciding.preview(tried, self.now)
        promise = Promise(subscription_id=self.subscription_id, as_of=self.now, digest=seen.digest)
        before = len(self.rows.of(Invoice))
        self.ask_of_it(
            lambda w: keeping.keep(promise, w, lambda as_of: verb(w, paying=paying, as_of=as_of)),
            expected=("PAYMENT_METHOD_REQUIRED", "CARD_DECLINED", "PAYMENT_METHOD_NOT_FOUND"),
        )
        self.wish = None
        if seen.written is not None and len(self.rows.of(Invoice)) > before:
            charged = self.rows.of(Invoice)[before]
            assert charged.amount_due_minor == seen.written.invoice.amount_due_minor

    def paying(self) -> Paying:
        return Paying(change_id=self.new_id(), by_card=self.dice.random() < 0.3)

    def steer(self) -> None:
        """An operator has a hand in the recovery."""
        if self.dice.random() < 0.2:
            self.ask_of_it(partial(self.forgive, invoice_id=self.invoice_id))
            return
        steps: tuple[Callable[..., None], ...] = (
            cases.pause, cases.resume, cases.resume, partial(cases.extend, days=2),
        )  # fmt: skip
        if any(one.invoice_id == self.invoice_id for one in self.rows.of(DunningCase)):
            verb = self.dice.choice(steps)
            self.ask_of_it(partial(verb, invoice_id=self.invoice_id))
            if verb is steps[-1]:
                self.put_off_end(days=2)

    def correct(self) -> None:
        """An operator corrects the invoice."""
        if self.dice.random() < 0.3:
            verb = correction(self.dice, self.now)
            self.ask_of_it(partial(verb, invoice_id=self.invoice_id))

    def forgive(self, w: Work[SubscriptionFacts], *, invoice_id: UUID) -> None:
        payment_effects.on_paid(w, cases.forgive(w, invoice_id, "goodwill"))

    def lose(self) -> None:
        """The payer's bank takes back all that was paid for the period."""
        paid = (one for one in self.rows.of(Invoice) if one.status == "paid")
        start = self.subscription.current_period_start
        if self.dice.random() < 0.05 and any(one.period_start == start for one in paid):
            self.lost_from = start

    def outage(self) -> None:
        """Nothing runs for a while."""
        if self.dice.random() < 0.2:
            self.now += timedelta(days=self.dice.choice((1, 5, 70)))

    # -- what must be true ---------------------------------------------------------------------

    def hold_true(self) -> None:
        for invoice in self.rows.of(Invoice):
            promises.adds_up(self.rows, invoice)
        assert self.plan.monthly_credits or not self.granted
        catalogs.hold_true(self.rows)
        self.plan_lots.hold_true(self.plans, self.now)
        keys = [one.key for one in self.rows.of(Attempt)]
        assert len(set(keys)) == len(keys), "a card is tried twice under one key"
        self._usage_is_billed_once()
        self._status_says_what_is_owed()
        promises.changes_are_charged_first(self.rows)
        promises.units_are_paid_for(self.rows, self.subscription)
        self._what_runs_is_billed()
        promises.no_day_is_paid_twice(self.rows, self.subscription.ended_at)
        row = self.subscription
        if row.canceled_at is not None:
            assert row.ended_at is not None or row.ends, "a cancel is forgotten"

    def hold_true_at_the_end(self) -> None:
        self._debts_are_pursued()
        assert not any(one.is_unbooked for one in self.rows.of(Payment))
        row = self.subscription
        assert row.status in (*ENDED, "paused"), f"nothing is left to do for {row.status}"
        if row.status == "canceled":
            for arrear in self.usage.values():
                assert self._billed(arrear) == arrear.overage, "use is on no invoice"

    def _debts_are_pursued(self) -> None:
        """A debt that outlives the subscription has a matter of its own, which comes to its end."""
        for invoice in self.rows.of(Invoice):
            if invoice.workflow_id == COLLECTION.workflow_id(invoice.id):
                assert invoice.id in self.pursued, "nobody pursues the debt"
                self.rows = Debt(self, invoice.id).pursue()

    def _uses_up_the_balance(self, effects: Sequence[Effect]) -> None:
        """No money and no debt on balance could have changed what an invoice leaves to collect."""
        new = [one.row for one in effects if isinstance(one, Add)]
        moved = sum(one.amount_minor for one in new if isinstance(one, BalanceEntry))
        balance = sum(one.amount_minor for one in self.rows.of(BalanceEntry)) - moved
        for effect in effects:
            if isinstance(effect, Add) and isinstance(effect.row, BalanceEntry):
                balance += effect.row.amount_minor
            elif isinstance(effect, Issue) and isinstance(effect.row, Change):
                owed = effect.row.fields.get("status") == "open"
                assert not owed or balance == 0, "the money balance is not used up"

    def _lines(self, arrear: Arrear) -> list[InvoiceLine]:
        return [one for one in self.rows.of(InvoiceLine)
                if one.kind == USAGE and one.period_start == arrear.start_at]  # fmt: skip

    def _billed(self, arrear: Arrear) -> Decimal:
        return sum((one.quantity for one in self._lines(arrear)), Decimal(0))

    def _usage_is_billed_once(self) -> None:
        """In however many parts a cycle was billed, they come to its use, rounded once."""
        for arrear in self.usage.values():
            lines, billed = self._lines(arrear), self._billed(arrear)
            assert billed <= arrear.overage, "use is billed twice"
            assert all(one.quantity or one.amount_minor for one in lines), "a line bills nothing"
            if billed == arrear.overage:
                early = all(one.detail["early"] for one in lines)
                terms = self.plan.limits[0].prices["EUR"]
                cents = ((lowest if early else cost)(terms, billed) * 100).quantize(
                    Decimal(1), ROUND_HALF_UP
                )
                assert sum(one.amount_minor for one in lines) == cents

    def _what_runs_is_billed(self) -> None:
        row = self.subscription
        start = row.current_period_start
        changing = {one.invoice_id for one in self.rows.of(SubscriptionChange)}
        drafts = [one for one in self.rows.of(Invoice)
                  if one.status == "draft" and one.period_start == start
                  and one.id not in changing]  # fmt: skip
        if row.status in ("active", "past_due"):
            assert not drafts, "a period runs that only a draft bills"

    def _status_says_what_is_owed(self) -> None:
        row, mine = self.subscription, self.workflow_id
        failed = {one.invoice_id for one in self.rows.of(DunningCase)
                  if one.status in ("open", "paused", "exhausted")}  # fmt: skip
        open_ = [one for one in self.rows.of(Invoice)
                 if one.workflow_id == mine and one.status == "open"]  # fmt: skip
        overdue = any(one.id in failed for one in open_)
        if row.status == "active":
            assert not overdue, "active although something is overdue"
        gone = [one for one in self.rows.of(Invoice) if one.status == "uncollectible"]
        if row.status == "past_due" or (row.status == "unpaid" and not gone):
            assert overdue, f"{row.status} although nothing is overdue"
        if row.status in ENDED:
            assert not open_, "an ended subscription collects itself"
