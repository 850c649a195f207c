"""Everything overdue, paid in one step, and the subscription started again with it."""

import asyncio
from datetime import timedelta

import pytest

from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import Database
from billing.money.invoice_requests import operating
from billing.money.invoice_requests import overdue as requests
from billing.money.subscriptions.previews import tokens
from tests.integration.actors import API, Actors, Customer
from tests.integration.api_app import Api, stack_settings
from tests.integration.dunning.dunning_setup import overdue, owed, tried
from tests.integration.locked import other_session, waiting, waiting_behind
from tests.integration.lost_answers import lose_answer
from tests.integration.payments.test_money_balance import adjust
from workflows import start

PAY_OVERDUE = "/billing/pay-overdue"


async def test_everything_overdue_is_paid_in_one_step_that_can_be_tried_out(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-03-05T12:00:00Z")
    offered = await customer.ask("POST", PAY_OVERDUE, {"dry_run": True}, status=200)
    assert offered["charged_cents"] == 4900
    assert offered["subscription"]["pause_reason"] == "debt_settled"
    resumption = offered["resumption"]
    assert (resumption["amount_cents"], resumption["period_end"]) == (4900, "2027-04-05T12:00:00Z")
    asked = {"dry_run": True, "resume": True}
    foreseen = await customer.ask("POST", PAY_OVERDUE, asked, key="b", status=200)
    assert (foreseen["charged_cents"], foreseen["resumption"]) == (9800, resumption)
    assert foreseen["subscription"]["status"] == "active"
    assert await tried(customer) == 4, "a dry run tries nothing"
    await customer.refused("IDEMPOTENCY_KEY_REQUIRED", "POST", PAY_OVERDUE, {})
    await customer.refused("CARD_DECLINED", "POST", PAY_OVERDUE, {"resume": True}, key="a")
    await customer.script("succeed", then="last")

    paid = await customer.ask("POST", PAY_OVERDUE, {"resume": True}, key="b", status=200)

    assert (paid["charged_cents"], paid["invoices"][0]["status"]) == (9800, "paid")
    assert paid["subscription"] == foreseen["subscription"]
    newest = (await customer.subscription())["latest_invoice_id"]
    assert paid["resumption"] == resumption | {"invoice_id": newest}
    assert paid["subscription"]["current_period_end"] == "2027-04-05T12:00:00Z"
    again = await customer.ask("POST", PAY_OVERDUE, {"resume": True}, key="b", status=200)
    assert again == paid
    assert [one["amount"] for one in await customer.effects()] == [4900] * 3
    nothing = await customer.ask("POST", PAY_OVERDUE, {}, key="c", status=200)
    assert (nothing["charged_cents"], nothing["invoices"]) == (0, [])


async def test_a_resumption_that_is_declined_says_that_the_debt_was_paid(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-03-05T12:00:00Z")
    debt = (await owed(customer))["invoice_id"]
    first = await customer.refused("CARD_DECLINED", "POST", PAY_OVERDUE, {}, key="a")
    told = ("charged_cents", "paid_invoices", "unpaid_invoices", "subscription_status")
    assert [first[name] for name in told] == [0, [], [debt], "unpaid"]
    await customer.script("succeed", "insufficient_funds", then="last")

    body = {"resume": True}
    answer = await customer.refused("CARD_DECLINED", "POST", PAY_OVERDUE, body, key="b")

    assert (answer["charged_cents"], answer["paid_invoices"]) == (4900, [debt])
    assert (answer["subscription_status"], answer["decline_code"]) == (
        "paused", "insufficient_funds",
    )  # fmt: skip
    assert answer == await customer.refused("CARD_DECLINED", "POST", PAY_OVERDUE, body, key="b")
    assert [one["amount"] for one in await customer.effects()] == [4900] * 2


async def test_money_with_us_pays_the_resumption_first_and_is_foreseen(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-03-05T12:00:00Z")
    await adjust(customer, 1000)
    await customer.script("succeed", then="last")
    asked = {"dry_run": True, "resume": True}
    foreseen = await customer.ask("POST", PAY_OVERDUE, asked, status=200)

    paid = await customer.ask("POST", PAY_OVERDUE, {"resume": True}, key="b", status=200)

    assert foreseen["charged_cents"] == paid["charged_cents"] == 4900 + 3900
    assert foreseen["resumption"]["amount_cents"] == paid["resumption"]["amount_cents"] == 3900


async def test_with_the_token_of_a_dry_run_it_charges_what_that_said_or_nothing(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-03-05T12:00:00Z")
    await customer.script("succeed", then="last")
    asked = {"resume": True, "use_balance": False}
    tries, dry = await tried(customer), {"dry_run": True}
    seen = await customer.ask("POST", PAY_OVERDUE, asked | dry, status=200)
    other = asked | {"preview_token": seen["preview_token"], "use_balance": True}
    await adjust(customer, 1000)
    await customer.refused("PREVIEW_EXPIRED", "POST", PAY_OVERDUE, other, key="a")
    assert await tried(customer) == tries, "no card is asked"
    await unanswered(customer, "a")
    await customer.refused("PREVIEW_EXPIRED", "POST", PAY_OVERDUE, other, key="a")
    assert await tried(customer) == tries, "a request that asked for nothing is no earlier one"
    debt = await customer.ask("POST", PAY_OVERDUE, {"use_balance": False} | dry, status=200)
    more = asked | {"preview_token": debt["preview_token"]}
    less = {"use_balance": False, "preview_token": seen["preview_token"]}
    for key, body in (("more", more), ("less", less)):
        await customer.refused("PREVIEW_EXPIRED", "POST", PAY_OVERDUE, body, key=key)
    whole = asked | {"preview_token": seen["preview_token"]}
    paid = await customer.ask("POST", PAY_OVERDUE, whole, key="b", status=200)
    assert paid["charged_cents"] == seen["charged_cents"] == 9800
    assert paid == await customer.ask("POST", PAY_OVERDUE, whole, key="b", status=200)


async def test_a_debt_that_shrinks_while_it_is_asked_for_is_not_charged_as_it_was_shown(
    actors: Actors, database: Database
) -> None:
    customer = await overdue(actors)
    debt = ids.decode(ids.INVOICE, (await owed(customer))["invoice_id"])
    seen = await customer.ask("POST", PAY_OVERDUE, {"dry_run": True}, status=200)
    await customer.script("succeed", then="last")
    shown = {"preview_token": seen["preview_token"]}
    async with database.tenant(customer.uuid) as connection:
        await operating.credit(
            connection, debt, amount_minor=1000, lines=(), reason="x", to="debt", suffix="x"
        )
        asked = customer.refused("PREVIEW_EXPIRED", "POST", PAY_OVERDUE, shown, key="a")
        asking = asyncio.create_task(asked)
        await asyncio.wait([asking], timeout=1)
        assert not asking.done(), "it waits for the note"
    await asking
    assert [one["amount"] for one in await customer.effects()] == [4900]


async def test_an_invoice_that_is_paid_meanwhile_stands_in_the_way_of_no_other(
    actors: Actors, database: Database
) -> None:
    customer = await overdue(actors, policy={"days": [0, 80]})
    await customer.advance(to="2027-03-02T12:00:00Z")
    listed = await customer.ask("GET", "/billing/invoices?status=pending")
    later, first = [one["invoice_id"] for one in listed["invoices"]]
    await customer.script("succeed", then="last")
    async with database.tenant(customer.uuid) as connection:
        await operating.credit(
            connection, ids.decode(ids.INVOICE, first),
            amount_minor=4900, lines=(), reason="x", to="debt", suffix="x",
        )  # fmt: skip
        asking = asyncio.create_task(customer.ask("POST", PAY_OVERDUE, {}, key="a", status=200))
        await waiting(customer, 1)
    paid = await asking
    assert [one["invoice_id"] for one in paid["invoices"]] == [later]
    assert (paid["charged_cents"], paid["subscription"]["status"]) == (4900, "active")


async def test_a_repeat_that_asked_before_goes_on_once_the_token_is_over(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-03-05T12:00:00Z")
    await customer.script("succeed", then="last")
    dry = await customer.ask("POST", PAY_OVERDUE, {"resume": True, "dry_run": True}, status=200)
    secrets = stack_settings(actors.stack).pay_link_secrets
    promise = tokens.read(dry["preview_token"], secrets, real_now())
    over = tokens.write(promise, secrets, real_now() - timedelta(minutes=16))
    late = {"resume": True, "preview_token": over}
    await customer.refused("PREVIEW_EXPIRED", "POST", PAY_OVERDUE, late, key="late")
    await customer.ask("POST", PAY_OVERDUE, {}, key="debt", status=200)
    for asked, status in (("debt", "paused"), ("late", "active")):
        assert (await customer.subscription())["status"] == status
        await unanswered(customer, "late", of=asked)
        done = await customer.ask("POST", PAY_OVERDUE, late, key="late", status=200)
        assert done["charged_cents"] == 9800
    assert [one["amount"] for one in await customer.effects()] == [4900] * 3


async def test_a_payment_is_answered_again_after_its_card_was_removed(actors: Actors) -> None:
    customer = await overdue(actors)
    [first] = (await customer.ask("GET", "/billing/payment-methods"))["data"]
    second = await customer.save_card("pm_card_mastercard")
    await customer.script("succeed", then="last")
    body = {"payment_method_id": first["id"]}
    paid = await customer.ask("POST", PAY_OVERDUE, body, key="b", status=200)
    path = f"/billing/payment-methods/{first['id']}"
    gone = {"confirm": "DELETE", "new_default": second["id"]}
    await customer.ask("DELETE", path, gone, status=200)
    await lose_answer(actors, "b")
    again = await customer.ask("POST", PAY_OVERDUE, body, key="b", status=200)
    assert (again["charged_cents"], paid["charged_cents"]) == (4900, 4900)
    for new in ({}, {"dry_run": True}):
        await customer.refused(
            "PAYMENT_METHOD_NOT_FOUND", "POST", PAY_OVERDUE, body | new, key=f"c{len(new)}"
        )


async def test_what_starts_it_again_is_offered_without_the_balance_where_that_is_asked(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-03-05T12:00:00Z")
    await customer.script("succeed", then="last")
    await adjust(customer, 1000)
    keep = {"use_balance": False}
    seen = await customer.ask("POST", PAY_OVERDUE, keep | {"dry_run": True}, status=200)
    paid = await customer.ask("POST", PAY_OVERDUE, keep, key="a", status=200)
    assert paid["resumption"] == seen["resumption"]
    assert paid["resumption"]["amount_cents"] == 4900


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("status = 'detached', is_default = false", "PAYMENT_METHOD_REQUIRED"),
        ("barred_at = created_at", "CARD_DECLINED"),
    ],
)
async def test_a_dry_run_promises_no_charge_that_no_card_can_make(
    actors: Actors, change: str, code: str
) -> None:
    customer = await overdue(actors)
    set_ = f"UPDATE payment_methods SET {change} WHERE account_id = %(me)s"
    await customer.advance(to="2027-03-05T12:00:00Z")
    undo = "UPDATE payment_methods SET status = 'active', barred_at = NULL, is_default = true"
    await customer.rows(set_)
    for key, body in (("a", {}), ("b", {"resume": True})):
        dry = await customer.refused(code, "POST", PAY_OVERDUE, body | {"dry_run": True})
        done = await customer.refused(code, "POST", PAY_OVERDUE, body, key=key)
        assert dry["detail"] == done["detail"]
    await customer.rows(f"{undo} WHERE account_id = %(me)s")
    await customer.script("succeed", then="last")
    await customer.ask("POST", PAY_OVERDUE, {}, key="c", status=200)
    await customer.rows(set_)
    nothing = await customer.ask("POST", PAY_OVERDUE, {"dry_run": True}, status=200)
    assert (nothing["charged_cents"], nothing["resumption"]["amount_cents"]) == (0, 4900)
    again = {"resume": True}
    dry = await customer.refused(code, "POST", PAY_OVERDUE, again | {"dry_run": True})
    done = await customer.refused(code, "POST", PAY_OVERDUE, again, key="d")
    assert dry["detail"] == done["detail"]


async def test_a_dry_run_promises_no_charge_while_the_bank_decides_on_one(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.script("processing", then="last")
    await customer.ask("POST", PAY_OVERDUE, {}, key="a", status=202)
    dry = await customer.refused("PAYMENT_PENDING", "POST", PAY_OVERDUE, {"dry_run": True})
    done = await customer.refused("PAYMENT_PENDING", "POST", PAY_OVERDUE, {}, key="b")
    assert dry["detail"] == done["detail"]


async def test_a_subscription_that_has_ended_owes_what_the_dry_run_says(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(days=2)
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    await customer.script("succeed", then="last")
    seen = await customer.ask("POST", PAY_OVERDUE, {"dry_run": True}, status=200)
    assert (seen["subscription"]["status"], seen["charged_cents"] > 0) == ("canceled", True)
    promised = {"preview_token": seen["preview_token"]}
    paid = await customer.ask("POST", PAY_OVERDUE, promised, key="a", status=200)
    assert paid["charged_cents"] == seen["charged_cents"]
    assert paid["subscription"] == seen["subscription"]


async def unanswered(customer: Customer, key: str, *, of: str | None = None) -> None:
    """The request with this key had no final answer, as after a 503, or asked what another did."""
    await customer.rows(
        "UPDATE billing_idempotency k SET status = NULL, media_type = NULL, body = NULL,"
        " lease_until = k.created_at, resource_id = other.resource_id"
        " FROM billing_idempotency other WHERE k.account_id = %(me)s AND k.key = %(key)s"
        " AND other.account_id = %(me)s AND other.key = %(of)s",
        key=key,
        of=of or key,
    )


async def test_who_asks_again_takes_every_collector_before_the_account(
    actors: Actors, database: Database
) -> None:
    customer = await overdue(actors, policy={"days": [0, 80]})
    await customer.advance(to="2027-04-01T12:00:00Z")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    await customer.refused("CARD_DECLINED", "POST", PAY_OVERDUE, {}, key="a")
    asked = await customer.rows(
        "SELECT key FROM steps WHERE account_id = %(me)s AND name = 'pay' ORDER BY key"
    )
    assert len(asked) >= 2, "each is a collection of its own"
    invoice, _, suffix = str(asked[-1]["key"]).partition("/pay-")

    async def ask_again() -> None:
        async with database.tenant(customer.uuid) as connection:
            again = await requests.ask(connection, customer.uuid, real_now(), suffix=suffix)
            assert len(again) == len(asked)

    async with other_session(actors.stack) as busy:
        last = {"last": ids.decode(ids.INVOICE, invoice)}
        await busy.execute("SELECT id FROM invoices WHERE id = %(last)s FOR UPDATE", last)
        asked_again = asyncio.create_task(ask_again())
        await waiting_behind(actors, busy)
        await customer.rows(
            "SELECT account_id FROM credit_balances WHERE account_id = %(me)s FOR UPDATE NOWAIT"
        )
    await asked_again


async def test_every_collector_is_waited_for_at_the_same_time(
    actors: Actors, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each took up to ten seconds of the request's thirty."""
    customer = await overdue(actors, policy={"days": [0, 80]})
    await customer.advance(to="2027-04-01T12:00:00Z")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    under_way, most = 0, 0

    async def slowly(*_: object) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.1)
        under_way -= 1

    monkeypatch.setattr(start, "wait_until_done", slowly)
    headers = actors.headers(customer.id, "billing", "a")
    answer = await api.client.post(f"{API}{PAY_OVERDUE}", json={}, headers=headers)
    assert answer.is_success or answer.json()["code"] == "CARD_DECLINED", answer.text
    assert most >= 2
