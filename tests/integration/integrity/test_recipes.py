"""The recipes of the runbook bring back books that were altered by hand."""

import re
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.insight.integrity import service
from devstack.options import ROOT
from tests.integration.actors import Actors, Customer, Json

BOOKS: Final = (Path(ROOT) / "docs" / "runbook.md").read_text().partition("\n## Books\n")[2]
SUMS, SKIPPED = re.findall(r"^```\n(.*?)^```$", BOOKS.partition("\n## ")[0], re.M | re.S)
ALTERED: Final = (
    "status = 'open', paid_at = NULL",
    "amount_paid_minor = 1",
    "amount_due_minor = amount_due_minor + 1",
    "amount_credited_minor = 7",
)

LOST: Final = """
    CREATE TEMPORARY TABLE lost ON COMMIT DROP AS SELECT * FROM events
    WHERE account_id = :me AND seq = (SELECT max(seq) - 1 FROM events WHERE account_id = :me)
"""


async def broken(actors: Actors, customer: Customer) -> list[str]:
    report = await actors.operate("GET", f"/admin/integrity?account={customer.id}")
    return [check["name"] for check in report["checks"] if not check["ok"]]


async def sums(actors: Actors, invoice: str) -> Json:
    (row,) = await actors.sql(SUMS.replace("inv_…", invoice).replace("%", "%%"))
    return row


@pytest.mark.parametrize("altered", ALTERED)
async def test_an_invoice_is_written_again_from_what_it_is_made_of(
    actors: Actors, altered: str
) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    (invoice,) = (await customer.ask("GET", "/billing/invoices"))["data"]
    assert await broken(actors, customer) == []
    await actors.sql(f"UPDATE invoices SET {altered} WHERE account_id = %(me)s", me=customer.uuid)
    assert await broken(actors, customer) != []

    found = await sums(actors, invoice["invoice_id"])
    await actors.sql(
        "UPDATE invoices SET amount_due_minor = %(due)s, amount_paid_minor = %(paid)s,"
        " amount_credited_minor = %(credited)s, status = 'paid', paid_at = %(last_paid_at)s"
        " WHERE account_id = %(me)s",
        me=customer.uuid,
        **{name: found[name] for name in ("due", "paid", "credited", "last_paid_at")},
    )
    assert await broken(actors, customer) == []


async def test_the_sums_of_honest_invoices_are_as_the_runbook_adds_them(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.subscribed("pro")
    await customer.advance(days=32)
    for invoice in (await customer.ask("GET", "/billing/invoices"))["data"]:
        found = await sums(actors, invoice["invoice_id"])
        kept = [found[f"amount_{name}_minor"] for name in ("due", "paid", "credited")]
        assert kept == [found["due"], found["paid"], found["credited"]]


@pytest.mark.parametrize("recipe", ["copied back", "skipped"])
async def test_a_deleted_event_is_copied_back_or_its_number_skipped(
    actors: Actors, superuser: AsyncConnection, recipe: str
) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    me = {"me": customer.uuid}
    await superuser.execute(text(LOST), me)
    seq = await superuser.scalar(text("SELECT seq FROM lost"))
    await superuser.execute(text("DELETE FROM events WHERE id = (SELECT id FROM lost)"))
    found = await service.evaluate(superuser, customer.uuid)
    assert [one.name for one in found.wrong] == ["outbox_numbers"]

    skipped = SKIPPED.replace("7, 7", f"{seq}, {seq}")
    copied = "INSERT INTO events SELECT * FROM lost"
    await superuser.execute(text(copied if recipe == "copied back" else skipped))
    assert (await service.evaluate(superuser, customer.uuid)).ok
