"""Everything overdue, paid in one step, and the subscription started again with it."""

from tests.integration.actors import Actors
from tests.integration.dunning.dunning_setup import overdue, owed, tried
from tests.integration.payments.test_money_balance import adjust

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
    foreseen = await customer.ask("POST", PAY_OVERDUE, asked, status=200)
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
