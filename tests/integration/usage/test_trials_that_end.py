"""A refused use waits for the end of a trial only if it is known to go on then."""

from datetime import timedelta
from typing import Any, Final

import pytest
from sqlalchemy import insert

from billing.core import ids
from billing.money.contracts.tables import contracts
from billing.money.payment_methods.tables import payment_methods
from tests.integration.catalog.subscribing import change
from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.shops_on_plans import NOW
from tests.integration.usage.test_agreed_limits import agree
from tests.integration.usage.test_scheduled_terms import AI, passes, schedule

AT_TRIAL_END: Final = "2027-02-01T00:00:00Z"


@pytest.mark.parametrize(
    ("kind", "barred", "is_default", "at"),
    [
        ("card", False, True, AT_TRIAL_END),
        ("card", True, True, None),
        ("card", False, False, None),
        ("sepa_debit", False, True, None),
    ],
)
async def test_only_a_card_that_is_chosen_and_not_barred_lets_a_trial_go_on(
    new_shop: NewShop, kind: str, barred: bool, is_default: bool, at: str | None
) -> None:
    shop = await trial(new_shop)
    async with shop.api.database.operator() as connection:
        card = {
            "id": ids.new(), "account_id": shop.id, "stripe_payment_method_id": f"pm_{ids.new()}",
            "is_default": is_default, "barred_at": NOW if barred else None, "chosen_at": NOW,
            "created_at": NOW, "provider_kind": kind,
        }  # fmt: skip
        await connection.execute(insert(payment_methods).values(card))
    assert await passes(shop, "60") == at


async def test_a_trial_that_a_contract_has_sent_needs_no_card(new_shop: NewShop) -> None:
    shop = await trial(new_shop)
    assert await passes(shop, "60") is None
    await contracted(shop, {"collection": "send_invoice"})
    assert await passes(shop, "60") == AT_TRIAL_END


@pytest.mark.parametrize(
    ("prices", "at"), [([], AT_TRIAL_END), ([{"plan": "basic", "currency": "USD"}], None)]
)
async def test_a_free_trial_before_agreed_prices_needs_a_card(
    new_shop: NewShop, prices: list[dict[str, str]], at: str | None
) -> None:
    shop = await trial(new_shop)
    async with shop.api.database.operator() as connection:
        await change(connection, shop.id, amount_minor=0, updated_at=NOW)
    await contracted(shop, {"prices": prices})
    assert await passes(shop, "60") == at


async def test_a_trial_before_a_free_plan_needs_no_card(new_shop: NewShop) -> None:
    shop = await trial(new_shop)
    await schedule(shop, "plan", "free")
    assert await passes(shop, "50") == AT_TRIAL_END


@pytest.mark.parametrize(("next_plan", "at"), [(None, AT_TRIAL_END), ("basic", None)])
async def test_a_trial_ends_as_its_next_plan_says(
    new_shop: NewShop, next_plan: str | None, at: str | None
) -> None:
    shop = await trial(new_shop, "invoice")
    if next_plan is not None:
        await schedule(shop, "plan", next_plan)
    assert await passes(shop, "60") == at


async def contracted(shop: Shop, terms: dict[str, Any]) -> None:
    """A contract from tomorrow on."""
    async with shop.api.database.operator() as connection:
        contract = {
            "id": ids.new(), "account_id": shop.id, "terms": terms,
            "effective_from": NOW + timedelta(days=1), "created_at": NOW,
        }  # fmt: skip
        await connection.execute(insert(contracts).values(contract))


async def trial(new_shop: NewShop, ending: str = "cancel") -> Shop:
    """A shop in a trial without a card, whose units are used up."""
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe("basic")
    await agree(shop, included="500")
    await shop.record("500", **AI)
    async with shop.api.database.operator() as connection:
        await change(
            connection, shop.id, status="trialing", trial_end_behavior=ending, updated_at=NOW
        )
    return shop
