"""The overall billing status: what every part of the API says, in one answer and one statement."""

from uuid import UUID, uuid4

from sqlalchemy import event

from billing.core import ids
from tests.integration.actors import Actors, Customer, Json
from tests.integration.api_app import Api

NOTHING = {
    "currency": None,
    "trial": None,
    "subscription": None,
    "credits": {"balance": "0", "held": "0", "available": "0", "debt": "0"},
    "invoices": {"open": 0, "remaining_cents": 0, "newest": []},
    "purchases": {"pending": 0, "newest": []},
    "dunning": None,
}


async def overview(customer: Customer) -> Json:
    return await customer.ask("GET", "/billing")


async def test_nothing_is_known_of_an_account_that_is_not_there(actors: Actors) -> None:
    headers = actors.headers(ids.encode(ids.ACCOUNT, UUID(int=7)), "member")
    answer = await actors.client.get("/api/v1/billing", headers=headers)
    assert answer.status_code == 200
    seen = answer.json()
    assert seen.pop("now")
    assert seen == {"account": None, **NOTHING}


async def test_a_fresh_account_has_a_name_and_zeros(customer: Customer) -> None:
    seen = await overview(customer)
    assert seen["account"] == {
        "account_id": customer.id,
        "external_id": customer.account["external_id"],
        "status": "active",
        "zone": "UTC",
        "is_test": False,
        "clock_at": None,
    }
    assert {name: seen[name] for name in NOTHING} == NOTHING


async def test_a_paying_customer_sees_plan_credits_and_what_waits(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.ask("POST", "/billing/trials", status=201)
    begun = await customer.subscribed("pro")
    waiting = await customer.buy("medium")
    seen = await overview(customer)
    assert (seen["now"], seen["currency"]) == ("2027-01-01T10:00:00Z", "USD")
    assert seen["trial"]["status"] == "converted"
    assert seen["trial"]["credits_remaining"] == "500.00"
    subscription = seen["subscription"]
    assert subscription["subscription_id"] == begun["subscription_id"]
    assert (subscription["status"], subscription["plan"]) == ("active", "pro")
    assert (subscription["amount_cents"], subscription["next_step"]) == (4900, "renew")
    assert subscription["next_due_at"] == subscription["current_period_end"]
    assert seen["credits"]["available"] == "1000.00"
    assert seen["invoices"]["open"] == 0
    assert seen["purchases"]["pending"] == 1
    assert seen["purchases"]["newest"][0]["purchase_id"] == waiting["purchase_id"]
    assert seen["purchases"]["newest"][0]["amount_cents"] == 3999
    assert seen["dunning"] is None


async def test_an_overdue_customer_sees_the_debt_and_the_next_try(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.subscribed("pro")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(days=35)
    seen = await overview(customer)
    assert seen["subscription"]["status"] == "past_due"
    assert (seen["invoices"]["open"], seen["invoices"]["remaining_cents"]) == (1, 4900)
    (owed,) = seen["invoices"]["newest"]
    dunning = seen["dunning"]
    assert dunning["invoice_id"] == owed["invoice_id"]
    assert (dunning["attempts_made"], dunning["attempts_planned"]) == (2, 3)
    assert (dunning["status"], dunning["open_cases"]) == ("open", 1)
    assert (dunning["next_step"], dunning["next_due_at"]) == ("charge", "2027-02-08T10:00:00Z")
    pause = f"/admin/dunning/{dunning['dunning_case_id']}/pause"
    await actors.operate("POST", pause, {}, status=200)
    dunning = (await overview(customer))["dunning"]
    assert (dunning["status"], dunning["next_step"], dunning["next_due_at"]) == (
        "paused", None, None,
    ), "the subscription's own next step is not the recovery's"  # fmt: skip
    await actors.operate("POST", pause.replace("pause", "resume"), {}, status=200)
    await customer.advance(days=10)
    seen = await overview(customer)
    dunning = seen["dunning"]
    assert (seen["subscription"]["status"], seen["invoices"]["open"]) == ("unpaid", 1)
    assert (dunning["status"], dunning["invoice_id"]) == ("exhausted", owed["invoice_id"])
    assert (dunning["open_cases"], dunning["next_step"], dunning["next_due_at"]) == (0, None, None)
    await customer.script("succeed", then="last")
    await customer.ask("POST", "/billing/pay-overdue", {}, key=str(uuid4()), status=200)
    assert (await overview(customer))["dunning"] is None


async def test_what_has_expired_is_gone_before_anybody_settles_it(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.ask("POST", "/billing/trials", status=201)
    await customer.bought("small")
    late = "UPDATE accounts SET clock_at = clock_at + interval '15 days' WHERE id = %(me)s"
    await customer.rows(late)
    shown = await customer.ask("GET", "/billing/credits/balance")
    seen = await overview(customer)
    assert seen["credits"]["balance"] == shown["credits"] == "100.00"
    trial = await customer.ask("GET", "/billing/trials")
    assert seen["trial"]["credits_remaining"] == trial["credits_remaining"] == "0"


async def test_the_older_path_is_the_same_answer(customer: Customer) -> None:
    headers = customer.actors.headers(customer.id, "member")
    answers = [
        (await customer.actors.client.get(path, headers=headers)).json()
        for path in ("/api/v1/billing", "/api/billing/")
    ]
    assert answers[0] | {"now": ""} == answers[1] | {"now": ""}


async def test_it_costs_one_statement(api: Api, customer: Customer) -> None:
    path, headers = "/api/v1/billing", api.token(customer.id, ["member"])
    await api.client.get(path, headers=headers)
    seen: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        seen.append(statement)

    engine = api.database.tenant_engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        answer = await api.client.get(path, headers=headers)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert answer.status_code == 200
    assert len(seen) == 1, "one statement, after the one that begins and says who may see what"


async def test_an_end_at_a_date_is_seen_by_the_customer_and_by_operators(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.subscribed("pro")
    ends = "2027-01-20T10:00:00Z"
    await customer.ask("POST", "/billing/subscription/cancel", {"cancel_at": ends}, status=200)
    seen = (await customer.ask("GET", "/billing"))["subscription"]
    path = f"/admin/subscriptions?account_id={customer.id}"
    [listed] = (await actors.operate("GET", path))["data"]
    for one in (seen, listed):
        assert (one["subscription_id"], one["cancel_at"]) == (begun["subscription_id"], ends)
        assert not one["cancel_at_period_end"]
