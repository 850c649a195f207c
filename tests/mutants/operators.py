"""Planted faults in what operators do."""

from typing import Final

from tests.mutants.fault import Mutant

OPERATORS: Final = (
    Mutant(
        "a coupon of an amount shrinks with a price that is undone",
        "billing/money/wrong_prices/rules.py",
        'taken if one["code"] in fixed else',
        "0 if not before else",
        ("tests/unit/wrong_prices/test_overcharged.py",),
    ),
    Mutant(
        "the unused part of a wrong price is given back with its overcharge",
        "billing/money/subscriptions/periods/proration.py",
        " - price_corrections.noted(rows, line)",
        "",
        ("tests/unit/subscriptions/test_time_not_served.py",),
    ),
    Mutant(
        "a refund that keeps the credits takes them",
        "billing/money/reversals/booking.py",
        "isinstance(row, Refund) and row.keep_credits",
        "False",
        ("tests/unit/reversals/test_no_free_money.py", "-k", "credits_stay"),
    ),
    Mutant(
        "the poll asks for its last hours alone",
        "activities/polling.py",
        'known["poll"]',
        "now",
        ("tests/integration/workflows/test_poll.py",),
    ),
    Mutant(
        "behind what hangs everybody waits in line",
        "billing/core/batcher.py",
        "if key not in slow and len(slow) < SLOW_KEYS:",
        "if True:",
        ("tests/unit/core/test_batcher.py",),
    ),
    Mutant(
        "a price may be ten times as high without a word",
        "billing/catalog/plans/weighing.py",
        "abs(new - old) > LARGEST * old",
        "old - new > LARGEST * old",
        ("tests/unit/catalog/test_weighing.py",),
    ),
    Mutant(
        "an export books the loss of a dispute to its customer",
        "billing/insight/accounting/store.py",
        'return key.regexp_match(f"[-/]{ids.DISPUTE}_")',
        "return key.is_(None)",
        ("tests/integration/reversals/test_moved_money.py",),
    ),
    Mutant(
        "an export counts a refund to the money balance as money sent",
        "billing/insight/accounting/store.py",
        'and_(_R.booked_at.is_not(None), _R.way != "balance")',
        "_R.booked_at.is_not(None)",
        ("tests/integration/reversals/test_refunds.py", "-k", "by_hand_or_to_the_balance"),
    ),
    Mutant(
        "rows between two pages of Stripe's are compared with neither",
        "billing/money/reconciliations/rules.py",
        "page.objects[-1].created_at if goes_on",
        "page.objects[0].created_at if goes_on",
        ("tests/unit/reconciliations/test_compared.py",),
    ),
    Mutant(
        "a payment of another currency is the same amount",
        "billing/money/reconciliations/rules.py",
        "found.currency != here.currency",
        "False",
        ("tests/unit/reconciliations/test_compared.py",),
    ),
    Mutant(
        "a few differences from Stripe are no alarm, whatever the threshold is",
        "billing/money/reconciliations/service.py",
        "is_cut or many > alert_above",
        "is_cut",
        ("tests/integration/reconciliations/test_runs.py", "-k", "threshold"),
    ),
)
