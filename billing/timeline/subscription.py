"""How a subscription goes on: periods by its anchor, an invoice for each, its charge, its credits.

The same arithmetic as billing.subscriptions.cycles and settlement, without rows.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.core import periods
from billing.core.agenda import Step
from billing.core.matter import RANK
from billing.core.money import show_money, split
from billing.dunning.rules import Collecting, FinalAction, Policy
from billing.payments.currencies import collectable
from billing.subscriptions.rules import SubscriptionState, agenda, cycle_bounds
from billing.timeline.collecting import CollectingFuture, pursue
from billing.timeline.purse import Purse
from billing.timeline.schemas import Coming, Owed, SubscriptionPicture


class SubscriptionFuture(CollectingFuture):
    """One open subscription."""

    rank = RANK["subscription"]

    def __init__(self, picture: SubscriptionPicture, purse: Purse) -> None:
        terms = picture.terms
        super().__init__(
            picture.workflow_id, picture.state.invoices, picture.owed, terms.currency, terms.card
        )
        self.purse = purse
        self.state: SubscriptionState = picture.state
        self.terms = terms
        self.number = terms.period_number
        self.balance_minor = terms.money_balance_minor
        self.usage_minor = terms.usage_minor
        self.granted: set[datetime] = set()
        self.written = 0
        self.acts |= {
            "renew": self._renew,
            "end_trial": self._end_trial,
            "cycle": self._cycle,
            "bill_early": self._bill_early,
            "end": self._end,
            "abandon": self._abandon,
        }

    def plan(self) -> list[Step]:
        """The pure agenda of a subscription."""
        invoices = tuple(self.invoices.values())
        return agenda(self.state.model_copy(update={"invoices": invoices}))

    def new_policy(self) -> tuple[Policy, str]:
        """The plan's."""
        return self.terms.policy, self.terms.zone

    def pay(self, invoice: str, at: datetime) -> Decimal | None:
        """The first money for a plan converts a trial of credits."""
        self.purse.converted = True
        return super().pay(invoice, at)

    def on_paid(self, owed: Owed, at: datetime) -> Decimal | None:
        """Active when nothing overdue is left, from `unpaid` anew; the cycle's credits arrive."""
        gained = self._grant(*owed.cycle, at) if owed.cycle else None
        if self.state.status == "unpaid" and not self._overdue():
            self._restart(at)
        elif self.state.status == "incomplete" or (
            self.state.status == "past_due" and not self._overdue()
        ):
            self._move(status="active")
        return gained

    def on_unpaid(self) -> None:
        """Past due while its case tries to recover it."""
        if self.state.status == "active":
            self._move(status="past_due")

    def on_given_up(self, action: FinalAction, at: datetime) -> None:
        """Unpaid, canceled, or active again."""
        if action == "cancel":
            self._ended(at)
        elif action == "unpaid":
            self._move(status="unpaid")
        elif not self._overdue():
            self._move(status="active")

    def _renew(self, step: Step, at: datetime) -> list[Coming]:
        return [self._next_period(step, at, f"renew {self.terms.plan}")]

    def _end_trial(self, step: Step, at: datetime) -> list[Coming]:
        behavior = self.terms.trial_end_behavior
        if not self.terms.amount_minor or self.card or behavior == "invoice":
            return [self._next_period(step, at, f"the trial ends and {self.terms.plan} begins")]
        self._move(status="paused" if behavior == "pause" else "canceled")
        words = f"the trial ends without a card: {self.state.status}"
        return [self.coming(step, at, words, only_if="no card is saved before")]

    def _next_period(self, step: Step, at: datetime, words: str) -> Coming:
        start = self.state.current_period_end
        end = self._boundary(self.number + 2)
        self.number += 1
        unpaid = self.state.status == "unpaid"
        self._move(
            status="active" if self.state.status == "trialing" else self.state.status,
            current_period_end=end,
            cycle_end=self._cycle_end(start, end),
        )
        cycle = (start, self.state.cycle_end)
        span = f"{start:%-d %b %Y} to {end:%-d %b %Y}"
        total, currency = self.terms.amount_minor, self.terms.currency
        gained = None
        if unpaid:
            words += f": a draft of {show_money(total, currency)} for {span}, not charged"
        else:
            total += self._used()
            words += f": invoice of {show_money(total, currency)} for {span}"
            gained = self._bill(total, (start, end), cycle, at)
        return self.coming(step, at, words, amount_minor=total, currency=currency, credits=gained)

    def _used(self) -> int:
        """Use beyond the plan so far, billed once: with the first invoice that comes."""
        used, self.usage_minor = self.usage_minor, 0
        return used

    def _bill(
        self, total: int, period: tuple[datetime, datetime] | None,
        cycle: tuple[datetime, datetime] | None, at: datetime,
    ) -> Decimal | None:  # fmt: skip
        """The invoice is final: paid already, or to be charged at once; credits that came."""
        applied = min(self.balance_minor, total)
        due = total - applied
        charge = collectable(due, self.currency)
        self.balance_minor -= applied + (due - charge)
        self.written += 1
        owed = Owed(
            label=f"the invoice of {period[0] if period else at:%-d %b %Y}",
            remaining_minor=charge,
            period_start=period[0] if period else None,
            period_end=period[1] if period else None,
            cycle=cycle,
        )
        early = None
        if cycle and self.terms.credits_at_start and self.state.status == "active":
            early = self._grant(*cycle, at)
        if not charge:
            return self.on_paid(owed, at) or early
        name = f"next-{self.written}"
        self.invoices[name] = Collecting(
            invoice=name,
            day_zero_at=at,
            held=period is not None and period[1] <= at,
            method="card" if self.card else None,
        )
        self.owed[name] = owed
        return early

    def _restart(self, at: datetime) -> None:
        """A new period and anchor, billed at once."""
        terms = self.terms
        anchor = periods.to_wall(at, terms.zone)
        self.terms = terms.model_copy(update={"anchor_wall": anchor})
        self.number = 0
        end = self._boundary(1)
        cycle = (at, self._cycle_end(at, end))
        self._move(status="active", current_period_end=end, cycle_end=cycle[1])
        self._bill(terms.amount_minor + self._used(), (at, end), cycle, at)

    def _overdue(self) -> bool:
        return any(one.case is not None or one.given_up for one in self.invoices.values())

    def _cycle(self, step: Step, at: datetime) -> list[Coming]:
        start = self.state.cycle_end
        self._move(cycle_end=self._cycle_end(start, self.state.current_period_end))
        gained = None
        if self.state.status in ("active", "trialing"):
            gained = self._grant(start, self.state.cycle_end, at)
        words = f"a new cycle of {self.terms.plan}"
        if self.usage_minor and self.state.status in ("active", "past_due"):
            used = self._used()
            words += f": invoice of {show_money(used, self.currency)} for use beyond the plan"
            self._bill(used, None, None, at)
        return [self.coming(step, at, words, credits=gained)]

    def _bill_early(self, step: Step, at: datetime) -> list[Coming]:
        self._move(threshold_at=None, threshold=None)
        used = self._used()
        self._bill(used, None, None, at)
        words = f"invoice of {show_money(used, self.currency)} for use beyond the plan so far"
        return [self.coming(step, at, words, amount_minor=used, currency=self.currency)]

    def _end(self, step: Step, at: datetime) -> list[Coming]:
        self._ended(at)
        return [self.coming(step, at, f"{self.terms.plan} ends, as asked for")]

    def _abandon(self, step: Step, at: datetime) -> list[Coming]:
        only_if = "the first payment does not come"
        words = f"give up {self.terms.plan}: it was never paid"
        shown = [self.coming(step, at, words, only_if=only_if)]
        if self.state.superseded:
            self._move(status="canceled")
        else:
            self.assumed = "the first payment comes"
            for invoice in list(self.invoices):
                self.pay(invoice, at)
            self._move(status="active")
        return shown

    def _ended(self, at: datetime) -> None:
        """Nothing is left here; what is still owed becomes a collection of its own."""
        self._move(status="canceled")
        if self.usage_minor:
            self._bill(self._used(), None, None, at)
        for name, collecting in self.invoices.items():
            owed = _served(self.owed[name], at)
            if owed.remaining_minor and not collecting.pay_first:
                self.born.append(
                    pursue(
                        collecting, owed, workflow_id=self.workflow_id, currency=self.currency,
                        zone=self.terms.zone, card=self.card,
                    )
                )  # fmt: skip
        self.invoices, self.owed = {}, {}

    def _grant(self, start: datetime, end: datetime, at: datetime) -> Decimal | None:
        """The plan's credits of one cycle, once; none when the cycle is over."""
        amount = self.terms.monthly_credits
        if not amount or end <= at or start in self.granted:
            return None
        self.granted.add(start)
        self.purse.add("plan credits", amount, end)
        return amount

    def _move(self, **fields: Any) -> None:
        self.state = self.state.model_copy(update=fields)

    def _boundary(self, number: int) -> datetime:
        terms = self.terms
        return periods.boundary(terms.anchor_wall, terms.zone, terms.interval, number)

    def _cycle_end(self, start: datetime, period_end: datetime) -> datetime:
        terms = self.terms
        return cycle_bounds(terms.anchor_wall, terms.zone, terms.allowance, start, period_end)


def _served(owed: Owed, at: datetime) -> Owed:
    """What is owed for the time already served: the rest is taken back by a credit note."""
    start, end = owed.period_start, owed.period_end
    if start is None or end is None or at >= end:
        return owed
    whole = int((end - start).total_seconds())
    served = max(0, min(whole, int((at - start).total_seconds())))
    kept, _ = split(owed.remaining_minor, [served, whole - served])
    return owed.model_copy(update={"remaining_minor": kept})
