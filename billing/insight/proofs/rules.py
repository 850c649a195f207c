"""Check the facts of one purchase against the rules for every purchase; pure.

Paid once and granted once, or not granted at all; nothing in between, whatever was killed.
"""

from typing import Final

from billing.insight.proofs.schemas import Check, Facts, Verdict

FULFILLED: Final = ("completed", "refunded")


def judge(facts: Facts, *, running: bool | None) -> Verdict:
    """All checks; `running` is Temporal's word on the workflow, None when it is not reachable."""
    checks = [
        _grants(facts),
        _amount(facts),
        _ledger(facts),
        _paid(facts),
        _money(facts),
        _invoice(facts),
        _told(facts),
        _published(facts),
    ]
    if running is not None and facts.matter is not None:
        checks.append(_running(facts, running=running))
    consistent = all(check.ok for check in checks)
    return Verdict(
        consistent=consistent,
        sentence=_sentence(facts) if consistent else _what_is_wrong(checks),
        checks=tuple(checks),
    )


def _grants(facts: Facts) -> Check:
    wanted = 1 if facts.status in FULFILLED else 0
    return Check(
        name="one_grant",
        sentence="a completed purchase has exactly one grant, any other has none",
        ok=[grant.key for grant in facts.grants] == [facts.grant_key] * wanted,
    )


def _amount(facts: Facts) -> Check:
    return Check(
        name="credits_as_sold",
        sentence="the grant is of the credits that were sold",
        ok=all(grant.credits == facts.credits for grant in facts.grants),
    )


def _ledger(facts: Facts) -> Check:
    return Check(
        name="one_ledger_entry",
        sentence="the grant stands in the ledger, once and in full",
        ok=all(grant.booked == grant.credits for grant in facts.grants),
    )


def _paid(facts: Facts) -> Check:
    """Money is booked with the grant in one transaction, so there is nothing in between."""
    booked = sum(one.received_minor for one in facts.payments if one.booked_at is not None)
    return Check(
        name="paid_before_granted",
        sentence="credits are granted only for money that came in and covers the price",
        ok=facts.status not in FULFILLED or booked >= facts.amount_minor,
    )


def _money(facts: Facts) -> Check:
    booked = sum(one.received_minor for one in facts.payments if one.booked_at is not None)
    on_invoices = sum(invoice.amount_paid_minor for invoice in facts.invoices)
    return Check(
        name="money_booked_once",
        sentence="every cent that came in is on an invoice or in the money balance, once",
        ok=booked == on_invoices + facts.kept_minor,
    )


def _invoice(facts: Facts) -> Check:
    numbered = [one for one in facts.invoices if one.number is not None]
    paid = [one for one in numbered if one.status == "paid"]
    wanted = 1 if facts.status in FULFILLED else 0
    return Check(
        name="one_numbered_invoice",
        sentence="a completed purchase has one numbered, paid invoice, any other has none",
        ok=len(numbered) == len(paid) == wanted
        and all(one.invoice_id == facts.invoice_id for one in paid),
    )


def _told(facts: Facts) -> Check:
    """Money that has just come in counts as in progress while the matter is open."""
    waits = facts.matter is not None and facts.matter.closed_at is None
    done = ("handled", "ignored", "received") if waits else ("handled", "ignored")
    return Check(
        name="webhooks_handled",
        sentence="everything Stripe told was looked into, however often it was delivered",
        ok=all(one.status in done for one in facts.webhooks),
    )


def _published(facts: Facts) -> Check:
    return Check(
        name="published_once",
        sentence="the purchase was announced to the outside exactly once",
        ok=facts.published == (1 if facts.status in FULFILLED else 0),
    )


def _running(facts: Facts, *, running: bool) -> Check:
    matter = facts.matter
    waits = matter is not None and matter.closed_at is None and matter.started
    return Check(
        name="workflow_alive",
        sentence="a purchase with something left to do has a running workflow",
        ok=running or not waits,
    )


def _sentence(facts: Facts) -> str:
    match facts.status:
        case "completed" | "refunded":
            return "paid once, granted once"
        case "pending":
            return "not paid yet, nothing granted"
        case status:
            return f"{status}: nothing granted"


def _what_is_wrong(checks: list[Check]) -> str:
    return "not so: " + "; ".join(check.sentence for check in checks if not check.ok)
