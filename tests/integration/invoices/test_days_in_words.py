"""Every line and every reason names the days of its customer's zone, none of them those of UTC."""

import re

from tests.integration.actors import Actors
from tests.integration.arrears.chosen_add_ons import choose
from tests.integration.arrears.contract_terms import PRICE, agree
from tests.integration.arrears.overage_uses import use
from tests.integration.changes.chosen_plans import change

BEGINS = "2027-01-31T23:30:00Z"
"""The 1st of February in Kolkata."""
LINES = """
    SELECT DISTINCT l.kind, l.description AS words
    FROM invoice_lines AS l JOIN invoices AS i ON i.id = l.invoice_id
    WHERE i.account_id = %(me)s
"""
REASONS = """
    SELECT DISTINCT 'credits' AS kind, reason AS words FROM credit_transactions
    WHERE account_id = %(me)s AND kind = 'grant'
"""


async def test_lines_and_reasons_name_the_days_of_the_zone(actors: Actors) -> None:
    customer = await actors.customer_on_clock(BEGINS, zone="Asia/Kolkata")
    committed = {"amount_cents": 60000, "currency": "USD", "periods": 1}
    await agree(customer, prices=[PRICE | {"minimum_cents": 9000}], commitment=committed)
    await customer.subscribed("basic")
    await customer.advance(to="2027-02-10T23:30:00Z")
    await choose(customer, ai_500=1)
    await use(customer, "1100")
    await customer.advance(to="2027-03-10T23:30:00Z")
    await change(customer, plan="pro")
    words = [*await customer.rows(LINES), *await customer.rows(REASONS)]
    named = {
        (one["kind"], day)
        for one in words
        for day in re.findall(r"\d+ \w+ 2027", one["words"])
    }  # fmt: skip
    month, rest = ("1 Feb 2027", "1 Mar 2027", "1 Apr 2027"), "11 Mar 2027"
    assert named == {
        *(("plan", day) for day in (*month, rest)),
        *(("add_on", day) for day in ("11 Feb 2027", *month[1:])),
        *(("usage", day) for day in month[:2]),
        *(("minimum", day) for day in month[:2]),
        *(("commitment", day) for day in month[:2]),
        *(("proration", day) for day in month[1:]),
        *(("credits", day) for day in month),
    }
