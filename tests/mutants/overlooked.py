"""Faults that no test noticed once."""

from typing import Final

from tests.mutants.fault import Mutant

OVERLOOKED: Final = (
    Mutant(
        "an intent may lead the payer to another page",
        "gateways/stripe.py",
        '"allow_redirects": "never"},\n        }\n        if request.save_card',
        '"allow_redirects": "always"},\n        }\n        if request.save_card',
        (
            "tests/integration/sandbox/test_refusals.py",
            "-k",
            "needs_no_way_back",
        ),
    ),
    Mutant(
        "a card is tried for an invoice that was canceled or overtaken meanwhile",
        "billing/money/collecting/transitions.py",
        "if not is_wanted:  # canceled",
        "if False:  # canceled",
        ("tests/unit/collecting/test_canceled_meanwhile.py",),
    ),
    Mutant(
        "a debt is forgiven while the capture of its order is on its way",
        "billing/money/dunning/cases.py",
        " or owed.is_being_captured)",
        ")",
        ("tests/unit/collecting/test_canceled_meanwhile.py",),
    ),
    Mutant(
        "an order is given up while the answer of its capture is lost",
        "activities/order_calls.py",
        " and await self._may_be_captured(payment)",
        " and False",
        ("tests/unit/activities/test_captures.py",),
    ),
    Mutant(
        "credits pay a use that a card is being charged for",
        "billing/metering/usage/service.py",
        " or record.is_charging:",
        ":",
        (
            "tests/integration/arrears/test_paid_both_ways.py",
            "-k",
            "being_charged_for",
        ),
    ),
    Mutant(
        "who lost its lease forgets the key of the one that took it over",
        "billing/platform/idempotency/store.py",
        "delete(keys).where(_is(request), keys.c.lease == granted.lease)",
        "delete(keys).where(_is(request))",
        (
            "tests/integration/api/test_idempotency.py",
            "-k",
            "who_lost_its_lease",
        ),
    ),
    Mutant(
        "a service's use for another shop's account passes",
        "api/calls.py",
        "        await check_platform(self.sent, [account], self.services)\n"
        "        return AccountCall",
        "        return AccountCall",
        (
            "tests/integration/usage/test_as_callers_send.py",
            "-k",
            "platform_headers",
        ),
    ),
    Mutant(
        "a step is cut off before the provider has answered",
        "workflows/policies.py",
        "step_timeout=timedelta(seconds=20)",
        "step_timeout=timedelta(seconds=2)",
        ("tests/unit/test_policies.py",),
    ),
    Mutant(
        "a matter halts at its first failure",
        "workflows/policies.py",
        "round_tries=14",
        "round_tries=1",
        ("tests/unit/test_policies.py",),
    ),
    Mutant(
        "a won dispute shortens credits that last longer",
        "billing/ledger/credits/sql/credit_return_clawback.sql",
        "greatest(l.expires_at, p_until)",
        "p_until",
        (
            "tests/integration/credits/test_clawbacks.py",
            "-k",
            "lasts_longer",
        ),
    ),
    Mutant(
        "news of a card that came after the look are marked as heard",
        "billing/platform/provider_inbox/store.py",
        "e.received_at <= :until))",
        "CAST(:until AS timestamptz) IS NOT NULL))",
        (
            "tests/integration/payment_methods/test_account_matter.py",
            "-k",
            "came_after_the_look",
        ),
    ),
    Mutant(
        "a step whose key is taken is done again",
        "billing/platform/decisions/service.py",
        "        if not await matters.is_first(finished):",
        "        if False:",
        (
            "tests/integration/workflows/test_lives_in_rows.py",
            "-k",
            "key_is_taken",
        ),
    ),
    Mutant(
        "a worker whose clock is behind finds ended credits alive",
        "activities/account_base.py",
        "max(now_of(state), step.due)",
        "now_of(state)",
        ("tests/integration/credits/test_expiry_steps.py",),
    ),
    Mutant(
        "a top-up is charged as if its buyer were there",
        "billing/money/purchases/saved_card.py",
        "on_session=asked_for",
        "on_session=True",
        (
            "tests/integration/credits/test_top_ups.py",
            "-k",
            "3d_secure",
        ),
    ),
    Mutant(
        "a use of a tiered price is charged at its first tier",
        "billing/metering/usage/quoting.py",
        "if price is None or not price.terms.is_plain:",
        "if price is None:",
        (
            "tests/integration/arrears/test_offered_charges.py",
            "-k",
            "at_a_tier",
        ),
    ),
    Mutant(
        "a trial ends with a card that was declined too often",
        "billing/money/subscriptions/transitions.py",
        "return card_rules.why_not(card, w.facts.declines.get(card.id, 0)) is None",
        "return True",
        ("tests/unit/subscriptions/test_trial_cards.py",),
    ),
    Mutant(
        "an invoice is paid by a card that its bank has barred",
        "billing/money/invoice_requests/locks.py",
        "        payment_methods.c.barred_at.is_(None),",
        "",
        (
            "tests/integration/payment_methods/test_named_cards.py",
            "-k",
            "own_one_is_barred",
        ),
    ),
    Mutant(
        "a card is tried for a purchase that its buyer canceled meanwhile",
        "billing/money/purchases/transitions.py",
        "        if is_wanted:\n",
        "        if True:\n",
        ("tests/unit/purchases/test_declined_purchases.py",),
    ),
    Mutant(
        "an order is captured for a purchase that its buyer does not want any more",
        "billing/money/payments/owed.py",
        "given_up = self.invoice.cancel_asked_at or by_hand",
        "given_up = by_hand",
        ("tests/unit/purchases/test_declined_purchases.py",),
    ),
)
