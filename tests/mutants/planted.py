"""The planted faults: each one small text change, and the few tests that must notice it.

Tests that stay green over a broken product prove nothing.
"""

from typing import Final

from tests.mutants.fault import Mutant
from tests.mutants.given_back import GIVEN_BACK
from tests.mutants.metering import METERING
from tests.mutants.minimums import MINIMUMS
from tests.mutants.operators import OPERATORS
from tests.mutants.overlooked import OVERLOOKED

FAULTS: Final = "tests/integration/faults/test_provider_faults.py"
AWAY: Final = "tests/integration/faults/test_parts_away.py"
STORIES: Final = "tests/integration/workflows"
LIVES: Final = "tests/unit/lives"
WALK: Final = ("tests/integration/walk/test_walk.py", "-k", "keep_what_was_promised")

MUTANTS: Final = (
    Mutant(
        "the key of a charge is forgotten",
        "gateways/stripe.py",
        'intent_id, params, {"idempotency_key": key}',
        "intent_id, params, {}",
        (FAULTS,),
        {"FAULTS": "reset at confirm"},
    ),
    Mutant(
        "a retry charges under a new key",
        "activities/payment_calls.py",
        "attempt.key,\n                    chosen.card,",
        'f"{attempt.key}/{ids.new_hex()}",\n                    chosen.card,',
        (FAULTS,),
        {"FAULTS": "reset at confirm"},
    ),
    Mutant(
        "an answer that proves nothing counts as a refusal",
        "gateways/stripe_errors.py",
        "raise Unavailable(_doubt(error)",
        "raise ProviderFailure(_doubt(error)",
        (FAULTS,),
        {"FAULTS": "error_500_unstored at make the intent"},
    ),
    Mutant(
        "credits are granted before Stripe is asked",
        "activities/provider_calls.py",
        "payment, outcome = await self._desk(call).look(call.payment)",
        "payment, paid = call.payment, call.payment.amount_minor\n"
        '                outcome = Outcome(kind="succeeded", received_minor=paid)',
        (f"{STORIES}/test_purchases.py", "-k", "declined_browser_card"),
    ),
    Mutant(
        "an event is put away unread",
        "billing/money/payments/event_owners.py",
        "WHEN settled THEN 'handled' ELSE 'received' END",
        "ELSE 'handled' END",
        (f"{STORIES}/test_purchases.py", "-k", "confirmed_in_the_browser"),
    ),
    Mutant(
        "an event is acknowledged before it is kept",
        "api/routes/webhooks.py",
        "    owner = await services.inbox.receive(event)\n",
        "    try:\n        owner = await services.inbox.receive(event)\n"
        "    except Exception:\n        owner = None\n",
        (AWAY, "-k", "not_acknowledged"),
    ),
    Mutant(
        "a late worker does not look at its attempt again",
        "activities/payment_calls.py",
        'if chosen.status != "pending":',
        'if chosen.status == "nothing":',
        (AWAY, "-k", "wakes_up_late"),
    ),
    Mutant(
        "a purchase expires without asking Stripe",
        "billing/money/purchases/transitions.py",
        "if live is not None and live.opened:",
        "if live is not None and not live.opened:",
        (f"{STORIES}/test_purchase_events.py", "-k", "last_minute or cancels_at_the_provider"),
    ),
    Mutant(
        "half of the money balance is used",
        "billing/money/invoices/transitions.py",
        "applied = min(money_balance(w, invoice.currency), invoice.total_minor)",
        "applied = min(money_balance(w, invoice.currency) // 2, invoice.total_minor)",
        (f"{LIVES}/test_subscription_lives.py",),
    ),
    Mutant(
        "what was paid of a void invoice is lost",
        "billing/money/invoices/notes.py",
        "if credited != amount:",
        "if credited > amount:",
        ("tests/integration/invoices/test_operating.py", "-k", "taken_back_whole"),
    ),
    Mutant(
        "money is credited that never came",
        "billing/money/invoice_requests/corrections.py",
        "left -= invoice.outstanding_minor",
        "left -= 0",
        (f"{LIVES}/test_subscription_lives.py",),
    ),
    Mutant(
        "what is paid too much is lost",
        "billing/money/invoices/transitions.py",
        'add_balance(w, invoice, "overpaid", paid - owed)',
        "pass",
        (f"{LIVES}/test_collection_lives.py",),
    ),
    Mutant(
        "a settled debt buys a period that nobody asked for",
        "billing/money/subscriptions/payment_effects.py",
        'if subscription.status == "past_due" or invoicing.is_billed(w):',
        "if subscription:",
        (f"{LIVES}/test_subscription_lives.py",),
    ),
    Mutant(
        "an add-on is given before it is paid",
        "billing/money/subscriptions/commands/add_ons.py",
        '    invoice = changes.begin(w, "add_ons", dict(wanted), invoice, paying, terms)\n',
        '    invoice = changes.begin(w, "add_ons", dict(wanted), invoice, paying, terms)\n'
        "    items.choose(w, wanted)\n",
        (f"{LIVES}/test_subscription_lives.py",),
    ),
    Mutant(
        "an add-on gives all its units for a part of its price",
        "billing/money/subscriptions/commands/add_ons.py",
        "        units=_units(move, part) - _units(move, cycle),\n",
        "        units=ZERO,\n",
        (f"{LIVES}/test_subscription_lives.py",),
    ),
    Mutant(
        "an add-on that went is given back again and again",
        "billing/money/subscriptions/periods/proration.py",
        "            and not is_restated(rows, line)\n",
        "",
        ("tests/unit/worked/test_worked.py",),
    ),
    Mutant(
        "time is given back after its allowance was used",
        "billing/money/subscriptions/periods/shares.py",
        "return max(at, min(end,",
        "return min(at, min(end,",
        ("tests/unit/worked/test_worked.py",),
    ),
    Mutant(
        "an ended subscription keeps its use to itself",
        "billing/money/subscriptions/payment_effects.py",
        "final = invoicing.bill_usage(w, key, invoicing.END, closing=closing)",
        "final = None",
        (f"{LIVES}/test_subscription_lives.py",),
    ),
    Mutant(
        "a use whose card failed leaves its draft to be paid",
        "billing/money/card_usage/transitions.py",
        "    if draft is not None:\n        invoices.void(w, draft, reason)\n",
        "",
        (f"{LIVES}/test_charge_lives.py",),
    ),
    Mutant(
        "a plan that is not paid goes on giving",
        "billing/money/subscriptions/sql/usage_plan_period.sql",
        "CASE WHEN sub.status IN ('unpaid', 'paused')",
        "CASE WHEN sub.status = 'paused'",
        WALK,
        {"WALK_SEED": "0"},
    ),
    Mutant(
        "a cancel is put off until the bank has answered",
        "billing/money/subscriptions/commands/running.py",
        "        cycles.change(w, canceled_at=at)\n        payment_effects.end_incomplete(w)\n",
        "        cycles.change(w, superseded_at=at)\n",
        WALK,
        {"WALK_SEED": "2"},
    ),
    Mutant(
        "a settled debt buys a period beside what was asked",
        "billing/money/subscriptions/payment_effects.py",
        '        scheduling.begin_pause(w, "debt_settled")\n',
        '        for draft in invoicing.collected(w.rows, subscription, ("draft",)):\n'
        "            invoices.finalize(w, draft)\n"
        "        _activate(w)\n",
        WALK,
        {"WALK_SEED": "4"},
    ),
    Mutant(
        "an add-on works before it is paid",
        "billing/money/subscriptions/commands/add_ons.py",
        '    invoice = changes.begin(w, "add_ons", dict(wanted), invoice, paying, terms)\n',
        '    invoice = changes.begin(w, "add_ons", dict(wanted), invoice, paying, terms)\n'
        "    items.choose(w, wanted)\n",
        WALK,
        {"WALK_SEED": "6"},
    ),
    Mutant(
        "the account's card pays what another was named for",
        "billing/money/subscriptions/reading.py",
        "own_card=subscription.payment_method_id,",
        "own_card=None,",
        WALK,
        {"WALK_SEED": "8"},
    ),
    Mutant(
        "a barred card is tried again",
        "billing/money/payments/card_rules.py",
        '    if card.barred_at is not None:\n        return "card_barred"\n',
        "",
        WALK,
        {"WALK_SEED": "10"},
    ),
    Mutant(
        "the payer's own tries put the final action off",
        "billing/money/dunning/rules.py",
        "tried_at = min(case.last_slot_ran_at, tried_at)",
        "pass",
        ("tests/unit/dunning/test_slots.py",),
    ),
    Mutant(
        "missed dunning slots run in a burst",
        "billing/money/dunning/rules.py",
        "return max(planned, last_ran_at + gap)",
        "return planned",
        (f"{STORIES}/test_outages.py", "-k", "eight_days"),
    ),
    Mutant(
        "the ledger may be changed",
        "migrations/versions/0001/rules.sql",
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_transactions\n",
        "CREATE TRIGGER append_only BEFORE TRUNCATE ON credit_transactions\n",
        ("tests/integration/credits/test_constraints.py", "-k", "superuser_changes_the_ledger"),
    ),
    Mutant(
        "a forced charge knows no overdraft",
        "billing/ledger/credits/sql/credit_debit_account.sql",
        "greatest(mine.overdraft - mine.debt, 0)",
        "1000000",
        ("tests/integration/credits/test_spending.py", "-k", "forced_debit"),
    ),
    Mutant(
        "a hold past its end reads as open",
        "billing/ledger/credits/store.py",
        'over = and_(credit_holds.c.status == "open", credit_holds.c.expires_at <= at)',
        'over = and_(credit_holds.c.status == "gone", credit_holds.c.expires_at <= at)',
        ("tests/integration/credits/test_hold_routes.py", "-k", "before_anybody_wrote_it"),
    ),
    Mutant(
        "a capture gives nothing back",
        "billing/ledger/credits/sql/credit_capture_fast.sql",
        "SET held = l.held - i.held, remaining = l.remaining - i.captured,",
        "SET held = l.held - i.captured, remaining = l.remaining - i.captured,",
        ("tests/integration/credits/test_soak.py",),
    ),
    Mutant(
        "the limit of a month is forgotten",
        "billing/money/top_ups/rules.py",
        "return cap_minor is None or spent_minor + total_minor <= cap_minor",
        "return True",
        ("tests/integration/credits/test_top_ups.py", "-k", "costs_no_more_than_its_cap"),
    ),
    Mutant(
        "a use leaves its counter alone",
        "billing/metering/usage/sql/counters/usage_add_counters.sql",
        "events = c.events + excluded.events,\n            maximum",
        "events = c.events,\n            maximum",
        ("tests/integration/usage/test_soak.py",),
    ),
    Mutant(
        "an agreed limit is forgotten when the cycle turns",
        "billing/money/subscriptions/sql/usage_plan_period.sql",
        "usage_agreed_limits(p_account_id, limits, p_at)",
        "limits",
        ("tests/integration/usage/test_agreed_limits.py",),
    ),
    Mutant(
        "a claim covers what it was not counted on",
        "billing/metering/quotas/sql/quota_share.sql",
        "WHEN p_meter = p_quota.meter\n        AND p_quota.owner IN (",
        "WHEN p_meter = p_quota.meter\n        OR p_quota.owner IN (",
        ("tests/integration/usage/test_quota_claims.py",),
    ),
    Mutant(
        "an event that comes again counts again",
        "billing/metering/usage/rules.py",
        "    if event_id is None:\n",
        "    if event_id != account:\n",
        ("tests/integration/faults/test_usage_survives.py",),
    ),
    Mutant(
        "a use whose answer was lost is recorded anew",
        "api/batching/usage_batcher.py",
        "use = use._replace(record_id=ids.new_hex())",
        "use = use._replace(record_id=None)",
        ("tests/integration/usage/test_batches.py", "-k", "answer_is_lost"),
    ),
    Mutant(
        "cents of use beyond the plan are cut off",
        "billing/metering/usage/rules.py",
        "round_minor(total.scaleb(digits))",
        "int(total.scaleb(digits))",
        ("tests/integration/arrears/test_overage.py", "-k", "used_beyond_the_plan"),
    ),
    Mutant(
        "an early line bills what a volume price may give back",
        "billing/metering/usage/rules.py",
        "total = (lowest if early else cost)(terms, accrued.units)",
        "total = cost(terms, accrued.units)",
        ("tests/unit/rating/test_against_the_oracle.py", "-k", "add_up"),
    ),
    Mutant(
        "units that cost nothing more are no overage",
        "billing/metering/usage/sql/rating/usage_rate_uses.sql",
        "CASE WHEN t.total = 0 AND NOT g.goes_on THEN 'CREDIT'",
        "CASE WHEN t.total = 0 THEN 'CREDIT'",
        ("tests/integration/arrears/test_tiered_overage.py", "-k", "begun_package"),
    ),
    Mutant(
        "the tenant's wall is forgotten",
        "billing/core/database.py",
        "async with _transaction(self.tenant_engine, _showing(account_ids)) as connection:",
        "async with _transaction(self.operator_engine, _showing(account_ids)) as connection:",
        ("tests/integration/api/test_row_level_security.py",),
    ),
    Mutant(
        "periods are counted in UTC",
        "billing/core/periods.py",
        "return instant.astimezone(ZoneInfo(zone))",
        'return instant.astimezone(ZoneInfo("UTC"))',
        ("tests/unit/core/test_periods.py",),
    ),
    Mutant(
        "money is divided as a float",
        "billing/core/money.py",
        "parts = [size * weight // whole for weight in weights]",
        "parts = [int(size * weight / whole) for weight in weights]",
        ("tests/unit/core/test_money.py",),
    ),
    Mutant(
        "a token may live for ever",
        "api/identity/auth.py",
        '_REQUIRED: Final = ["sub", "account_id", "roles", "aud", "iss", "exp"]',
        '_REQUIRED: Final = ["sub", "account_id", "roles", "aud", "iss"]',
        ("tests/unit/api/test_forged_tokens.py",),
    ),
    Mutant(
        "a card that was refused for good keeps the backup waiting",
        "billing/money/payments/card_choice.py",
        "return next((one for one in fit if not owed.is_refused_for_good(one)), first)",
        "return first",
        ("tests/integration/dunning/test_backup_card.py", "-k", "at_once_after"),
    ),
    Mutant(
        "anybody signs links to payment pages",
        "billing/core/signed.py",
        "return content if any(signed) else None",
        "return content if signed else None",
        ("tests/unit/payments/test_pay_links.py",),
    ),
    Mutant(
        "dunning of a debit counts from the day of its invoice",
        "billing/money/dunning/cases.py",
        "open_case(w, owed, day_zero_at=w.facts.at)",
        "open_case(w, owed)",
        ("tests/integration/payments/test_bank_debits.py", "-k", "on_the_day_it_failed"),
    ),
    Mutant(
        "a coupon is taken off what is missing to a minimum",
        "billing/money/invoices/sums.py",
        "line.amount_minor > 0 and line.kind not in UNDISCOUNTED",
        "line.amount_minor > 0",
        ("tests/unit/worked/test_worked.py", "-k", "worked_out_by_hand"),
    ),
    Mutant(
        "tax that went back alone goes back again with a later credit",
        "billing/money/invoices/giving_back.py",
        "if minor > held[rate]",
        "if minor < 0",
        ("tests/unit/taxes/test_reverse_charge.py",),
    ),
    Mutant(
        "a commitment counts what a cancel gave back",
        "billing/money/subscriptions/periods/true_ups.py",
        "named_minor=named[line.position],",
        "named_minor=0,",
        ("tests/unit/worked/test_worked.py", "-k", "worked_out_by_hand"),
    ),
    Mutant(
        "one use more than agreed is free",
        "billing/catalog/rating/rules.py",
        "uses < terms.free_transactions",
        "uses <= terms.free_transactions",
        ("tests/unit/rating/test_rating_rules.py", "-k", "percentage_is_of_each"),
    ),
    *GIVEN_BACK,
    *MINIMUMS,
    *OPERATORS,
    *METERING,
    *OVERLOOKED,
)
