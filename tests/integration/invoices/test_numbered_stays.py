"""A numbered invoice, its lines and the audit trail stay as they are, whoever asks Postgres."""

import re
from pathlib import Path
from typing import Final

import psycopg
import pytest

from billing.money import invoices as package
from billing.money.invoices.tables import invoices
from devstack.stack import dsn
from tests.integration.actors import Actors

# By an invoice's numbers and names: what becomes of it later is in the others.
GO_ON: Final = {
    "balance_applied_minor", "amount_due_minor", "amount_paid_minor", "amount_credited_minor",
    "amount_refunded_minor",
}  # fmt: skip
KEPT: Final = sorted(
    {"account_id", "issuer_id", "fact_key", "series", "number", "content_hash", "issued_on"}
    | {"currency", *(one.name for one in invoices.c if one.name.endswith("_minor"))} - GO_ON
)
OTHER: Final = dict.fromkeys(("account_id", "issuer_id"), "gen_random_uuid()")
REFUSED = {
    "UPDATE invoices SET total_minor = 1 WHERE number IS NOT NULL AND account_id = %(me)s": (
        "is numbered: UPDATE refused"
    ),
    "UPDATE invoices SET number = 'INV-1' WHERE number IS NOT NULL AND account_id = %(me)s": (
        "is numbered: UPDATE refused"
    ),
    "UPDATE invoices SET issuer_id = gen_random_uuid()"
    " WHERE number IS NOT NULL AND account_id = %(me)s": "is numbered: UPDATE refused",
    "DELETE FROM invoices WHERE account_id = %(me)s": "is numbered: DELETE refused",
    "UPDATE invoice_lines SET amount_minor = 1 WHERE account_id = %(me)s": "UPDATE refused",
    "DELETE FROM invoice_lines WHERE account_id = %(me)s": "DELETE refused",
    "UPDATE billing_audit SET actor = 'nobody' WHERE account_id = %(me)s": "append-only",
    "DELETE FROM billing_audit WHERE account_id = %(me)s": "append-only",
}


async def test_no_role_changes_what_was_handed_out(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    for statement, words in REFUSED.items():
        with pytest.raises(psycopg.errors.RestrictViolation, match=words):
            await actors.sql(statement, me=customer.uuid)
    # The money that comes for it goes on being booked.
    await actors.sql(
        "UPDATE invoices SET amount_due_minor = amount_due_minor WHERE account_id = %(me)s",
        me=customer.uuid,
    )


async def test_each_column_of_what_was_handed_out_is_kept(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    for column in KEPT:
        more = "+ 1" if column.endswith(("_minor", "_on")) else "|| 'X'"
        other = OTHER.get(column, f"{column} {more}")
        statement = f"UPDATE invoices SET {column} = {other}"
        with pytest.raises(psycopg.errors.RestrictViolation, match="is numbered: UPDATE refused"):
            await actors.sql(
                f"{statement} WHERE number IS NOT NULL AND account_id = %(me)s", me=customer.uuid
            )


def test_what_is_kept_is_listed_alike() -> None:
    """A column that one of the trigger's lists lacks could be changed."""
    written = (Path(package.__file__).parent / "sql/invoice_keep.sql").read_text()
    trigger = written.partition("TRIGGER numbered_stays")[2].partition("EXECUTE")[0]
    told = trigger.partition("UPDATE OF")[2].partition("ON invoices")[0]
    for found in (re.findall(r"\w+", told), *(
        re.findall(rf"\b{row}\.(\w+)", trigger.partition("AND (")[2]) for row in ("OLD", "NEW")
    )):  # fmt: skip
        assert sorted(found) == KEPT


@pytest.mark.parametrize("role", ["app_url", "operator_url"])
@pytest.mark.parametrize(
    "verb", ["UPDATE billing_audit SET actor = ''", "DELETE FROM billing_audit"]
)
async def test_the_products_roles_have_no_right_to_change_the_trail(
    actors: Actors, role: str, verb: str
) -> None:
    url = dsn(getattr(actors.stack, role))
    async with await psycopg.AsyncConnection.connect(url) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(verb.encode())
