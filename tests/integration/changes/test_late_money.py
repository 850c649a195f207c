"""A bank that decides on a change for longer than its new period lasts: the money goes back."""

from uuid import uuid4

from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.arrears.overage_uses import START
from tests.integration.money_seen import charged
from tests.integration.payments.test_bank_debits import save_account, settle

PATH = "/billing/subscription"


async def in_weeks(actors: Actors, interval: str) -> Customer:
    """A subscriber whose bank account is debited, by the week or by the month."""
    key = f"weeks-{uuid4().hex[:8]}"
    terms = {
        "name": "Weeks", "family": key, "allowance": "week",
        "prices": {"month": {"USD": 700}, "week": {"USD": 2100}},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", terms)
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(key, interval=interval)
    await save_account(customer, "pm_usBankAccount_success")
    return customer


async def due_now(customer: Customer) -> int:
    """Cents that the bank is asked for."""
    (payment,) = await customer.rows(
        "SELECT amount_minor FROM payments WHERE account_id = %(me)s AND status = 'processing'"
    )
    return int(payment["amount_minor"])


async def gives_back(customer: Customer, cents: int) -> None:
    """The bank says yes; the money of the newest payment goes back whole."""
    await settle(customer)

    async def returned() -> list[int]:
        return [one["amount"] for one in await customer.effects("refund.succeeded")]

    await wait_for(returned, "the money is back", lambda seen: seen == [cents])
    (refund,) = await customer.rows("SELECT reason FROM refunds WHERE account_id = %(me)s")
    assert refund["reason"] == "nothing is given for it: its invoice is void"


async def test_a_resumption_that_is_paid_after_its_period_gives_its_money_back(
    actors: Actors,
) -> None:
    customer = await in_weeks(actors, "week")
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    await customer.advance(days=1)
    waits = await customer.ask("POST", f"{PATH}/resume", status=202)
    assert waits["pending_change"]["kind"] == "resume"
    await customer.advance(days=9)
    after = await customer.subscription()
    assert (after["status"], after["pending_change"]) == ("paused", None)

    await gives_back(customer, 2100)

    await customer.advance(days=9)
    assert (await customer.subscription())["status"] == "paused"
    assert await charged(customer) == [2100, 2100], "the first week and what went back"
    again = await customer.ask("POST", f"{PATH}/resume", status=202)
    assert again["pending_change"]["kind"] == "resume"


async def test_a_shorter_interval_that_is_paid_after_its_period_changes_nothing(
    actors: Actors,
) -> None:
    customer = await in_weeks(actors, "month")
    wish = {"interval": "week", "at": "now"}
    waits = await customer.ask("PUT", PATH, wish, status=202)
    assert waits["pending_change"]["kind"] == "plan"
    cents = await due_now(customer)
    await customer.advance(days=9)
    after = await customer.subscription()
    assert (after["status"], after["interval"]) == ("active", "month")
    assert after["pending_change"] is None

    await gives_back(customer, cents)

    assert (await customer.subscription())["current_period_end"] == "2027-02-01T10:00:00Z"
    assert await charged(customer) == [700, cents]
