"""The projection of a subscription: its own transitions, applied in memory."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from billing.insight.timeline.assumptions import paid
from billing.insight.timeline.collection import CollectionProjection
from billing.insight.timeline.deciding import DecidingProjection
from billing.insight.timeline.foreseen import ForeseenFacts
from billing.insight.timeline.period_words import FIRST_PAYMENT, show_period
from billing.insight.timeline.schemas import DecidingSnapshot
from billing.insight.timeline.step_words import Before, Shown, show
from billing.matters.agenda import Step
from billing.matters.deciding import Course
from billing.matters.effects import Bear, Rows
from billing.matters.kinds import COLLECTION, SUBSCRIPTION
from billing.money.collecting.collection import CollectionFacts
from billing.money.dunning.rules import for_collection
from billing.money.payment_methods.schemas import Method
from billing.money.payments.calls import Answer, Call
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.rules import SubscriptionState
from billing.money.subscriptions.schemas import Subscription
from billing.money.subscriptions.transitions import RULES
from billing.platform.provider_inbox.rules import CHECK


class SubscriptionProjection(DecidingProjection[SubscriptionState, SubscriptionFacts]):
    """The projection of one open subscription."""

    rank = SUBSCRIPTION.rank

    def __init__(
        self, snapshot: DecidingSnapshot[SubscriptionFacts], foreseen: ForeseenFacts
    ) -> None:
        super().__init__(snapshot, RULES, foreseen)

    def answer(self, step: Step, call: Call, at: datetime) -> Answer:
        """Answer `abandon` as paid, since later entries assume that; answer others as usual."""
        row = self.rows.get(Subscription, self.facts.subscription_id)
        if step.name == "abandon" and row.superseded_at is None:
            return paid(call, at)
        return super().answer(step, call, at)

    def show(self, before: Before, course: Course[SubscriptionFacts]) -> Shown:
        """Describe the step; later entries depend on a first payment that a bank still decides."""
        shown = show_period(course) or show(before, course)
        if course.step.name == CHECK and _begins(before.rows, course):
            return replace(shown, from_now_on=FIRST_PAYMENT)
        return shown

    def project_born(self, course: Course[SubscriptionFacts]) -> None:
        """Project the collections to which an ended subscription hands its open invoices."""
        for effect in course.effects:
            if isinstance(effect, Bear) and effect.kind == COLLECTION:
                snapshot = self._pursued(course, effect.subject_id)
                self.born.append(CollectionProjection(snapshot, self.foreseen))

    def _pursued(
        self, course: Course[SubscriptionFacts], invoice_id: UUID
    ) -> DecidingSnapshot[CollectionFacts]:
        facts, known = course.facts, invoice_id in self.written
        return DecidingSnapshot(
            COLLECTION.workflow_id(invoice_id) if known else self.workflow_id,
            of_invoice(course.rows, invoice_id),
            CollectionFacts(
                at=facts.at,
                real_at=facts.real_at,
                new_id=facts.new_id,
                declines=facts.declines,
                terms=for_collection(facts.terms),
                own_card=facts.own_card,
                zone=facts.zone,
                is_test=facts.is_test,
                invoice_id=invoice_id,
                clock_at=facts.clock_at,
            ),
            self.written,
        )


def _begins(before: Rows, course: Course[SubscriptionFacts]) -> bool:
    """Return True if the step books the first payment."""
    subscription_id = course.facts.subscription_id
    then, now = (one.get(Subscription, subscription_id) for one in (before, course.rows))
    return then.status == "incomplete" and now.status != "incomplete"


def of_invoice(rows: Rows, invoice_id: UUID) -> Rows:
    """Return the rows of one invoice, with the account's cards."""
    return Rows(
        row
        for row in rows.all()
        if isinstance(row, Method) or invoice_id in (row.id, getattr(row, "invoice_id", None))
    )
