"""The texts and amounts of a subscription's timed steps. Pure."""

from typing import Final

from billing.core.money import show_money
from billing.core.periods import spoken_span
from billing.insight.timeline.step_words import Shown
from billing.matters.deciding import Course
from billing.matters.effects import Add
from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions.facts import SubscriptionFacts

FIRST_PAYMENT: Final = "the first payment comes"
_UNPAID: Final = "what is overdue is not paid before"


def show_period(course: Course[SubscriptionFacts]) -> Shown | None:
    """Describe a period, a cycle, an early invoice or an end; None: another step."""
    plan = _plan(course)
    match course.step.name:
        case "renew":
            return _next_period(course, f"renew {plan}")
        case "end_trial":
            return _end_trial(course)
        case "cycle":
            return Shown(f"a new cycle of {plan}{_billed(course)}")
        case "bill_early" | "close_commitment":
            return _billed_beside(course)
        case "pause":
            return Shown(f"{plan} pauses, as asked for{_billed(course)}")
        case "end":
            lost = course.facts.period_is_lost
            return Shown(f"{plan} ends{': its payment went back' if lost else ', as asked for'}")
        case "end_unpaid":
            return Shown(f"{plan} ends: what is overdue was never paid", only_if=_UNPAID)
        case "end_change":
            return Shown(course.step.words, only_if="its payment does not come")
        case "abandon":
            return _abandon(course)
        case _:
            return None


def _plan(course: Course[SubscriptionFacts]) -> str:
    """Return the name of the plan after the step."""
    return course.facts.plan_of(course.rows).name


def _end_trial(course: Course[SubscriptionFacts]) -> Shown:
    if course.result in ("paused", "canceled"):
        words = f"the trial ends without a card: {course.result}"
        return Shown(words, only_if="no card is saved before")
    return _next_period(course, f"the trial ends and {_plan(course)} begins")


def _next_period(course: Course[SubscriptionFacts], words: str) -> Shown:
    (invoice, *_) = _written(course)
    money, currency = show_money(invoice.total_minor, invoice.currency), invoice.currency
    if invoice.period_start is None or invoice.period_end is None:
        raise LookupError("the invoice of a period names no period")
    span = spoken_span(invoice.period_start, invoice.period_end, course.facts.zone)
    if invoice.status == "draft":
        words += f": a draft of {money} for {span}, not charged"
    else:
        words += f": invoice of {money} for {span}"
    return Shown(words, invoice.total_minor, currency)


def _billed(course: Course[SubscriptionFacts]) -> str:
    return "".join(
        f": invoice of {show_money(one.total_minor, one.currency)} for use beyond the plan"
        for one in _written(course)
    )


def _billed_beside(course: Course[SubscriptionFacts]) -> Shown:
    written = _written(course)
    if not written:
        return Shown(course.step.words)
    used, currency = written[0].total_minor, written[0].currency
    early = course.step.name == "bill_early"
    what = "use beyond the plan so far" if early else "the rest of the commitment"
    words = f"invoice of {show_money(used, currency)} for {what}"
    return Shown(words, used, currency)


def _abandon(course: Course[SubscriptionFacts]) -> Shown:
    words = f"give up {_plan(course)}: it was never paid"
    came = FIRST_PAYMENT if course.result == "succeeded" else None
    only_if = "the first payment does not come"
    return Shown(words, only_if=only_if, comes=came is None, from_now_on=came)


def _written(course: Course[SubscriptionFacts]) -> list[Invoice]:
    """Return the invoices that a step has written, as they are after it."""
    return [
        course.rows.get(Invoice, effect.row.id)
        for effect in course.effects
        if isinstance(effect, Add) and isinstance(effect.row, Invoice)
    ]
