"""Books that tests break: on purpose, or as they write rows that the product writes with others.

`invariants_fixture.py` asks for all others.
"""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

SAMPLES: Final = "one row of each kind, which belongs to no story"
BROKEN: Final[Mapping[str, str]] = {
    "tests/integration/api/test_extremes.py": SAMPLES,
    "tests/integration/api/test_listings.py": SAMPLES,
    "tests/integration/api/test_search.py": SAMPLES,
    "tests/integration/api/test_tenant_matrix.py": SAMPLES,
    (
        "tests/integration/credits/test_credit_routes.py"
        "::test_the_plan_s_monthly_credits_stand_beside_the_balance"
    ): "a subscription without its invoices, written by SQL",
    (
        "tests/integration/credits/test_expiry_steps.py"
        "::test_a_step_whose_key_is_taken_changes_nothing"
    ): "a step is noted as done that was not",
    (
        "tests/integration/credits/test_hold_ways.py::test_together_or_alone"
    ): "its matters forget when they are to look",
    (
        "tests/integration/credits/test_rollover_lives.py"
        "::test_books_show_credits_that_came_twice_or_live_on_for_too_long"
    ): "what the check looks at is damaged",
    (
        "tests/integration/credits/test_rollover_lives.py"
        "::test_credits_live_on_again_beside_cycles_that_are_never_paid"
    ): "a subscription that owes nothing is unpaid by SQL",
    (
        "tests/integration/insight/test_recounting.py"
        "::test_an_account_that_takes_too_long_is_named_after_all_others_are_mended"
    ): "counters that nobody could mend in time stay damaged",
    (
        "tests/integration/insight/test_recommendations.py"
        "::test_no_plan_is_named_to_whom_a_coupon_makes_his_own_cheaper"
    ): "a discount without the redemption of its coupon",
    (
        "tests/integration/integrity/test_books_are_asked.py"
        "::test_a_story_that_leaves_a_wrong_sum_is_named"
    ): "the question itself is asked",
    (
        "tests/integration/integrity/test_free_credits.py"
        "::test_books_stay_clean_when_a_plan_without_a_price_gives_way"
    ): "the credits of a cycle are taken away at its end",
    (
        "tests/integration/usage/test_cycles.py::test_what_a_card_paid_is_on_no_invoice_s_line"
    ): "a counter without its records",
    "tests/integration/usage/test_many_holds_end.py": "bought credits end; its holds are 40,000",
    (
        "tests/integration/usage/test_quota_claims.py"
        "::test_an_expired_claim_is_given_back_beside_a_claim_that_counts"
    ): "a quota has counted what nobody used",
    (
        "tests/integration/usage/test_sizes.py::test_the_largest_uses_fill_no_counter"
    ): "counters without their records",
    (
        "tests/integration/usage/test_trials_that_end.py"
        "::test_only_a_card_that_is_chosen_and_not_barred_lets_a_trial_go_on"
    ): "a card that nobody chose is the only one",
    (
        "tests/integration/usage/test_unpaid_limit.py"
        "::test_a_limit_is_told_to_the_smallest_unit_of_its_currency"
    ): "the currency of a subscription is changed",
    (
        "tests/integration/workflows/test_purchase_events.py"
        "::test_late_money_that_the_balance_no_longer_completes_is_kept"
    ): "a restore lost what a void invoice gives back to the balance",
}
"""Tests that break books on purpose, each with its reason. By the name of a file or a test; all
parameters of the test are meant."""
OF_PURSUIT: Final = frozenset(
    {
        "cancels_stand",
        "cycles_dated",
        "debts_pursued",
        "ends_noted",
        "matters_exist",
        "periods_billed",
        "states_dated",
        "subscriptions_priced",
    }
)
"""Checks of a subscription that was written without its invoices and its workflow."""
OF_CARDS: Final = frozenset({"cards_kept"})
"""Checks of a card that was written without its customer at the provider."""
OF_ENTRIES: Final = frozenset(
    {"cycles_granted_once", "grants_paid_once", "lots_of_their_kind", "usage_paid"}
)
"""Checks of a ledger that was written without the uses and the sales of its entries."""
_excused: Final[dict[UUID, frozenset[str]]] = {}


def excuse(account_id: UUID, checks: frozenset[str]) -> None:
    """Ask for no more of these checks where a test writes the rows of an account itself."""
    _excused[account_id] = _excused.get(account_id, frozenset()) | checks


def is_excused(account_id: UUID, check: str) -> bool:
    """True if the account's books need not pass the check."""
    return check in _excused.get(account_id, ())


def is_broken(test: str) -> bool:
    """True if the test is named above, or its file."""
    whole = test.partition("[")[0]
    return whole in BROKEN or whole.partition("::")[0] in BROKEN
