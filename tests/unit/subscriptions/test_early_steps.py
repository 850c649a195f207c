"""A worker whose clock is a moment behind does a step early; what it writes has the time at which
the step was due.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from billing.matters.agenda import CLOCK_SKEW, now_after
from billing.money.discounts.schemas import Discount
from billing.money.dunning.schemas import DunningCase
from billing.money.invoices.schemas import Invoice
from billing.money.payments.schemas import Attempt
from billing.money.subscriptions.rules import agenda
from billing.money.subscriptions.transitions import RULES
from tests.unit.collecting.told_debts import Debt
from tests.unit.worked.player import Player, instant

MOMENT: Final = timedelta(seconds=1.5)
NEW_YEAR: Final = instant("2027-01-01T00:00:00Z")
CASE: Final[dict[str, Any]] = {
    "currency": "USD",
    "zone": "UTC",
    "plans": {"pro": {"month": 4900}},
    "start": {"at": "2026-12-01T00:00:00Z", "plan": "pro", "interval": "month"},
    "taxes": {
        "rates": {"standard": "20"},
        "later": [{"since": "2027-01-01", "rates": {"standard": "21"}}],
    },
}


def played_early(player: Player, name: str) -> Invoice:
    """The invoice that a step writes, as such a worker does it; the steps before it are done."""
    rules = replace(RULES, agenda=lambda s: [one for one in agenda(s) if one.name == name])
    (step,) = rules.plan(player.rows, player.facts())
    player.now = step.due - MOMENT
    decided = rules.decide(player.rows, player.facts(), step)
    assert decided is not None, "it need not wait for its clock"
    _, work = decided
    assert work.facts.at == step.due
    return player.rows.of(Invoice)[-1]


@pytest.mark.parametrize(
    ("name", "trial"), [("renew", None), ("end_trial", "2027-01-01T00:00:00Z")]
)
def test_the_first_moment_of_a_year_has_the_taxes_of_that_year(
    name: str, trial: str | None
) -> None:
    player = Player({**CASE, "start": CASE["start"] | {"trial_end": trial}})
    invoice = played_early(player, name)
    assert (invoice.created_at, invoice.finalized_at, invoice.period_start) == (NEW_YEAR,) * 3
    assert invoice.tax_minor == 1029
    assert player.subscription.updated_at == NEW_YEAR


def test_a_coupon_used_up_early_ends_with_the_period_that_begins() -> None:
    coupon = {"code": "TEN", "percent": "10", "periods": 2}
    player = Player({**CASE, "coupons": [coupon]})
    played_early(player, "renew")
    (used,) = player.rows.of(Discount)
    assert (used.status, used.ended_at) == ("ended", NEW_YEAR)


def test_a_slot_of_dunning_ran_when_it_was_due() -> None:
    debt = Debt("waiting", "declined", "declined")
    debt.go(until="attempt-0")
    step = debt.next_step()
    assert step is not None
    debt.now = step.due - MOMENT
    done = debt.rules.carry_out(debt.rows, step, debt.facts, debt.answer)
    (case,) = done.rows.of(DunningCase)
    assert (case.last_slot, case.last_slot_ran_at) == (1, step.due)
    last = done.rows.of(Attempt)[-1]
    assert (last.started_at, last.finished_at) == (step.due, step.due)


def test_what_follows_an_early_step_does_not_come_before_it() -> None:
    for behind in (MOMENT, CLOCK_SKEW):
        assert now_after(NEW_YEAR, NEW_YEAR - behind) == NEW_YEAR
    late, long_ago = NEW_YEAR + MOMENT, NEW_YEAR - 2 * CLOCK_SKEW
    assert now_after(NEW_YEAR, late) == late
    assert now_after(NEW_YEAR, long_ago) == long_ago, "a clock that was far ahead binds nobody"
