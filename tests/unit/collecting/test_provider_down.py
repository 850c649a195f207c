"""While the provider is down, what never reached a card is tried again."""

from datetime import timedelta
from typing import Any

import pytest

from billing.catalog.plans.schemas import DunningPolicy
from billing.money.collecting.rules import agenda
from tests.unit.collecting.test_collecting_agenda import DAY, ZERO, case, invoice, plan


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("times", [1, 2, 23])
def test_while_the_provider_is_down_the_same_slot_comes_again_hourly(slot: int, times: int) -> None:
    stem = f"inv_1/attempt-{slot}"
    down = (stem, *(f"{stem}/again-{number}" for number in range(1, times)))
    seen = invoice(
        case=case() if slot else None,
        tried=down,
        unreached_slots=(slot,) * times,
        last_unreached_at=ZERO + 3 * DAY,
    )
    again = {f"{stem}/again-{times}": ZERO + 3 * DAY + timedelta(hours=1)}
    assert plan(seen) == again


def test_the_next_slot_starts_counting_anew() -> None:
    down = ("inv_1/attempt-0", "inv_1/attempt-0/again-1")
    seen = invoice(case=case(), tried=down, unreached_slots=(0, 0), last_unreached_at=ZERO)
    assert plan(seen) == {"inv_1/attempt-1": ZERO + 3 * DAY}


def test_each_slot_counts_its_own_tries() -> None:
    policy = DunningPolicy(days=tuple(range(11)))
    seen = invoice(
        case=case(policy=policy),
        tried=("inv_1/attempt-0",),
        unreached_slots=(1, 1, 10),
        last_unreached_at=ZERO,
    )
    assert set(plan(seen)) == {"inv_1/attempt-1/again-2"}


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    ("key", "due"),
    [
        ("inv_1/card-mth_2", {"method_chosen_at": ZERO + DAY}),
        ("inv_1/card-mth_2/chosen-2", {"method_chosen_at": ZERO + DAY, "earlier_choices": 2}),
        ("inv_1/backup-mth_2", {"backup_since": ZERO + DAY}),
    ],
)
def test_while_the_provider_is_down_an_extra_card_is_tried_again_hourly(
    key: str, due: dict[str, Any], times: int
) -> None:
    down = (key, *(f"{key}/again-{number}" for number in range(1, times)))
    seen = invoice(
        case=case(),
        method="mth_2",
        tried=down,
        unreached_extras=(*down, "inv_1/card-mth_22"),
        last_unreached_at=ZERO + 3 * DAY,
        **due,
    )
    [again] = agenda(seen, by_slots=False)
    assert (again.key, again.method) == (f"{key}/again-{times}", "mth_2")
    assert again.due == ZERO + 3 * DAY + timedelta(hours=1)
    reached = seen.model_copy(update={"tried": (*down, again.key)})
    assert plan(reached, by_slots=False) == {}


def test_a_run_that_an_earlier_release_began_tries_an_extra_card_once() -> None:
    new_card = {"method": "mth_2", "method_chosen_at": ZERO + DAY, "last_unreached_at": ZERO}
    seen = invoice(case=case(), tried=("inv_1/card-mth_2",), **new_card)
    assert plan(seen, by_slots=False) == {}
