"""Plays a worked case: the product's own decisions over rows in memory, every invoice paid."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any, Final
from uuid import UUID

from billing.catalog.plans.rules import parse_interval
from billing.catalog.plans.schemas import (
    AddOn,
    DunningPolicy,
    Limit,
    Notices,
    Plan,
    Price,
    Rollover,
    Seats,
)
from billing.catalog.rating.rules import charge
from billing.catalog.rating.schemas import PriceTerms
from billing.catalog.taxes.schemas import STANDARD, Jurisdiction, Taxation
from billing.core import periods
from billing.core.money import round_minor
from billing.core.periods import MONTH
from billing.matters.effects import Do, Rows, Work
from billing.money.contracts.schemas import Contract, ContractTerms
from billing.money.discounts.schemas import Discount, DiscountStatus
from billing.money.invoices import transitions as invoices
from billing.money.invoices.arrears import Arrear
from billing.money.invoices.schemas import BalanceEntry, Invoice, InvoiceLine
from billing.money.subscriptions import payment_effects
from billing.money.subscriptions.commands import plan_changes, running
from billing.money.subscriptions.facts import Allowance, PlanLot, SubscriptionFacts
from billing.money.subscriptions.periods import spans
from billing.money.subscriptions.previews import deciding
from billing.money.subscriptions.rules import agenda
from billing.money.subscriptions.schemas import (
    Item,
    Offered,
    Paying,
    PlanWish,
    Subscription,
    SubscriptionChange,
)
from billing.money.subscriptions.transitions import transition
from billing.money.subscriptions.views import view

Case = dict[str, Any]
ACCOUNT: Final = UUID(int=1)
SUBSCRIPTION: Final = UUID(int=2)
PLENTY: Final = PlanLot(grant_key="plan", unspent=Decimal(10**6), kept=Decimal(10**6))


class Player:
    """One subscription, on the day that the case says."""

    def __init__(self, case: Case, pays_after: timedelta = timedelta()) -> None:
        self.case, self.ids, self.pays_after = case, count(100), pays_after
        self.now = instant(case["start"]["at"])
        self.plans = {key: self._plan(key) for key in case["plans"]}
        self.prices = {
            (key, interval): self._price(key, interval, minor)
            for key, sold in case["plans"].items()
            for interval, minor in sold.items()
        }
        self.contracts = tuple(map(self._contract, case.get("contracts", ())))
        self.wanted: str | None = None
        self.usage: dict[datetime, Arrear] = {}
        self.used_share = Decimal(0)
        self.sold_meters = tuple(case.get("sold_meters", ()))
        self.invoice: Invoice | None = None
        self.granted, self.moved = Decimal(0), set[str]()
        self.lots: tuple[PlanLot, ...] = (PLENTY,)
        self.allowances: tuple[Allowance, ...] = ()
        self.beside: list[InvoiceLine] = []
        self.rows = Rows([*self._born(case["start"]), *self._coupons(), *self._carried()])
        self._write(lambda: self.do(lambda w: running.begin(w, method_id=None)))

    def play(self, step: Case) -> list[InvoiceLine]:
        """One step to its end, and the lines of the invoice that it wrote first."""
        self.now = instant(step["at"])
        self.used_share = Decimal(step.get("used", 0))
        return self._write(lambda: self._step(step))

    def ask(self, step: Case) -> None:
        """One step, whose invoice waits for its money."""
        self.now = instant(step["at"])
        self.used_share = Decimal(step.get("used", 0))
        self.granted = Decimal(0)
        self._step(step)

    def paid(self, at: str) -> Decimal:
        """The money of all that waits comes; the credits that come and go with it."""
        self.now, self.granted = instant(at), Decimal(0)
        self.pay()
        return self.granted

    def _step(self, step: Case) -> None:
        if "use" in step:
            self._use(step["use"])
        elif "change" in step:
            self._change(step["change"])
        elif "cancel" in step:
            self.do(lambda w: running.cancel(w, now=True, rest=step["cancel"]))
        else:
            self._reach(next(name for name in ("renews", "trial_ends", "cycle") if name in step))

    def _write(self, act: Callable[[], None]) -> list[InvoiceLine]:
        """The lines of the invoice that this wrote first, after it was paid."""
        before = {one.id for one in self.rows.of(Invoice)}
        self.granted = Decimal(0)
        act()
        new = [one for one in self.rows.of(Invoice) if one.id not in before]
        self.invoice = new[0] if new else None
        self.due = new[0].amount_due_minor if new else 0
        self.now += self.pays_after
        self.pay()
        added = (one.id for one in self.rows.of(Invoice) if one.id not in before)
        first, self.beside, *_ = (*(invoices.lines_of(self.rows, one) for one in added), [], [])
        return first

    @property
    def first(self) -> list[InvoiceLine]:
        """The lines of the invoice that it began with."""
        return invoices.lines_of(self.rows, self.rows.of(Invoice)[0].id)

    @property
    def balance(self) -> int:
        """The customer's money with us."""
        return sum(one.amount_minor for one in self.rows.of(BalanceEntry))

    @property
    def units(self) -> Decimal:
        """Those that add-ons give in the cycle: the sum of each is rounded to whole ones."""
        given = defaultdict[str | None, Decimal](Decimal)
        for item in self.rows.of(Item):
            given[item.add_on] += item.quantity * (item.units or 0)
        for change in self.rows.of(SubscriptionChange):
            start = change.terms.get("cycle_start")
            cycle = instant(start) if start else None
            if change.status == "applied" and cycle == self.subscription.cycle_start:
                for part in change.terms["portions"]:
                    given[part["add_on"]] += Decimal(part["units"])
        return Decimal(sum(round_minor(units) for key, units in given.items() if key))

    @property
    def subscription(self) -> Subscription:
        """As it is now."""
        return self.rows.get(Subscription, SUBSCRIPTION)

    def do(self, verb: Callable[[Work[SubscriptionFacts]], object]) -> None:
        """A decision, kept."""
        work = Work(self.rows, self.facts())
        verb(work)
        self._keep(work)

    def _keep(self, work: Work[SubscriptionFacts]) -> None:
        """The credits that come and go are not rows of a subscription."""
        for one in work.effects:
            if isinstance(one, Do) and one.verb in ("grant", "clawback"):
                key, amount = str(one.arguments["key"]), Decimal(str(one.arguments["amount"]))
                if key not in self.moved:  # the ledger keeps each once
                    self.granted += amount if one.verb == "grant" else -amount
                self.moved.add(key)

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
            at=self.now, real_at=self.now, new_id=self._id, terms=DunningPolicy(),
            subscription_id=SUBSCRIPTION, plans={one.id: one for one in self.plans.values()},
            offers=tuple(offers), zone=self.case["zone"], usage=self._used(),
            taxation=self._taxation(), used_share=self.used_share,
            sold_meters=self.sold_meters, contracts=self.contracts,
            lots=self.lots, allowances=self.allowances,
        )  # fmt: skip

    def _used(self) -> tuple[Arrear, ...]:
        """All use; that of the open cycle is of the plan of now, as its usage period is."""
        row = self.subscription
        known = self.usage.get(row.cycle_start)
        if known is not None:
            plan = self.plans[row.plan_key]
            told = {"sold": plan.key, "tax_category": plan.tax_category}
            self.usage[row.cycle_start] = known.model_copy(update=told)
        return tuple(self.usage.values())

    def _taxation(self) -> Taxation:
        known = self.case.get("taxes")
        if known is None:
            return Taxation()
        rates = {name: Decimal(rate) for name, rate in known["rates"].items()}
        return Taxation(
            included_in=(self.case["currency"],) if known.get("inclusive") else (),
            exempt=known.get("exempt", False),
            jurisdictions=(
                Jurisdiction(key="XX", name="Tax", rates=rates, later=known.get("later", ())),
            ),
        )

    def _use(self, amounts: list[Any]) -> None:
        """Uses beyond what is included, each priced by the rule that the product has for it."""
        row, terms = self.subscription, PriceTerms.model_validate(self.case["price"])
        known = self.usage.get(row.cycle_start) or Arrear(
            start_at=row.cycle_start, end_at=row.cycle_end, zone=row.zone, currency=row.currency,
            meter="calls", name="Calls", unit="call", sold=row.plan_key,
            tax_category=self.plans[row.plan_key].tax_category, terms=terms, quantity=Decimal(0),
            overage=Decimal(0), overage_total=Decimal(0), events=0,
        )  # fmt: skip
        for amount in map(Decimal, map(str, amounts)):
            cost = charge(terms, known.overage, amount, row.currency, uses=known.events,
                          paid=known.overage_total)  # fmt: skip
            known = known.model_copy(update={
                "quantity": known.quantity + amount, "overage": known.overage + amount,
                "overage_total": known.overage_total + cost, "events": known.events + 1,
            })  # fmt: skip
        self.usage[row.cycle_start] = known

    def _change(self, wish: Case) -> None:
        """The change as it is previewed first: it must come to the same."""
        self.wanted = wish.get("plan")
        interval = parse_interval(wish["interval"]) if "interval" in wish else None
        wanted = PlanWish(
            plan=self.wanted, interval=interval, when=wish.get("when"),
            quantity=wish.get("quantity"), add_ons=wish.get("add_ons"),
        )  # fmt: skip
        if "coupon" in wish:
            self.rows = Rows([*self.rows.all(), self._coupon(wish["coupon"], "reserved")])
        paying = Paying(change_id=self._id(), by_card=True)
        tried = Work(self.rows.copy(), self.facts())
        plan_changes.change(tried, wanted, paying)
        seen = deciding.preview(tried, self.now)
        work = Work(self.rows, self.facts())
        plan_changes.change(work, wanted, paying)
        assert deciding.digest_of(work) == seen.digest, "a preview that does not bind"
        self._keep(work)

    def _reach(self, word: str) -> None:
        """The step of the agenda that time brings."""
        name = {"renews": "renew", "trial_ends": "end_trial"}.get(word, word)
        facts = self.facts()
        step = next(one for one in agenda(view(self.rows, facts)) if one.name == name)
        work = Work(self.rows, replace(facts, at=max(self.now, step.due)))
        transition(work, step)
        self._keep(work)

    def _id(self) -> UUID:
        return UUID(int=next(self.ids))

    def _contract(self, one: Case) -> Contract:
        """Agreed with the account, `since` an instant and maybe `until` one."""
        until = one.get("until")
        return Contract(
            id=self._id(), account_id=ACCOUNT, created_at=self.now,
            terms=ContractTerms.model_validate(one["terms"]),
            effective_from=instant(one["since"]), effective_to=instant(until) if until else None,
        )  # fmt: skip

    def _coupons(self) -> list[Discount]:
        return [self._coupon(one, "active") for one in self.case.get("coupons", ())]

    def _coupon(self, one: Case, status: DiscountStatus) -> Discount:
        return Discount(
            id=self._id(), account_id=ACCOUNT, coupon_id=self._id(),
            subscription_id=SUBSCRIPTION, code=one["code"], percent=one.get("percent"),
            amount_minor=one.get("amount"), kinds=tuple(one.get("kinds", ())),
            sold=tuple(one.get("sold", ())), periods_left=one.get("periods"), status=status,
            created_at=self.now,
        )  # fmt: skip

    def _carried(self) -> list[BalanceEntry]:
        carried = self.case["start"].get("balance")
        if carried is None:
            return []
        return [
            BalanceEntry(
                id=self._id(), account_id=ACCOUNT, key="before", kind="carried",
                amount_minor=carried, currency=self.case["currency"], at=self.now,
            )
        ]  # fmt: skip

    def _plan(self, key: str) -> Plan:
        known = self.case.get("terms", {}).get(key, {})
        seats = Seats() if known.get("seats") else None
        return Plan(
            id=self._id(), key=key, version=1, family="app", name=key, description="", features={},
            limits=self._limits(known), add_ons=self._add_ons(known), trial_days=14, seats=seats,
            monthly_credits=Decimal(known.get("credits", 0)), past_due_access="full",
            trial_end_behavior="invoice", dunning=DunningPolicy(), rollover=Rollover(),
            stripe_product_id=None, position=1, is_active=True, is_current=True,
            notices=Notices.model_validate(known.get("notices", {})),
            created_at=self.now, allowance=parse_interval(known.get("allowance", "month")),
            tax_category=known.get("tax", STANDARD),
        )  # fmt: skip

    def _limits(self, known: Case) -> tuple[Limit, ...]:
        """The calls that a plan includes."""
        included = known.get("calls")
        return () if included is None else (Limit(meter="calls", included=Decimal(included)),)

    def _add_ons(self, known: Case) -> tuple[AddOn, ...]:
        """Extra units that a plan sells."""
        return tuple(
            AddOn(key=key, name=key, meter="calls", units=Decimal(one["units"]),
                  prices={self.case["currency"]: one["minor"]})
            for key, one in known.get("add_ons", {}).items()
        )  # fmt: skip

    def _price(self, key: str, interval: str, minor: int) -> Price:
        return Price(
            id=self._id(), kind="plan", key=key, currency=self.case["currency"],
            interval=parse_interval(interval), amount_minor=minor, version=1, stripe_price_id=None,
            is_current=True, created_at=self.now,
            minimum_minor=self.case.get("terms", {}).get(key, {}).get("minimum"),
        )  # fmt: skip

    def _born(self, start: Case) -> tuple[Subscription, Item]:
        plan, price = self.plans[start["plan"]], self.prices[start["plan"], start["interval"]]
        interval, zone = parse_interval(start["interval"]), self.case["zone"]
        quantity, trial_end = start.get("quantity", 1), start.get("trial_end")
        ends = instant(trial_end) if trial_end else None
        day, begins = start.get("billing_day"), ends or self.now
        anchor, number = spans.anchored(begins, zone, interval, day)
        end = ends or periods.boundary(anchor, zone, interval, number + 1)
        first_cycle = periods.boundary(periods.to_wall(self.now, zone), zone, MONTH, 1)
        born = Subscription(
            id=SUBSCRIPTION, account_id=ACCOUNT, plan_id=plan.id, plan_key=plan.key,
            price_id=price.id, currency=price.currency, amount_minor=price.amount_minor * quantity,
            interval_unit=interval.unit, interval_count=interval.count,
            status="trialing" if ends else "incomplete", trial_end=ends,
            trial_end_behavior=start.get("without_a_card", "invoice"), anchor_wall=anchor,
            zone=zone, period_number=number - 1 if ends else number,
            current_period_start=self.now, current_period_end=end,
            cycle_start=self.now, cycle_end=min(end, first_cycle),
            incomplete_expires_at=None if ends else self.now + timedelta(hours=23),
            collection=start.get("collection", "charge"), days_until_due=start.get("days"),
            minimum_minor=start.get("minimum"), commitment=self._commitment(start, anchor),
            created_at=self.now, updated_at=self.now,
        )  # fmt: skip
        item = Item(
            id=self._id(), account_id=ACCOUNT, subscription_id=SUBSCRIPTION, kind="plan",
            price_id=price.id, description=plan.name, quantity=quantity,
            amount_minor=price.amount_minor,
        )  # fmt: skip
        return born, item

    def _commitment(self, start: Case, anchor: datetime) -> Case | None:
        """From the first paid period on."""
        known, zone = start.get("commitment"), self.case["zone"]
        if known is None:
            return None
        interval = parse_interval(start["interval"])
        since, until = (
            periods.boundary(anchor, zone, interval, number) for number in (0, known["periods"])
        )
        return dict(known, since=since.isoformat(), ends_at=until.isoformat())


def instant(text: str) -> datetime:
    """`2027-01-01T10:00:00Z`."""
    return datetime.fromisoformat(text)
