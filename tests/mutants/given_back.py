"""Faults of what an end, a change or a void gives back."""

from typing import Final

from tests.mutants.fault import Mutant

_WORKED: Final = ("tests/unit/worked/test_worked.py", "-k", "worked_out_by_hand")
GIVEN_BACK: Final = (
    Mutant(
        "credits that came unpaid are spent for nothing",
        "billing/money/subscriptions/endings/unserved_time.py",
        "_since(w, at) if paid_too else spent_until(w, at)",
        "_since(w, at)",
        ("tests/integration/changes/test_unpaid_changes.py", "-k", "came_unpaid_and_are_spent"),
    ),
    Mutant(
        "an end gives money back that has paid its last use",
        "billing/money/refunds/transitions.py",
        "left = min(most_minor, left_minor(books), max(0, books.balance))",
        "left = min(most_minor, left_minor(books))",
        ("tests/integration/changes/test_refunded_ends.py", "-k", "paid_from_it_first"),
    ),
    Mutant(
        "what was used late of an unpaid cycle is not asked for",
        "billing/money/subscriptions/periods/cycles.py",
        "return w.change(changed, unserved_since=used) if used > served else changed",
        "return changed",
        ("tests/integration/dunning/test_unpaid_days.py", "-k", "however_late_it_comes"),
    ),
    Mutant(
        "an unpaid subscription owes all of its period",
        "billing/money/subscriptions/endings/unserved_time.py",
        "return at if came_unpaid and items.credits_of(w) else used",
        "return at",
        ("tests/integration/dunning/test_unpaid_days.py", "-k", "whenever_it_comes"),
    ),
    Mutant(
        "a use that is dated back is looked at before its time is given back, and recorded after",
        "api/usage/dated_uses.py",
        "return not call.caller.operates and any(",
        "return False and any(",
        ("tests/integration/changes/test_given_back_meanwhile.py", "-k", "behind_an_end"),
    ),
    Mutant(
        "an invoice is voided whose money pays another one, and gives it back",
        "billing/money/invoice_requests/corrections.py",
        "if giving_back.crediting(w.rows, invoice_id):",
        "if False:",
        ("tests/unit/subscriptions/test_voided_periods.py", "-k", "comes_back_once"),
    ),
    Mutant(
        "a coupon for use waits for the old end of a period that was cut short",
        "billing/money/subscriptions/terms/new_terms.py",
        "        discounts.move_start(w, before.current_period_end,"
        " subscription_of(w).current_period_start)\n",
        "        pass\n",
        ("tests/unit/discounts/test_early_periods.py",),
    ),
    Mutant(
        "a rest that no card can be charged stays open",
        "billing/money/invoices/notes.py",
        'if credited and changed.status == "open":',
        "if False:",
        ("tests/integration/dunning/test_small_rests.py", "-k", "soon_after_a_decline"),
    ),
    Mutant(
        "another plan in a pause opens a way to the money of a used month",
        "billing/money/subscriptions/endings/pauses.py",
        'if subscription.status == "paused":',
        "if False:",
        ("tests/integration/changes/test_endings.py", "-k", "in_a_pause"),
    ),
    Mutant(
        "a pause frees of a minimum",
        "billing/money/subscriptions/endings/pauses.py",
        "if closing is not None and closing.has_own:",
        "if False:",
        ("tests/integration/arrears/test_contracts.py", "-k", "a_pause_before_an_end"),
    ),
    Mutant(
        "a minimum vanishes with unpaid",
        "billing/money/subscriptions/periods/invoicing.py",
        "        true_ups.put_off(w, closing)",
        "        pass",
        ("tests/integration/dunning/test_unpaid_minimum.py",),
    ),
    Mutant(
        "use that was free beyond a plan counts for nothing",
        "billing/money/subscriptions/periods/portions.py",
        'if any(one.meter in free and one.then != "notify" for one in plan.limits):',
        "if False:",
        ("tests/integration/changes/test_endings.py", "-k", "free_beyond"),
    ),
    Mutant(
        "ends at a date cut a period into pieces",
        "billing/money/subscriptions/commands/running.py",
        "if date is not None and (why := spans.refusal_of_end(subscription_of(w), date)):",
        "if why := None:",
        ("tests/integration/changes/test_endings.py", "-k", "cut_once"),
    ),
    Mutant(
        "a unit of an add-on stays for next to nothing",
        "billing/money/subscriptions/sql/usage_add_on_units.sql",
        "greatest(0, round(sum(units), max(decimals)))",
        "sum(round(units, decimals))",
        ("tests/integration/arrears/test_add_ons.py", "-k", "a_whole_unit"),
    ),
    Mutant(
        "a coupon is gone before its last period is over",
        "billing/money/discounts/transitions.py",
        " or _is_used_up_since(one, begun)",
        "",
        ("tests/unit/discounts/test_whose_period.py",),
    ),
    Mutant(
        "a coupon that use has used up is off the next period's use too",
        "billing/money/discounts/transitions.py",
        "use_until=begun if over and one.code not in codes else None",
        "use_until=None",
        ("tests/unit/discounts/test_periods_of_use.py",),
    ),
    Mutant(
        "a coupon stays while use is billed beside periods only",
        "billing/money/discounts/transitions.py",
        " or one.is_used",
        "",
        ("tests/unit/discounts/test_periods_of_use.py",),
    ),
    Mutant(
        "a period whose plan had a coupon counts again for its use",
        "billing/money/discounts/transitions.py",
        "(one.is_counted or not is_of_use)",
        "not is_of_use",
        ("tests/unit/discounts/test_periods_of_use.py",),
    ),
    Mutant(
        "the coupon of a change is off the use before it",
        "billing/money/invoices/sums.py",
        " and not _is_other_use(line, discount.use_since, discount.use_until)",
        "",
        _WORKED,
    ),
    Mutant(
        "use is taxed as the plan that follows",
        "billing/money/invoices/arrears.py",
        "        tax_category=arrear.tax_category,\n",
        "",
        _WORKED,
    ),
    Mutant(
        "use of a trial that pauses is not billed",
        "billing/money/subscriptions/transitions.py",
        '        scheduling.begin_pause(w, "trial_ended")\n        pauses.bill_use(w, None)\n',
        '        scheduling.begin_pause(w, "trial_ended")\n',
        ("tests/integration/workflows/test_trial_ends.py", "-k", "billed_with_the_pause"),
    ),
    Mutant(
        "a note for a later invoice has the tax of what the first one's own charges have left",
        "billing/money/invoices/notes.py",
        "source, part = w.rows.get(Invoice, source_id), rest.up_to(minor)",
        "source = w.rows.get(Invoice, source_id)\n"
        "        part = giving_back.left(w.rows, source).up_to(minor)",
        ("tests/unit/subscriptions/test_taxes_of_chains.py",),
    ),
    Mutant(
        "tax charged before a proof goes back along one line only",
        "billing/money/invoices/notes.py",
        "for payer in note_shares.payers(w.rows, invoice):",
        "for payer in note_shares.payers(w.rows, invoice)[:2]:",
        ("tests/unit/subscriptions/test_taxes_of_chains.py",),
    ),
    Mutant(
        "what paid the debt of a voided use does not get it back",
        "billing/ledger/credits/sql/credit_give_back.sql",
        "AS s WHERE owing > 0;",
        "AS s WHERE false;",
        ("tests/integration/usage/test_given_back.py", "-k", "debt_of_a_use_gets_it_back"),
    ),
)
