"""Operators steer many subscriptions at once: foreseen, done once, each by itself."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from api.routes.admin import bulk_acts
from billing.core import ids
from billing.core.database import Database
from billing.money.invoice_requests import operating
from tests.integration.actors import API, Actors, Customer, Json
from tests.integration.api_app import Api
from tests.integration.dunning.dunning_setup import case, overdue, tried
from tests.integration.locked import waiting

STEER = "/admin/subscriptions/steer"
SELECTORS = bulk_acts.SteerBody.model_fields.keys() - {"act", "reason", "days"}
WHY = {"reason": "Stripe had a bad hour"}


async def steer(
    actors: Actors, act: str, *, key: str = "", dry_run: bool = False, **fields: Any
) -> list[Json]:
    """The subscriptions of the answer."""
    headers = actors.headers("*", "admin", key or str(uuid4()))
    path = f"{API}{STEER}?dry_run={dry_run}"
    answer = await actors.client.post(path, json=WHY | {"act": act} | fields, headers=headers)
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["data"]
    return found


def of(found: list[Json], customer: Customer) -> Json:
    (mine,) = [one for one in found if one["account_id"] == customer.id]
    return mine


def ended(one: Json) -> tuple[str, ...]:
    """The end of a retry: the subscription, its card, its invoice and the recovery of it."""
    (part,) = one["invoices"]
    return one["status"], part["result"], part["status"], part["dunning_status"]


async def test_a_bad_hour_is_steered_for_all_who_met_it(actors: Actors) -> None:
    met, also = await overdue(actors), await overdue(actors)
    both: Json = {"account_ids": [met.id, also.account["external_id"]]}
    hour: Json = {"past_due_from": "2027-02-01T10:00:00Z", "past_due_until": "2027-02-01T11:00:00Z"}

    foreseen = await steer(actors, "pause_dunning", dry_run=True, **both, **hour)

    assert {one["account_id"] for one in foreseen} == {met.id, also.id}
    (part,) = of(foreseen, met)["invoices"]
    assert (part["amount_cents"], part["dunning_status"], part["next_at"]) == (4900, "paused", None)
    assert (await case(met))["status"] == "open", "nothing was done"
    assert await steer(actors, "pause_dunning", **both, **hour) == foreseen
    assert [(await case(one))["status"] for one in (met, also)] == ["paused", "paused"]

    assert await steer(actors, "pause_dunning", **both, plan="pro") == []
    await steer(actors, "resume_dunning", **both)
    moved = of(await steer(actors, "extend_dunning", days=5, **both), met)["invoices"]
    assert moved[0]["next_at"] == "2027-02-09T10:00:00Z"

    key = str(uuid4())
    await also.script("succeed", then="last")
    answers = [await steer(actors, "retry", key=key, **both) for _ in range(2)]
    for answer in answers:
        assert {one["account_id"]: ended(one) for one in answer} == {
            met.id: ("past_due", "declined", "open", "open"),
            also.id: ("active", "succeeded", "paid", "recovered"),
        }
    assert (await tried(met), await tried(also)) == (3, 3), "the same key tries no card again"

    named = [(await one.subscription())["subscription_id"] for one in (met, also)]
    foreseen = await steer(actors, "forgive", dry_run=True, subscription_ids=named)
    forgiven = await steer(actors, "forgive", subscription_ids=named)
    assert of(foreseen, met) == of(forgiven, met)
    assert of(forgiven, also)["refused"] == "NOTHING_OVERDUE"
    (part,) = of(forgiven, met)["invoices"]
    assert (part["amount_cents"], part["status"], part["dunning_status"]) == (
        4900, "paid", "forgiven",
    )  # fmt: skip
    assert (await met.subscription())["status"] == "active"
    trail = await actors.operate("GET", f"/admin/audit?account_id={met.id}&limit=100")
    steered = [one for one in trail["data"] if one["action"] == "subscription.steered"]
    assert [one["detail"]["act"] for one in steered[::-1]] == [
        "pause dunning", "resume dunning", "extend dunning", "retry", "forgive",
    ]  # fmt: skip


async def test_what_is_paid_meanwhile_is_steered_no_more_and_the_rest_is(
    actors: Actors, database: Database
) -> None:
    customer = await overdue(actors, policy={"days": [0, 80]})
    await customer.advance(to="2027-03-02T12:00:00Z")
    listed = await customer.ask("GET", "/billing/invoices?status=pending")
    later, first = [one["invoice_id"] for one in listed["invoices"]]
    async with database.tenant(customer.uuid) as connection:
        await operating.credit(
            connection, ids.decode(ids.INVOICE, first),
            amount_minor=4900, lines=(), reason="x", to="debt", suffix="x",
        )  # fmt: skip
        asking = asyncio.create_task(steer(actors, "pause_dunning", account_ids=[customer.id]))
        await waiting(customer, 1)
    (mine,) = await asking
    assert mine["refused"] is None
    assert [one["invoice_id"] for one in mine["invoices"]] == [later]


async def test_days_for_all_that_broke_off_are_given_once(
    actors: Actors, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = [await actors.customer_on_clock() for _ in range(2)]
    for one in pair:
        await one.subscribed("basic")
    (refused, given) = pair
    # Nobody of them is overdue.
    assert await steer(actors, "retry", account_ids=[one.id for one in pair]) == []
    await refused.ask("POST", "/billing/subscription/cancel", {"cancel_at": "2027-01-20T10:00:00Z"})
    chosen: Json = {"account_ids": [one.id for one in pair], "plan": "basic"}
    foreseen = await steer(actors, "extend", days=3, dry_run=True, **chosen)
    assert of(foreseen, refused)["refused"] == "SUBSCRIPTION_STATE"
    assert of(foreseen, given)["effective_at"] == "2027-02-04T10:00:00Z"
    headers = api.admin() | {"Idempotency-Key": str(uuid4())}
    body = WHY | {"act": "extend", "days": 3} | chosen

    async def dies(*_: Any) -> None:
        raise RuntimeError("the process is killed behind the commits")

    with monkeypatch.context() as patched:
        patched.setattr(bulk_acts, "wait_until_all_done", dies)
        broken = await api.client.post(f"{API}{STEER}", json=body, headers=headers)
    assert broken.status_code == 500
    again = await api.client.post(f"{API}{STEER}", json=body, headers=headers)
    done = of(again.json()["data"], given)
    assert (done["is_repeated"], done["effective_at"]) == (True, "2027-02-04T10:00:00Z")
    (paused,) = await steer(actors, "pause", account_ids=[given.id], status="active")
    assert paused["refused"] is None
    await given.advance(to="2027-02-04T10:00:00Z")
    assert (await given.subscription())["status"] == "paused"


@pytest.mark.parametrize("filters", [{}, {"status": "past_due"}])
async def test_a_page_that_broke_off_is_the_same_page_when_it_is_sent_again(
    actors: Actors, api: Api, monkeypatch: pytest.MonkeyPatch, filters: Json
) -> None:
    pair = [await overdue(actors) for _ in range(2)]
    headers = api.admin() | {"Idempotency-Key": str(uuid4())}
    body = WHY | {"act": "forgive", "account_ids": [one.id for one in pair]} | filters

    async def dies(*_: Any) -> None:
        raise RuntimeError("the process is killed behind the commits")

    with monkeypatch.context() as patched:
        patched.setattr(bulk_acts, "wait_until_all_done", dies)
        broken = await api.client.post(f"{API}{STEER}?limit=1", json=body, headers=headers)
    assert broken.status_code == 500
    again = await api.client.post(f"{API}{STEER}?limit=1", json=body, headers=headers)
    (one,) = again.json()["data"]
    assert (one["account_id"], one["is_repeated"]) == (pair[1].id, True)
    assert again.json()["pagination"]["next_cursor"] is not None
    assert [(await case(one))["status"] for one in pair] == ["open", "forgiven"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"act": "forgive"}, "VALIDATION_FAILED"),
        *(({"act": "forgive", name: None}, "VALIDATION_FAILED") for name in sorted(SELECTORS)),
        ({"act": "extend", "plan": "pro"}, "VALIDATION_FAILED"),
        ({"act": "pause", "plan": "pro", "days": 1}, "VALIDATION_FAILED"),
        ({"act": "retry", "account_ids": ["nobody"]}, "MERCHANT_NOT_FOUND"),
        ({"act": "retry", "subscription_ids": ["sub_x"]}, "SUBSCRIPTION_NOT_FOUND"),
        ({"act": "retry", "plan": "none-such"}, "PLAN_NOT_FOUND"),
    ],
)
async def test_what_is_not_said_whole_is_done_to_nobody(
    actors: Actors, fields: Json, code: str
) -> None:
    for dry_run in (True, False):
        headers = actors.headers("*", "admin", str(uuid4()))
        answer = await actors.client.post(
            f"{API}{STEER}?dry_run={dry_run}", json=WHY | fields, headers=headers
        )
        assert answer.json().get("code") == code
    unkeyed = await actors.operate("POST", STEER, WHY | {"act": "retry", "plan": "x"}, status=400)
    assert unkeyed["code"] == "IDEMPOTENCY_KEY_REQUIRED"
