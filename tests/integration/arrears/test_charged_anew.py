"""A use whose card said no, charged anew: once for each key, whatever became of the answer."""

from tests.integration.actors import Actors
from tests.integration.arrears.test_single_charges import CHARGED, use
from tests.integration.money_seen import charged


async def test_a_request_to_charge_a_use_anew_asks_its_card_once_per_key(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await use(customer)
    await customer.script("insufficient_funds", "insufficient_funds", then="normal")
    declined = CHARGED | {"event_id": "declined"}
    failed = await customer.refused("CARD_DECLINED", "POST", "/usage/record", declined)
    body = {"billing_id": failed["billing_id"]}
    for more in ({}, {"billing_method": "payment_charge"}):
        await customer.refused("IDEMPOTENCY_KEY_REQUIRED", "POST", "/billing/process", body | more)
    for _ in range(3):
        await customer.refused("CARD_DECLINED", "POST", "/billing/process", body, key="lost")
    tries = [one["name"] for one in await customer.effects(None)]
    assert tries.count("charge.failed") == 2, "the use, and one request"
    paid = await customer.ask("POST", "/billing/process", body, key="new", status=200)
    assert paid["billing_status"] == "completed"
    await customer.ask("POST", "/billing/process", body, status=200)
    assert await charged(customer) == [200, 200]


async def test_a_request_that_died_after_it_began_a_charge_begins_no_other(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await use(customer)
    await customer.script("insufficient_funds", "insufficient_funds", then="normal")
    declined = CHARGED | {"event_id": "declined"}
    failed = await customer.refused("CARD_DECLINED", "POST", "/usage/record", declined)
    body = {"billing_id": failed["billing_id"]}
    await customer.refused("CARD_DECLINED", "POST", "/billing/process", body, key="died")
    await customer.rows(
        "UPDATE billing_idempotency SET status = NULL, media_type = NULL, body = NULL,"
        " lease_until = now() WHERE account_id = %(me)s AND key = 'died'"
    )
    await customer.refused("CARD_DECLINED", "POST", "/billing/process", body, key="died")
    assert await charged(customer) == [200], "the first use, and nothing since"
