"""A decision counts what was spent among its own invoices as the database counts that of others."""

from typing import Final

from sqlalchemy import text

from billing.core.database import Database
from billing.matters.effects import Work
from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions.facts import Spent
from billing.money.subscriptions.periods.spending import CHARGES
from billing.money.subscriptions.periods.true_ups import charged
from billing.money.subscriptions.reading import ENGINE
from billing.platform.decisions.service import Read
from tests.integration.actors import Actors, Customer
from tests.integration.arrears.overage_uses import use
from tests.integration.arrears.test_minimum_and_money_back import CANCEL, LATER, PATH, SECOND, begun
from tests.integration.changes.chosen_plans import change
from tests.integration.invoices.operator_commands import commanded
from tests.integration.reversals.refunds_made import paid_for, refunded

_SPENT: Final = text(
    f"SELECT s.id, ARRAY({CHARGES}) AS spent, ARRAY("
    "  SELECT i.id FROM invoices i WHERE i.subscription_id = s.id) AS invoices"
    " FROM subscriptions s WHERE s.account_id = :account_id"
)


async def counted_alike(database: Database, customer: Customer) -> int:
    """Compare both counts of all invoices; return the number of charges with notes."""
    async with database.tenant(customer.uuid) as connection:
        row = (await connection.execute(_SPENT, {"account_id": customer.uuid})).one()
        read = Read(row.id, deciding=True, locked=False, known=frozenset(row.invoices))
        rows, facts = await ENGINE.read(connection, read)
    told = [Spent.model_validate(one) for one in row.spent]
    assert {one.invoice_id for one in told} <= {one.id for one in rows.of(Invoice)}
    found = list(charged(Work(rows, facts)))
    assert sorted(map(Spent.model_dump_json, found)) == sorted(map(Spent.model_dump_json, told))
    return sum(one.named_minor + one.spread_minor > 0 for one in found)


async def test_notes_take_as_much_off_what_was_spent_whoever_counts(
    actors: Actors, database: Database
) -> None:
    customer = await begun(actors)
    await use(customer, "1250")
    await customer.advance(to=SECOND)
    part = {"position": 1, "amount_cents": 700}
    note = {"lines": [part], "reason": "a bad day", "to": "balance"}
    await commanded(customer, await paid_for(customer), "credit-note", note)
    seen = [await counted_alike(database, customer)]
    await customer.advance(to=LATER)
    await change(customer, plan="pro", at="now")
    seen.append(await counted_alike(database, customer))
    await refunded(customer, await paid_for(customer), 500)
    seen.append(await counted_alike(database, customer))
    await customer.ask("POST", f"{PATH}/cancel", CANCEL, status=200)
    await customer.until_subscription("canceled")
    seen.append(await counted_alike(database, customer))
    assert seen == [1, 1, 1, 2]
