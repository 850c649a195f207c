"""Faults of what a minimum counts as spent."""

from typing import Final

from tests.mutants.fault import Mutant

_TESTS: Final = "tests/integration/arrears/test_minimum_and_money_back.py"
_REFUNDED: Final = "tests/unit/subscriptions/test_refunded_changes.py"
MINIMUMS: Final = (
    Mutant(
        "a refund is charged again by a minimum",
        "billing/money/reversals/booking.py",
        "served = not _keeps(row)",
        "served = False",
        (_TESTS, "-k", "give_money_back"),
    ),
    Mutant(
        "a forgiven debt is charged again by a minimum",
        "billing/money/dunning/cases.py",
        '"forgiven", was_served=True, settlement',
        '"forgiven", settlement',
        (_TESTS, "-k", "forgiven"),
    ),
    Mutant(
        "whose payment went back owes its minimum",
        "billing/money/subscriptions/periods/true_ups.py",
        'least = 0 if by == "an end" and w.facts.period_is_lost else minimum_until(one, until)',
        "least = minimum_until(one, until)",
        (_TESTS, "-k", "card_charged_no_minimum"),
    ),
    Mutant(
        "a note on the invoice that paid a charge lowers the wrong time",
        "billing/money/subscriptions/periods/true_ups.py",
        "giving_back.is_of(one, invoice)",
        "one.invoice_id == invoice.id",
        ("tests/unit/subscriptions/test_minimums_of_changes.py",),
    ),
    Mutant(
        "a renewal does not read the notes on the invoices that paid a charge",
        "billing/money/subscriptions/periods/spending.py",
        "+ other.noted_minor",
        "+ 0",
        (_TESTS, "-k", "between_two_others"),
    ),
    Mutant(
        "what a change charges at the instant of an end counts for nothing",
        "billing/money/subscriptions/periods/true_ups.py",
        "FOREVER if last else until",
        "until",
        (_TESTS, "-k", "one_second"),
    ),
    Mutant(
        "a refund takes no share of the credits that an end asks for",
        "billing/money/subscriptions/periods/refunded_credits.py",
        "1 - sum(taken, Fraction(0))",
        "Fraction(1)",
        (_REFUNDED,),
    ),
    Mutant(
        "a refund of a change takes a share of the credits of the time before it",
        "billing/money/subscriptions/periods/refunded_credits.py",
        "whole * _rest(w, start.at), Fraction(granted)",
        "whole, Fraction(granted)",
        (_REFUNDED,),
    ),
    Mutant(
        "a refund of the time before a change takes of the credits for the rest",
        "billing/money/subscriptions/periods/refunded_credits.py",
        "missing - max(Fraction(0), before - Fraction(made_up))",
        "missing",
        (_REFUNDED,),
    ),
    Mutant(
        "an end takes the oldest credits first, and leaves none to a refund of their invoice",
        "billing/money/subscriptions/periods/plan_credits.py",
        "reversed(w.facts.lots)",
        "w.facts.lots",
        (_REFUNDED,),
    ),
    Mutant(
        "a minimum counts its own use before discounts",
        "billing/money/subscriptions/periods/true_ups.py",
        "after_discounts(new.lines, new.discounts)",
        "new.lines",
        ("tests/unit/worked/test_worked.py", "-k", "worked_out_by_hand"),
    ),
)
