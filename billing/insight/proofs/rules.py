"""The check of one purchase's facts against the rules for every purchase; pure.

A purchase is paid once and granted once, or not granted at all, whatever process was killed.
"""

from typing import Final

from billing.insight.proofs.schemas import Check, ProofFacts, Verdict

FULFILLED: Final = ("completed", "refunded")
_SENTENCES: Final = {
    "one_grant": "a completed purchase has exactly one grant, any other has none",
    "credits_as_sold": "the grant is of the credits that were sold",
    "one_ledger_entry": "the grant stands in the ledger, once and in full",
    "paid_before_granted": "credits are granted only for money that came in and covers the price",
    "money_booked_once": "every cent that came in is on an invoice or in the money balance, once",
    "one_numbered_invoice": (
        "a completed purchase has one numbered, paid invoice, any other has none"
    ),
    "webhooks_handled": "everything Stripe told was looked into, however often it was delivered",
    "published_once": "the purchase was announced to the outside exactly once",
    "workflow_alive": "a purchase with something left to do has a running workflow",
}


def judge(facts: ProofFacts, *, running: bool | None) -> Verdict:
    """Run all checks; `running` says if the workflow runs, None if Temporal is not reachable."""
    found = _of_credits(facts) | _of_money(facts) | _of_events(facts)
    if running is not None and facts.matter is not None:
        found["workflow_alive"] = running or not (_waits(facts) and facts.matter.started)
    checks = [Check(name=name, sentence=_SENTENCES[name], ok=ok) for name, ok in found.items()]
    consistent = all(found.values())
    return Verdict(
        consistent=consistent,
        sentence=_sentence(facts) if consistent else _what_is_wrong(checks),
        checks=tuple(checks),
    )


def _of_credits(facts: ProofFacts) -> dict[str, bool]:
    return {
        "one_grant": [one.key for one in facts.grants] == [facts.grant_key] * _wanted(facts),
        "credits_as_sold": all(one.credits == facts.credits for one in facts.grants),
        "one_ledger_entry": all(one.booked == one.credits for one in facts.grants),
    }


def _of_money(facts: ProofFacts) -> dict[str, bool]:
    """Check the money, which is booked in the same transaction as the grant."""
    booked = sum(one.received_minor for one in facts.payments if one.booked_at is not None)
    on_invoices = sum(one.amount_paid_minor for one in facts.invoices)
    numbered = [one for one in facts.invoices if one.number is not None]
    paid = [one for one in numbered if one.status == "paid"]
    return {
        "paid_before_granted": not _wanted(facts)
        or booked >= sum(one.amount_due_minor for one in paid),
        "money_booked_once": booked == on_invoices + facts.kept_minor,
        "one_numbered_invoice": len(numbered) == len(paid) == _wanted(facts)
        and all(one.invoice_id == facts.invoice_id for one in paid),
    }


def _of_events(facts: ProofFacts) -> dict[str, bool]:
    """Check the events; while the matter is open, received ones count as in progress."""
    done = ("handled", "ignored", "received") if _waits(facts) else ("handled", "ignored")
    return {
        "webhooks_handled": all(one.status in done for one in facts.webhooks),
        "published_once": facts.published == _wanted(facts),
    }


def _wanted(facts: ProofFacts) -> int:
    """Return the required number of grants, of paid invoices and of announcements."""
    return 1 if facts.status in FULFILLED else 0


def _waits(facts: ProofFacts) -> bool:
    """Return True while something is left to do."""
    return facts.matter is not None and facts.matter.closed_at is None


def _sentence(facts: ProofFacts) -> str:
    match facts.status:
        case "completed" | "refunded":
            return "paid once, granted once"
        case "pending" if any(one.is_open for one in facts.payments):
            asked = f"{facts.asked_at:%Y-%m-%d %H:%M:%S} UTC" if facts.asked_at else "never"
            return f"not paid when the provider was last asked ({asked}), nothing granted"
        case "pending":
            return "not paid yet, nothing granted"
        case status:
            return f"{status}: nothing granted"


def _what_is_wrong(checks: list[Check]) -> str:
    return "not so: " + "; ".join(check.sentence for check in checks if not check.ok)
