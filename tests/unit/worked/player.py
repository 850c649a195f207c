"""Plays a worked case: the product's own decisions over rows in memory, every invoice paid."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any, Final
from uuid import UUID

from billing.catalog.plans.rules import parse_interval
from billing.catalog.plans.schemas import DunningPolicy, Plan, Price, Rollover
from billing.core import periods
from billing.core.periods import MONTH
from billing.matters.effects import Rows, Work
from billing.money.dunning.rules import Policy
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import BalanceEntry, Invoice, InvoiceLine
from billing.money.subscriptions import commands, payment_effects, plan_changes, previews
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.rules import agenda
from billing.money.subscriptions.schemas import Item, Offered, Paying, PlanWish, Subscription
from billing.money.subscriptions.transitions import transition
from billing.money.subscriptions.views import view

Case = dict[str, Any]
ACCOUNT: Final = UUID(int=1)
SUBSCRIPTION: Final = UUID(int=2)


class Player:
    """One subscription, on the day that the case says."""

    def __init__(self, case: Case) -> None:
        self.case, self.ids = case, count(100)
        self.now = instant(case["start"]["at"])
        self.plans = {key: self._plan(key) for key in case["plans"]}
        self.prices = {
            (key, interval): self._price(key, interval, minor)
            for key, sold in case["plans"].items()
            for interval, minor in sold.items()
        }
        self.wanted: str | None = None
        self.rows = Rows(self._born(case["start"]))
        self.do(lambda w: commands.begin(w, method_id=None))
        self.pay()

    def play(self, step: Case) -> list[InvoiceLine]:
        """One step to its end, and the lines of the invoice that it wrote first."""
        self.now = instant(step["at"])
        before = {one.id for one in self.rows.of(Invoice)}
        if "change" in step:
            self._change(step["change"])
        else:
            self._renew()
        new = [one for one in self.rows.of(Invoice) if one.id not in before]
        self.due = new[0].amount_due_minor if new else 0
        self.pay()
        return invoices.lines_of(self.rows, new[0].id) if new else []

    @property
    def balance(self) -> int:
        """The customer's money with us."""
        return sum(one.amount_minor for one in self.rows.of(BalanceEntry))

    @property
    def subscription(self) -> Subscription:
        """As it is now."""
        return self.rows.get(Subscription, SUBSCRIPTION)

    def do(self, verb: Callable[[Work[SubscriptionFacts]], object]) -> None:
        """A decision, kept."""
        work = Work(self.rows, self.facts())
        verb(work)

    def pay(self) -> None:
        """Everything that is asked for."""
        for one in self.rows.of(Invoice):
            if one.status in ("draft", "open"):
                self.do(lambda w, one=one: payment_effects.on_paid(  # type: ignore[misc]
                    w, invoices.receive(w, one, one.amount_due_minor)))  # fmt: skip

    def facts(self) -> SubscriptionFacts:
        """The facts of now, with what is sold of the plan that is asked for."""
        key = self.wanted or self.case["start"]["plan"]
        offers = (
            Offered(plan=self.plans[key], price=price)
            for (sold, _), price in self.prices.items()
            if sold == key
        )
        return SubscriptionFacts(
            at=self.now, real_at=self.now, new_id=self._id, terms=Policy(),
            subscription_id=SUBSCRIPTION, plans={one.id: one for one in self.plans.values()},
            offers=tuple(offers), zone=self.case["zone"],
        )  # fmt: skip

    def _change(self, wish: Case) -> None:
        """The change as it is previewed first: it must come to the same."""
        self.wanted = wish.get("plan")
        interval = parse_interval(wish["interval"]) if "interval" in wish else None
        wanted = PlanWish(plan=self.wanted, interval=interval, when=wish.get("when"))
        paying = Paying(change_id=self._id(), by_card=True)
        tried = Work(self.rows.copy(), self.facts())
        plan_changes.change_plan(tried, wanted, paying)
        seen = previews.preview(tried, self.now)
        work = Work(self.rows, self.facts())
        plan_changes.change_plan(work, wanted, paying)
        assert previews.digest_of(work) == seen.digest, "a preview that does not bind"

    def _renew(self) -> None:
        facts = self.facts()
        step = next(one for one in agenda(view(self.rows, facts)) if one.name == "renew")
        transition(Work(self.rows, replace(facts, at=max(self.now, step.due))), step)

    def _id(self) -> UUID:
        return UUID(int=next(self.ids))

    def _plan(self, key: str) -> Plan:
        return Plan(
            id=self._id(), key=key, version=1, family="app", name=key, description="", features={},
            limits=(), trial_days=0, monthly_credits=Decimal(0), past_due_access="full",
            trial_end_behavior="cancel", dunning=DunningPolicy(), rollover=Rollover(),
            stripe_product_id=None, position=1, is_active=True, is_current=True,
            created_at=self.now, allowance=MONTH,
        )  # fmt: skip

    def _price(self, key: str, interval: str, minor: int) -> Price:
        return Price(
            id=self._id(), kind="plan", key=key, currency=self.case["currency"],
            interval=parse_interval(interval), amount_minor=minor, version=1, stripe_price_id=None,
            is_current=True, created_at=self.now,
        )  # fmt: skip

    def _born(self, start: Case) -> tuple[Subscription, Item]:
        plan, price = self.plans[start["plan"]], self.prices[start["plan"], start["interval"]]
        interval, zone = parse_interval(start["interval"]), self.case["zone"]
        anchor = periods.to_wall(self.now, zone)
        end = periods.boundary(anchor, zone, interval, 1)
        born = Subscription(
            id=SUBSCRIPTION, account_id=ACCOUNT, plan_id=plan.id, plan_key=plan.key,
            price_id=price.id, currency=price.currency, amount_minor=price.amount_minor,
            interval_unit=interval.unit, interval_count=interval.count, status="incomplete",
            anchor_wall=anchor, zone=zone, period_number=0, current_period_start=self.now,
            current_period_end=end,
            cycle_start=self.now, cycle_end=min(end, periods.boundary(anchor, zone, MONTH, 1)),
            incomplete_expires_at=self.now + timedelta(hours=23), created_at=self.now,
            updated_at=self.now,
        )  # fmt: skip
        item = Item(
            id=self._id(), account_id=ACCOUNT, subscription_id=SUBSCRIPTION, kind="plan",
            price_id=price.id, description=plan.name, quantity=1, amount_minor=price.amount_minor,
        )  # fmt: skip
        return born, item


def instant(text: str) -> datetime:
    """`2027-01-01T10:00:00Z`."""
    return datetime.fromisoformat(text)
