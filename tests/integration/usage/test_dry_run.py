"""A dry run of uses: the verdicts of the real thing, and nothing written."""

import random
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.integration.actors import Actors
from tests.integration.arrears.test_offered_charges import CARD, sell
from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.holds_made import hold

TABLES: Final = (
    "billing_quotas", "billing_records", "capture_logs", "credit_balances", "credit_holds",
    "credit_lots", "credit_transactions", "events", "invoices", "quota_claims", "quota_slices",
    "top_ups", "usage_alerts", "usage_counters", "usage_periods",
)  # fmt: skip
DRY: Final = "?dry_run=true"


async def all_rows(shop: Shop) -> dict[str, list[Any]]:
    """Every row of the account that a use could touch."""
    return {
        table: await shop.rows(
            f"SELECT to_jsonb(t)::text FROM {table} AS t WHERE account_id = :id ORDER BY 1"
        )
        for table in TABLES
    }


async def test_a_dry_run_answers_as_the_use_would_and_writes_nothing(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    await shop.quota("10")
    held = await hold(shop, "1")
    for use in (
        {"product_id": "gpt-4", "usage_amount": "1000", "event_id": "e-1", "user_id": "ann"},
        {"product_id": "gpt-4", "usage_amount": "6000"},
        {"feature_type": "chat_messages", "usage_amount": "11"},
        {"feature_type": "chat_messages", "usage_amount": "3", "event_id": "e-2"},
        {"product_id": "none", "usage_amount": "1"},
        {"product_id": "gpt-4", "usage_amount": "1", "hold_id": held},
        {"product_id": "gpt-4", "usage_amount": "1", "billing_method": CARD, "event_id": "e-3"},
    ):  # fmt: skip
        before = await all_rows(shop)
        tried = await shop.post(f"/usage/record{DRY}", use)
        assert await all_rows(shop) == before, use
        done = await shop.post("/usage/record", use)
        ids = ("billing_id", "usage_record_id", "correlation_id", "instance", "resets_at")
        told = [
            {name: value for name, value in answer.json().items() if name not in ids}
            for answer in (tried, done)
        ]
        assert told[0] == told[1]
        assert tried.status_code == (200 if done.status_code == 201 else done.status_code)


@pytest.mark.parametrize("path", ["/usage/record", "/usage/batch"])
async def test_a_dry_run_without_a_value_is_refused_and_carries_nothing_out(
    new_shop: NewShop, path: str
) -> None:
    shop = await new_shop("10")
    before = await all_rows(shop)
    use = {"product_id": "gpt-4", "usage_amount": "1000"}
    answer = await shop.post(f"{path}?dry_run=", use if path == "/usage/record" else [use])
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "dry_run")
    assert await all_rows(shop) == before


async def test_a_repeated_event_is_known_to_a_dry_run_too(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    done = await shop.record("1000", event_id="e-1")
    use = {"product_id": "gpt-4", "usage_amount": "1000", "event_id": "e-1"}
    again = await shop.post(f"/usage/record{DRY}", use)
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (done, "true")
    other = await shop.post(f"/usage/record{DRY}", use | {"usage_amount": "2"})
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def some_rows(rnd: random.Random, holds: list[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for _ in range(rnd.randint(1, 25)):
        row: dict[str, Any] = {"usage_amount": rnd.choice(("1", "500", "1000", "4000"))}
        row |= rnd.choice(
            (
                {"product_id": "gpt-4"}, {"product_id": "gpt-4", "on_insufficient": "defer"},
                {"feature_type": "chat_messages", "usage_amount": "2"}, {"product_id": "none"},
                {"product_id": "gpt-4", "billing_method": CARD, "event_id": str(uuid4())},
                {"product_id": "gpt-4", "hold_id": rnd.choice(holds)},
                {"product_id": "gpt-4", "event_id": f"known-{rnd.randint(1, 5)}"},
            )
        )  # fmt: skip
        rows.append(row)
    return rows


@pytest.mark.parametrize("seed", range(3))
async def test_a_batch_that_is_tried_first_is_recorded_as_it_was_told(
    new_shop: NewShop, seed: int
) -> None:
    rnd = random.Random(seed)
    shop = await new_shop("40")
    await shop.quota("25")
    holds = [await hold(shop, rnd.choice(("1", "3"))) for _ in range(4)]
    for _ in range(4):
        rows = {"events": some_rows(rnd, holds)}
        before = await all_rows(shop)
        tried = await shop.post(f"/usage/batch{DRY}", rows)
        assert await all_rows(shop) == before
        done = await shop.post("/usage/batch", rows)
        assert tried.status_code == done.status_code == 200, tried.text
        assert tried.json() == done.json()


async def test_a_dry_run_asks_no_card_and_wants_no_credits(actors: Actors) -> None:
    customer, product = await actors.customer(), await sell(actors, USD="2")
    use = {"product_id": product, "usage_amount": "1", "billing_method": CARD, "event_id": "e-1"}
    refused = await customer.call("POST", f"/usage/record{DRY}", use)
    assert (refused.status_code, refused.json()["code"]) == (409, "PAYMENT_CHARGE_NOT_OFFERED")
    await customer.save_card()
    tried = await customer.ask("POST", f"/usage/record{DRY}", use)
    assert (tried["billing_status"], tried["total_cost"]) == ("pending", "2.00")
    rows = await customer.rows("SELECT count(*) AS n FROM payments WHERE account_id = %(me)s")
    assert rows[0]["n"] == 0
    assert (await customer.ask("POST", "/usage/record", use))["billing_status"] == "completed"


async def test_a_parameter_nobody_knows_is_refused(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    use = {"product_id": "gpt-4", "usage_amount": "1"}
    for query in ("dry=true", "dry_run=perhaps"):
        answer = await shop.post(f"/usage/record?{query}", use)
        assert answer.status_code == 422, answer.text
