"""Every pair of the state table through the running API: what the table says is answered."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import uuid4

import httpx2
import pytest

from billing.money.subscriptions.states import ROUTES, TABLE, Command, State, takes
from tests.integration.actors import Actors, Customer, Json
from tests.integration.coupons.coupons_made import coupon
from tests.integration.dunning.dunning_setup import RENEWAL, START

PATH: Final = "/billing/subscription"
MORE: Final = {"add_ons": [{"add_on": "ai-500", "quantity": 2}]}
NOTHING_OWED: Final = {"INVOICE_ALREADY_PAID", "INVOICE_STATE", "INVOICE_NOT_FOUND"}
# Taken one after the other, these leave the state as it is.
_KEEPING: Final[tuple[Command, ...]] = (
    "change_up", "change_down", "extend", "coupon", "card", "pause", "cancel", "reactivate",
)  # fmt: skip


async def give(customer: Customer, command: Command) -> httpx2.Response:
    """One command as a client gives it."""
    match command:
        case "subscribe":
            body = {"plan": "basic", "trial": False}
            return await customer.call("POST", PATH, body)
        case "change_up":
            return await customer.call("PUT", PATH, MORE)
        case "change_down":
            return await customer.call("PUT", PATH, {"add_ons": []})
        case "pay":
            name = (await customer.subscription())["latest_invoice_id"]
            if name is None:
                listed = await customer.ask("GET", "/billing/invoices")
                name = listed["data"][0]["invoice_id"] if listed["data"] else "inv_none"
            body = {"payment_method": "card"}
            return await customer.call("POST", f"/billing/invoices/{name}/pay", body, key="pay")
        case "extend":
            path = f"/api/v1/admin/accounts/{customer.id}/subscription/extend"
            operators = customer.actors.headers("*", "admin", str(uuid4()))
            gift = {"days": 1, "reason": "an outage"}
            return await customer.actors.client.post(path, json=gift, headers=operators)
        case "coupon":
            code = await coupon(customer.actors, percent="10", duration="forever")
            return await customer.call("POST", f"{PATH}/coupon", {"code": code})
        case "card":
            body = {"payment_method_id": None}
            return await customer.call("PUT", f"{PATH}/payment-method", body)
        case _:
            return await customer.call("POST", f"{PATH}/{command}", {})


async def incomplete(actors: Actors) -> Customer:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe("basic")
    return customer


async def trialing(actors: Actors) -> Customer:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe("basic", trial=True)
    return customer


async def active(actors: Actors) -> Customer:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    return customer


async def past_due(actors: Actors, until: str = RENEWAL) -> Customer:
    """With an add-on, of which less can be wanted."""
    customer = await active(actors)
    await customer.ask("PUT", PATH, {"add_ons": [{"add_on": "ai-500"}]}, status=200)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to=until)
    await customer.script("succeed", then="last")
    return customer


async def unpaid(actors: Actors) -> Customer:
    return await past_due(actors, "2027-02-10T10:00:00Z")


async def paused(actors: Actors) -> Customer:
    customer = await trialing(actors)
    await customer.rows(
        "UPDATE subscriptions SET trial_end_behavior = 'pause' WHERE account_id = %(me)s"
    )
    await customer.advance(days=14)
    await customer.save_card()
    return customer


async def incomplete_expired(actors: Actors) -> Customer:
    customer = await incomplete(actors)
    await customer.advance(days=1)
    return customer


async def canceled(actors: Actors) -> Customer:
    customer = await active(actors)
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    return customer


Maker = Callable[[Actors], Awaitable[Customer]]
MAKERS: Final[dict[State, Maker]] = {
    "incomplete": incomplete, "incomplete_expired": incomplete_expired, "trialing": trialing,
    "active": active, "past_due": past_due, "unpaid": unpaid, "paused": paused,
    "canceled": canceled,
}  # fmt: skip


def refused(state: State) -> list[Command]:
    return [one for one in ROUTES if TABLE[state][one] in ("no", "overdue")]


def keeping(state: State) -> list[Command]:
    """The commands that a state takes without becoming another one."""
    taken = [one for one in _KEEPING if TABLE[state][one] not in ("no", "overdue")]
    if TABLE[state]["pay"] == "yes" and state != "incomplete":
        taken = [one for one in taken if one != "card"]  # it is tried at once
    # A cancel comes at once where no period is served, so no end is there to be taken back.
    comes_later = state in ("trialing", "active", "past_due")
    return [one for one in taken if comes_later or one not in ("cancel", "reactivate")]


def leaving(state: State) -> list[Command]:
    taken: Sequence[Command] = takes(state)
    return [one for one in taken if one not in keeping(state)]


def refusal(state: State, command: Command) -> set[str]:
    if command == "pay":
        return NOTHING_OWED
    if command == "subscribe":
        return {"SUBSCRIPTION_EXISTS"}
    return {"PAYMENT_OVERDUE" if TABLE[state][command] == "overdue" else "SUBSCRIPTION_STATE"}


@pytest.mark.parametrize("state", MAKERS)
async def test_a_state_refuses_and_takes_what_the_table_says(actors: Actors, state: State) -> None:
    customer = await MAKERS[state](actors)
    assert (await customer.subscription())["status"] == state
    for command in refused(state):
        answer = await give(customer, command)
        problem: Any = answer.json()
        assert problem.get("code") in refusal(state, command), (command, answer.text)
        if "SUBSCRIPTION_STATE" in refusal(state, command):
            assert problem["takes"] == takes(state)
        assert (await customer.subscription())["status"] == state
    for command in keeping(state):
        answer = await give(customer, command)
        assert answer.status_code == 200, (command, answer.text)
        assert answer.json()["status"] == state, command


LATER: Final = [(state, one) for state in MAKERS for one in ROUTES if TABLE[state][one] == "later"]


@pytest.mark.parametrize(("state", "command"), LATER)
async def test_a_command_for_later_bills_nothing_until_the_resumption(
    actors: Actors, state: State, command: Command
) -> None:
    customer = await MAKERS[state](actors)
    if command == "change_down":
        await give(customer, "change_up")
    billed = await customer.invoices()
    assert (await give(customer, command)).status_code == 200
    assert await customer.invoices() == billed
    assert (await customer.ask("GET", "/billing/entitlements"))["access"] == "none"
    assert (await give(customer, "resume")).is_success
    await customer.until_subscription("active")
    sold = await customer.rows(
        "SELECT quantity::integer FROM invoice_lines WHERE account_id = %(me)s AND kind = 'add_on'"
    )
    assert [one["quantity"] for one in sold] == ([2] if command == "change_up" else [])


OLDER: Final[dict[Command, str]] = {
    "subscribe": "subscribe", "cancel": "cancel", "coupon": "apply-coupon",
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["/api/v1/billing/", "/api/billing/"])
@pytest.mark.parametrize("state", MAKERS)
async def test_an_older_path_of_a_command_says_the_same(
    actors: Actors, state: State, prefix: str
) -> None:
    customer = await MAKERS[state](actors)
    headers = actors.headers(customer.id, "billing")
    code = await coupon(actors, percent="10", duration="forever")
    asked: dict[Command, Json] = {
        "coupon": {"code": code}, "cancel": {}, "subscribe": {"plan": "basic", "trial": False},
    }  # fmt: skip
    no = ("no", "overdue")
    # What is taken may leave the state, so it comes last.
    for command in sorted(asked, key=lambda one: TABLE[state][one] not in no):
        path = f"{prefix}{OLDER[command]}/"
        answer = await actors.client.post(path, json=asked[command], headers=headers)
        if TABLE[state][command] in no:
            assert answer.json().get("code") in refusal(state, command), (path, answer.text)
        else:
            assert answer.is_success, (path, answer.text)


LEAVING: Final = [(state, one) for state in MAKERS for one in leaving(state)]


@pytest.mark.parametrize(("state", "command"), LEAVING)
async def test_a_command_that_is_taken_is_carried_out(
    actors: Actors, state: State, command: Command
) -> None:
    customer = await MAKERS[state](actors)
    answer = await give(customer, command)
    if command == "pay" and state == "paused":
        problem: Any = answer.json()
        assert problem["code"] in NOTHING_OWED, "it owes nothing"
        return
    if command == "reactivate":
        assert answer.json()["detail"] == "no end is scheduled"
        return
    assert answer.is_success, answer.text
    now = (await customer.subscription())["status"]
    left: dict[Command, set[State]] = {
        "card": {"active", state},
        "cancel": {"canceled"},
        "pay": {"active", state},
        "resume": {"active"},
        "subscribe": {"incomplete", "active"},
    }
    assert now in left[command]
