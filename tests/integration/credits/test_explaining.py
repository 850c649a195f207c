"""Any debit explains itself: its lots in order, why each, what was passed over, and the price."""

from datetime import UTC, datetime, timedelta
from typing import Any

from billing.core import ids
from billing.ledger.credits import service
from tests.integration.actors import Customer
from tests.integration.api_app import Api
from tests.integration.credits import holding
from tests.integration.credits.accounts import CreditAccount

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


async def explained(api: Api, account: CreditAccount, transaction_id: Any) -> Any:
    headers = api.token(ids.encode(ids.ACCOUNT, account.id), ["member"])
    public = ids.encode(ids.TRANSACTION, transaction_id)
    answer = await api.client.get(
        f"/api/v1/billing/credits/transactions/{public}/explain", headers=headers
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_debit_names_its_lots_in_burn_order_with_the_rule_for_each(
    api: Api, new_account: Any
) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    await account.grant("4")
    await account.grant("3", kind="plan", is_paid=False)
    await account.grant("2", kind="trial", is_paid=False, expires_at=NOON + DAY)
    await account.grant("1", scope="images")
    await account.grant("9", scope="voice")
    await account.grant("5")
    debit = await account.debit("8", scope="images", detail={"unit_price": "0.002"})
    await account.debit("7")
    told = await explained(api, account, debit.transaction_id)
    assert [(lot["amount"], lot["because"]) for lot in told["lots"]] == [
        ("-1.00", "scope"),
        ("-2.00", "expiry"),
        ("-3.00", "free_before_paid"),
        ("-2.00", "age"),
    ]
    assert {lot["scope"]: lot["words"] for lot in told["passed_over"]} == {
        "voice": "it may be spent on voice only",
        None: "its turn comes later",
    }
    entry = told["transaction"]
    assert (entry["scope"], entry["amount"], entry["detail"]) == (
        "images", "-8.00", {"unit_price": "0.002"},
    )  # fmt: skip
    assert sum(float(lot["amount"]) for lot in told["lots"]) == float(entry["amount"])


async def test_a_forced_debit_says_what_is_owed(api: Api, account: CreditAccount) -> None:
    await account.grant("4", kind="plan", is_paid=False)
    await account.allow_debt("10")
    debit = await account.debit("6", paid_only=True, force=True)
    told = await explained(api, account, debit.transaction_id)
    assert told["words"] == "no credits could be spent; all 6.00 are owed now"
    assert (told["lots"], told["paid_only"]) == ([], True)
    assert [one["words"] for one in told["passed_over"]] == [
        "only credits that were paid for could be spent"
    ]


async def test_a_forced_debit_says_what_is_owed_beyond_its_lots(
    api: Api, account: CreditAccount
) -> None:
    await account.grant("4")
    await account.allow_debt("10")
    debit = await account.debit("6", force=True)
    told = await explained(api, account, debit.transaction_id)
    assert told["words"].endswith("2.00 more than could be spent are owed now")
    assert [(one["amount"], one["because"]) for one in told["lots"]] == [("-4.00", "only")]


async def test_a_capture_says_that_its_hold_held_the_lots(api: Api, account: CreditAccount) -> None:
    for amount in ("1", "2", "9"):
        await account.grant(amount)
    hold = await account.hold("3")
    capture = await account.do(holding.capture, hold_id=hold.hold_id)
    told = await explained(api, account, capture.transaction_id)
    assert [(one["amount"], one["because"]) for one in told["lots"]] == [
        ("-1.00", "held"), ("-2.00", "held"),
    ]  # fmt: skip
    assert {one["words"] for one in told["lots"]} == {
        "a hold is paid from the lots it holds: this is one of them"
    }
    assert told["passed_over"] == []


async def test_every_kind_of_entry_explains_itself(api: Api, new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    await account.allow_debt("1")
    await account.debit("1", force=True)
    await account.grant("10", expires_at=NOON + DAY)
    hold = await account.hold("3", expires_at=NOON + DAY)
    await account.do(holding.capture, hold_id=hold.hold_id)
    await account.do(service.expire, at=NOON + DAY)
    headers = api.token(ids.encode(ids.ACCOUNT, account.id), ["member"])
    listed = await api.client.get("/api/v1/billing/credits/transactions", headers=headers)
    entries = listed.json()["data"]
    assert [one["kind"] for one in entries] == ["expire", "capture", "debt", "grant", "debit"]
    for one in entries:
        told = await explained(api, account, ids.decode(ids.TRANSACTION, one["transaction_id"]))
        parts = sum(float(lot["amount"]) for lot in told["lots"])
        assert parts == float(one["amount"])
        assert told["words"]


async def test_credits_from_a_pack_show_what_they_cost(customer: Customer) -> None:
    await customer.bought("small")
    hold = await customer.ask("POST", "/billing/credits/holds", {"amount": "33.5"}, status=201)
    done = await customer.ask("POST", f"/billing/credits/holds/{hold['hold_id']}/capture", {})
    path = f"/billing/credits/transactions/{done['transaction_id']}/explain"
    (lot,) = (await customer.ask("GET", path))["lots"]
    assert (lot["amount"], lot["value_cents"], lot["currency"]) == ("-33.50", 335, "USD")
