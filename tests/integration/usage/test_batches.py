"""A thousand uses at once: each row its own verdict, over many accounts, and no order is wrong."""

import asyncio
import random
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from psycopg import OperationalError
from sqlalchemy.exc import DBAPIError

from api.batching.usage_batcher import UsageBatcher
from billing.insight.integrity import service
from billing.metering.usage.schemas import Recorded, Use, UseKind
from tests.integration.usage.conftest import V1, NewShop, Shop

COLUMNS = (
    "product_id, service_type, feature_type, meter, usage_amount, included_units,"
    " charged_units, unit_price, total_amount, currency, billing_method, billing_status,"
    " is_free_tier, is_late, event_id, user_id, organization_id, operation, model"
)
AGREEMENT = """
    SELECT
        (SELECT coalesce(sum(total_amount), 0) FROM billing_records
         WHERE account_id = :id AND billing_status = 'completed'),
        (SELECT coalesce(-sum(amount), 0) FROM credit_transactions
         WHERE account_id = :id AND kind = 'debit'),
        (SELECT coalesce(sum(credits), 0) FROM usage_counters
         WHERE account_id = :id AND owner = '' AND grain = 'day'),
        (SELECT count(*) FROM billing_records WHERE account_id = :id),
        (SELECT coalesce(sum(events), 0) FROM usage_counters
         WHERE account_id = :id AND owner = '' AND grain = 'day')
"""


async def agree(shop: Shop) -> tuple[Any, ...]:
    """(credits, records), on which records, ledger and counters agree."""
    paid, debited, counted, records, events = (await shop.rows(AGREEMENT))[0]
    assert paid == debited == counted
    assert records == events
    async with shop.api.database.tenant(shop.id) as connection:
        report = await service.evaluate(connection, shop.id)
    broken = [check.name for check in report.checks if not check.ok]
    assert not {"usage_counted", "usage_cycles", "usage_paid"} & set(broken)
    return paid, records


async def test_each_row_has_its_own_verdict(new_shop: NewShop) -> None:
    shop = await new_shop("5")
    event = {"product_id": "gpt-4", "usage_amount": "1000", "event_id": f"evt-{uuid4()}"}
    done = await shop.batch(
        event,
        event,
        event | {"usage_amount": "2"},
        event | {"event_id": "x", "usage_amount": "-1"},
        event | {"event_id": "y", "usage_amount": "2000"},
        event | {"event_id": "z", "usage_amount": "500"},
        {"usage_amount": "1"},
    )
    assert [(row["status"], row.get("code")) for row in done["results"]] == [
        ("recorded", None),
        ("duplicate", None),
        ("rejected", "IDEMPOTENCY_KEY_REUSED"),
        ("rejected", "VALIDATION_FAILED"),
        ("rejected", "INSUFFICIENT_CREDITS"),
        ("recorded", None),
        ("rejected", "VALIDATION_FAILED"),
    ]
    assert "usage_amount" in done["results"][3]["detail"]
    assert [row["event_id"] for row in done["results"][3:]] == ["x", "y", "z", None]
    assert done["results"][2]["detail"].startswith("this event_id ")
    assert done["results"][4]["detail"] == "4.00 credits are needed, 3.00 are available"
    assert (done["recorded"], done["duplicate"], done["rejected"]) == (2, 1, 4)
    again = await shop.batch(event)
    assert again["results"][0]["status"] == "duplicate"
    assert await agree(shop) == (3, 2)


async def test_rows_of_one_request_are_paid_by_one_entry(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    rows = [{"product_id": "gpt-4", "usage_amount": "1000"}] * 40
    assert (await shop.batch(*rows))["recorded"] == 40
    entries = await shop.get("/billing/credits/transactions", kind="debit")
    assert [entry["amount"] for entry in entries["data"]] == ["-80.00"]
    assert await agree(shop) == (80, 40)
    assert (await shop.batch(*rows))["recorded"] == 10
    assert await agree(shop) == (100, 50)


async def test_a_service_records_for_many_accounts_and_nobody_else_does(
    new_shop: NewShop,
) -> None:
    shops = [await new_shop("10") for _ in range(4)]
    api = shops[0].api
    rows = [
        {name: shop.account[key], "product_id": "gpt-4", "usage_amount": "500"}
        for shop in shops
        for name, key in (("account_id", "id"), ("external_id", "external_id"))
    ]
    random.shuffle(rows)
    rows.append({"account_id": "nobody", "product_id": "gpt-4", "usage_amount": "1"})
    rows.append({"product_id": "gpt-4", "usage_amount": "1"})
    service = api.token("*", ["service"])
    body = {"events": rows}
    done = await api.client.post(f"{V1}/usage/batch", json=body, headers=service)
    assert done.json()["recorded"] == 8
    assert [row["code"] for row in done.json()["results"][-2:]] == [
        "MERCHANT_NOT_FOUND", "ACCOUNT_REQUIRED",
    ]  # fmt: skip
    assert [await agree(shop) for shop in shops] == [(2, 2)] * 4


async def test_another_account_s_row_is_as_missing_as_nobody_s(new_shop: NewShop) -> None:
    own, other = await new_shop("10"), await new_shop("10")
    answers = [
        await own.batch({"usage_amount": "1", "product_id": "gpt-4", "account_id": name})
        for name in (other.account["id"], other.account["external_id"], "nobody")
    ]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["results"][0]["code"] == "MERCHANT_NOT_FOUND"
    assert await agree(other) == (0, 0)


def a_use(rng: random.Random) -> dict[str, Any]:
    use: dict[str, Any] = {
        "usage_amount": str(Decimal(rng.randint(1, 99999)) / 1000),
        "event_id": f"evt-{rng.randint(0, 30)}",
    }
    use |= rng.choice(
        [
            {"product_id": "gpt-4"},
            {"product_id": "mcp-call", "billing_method": "wallet_deduction"},
            {"feature_type": "impressions"},
            {"service_type": "api_gateway"},
            {"product_id": "gpt-4", "operation": "chat", "model": "gpt-4"},
        ]
    )
    return use | rng.choice([{}, {"user_id": "ann"}, {"user_id": "bob", "organization_id": "o"}])


async def test_the_short_way_and_the_long_way_come_to_the_same(new_shop: NewShop) -> None:
    rng = random.Random(7)
    short, long = await new_shop("10000"), await new_shop("10000")
    # A quota that never bites sends every batch the long way.
    await long.quota("1000000", window="month")
    for size in (1, 3, 17, 60):
        rows = [a_use(rng) | {"event_id": f"{size}-{n}"} for n in range(size)]
        assert await short.batch(*rows) == await long.batch(*rows)
    records = [
        await shop.rows(
            f"SELECT {COLUMNS} FROM billing_records WHERE account_id = :id ORDER BY event_id"
        )
        for shop in (short, long)
    ]
    assert records[0] == records[1]
    counters = [
        await shop.rows(
            "SELECT owner, grain, period_start, bucket, meter, facet, quantity, events, maximum,"
            " last_value, credits, overage FROM usage_counters WHERE account_id = :id"
            " ORDER BY 1, 2, 3, 4, 5, 6"
        )
        for shop in (short, long)
    ]
    assert counters[0] == counters[1]
    assert await agree(short) == await agree(long)


async def test_singles_and_batches_that_race_end_with_books_that_agree(
    new_shop: NewShop,
) -> None:
    rng = random.Random(11)
    shops = [await new_shop("60") for _ in range(3)]
    await shops[0].quota("100", service_type="mcp_service", window="day")
    service = shops[0].api.token("*", ["service"])

    async def one(shop: Shop) -> None:
        await shop.post("/usage/record", a_use(rng))

    async def many() -> None:
        rows = [a_use(rng) | {"account_id": rng.choice(shops).account["id"]} for _ in range(25)]
        answer = await shops[0].api.client.post(
            f"{V1}/usage/batch", json={"events": rows}, headers=service
        )
        assert answer.status_code == 200, answer.text

    await asyncio.gather(
        *(one(rng.choice(shops)) for _ in range(120)), *(many() for _ in range(12))
    )
    for shop in shops:
        paid, records = await agree(shop)
        assert records <= 31
        assert await shop.balance() == 60 - paid
    used = await shops[0].rows(
        "SELECT used - (SELECT coalesce(sum(usage_amount), 0) FROM billing_records"
        " WHERE account_id = :id AND meter = 'mcp_service') FROM billing_quotas"
        " WHERE account_id = :id"
    )
    assert used == [(0,)]


async def test_platform_headers_must_name_the_shop_of_every_account(new_shop: NewShop) -> None:
    home = {"platform": "shopify", "platform_domain": f"{uuid4()}.example"}
    shop, other = (
        await new_shop("10", **home),
        await new_shop("10", platform="etsy", platform_domain="else.example"),
    )
    row = {"product_id": "gpt-4", "usage_amount": "1000"}

    async def sent(headers: dict[str, str], *rows: dict[str, str], **platform: str) -> int:
        named = {f"X-{name.replace('_', '-')}": text for name, text in platform.items()}
        answer = await shop.api.client.post(
            f"{V1}/usage/batch", json={"events": rows}, headers=headers | named
        )
        assert answer.status_code == 200 or answer.json()["code"] == "PLATFORM_MISMATCH"
        return answer.status_code

    own, service = shop.headers("member"), shop.api.token("*", ["service"])
    assert await sent(own, row, platform="etsy") == 403
    assert await sent(own, row, shop_domain="else.example") == 403
    assert await sent(own, row, platform="Shopify", shop_domain=home["platform_domain"]) == 200
    mine = row | {"account_id": shop.account["id"]}
    theirs = row | {"external_id": other.account["external_id"]}
    assert await sent(service, mine, theirs, platform="shopify") == 403
    assert await sent(service, mine, platform="shopify") == 200
    assert await sent(service, mine, theirs) == 200
    assert await shop.balance() == 4
    assert await other.balance() == 8


async def test_a_body_that_is_no_batch_is_refused_whole(new_shop: NewShop) -> None:
    shop = await new_shop()
    bodies: list[dict[str, Any]] = [{}, {"events": []}, {"events": [{}] * 1001}, {"rows": []}]
    for body in bodies:
        answer = await shop.post("/usage/batch", body)
        assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")


async def test_uses_without_an_event_are_there_once_when_an_answer_is_lost(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await new_shop("10")
    batcher = UsageBatcher(shop.api.database)
    write = batcher._write
    sizes: list[int] = []

    async def committed_unheard(
        uses: Any, groups: Any, owned: Any, wait: Any, *, full: bool
    ) -> dict[int, Recorded]:
        done = await write(uses, groups, owned, wait, full=full)
        sizes.append(len(uses))
        if len(uses) > 1:
            raise DBAPIError("the record", None, OperationalError("the connection is lost"))
        return done

    monkeypatch.setattr(batcher, "_write", committed_unheard)
    uses = [Use(shop.id, UseKind("gpt-4", None, None, None, None, None, False), "1000")] * 3
    done = await asyncio.gather(*(batcher.one(use) for use in uses))
    assert sizes[0] == 3
    assert len({one.id for one in done}) == 3
    assert await shop.rows("SELECT count(*) FROM billing_records WHERE account_id = :id") == [(3,)]
    assert await shop.balance() == 4
