"""Hold, capture and release over the API: keys, ends, races, and time that nobody waited for."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from billing.core import ids
from billing.core.clock import real_now
from billing.core.errors import Conflict
from billing.ledger.credits import service
from tests.integration.actors import Actors, Customer
from tests.integration.api_app import Api
from tests.integration.credits import holding
from tests.integration.credits.accounts import CreditAccount
from tests.integration.credits.books import decimals
from tests.integration.operator_acts import give

HOLDS = "/billing/credits/holds"
LATER = "2027-01-01T11:00:00Z"


async def funded(
    actors: Actors, amount: str = "10", *, is_paid: bool = False, **fields: Any
) -> Customer:
    """A customer with credits, on a clock if told so."""
    customer = await actors.customer(**fields)
    await give(customer, amount, is_paid=is_paid)
    return customer


async def held(customer: Customer, amount: str, **more: Any) -> Any:
    return await customer.ask("POST", HOLDS, {"amount": amount} | more, status=201)


async def balance(customer: Customer) -> tuple[str, str, str]:
    shown = await customer.ask("GET", "/billing/credits/balance")
    return shown["credits"], shown["held"], shown["available"]


async def test_a_hold_is_captured_in_part_and_the_rest_is_free_again(actors: Actors) -> None:
    customer = await funded(actors)
    hold = await held(customer, "8", subject="job-7")
    assert (hold["status"], hold["amount"], hold["captured"]) == ("open", "8.00", "0")
    assert await balance(customer) == ("10.00", "8.00", "2.00")
    path = f"{HOLDS}/{hold['hold_id']}"
    price = {"unit_price": "0.002"}
    done = await customer.ask("POST", f"{path}/capture", {"amount": "5.5", "detail": price})
    assert (done["captured"], done["released"], done["balance"]) == ("5.50", "2.50", "4.50")
    assert await balance(customer) == ("4.50", "0", "4.50")
    again = await customer.call("POST", f"{path}/capture", {"amount": "5.50", "detail": price})
    assert (again.headers["Idempotent-Replayed"], again.json()) == ("true", done)
    entry = await customer.ask("GET", f"/billing/credits/transactions/{done['transaction_id']}")
    assert (entry["kind"], entry["subject"], entry["detail"]) == ("capture", "job-7", price)
    read = await customer.ask("GET", path)
    assert (read["status"], read["captured"]) == ("captured", "5.50")
    problem = await customer.refused("HOLD_RESOLVED", "POST", f"{path}/release")
    assert (problem["status"], problem["hold_status"]) == (409, "captured")


async def test_a_released_hold_gives_everything_back(actors: Actors) -> None:
    customer = await funded(actors)
    path = f"{HOLDS}/{(await held(customer, '8'))['hold_id']}"
    released = await customer.ask("POST", f"{path}/release")
    assert (released["status"], released["captured"]) == ("released", "0")
    assert await customer.ask("POST", f"{path}/release") == released
    await customer.refused("HOLD_RESOLVED", "POST", f"{path}/capture", {})
    assert await balance(customer) == ("10.00", "0", "10.00")


async def test_the_same_key_is_the_same_hold_and_another_body_is_refused(actors: Actors) -> None:
    customer = await funded(actors)
    first = await customer.call("POST", HOLDS, {"amount": "4"}, key="job-1")
    again = await customer.call("POST", HOLDS, {"amount": "4.00"}, key="job-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    rounded = await customer.call("POST", HOLDS, {"amount": "4.0000000001"}, key="job-1")
    assert rounded.json() == first.json(), "amounts are compared after rounding"
    other = {"amount": "4", "scope": "images"}
    await customer.refused("IDEMPOTENCY_KEY_REUSED", "POST", HOLDS, other, key="job-1")
    assert await balance(customer) == ("10.00", "4.00", "6.00")
    stranger = await funded(actors)
    theirs = await stranger.ask("POST", HOLDS, {"amount": "4"}, key="job-1", status=201)
    assert theirs["hold_id"] != first.json()["hold_id"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"amount": "11"}, "INSUFFICIENT_CREDITS"),
        ({"amount": "0"}, "INVALID_AMOUNT"),
        ({"amount": "-1"}, "INVALID_AMOUNT"),
        ({"amount": "0.0000004"}, "INVALID_AMOUNT"),
        ({"amount": "1.0000000000001"}, "VALIDATION_FAILED"),
        ({"amount": "NaN"}, "VALIDATION_FAILED"),
        ({"amount": True}, "VALIDATION_FAILED"),
        ({"amount": "1", "expires_in_seconds": 0}, "VALIDATION_FAILED"),
        ({"amount": "1", "expires_in_seconds": 9, "expires_at": LATER}, "VALIDATION_FAILED"),
        ({"amount": "1", "expires_at": "2020-01-01T00:00:00Z"}, "INVALID_EXPIRY"),
        ({"amount": "1", "scope": "Images!"}, "VALIDATION_FAILED"),
        ({"amount": "1", "colour": "red"}, "VALIDATION_FAILED"),
    ],
)
async def test_what_cannot_be_held_is_refused(
    actors: Actors, body: dict[str, Any], code: str
) -> None:
    customer = await funded(actors)
    problem = await customer.refused(code, "POST", HOLDS, body)
    if body["amount"] == "0.0000004":
        assert problem["detail"] == (
            "the amount must be above 0 once it is rounded to steps of 0.000001 credits"
        )
    if code == "INSUFFICIENT_CREDITS":
        assert (problem["status"], problem["required"], problem["available"]) == (
            402, "11.00", "10.00",
        )  # fmt: skip
    assert await balance(customer) == ("10.00", "0", "10.00")


async def test_holds_and_captures_are_rounded_half_up_to_six_decimals(actors: Actors) -> None:
    customer = await funded(actors)
    hold = await held(customer, "4.0000005")
    assert await balance(customer) == ("10.00", "4.000001", "5.999999")
    await customer.ask("POST", f"{HOLDS}/{hold['hold_id']}/capture", {"amount": "1.0000004"})
    assert await balance(customer) == ("9.00", "0", "9.00")


async def test_a_capture_takes_no_more_than_was_held(actors: Actors) -> None:
    customer = await funded(actors)
    path = f"{HOLDS}/{(await held(customer, '4'))['hold_id']}/capture"
    problem = await customer.refused("HOLD_EXCEEDED", "POST", path, {"amount": "4.01"})
    assert problem["status"] == 422
    await customer.ask("POST", path, {})


async def test_a_hold_takes_its_scope_s_credits_first_and_no_other_s(actors: Actors) -> None:
    customer = await funded(actors, "10")
    await give(customer, "3", scope="images")
    await customer.refused("INSUFFICIENT_CREDITS", "POST", HOLDS, {"amount": "11"})
    hold = await held(customer, "4", scope="images")
    lots = (await customer.ask("GET", "/billing/credits/lots"))["data"]
    assert [(lot["scope"], lot["held"]) for lot in lots] == [("images", "3.00"), (None, "1.00")]
    done = await customer.ask("POST", f"{HOLDS}/{hold['hold_id']}/capture", {"amount": "3"})
    assert done["balance"] == "10.00"
    wallet = {"amount": "1", "paid_only": True}
    await customer.refused("INSUFFICIENT_CREDITS", "POST", HOLDS, wallet)


async def test_credits_burn_in_the_order_that_was_promised(actors: Actors) -> None:
    customer = await funded(actors, "1", is_paid=True)
    later = {"expires_at": "2099-01-01T00:00:00Z"}
    sooner = {"expires_at": "2098-01-01T00:00:00Z"}
    for more in ({"is_paid": True}, later, sooner, {}, {"priority": 1}, {"scope": "images"}):
        await give(customer, "1", **more)
    order = []
    for _ in range(7):
        hold = await held(customer, "1", scope="images")
        done = await customer.ask("POST", f"{HOLDS}/{hold['hold_id']}/capture", {})
        path = f"/billing/credits/transactions/{done['transaction_id']}/explain"
        (lot,) = (await customer.ask("GET", path))["lots"]
        order.append((lot["scope"], lot["priority"], lot["expires_at"], lot["is_paid"]))
    assert order == [
        ("images", 100, None, False),
        (None, 1, None, False),
        (None, 100, sooner["expires_at"], False),
        (None, 100, later["expires_at"], False),
        (None, 100, None, False),
        (None, 100, None, True),
        (None, 100, None, True),
    ]


async def test_holds_are_listed_newest_first_by_how_they_stand(actors: Actors) -> None:
    customer = await funded(actors)
    made = [await held(customer, "1", reason=f"job {number}") for number in range(3)]
    await customer.ask("POST", f"{HOLDS}/{made[1]['hold_id']}/release")
    listed = await customer.ask("GET", HOLDS)
    assert [one["reason"] for one in listed["data"]] == ["job 2", "job 1", "job 0"]
    opened = await customer.ask("GET", f"{HOLDS}?status=open")
    assert [one["hold_id"] for one in opened["data"]] == [made[2]["hold_id"], made[0]["hold_id"]]
    assert (await customer.ask("GET", f"{HOLDS}?status=expired"))["data"] == []


async def test_a_hold_past_its_end_is_gone_before_anybody_wrote_it(api: Api) -> None:
    made = await api.new_account(is_test=True, clock_at="2027-01-01T10:00:00Z")
    account = CreditAccount(api.database, ids.decode(ids.ACCOUNT, made["id"]))
    await account.grant("10")
    headers = api.token(made["id"], ["billing"])
    answer = await api.client.post(
        f"/api/v1{HOLDS}", json={"amount": "10", "expires_at": LATER}, headers=headers
    )
    hold_id = answer.json()["hold_id"]
    async with account.database.operator() as connection:  # no workflow hears of it
        await connection.exec_driver_sql(
            f"UPDATE accounts SET clock_at = '{LATER}' WHERE id = '{account.id}'"
        )

    async def get(path: str) -> Any:
        return (await api.client.get(f"/api/v1{path}", headers=headers)).json()

    read = await get(f"{HOLDS}/{hold_id}")
    assert (read["status"], read["resolved_at"]) == ("expired", LATER)
    assert [one["hold_id"] for one in (await get(f"{HOLDS}?status=expired"))["data"]] == [hold_id]
    assert (await get(f"{HOLDS}?status=open"))["data"] == []
    assert (await get("/billing/credits/balance"))["available"] == "10.00"
    late = await api.client.post(f"/api/v1{HOLDS}/{hold_id}/capture", json={}, headers=headers)
    assert (late.status_code, late.json()["hold_status"]) == (409, "expired")
    again = await api.client.post(f"/api/v1{HOLDS}", json={"amount": "10"}, headers=headers)
    assert again.status_code == 201, "all of it is free again"


async def test_a_hold_ends_within_30_days_by_the_account_s_clock(actors: Actors) -> None:
    customer = await funded(actors, is_test=True, clock_at="2027-01-01T10:00:00Z")
    for late in ("2027-01-31T10:00:01Z", "2099-01-01T00:00:00Z"):
        body = {"amount": "1", "expires_at": late}
        problem = await customer.refused("VALIDATION_FAILED", "POST", HOLDS, body)
        assert [one["field"] for one in problem["errors"]] == ["expires_at"]
    last = "2027-01-31T10:00:00Z"
    assert (await held(customer, "1", expires_at=last))["expires_at"] == last


async def test_the_account_s_matter_writes_the_end_of_a_hold_and_tells_it(actors: Actors) -> None:
    customer = await funded(actors, is_test=True, clock_at="2027-01-01T10:00:00Z")
    hold = await held(customer, "6", expires_in_seconds=3600)
    assert hold["expires_at"] == LATER
    await customer.advance(days=1)
    mine = await customer.rows(
        "SELECT status, resolved_at FROM credit_holds WHERE account_id = %(me)s"
    )
    assert [(row["status"], row["resolved_at"].isoformat()) for row in mine] == [
        ("expired", "2027-01-01T11:00:00+00:00")
    ]
    told = await customer.rows(
        "SELECT data FROM events WHERE account_id = %(me)s"
        " AND type = 'evt.billing.credits.hold_expired'"
    )
    assert [row["data"]["hold_id"] for row in told] == [hold["hold_id"]]
    assert await balance(customer) == ("10.00", "0", "10.00")


async def test_many_callers_hold_exactly_what_is_there(actors: Actors) -> None:
    customer = await funded(actors, "10.5")
    answers = await asyncio.gather(
        *(customer.call("POST", HOLDS, {"amount": "1"}) for _ in range(40))
    )
    assert Counter(one.status_code for one in answers) == {201: 10, 402: 30}
    assert await balance(customer) == ("10.50", "10.00", "0.50")


async def test_of_captures_and_releases_at_once_one_wins(actors: Actors) -> None:
    customer = await funded(actors)
    path = f"{HOLDS}/{(await held(customer, '6'))['hold_id']}"

    def capture(amount: str) -> Any:
        return customer.call("POST", f"{path}/capture", {"amount": amount})

    answers: list[httpx2.Response] = await asyncio.gather(
        *(capture(f"{number}") for number in range(1, 7)),
        *(customer.call("POST", f"{path}/release") for _ in range(3)),
    )
    told = Counter(one.status_code for one in answers)
    captured = [one for one in answers[:6] if one.status_code == 200]
    assert len(captured) == 1 or (not captured and told == {200: 3, 409: 6})
    assert (await customer.ask("GET", path))["status"] in ("captured", "released")
    left = 10 - sum(float(one.json()["captured"]) for one in captured)
    assert float((await balance(customer))[0]) == left


async def test_a_capture_without_a_body_takes_all_of_the_hold(actors: Actors) -> None:
    customer = await funded(actors)
    hold = await held(customer, "8")
    done = await customer.ask("POST", f"{HOLDS}/{hold['hold_id']}/capture")
    assert (done["captured"], done["balance"]) == ("8.00", "2.00")


async def test_a_hold_that_just_ends_is_captured_or_expires_never_both(
    account: CreditAccount,
) -> None:
    await account.grant("10", expires_at=real_now() + timedelta(milliseconds=250))
    now = real_now()
    until = now + timedelta(milliseconds=150)
    holds = [await account.hold("1", expires_at=until, at=now) for _ in range(8)]
    outcomes = await asyncio.gather(*(capture_until_told(account, hold.hold_id) for hold in holds))
    captured = sum(outcome is True for outcome in outcomes)
    await account.do(service.expire, at=real_now() + timedelta(seconds=5))
    books = await account.books()
    assert (books.balance, books.held) == decimals(0, 0)
    async with account.transaction() as connection:
        assert (await service.lock(connection, account.id)).used == captured


async def capture_until_told(account: CreditAccount, hold_id: Any) -> bool:
    """Capture at a moment of its own around the end."""
    await asyncio.sleep(int(hold_id.int % 25) / 100)
    try:
        await account.do(holding.capture, hold_id=hold_id)
    except Conflict:
        return False
    return True
