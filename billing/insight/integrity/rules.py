"""The catalog of invariants, each with a sentence for people.

The queries are in the files beside this one, under the same names.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from billing.insight.integrity.schemas import Broken, Check, Finding, Report
from billing.platform.provider_inbox.rules import PARK_AFTER

JOB: Final = "integrity"
"""The hourly audit's name in the register of jobs."""
EXAMPLES: Final = 5
SLACK: Final = timedelta(minutes=10)
"""Work in progress may take this long; afterwards it is late."""
OUTAGE: Final = timedelta(days=1)
"""Delay that the hourly run and the doctor allow: work that is late in an outage, in retries or
while billing is parked is no fault of the books; the health signs report it.
"""
ENDS_WITHIN: Final = timedelta(minutes=1)
"""A run ends a moment after its matter has closed; on a busy machine that takes seconds."""
SWEPT_WITHIN: Final = timedelta(minutes=3)
"""A woken matter is started by then at the latest, by a sweep."""
UNDECIDED: Final = timedelta(hours=1)
"""A try of a card is decided by then, or its matter is halted."""
PARKED_AFTER: Final = PARK_AFTER + timedelta(hours=1)
"""An event without an owner is parked by then."""

LEDGER: Final[dict[str, tuple[str, str]]] = {
    "ledger_balance": ("I1", "the balance is the sum of the ledger"),
    "lots_balance": ("I1", "the balance is the sum of the lots"),
    "ledger_numbers": ("I1", "the ledger is numbered without a gap"),
    "ledger_chain": ("I1", "each entry carries the balance after it"),
    "ledger_split": ("I1", "each entry is split over lots to the last digit"),
    "ledger_parts": ("I1", "a part belongs to an entry and a lot of its account"),
    "lots_remaining": ("I1", "each lot has left what its entries leave"),
    "lots_granted": ("I1", "each lot was granted, and clawed back, as its entries say"),
    "used_credits": (
        "I1",
        "what was used is the sum of debits and captures, less what was given back",
    ),
    "debt_owed": ("I1", "what is owed is what forced debits left and grants have not paid"),
    "lots_held": ("I2", "what is held is held in lots"),
    "holds_held": ("I2", "what is held is held by open holds"),
    "holds_parts": ("I2", "each hold is made of its parts"),
    "holds_captured": ("I2", "a captured hold has its one entry"),
}
"""The ledger's own rules (billing.ledger.credits.invariants), by their names in reports."""

_OTHERS: Final = (
    # Credits
    ("credits_never_negative", "I2", "no credits are negative, and none are held twice"),
    ("holds_of_lots", "I2", "each lot holds what the open holds took from it"),
    ("lots_of_their_kind", "I2", "given credits are not paid ones, and bought ones never end"),
    ("ends_awaited", "I2", "no credits and no hold end before the account's next expiry"),
    # Usage
    ("usage_counted", "I4", "each day's counters are the sum of its billing records"),
    ("usage_cycles", "I4", "each cycle's counters are the sum of its billing records"),
    (
        "cycles_dated",
        "I4",
        "uses were counted in cycles that there are; the open one is the plan's",
    ),
    ("unpaid_uses_known", "I4", "what was put off, or failed to be paid, is pursued until it is"),
    ("quotas_counted", "I4", "a quota has counted what records and open claims come to"),
    ("budgets_known", "I4", "a use is held against budgets exactly where there are any"),
    ("usage_paid", "I1", "what was spent has its usage logs, and is their sum"),
    ("usage_counted_beyond", "I4", "each cycle's overage is the sum of its billing records"),
    ("usage_billed", "I4", "usage lines are the sum of the records they cover, to the cent"),
    ("usage_priced", "I4", "a usage line with tiers comes to what its price says, to the cent"),
    ("usage_invoiced", "I4", "use of a closed cycle is on an invoice"),
    ("thresholds_billed", "I4", "use that reached its billing threshold is invoiced soon"),
    # Purchases, trials and their credits
    ("purchases_granted_once", "I3", "a completed purchase has one grant, any other has none"),
    ("grants_paid_once", "I3", "credits of a purchase were paid for in full"),
    ("trials_granted_once", "I3", "a trial has one grant of its credits, which ends with it"),
    ("purchases_end_in_time", "I5", "no purchase waits beyond its deadline without a reason"),
    ("top_ups_undecided", "I3", "an account waits for at most one top-up, and knows that it does"),
    ("top_ups_bought", "I3", "a top-up stands as the purchase that it led to"),
    # Money
    ("payments_booked", "I3", "every cent that came in is on an invoice or in the balance"),
    ("payments_settled", "I3", "money that came in is booked soon, and nothing else is"),
    ("refunds_match_payments", "I3", "a payment was given back exactly where its refund says so"),
    ("disputes_booked", "I3", "a lost dispute is booked soon, and any other leaves nothing away"),
    ("reversals_placed", "I3", "money that was taken back is on a note once there is room"),
    ("one_collector", "I3", "an invoice has at most one payment that may still bring money"),
    ("attempts_decided", "I3", "no try of a card stays undecided"),
    (
        "one_currency",
        "I6",
        "everything of an account is in its one currency, but money for a sale that ended before",
    ),
    ("cards_chosen", "K3", "an account with cards has a default one"),
    ("cards_kept", "K3", "an account with cards has a customer at the provider"),
    # Invoices
    (
        "invoice_numbers",
        "I6",
        "numbers of a series have no gap but skipped ones, and end at its counter",
    ),
    ("tests_apart", "I6", "a test account has numbers of its own series, and no other has one"),
    ("invoice_sums", "I6", "an invoice is the sum of its lines, less what the balance bore"),
    ("coupons_counted", "I6", "a coupon was redeemed as often as it counts"),
    ("invoices_settled", "I6", "a paid invoice is covered, an open one is not"),
    ("invoice_content", "I6", "the content of a numbered invoice is as it was issued"),
    (
        "credit_notes",
        "I6",
        "credit notes take back no more than their invoice's total, nor the tax that it charged",
    ),
    ("money_balance", "I6", "what an invoice took from the money balance is written there"),
    (
        "adjustments_told",
        "I6",
        "what operators put on the money balance, or took, is in the audit",
    ),
    ("debts_billed", "I6", "what is carried is billed when a subscription ends"),
    # Events in and out
    ("inbox_handled", "I7", "every event of a provider was looked into, or is parked"),
    ("outbox_numbers", "I7", "published events of an account have no gap but skipped numbers"),
    # The audit
    ("audit_chain", "I7", "no entry of the audit was rewritten, and none is missing before it"),
    # Matters and steps
    ("matters_started", "I9", "every open matter has a workflow and a time to look again"),
    ("matters_exist", "I9", "whatever is still open has an open matter"),
    ("matters_have_rows", "I9", "what an open matter is about is there"),
    ("sales_stand", "I9", "an invoice of a subscription has it"),
    ("steps_move_on", "I9", "no matter waits for a step that it has done"),
    ("steps_belong", "I9", "every step belongs to a matter of its account"),
    # Subscriptions and dunning
    ("one_open_subscription", "I9", "an account has at most one open subscription"),
    ("cancels_stand", "I5", "an end is planned exactly where a running subscription was canceled"),
    ("ends_noted", "I5", "a subscription is over exactly if it says when it ended"),
    ("states_dated", "I5", "a subscription's dates are those of its state"),
    ("periods_end_in_time", "I9", "a subscription is looked at by the end of its period"),
    ("subscriptions_priced", "I6", "a subscription has its price's plan, and costs what that says"),
    ("periods_contiguous", "I6", "each billed period begins where the one before ended"),
    ("periods_billed", "I6", "the current period of a subscription is billed"),
    ("cycles_granted_once", "I3", "a paid cycle has its credits, once"),
    ("debts_pursued", "I5", "a subscription that is overdue owes something, and no other does"),
    ("slots_tried", "I5", "a recovery has used up no slot that was not tried"),
    ("cases_match_invoices", "I5", "a recovery is open exactly while its invoice may be paid"),
)

CHECKS: Final = tuple(
    Check(name=name, invariant=invariant, sentence=sentence)
    for name, invariant, sentence in (
        *((name, *rule) for name, rule in LEDGER.items()),
        *_OTHERS,
    )
)
IN_TIME: Final = Check(
    name="made_in_time", invariant="I9", sentence="every check could be made in its time"
)
"""Reported only if it fails: nothing is known about what was not checked."""


def unmade(subject: str) -> Broken:
    """Return the finding for a check, or all checks of an account, that took too long."""
    return Broken(name=IN_TIME.name, violations=1, examples=(subject,))


def report(broken: Sequence[Broken], as_of: datetime) -> Report:
    """Return the report: one finding per check, with all its violations."""
    named = {one.name for one in broken}
    checks = (*CHECKS, IN_TIME) if IN_TIME.name in named else CHECKS
    violations = {check.name: 0 for check in checks}
    examples: dict[str, set[str]] = {name: set() for name in violations}
    for one in broken:
        violations[one.name] += one.violations
        examples[one.name].update(one.examples)
    findings = tuple(
        Finding(
            **check.model_dump(),
            ok=not violations[check.name],
            violations=violations[check.name],
            examples=tuple(sorted(examples[check.name])[:EXAMPLES]),
        )
        for check in checks
    )
    return Report(ok=all(one.ok for one in findings), as_of=as_of, checks=findings)


def workflows(missing: Sequence[str], stray: Sequence[str]) -> list[Finding]:
    """Return findings on matters without their workflow, and workflows without their matter."""
    return [
        _versus("workflows_alive", "every open matter has exactly one running workflow", missing),
        _versus("workflows_wanted", "no workflow runs without an open matter", stray),
    ]


def _versus(name: str, sentence: str, wrong: Sequence[str]) -> Finding:
    return Finding(
        name=name,
        invariant="I9",
        sentence=sentence,
        ok=not wrong,
        violations=len(wrong),
        examples=tuple(sorted(wrong)[:EXAMPLES]),
    )
