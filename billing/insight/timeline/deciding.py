"""The projection of a matter whose steps are decisions: its own rules over rows in memory."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

from billing.core import ids
from billing.core.money import ZERO
from billing.insight.timeline.assumptions import assume
from billing.insight.timeline.foreseen import ForeseenFacts
from billing.insight.timeline.projection import Projection
from billing.insight.timeline.schemas import ComingEntry, DecidingSnapshot
from billing.insight.timeline.step_words import Before, Shown, show
from billing.ledger.credits import verbs
from billing.matters.agenda import State, Step, head
from billing.matters.deciding import Course, Rules
from billing.matters.effects import Change, Do, Effect, Rows
from billing.money.collecting.facts import CollectFacts
from billing.money.invoices.schemas import Invoice
from billing.money.payments.calls import Answer, Call
from billing.money.payments.schemas import LIVE, Attempt, Payment
from billing.money.trials.schemas import Trial
from billing.platform.provider_inbox.rules import CHECK

S = TypeVar("S", bound=State)
F = TypeVar("F", bound=CollectFacts)


class DecidingProjection(Projection, Generic[S, F]):
    """The base of projected matters that collect invoices."""

    def __init__(
        self, snapshot: DecidingSnapshot[F], rules: Rules[S, F], foreseen: ForeseenFacts
    ) -> None:
        super().__init__(snapshot.workflow_id)
        # Waiting events are left out: most are echoes of our own calls.
        self.rows = Rows(snapshot.rows.all())
        self.facts = replace(snapshot.facts, new_id=foreseen.new_id)
        self.rules = replace(rules, agenda=lambda state: self._to_show(rules.agenda(state)))
        self.written = snapshot.written if snapshot.written is not None else self.rows.ids()
        """Ids of existing rows; any other row is projected, and its keys are not known."""
        self.foreseen = foreseen
        self.foreseen.declines.begin(self.rows, self.facts.declines)
        self.assumed: str | None = None
        """A condition of all later entries."""
        self.checked: set[str | None] = set()
        self.seen: set[str] = set()
        self._head: Step | None = None
        self._is_planned = False

    def head(self) -> Step | None:
        """Return the next step; repeated queries to Stripe are shown once per payment."""
        if not self._is_planned:
            plan = self.rules.plan(self.rows, self.facts)
            self._head, self._is_planned = head(plan, self.facts.at), True
        return self._head

    def follow(self, step: Step, at: datetime) -> list[ComingEntry]:
        """Do one step with the assumed answers; return its entry."""
        course = self.rules.carry_out(
            self.rows,
            step,
            lambda _, answer: self._facts_of(at, answer),
            lambda call: self.answer(step, call, at),
        )
        shown = self.show(Before(self.rows, self.written, self.facts.zone), course)
        gained = self._take_in(course.effects)
        entry = self._entry(course.step, at, shown, gained)
        self.seen.add(step.key)
        if step.name == CHECK:
            self.checked.add(step.payment)
        self.rows, self.facts = _without_what_is_over(course.rows), course.facts
        self.foreseen.declines.follow(course.rows, course.effects, at)
        self.assumed = shown.from_now_on or self.assumed
        self._is_planned = False
        self.project_born(course)
        return [entry]

    def answer(self, _: Step, call: Call, at: datetime) -> Answer:
        """Return the provider's assumed answer."""
        return assume(call, self.rows, at)

    def show(self, before: Before, course: Course[F]) -> Shown:
        """Return the text and amounts of a step."""
        return show(before, course)

    def project_born(self, course: Course[F]) -> None:
        """Project the matters that a step has created."""

    def _facts_of(self, at: datetime, answer: Any) -> F:
        declines = self.foreseen.declines.at(at)
        return replace(self.facts, at=at, real_at=at, answer=answer, declines=declines)

    def _take_in(self, effects: tuple[Effect, ...]) -> Decimal | None:
        """Apply a step's effects on the account; return the credits that it grants."""
        gained = ZERO
        for effect in effects:
            match effect:
                case Do(verbs.GRANT, lot):
                    if self.foreseen.credits.arrive(lot):
                        gained += lot["amount"]
                case Do(verbs.ROLL_OVER, cycle):
                    self.foreseen.credits.roll_over(cycle)
                case Change(row_type, _, {"status": "converted"}) if row_type is Trial:
                    self.foreseen.credits.converted = True
        return gained or None

    def _to_show(self, steps: list[Step]) -> list[Step]:
        return [
            step
            for step in steps
            if step.key not in self.seen
            and (step.name != CHECK or step.payment not in self.checked)
        ]

    def _entry(self, step: Step, at: datetime, shown: Shown, gained: Decimal | None) -> ComingEntry:
        invoice = step.invoice
        known = invoice is None or ids.decode(ids.INVOICE, invoice) in self.written
        return ComingEntry(
            at=at,
            name=step.name,
            workflow_id=self.workflow_id,
            words=shown.words,
            amount_minor=shown.amount_minor,
            currency=shown.currency,
            credits=gained if shown.comes else None,
            only_if=shown.only_if or self.assumed,
            key=step.key if known else None,
        )


def _without_what_is_over(rows: Rows) -> Rows:
    """Return the rows without payments and tries of settled invoices, which only cost time."""
    going_on = {one.id for one in rows.of(Invoice) if one.takes_money}
    going_on |= {
        one.invoice_id for one in rows.of(Payment) if one.status in LIVE or one.is_unbooked
    }
    return Rows(
        row
        for row in rows.all()
        if not isinstance(row, Payment | Attempt) or row.invoice_id in going_on
    )
