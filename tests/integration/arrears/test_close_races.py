"""Uses that race with the close of their cycle land before it or after it, in one of the two."""

import asyncio
from contextlib import suppress
from decimal import Decimal

import pytest

from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.arrears.overage_uses import RENEWAL, START, use

SENDERS = 8
REFUSED = "refused"


async def send(customer: Customer, stop: asyncio.Event, told: list[str]) -> None:
    """One use after the other until told to stop: ids of those recorded, or that it was refused.

    After the end of a subscription the default plan has nothing left of the month.
    """
    body = {"feature_type": "ai_responses", "usage_amount": "1"}
    while not stop.is_set():
        answer = await customer.call("POST", "/usage/record", body)
        assert answer.status_code in (201, 429), answer.text
        told.append(answer.json().get("billing_id", REFUSED))


async def until(told: list[str], count: int) -> None:
    """So many uses were acknowledged."""

    async def known() -> int:
        return len(told)

    await wait_for(known, f"{count} uses are taken", lambda seen: seen >= count)


@pytest.mark.parametrize("close", ["renewal", "end"])
async def test_every_use_around_a_close_is_billed_once_or_included(
    actors: Actors, close: str
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "500")
    stop, told = asyncio.Event(), list[str]()
    senders = [asyncio.create_task(send(customer, stop, told)) for _ in range(SENDERS)]
    try:
        await until(told, SENDERS * 3)
        if close == "renewal":
            await customer.advance(to=RENEWAL)
        else:
            await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
        await until(told, len(told) + SENDERS * 3)
    finally:
        stop.set()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*senders)

    (seen,) = await customer.rows(
        "SELECT count(*) AS uses, sum(charged_units) FILTER (WHERE currency = 'USD') AS beyond,"
        " count(*) FILTER (WHERE billing_status = 'pending') AS open"
        " FROM billing_records WHERE account_id = %(me)s AND kind = 'usage'"
    )
    (billed,) = await customer.rows(
        "SELECT sum(quantity) AS units, sum(amount_minor) AS cents FROM invoice_lines"
        " WHERE account_id = %(me)s AND kind = 'usage'"
    )
    recorded = [one for one in told if one != REFUSED]
    assert (len(recorded) < len(told)) is (close == "end")
    assert (seen["uses"], seen["open"]) == (len(recorded) + 1, 0)
    assert billed == {"units": seen["beyond"], "cents": Decimal(2) * seen["beyond"]}
    assert SENDERS * 3 <= seen["beyond"] < len(told), "some before the close, some after"
