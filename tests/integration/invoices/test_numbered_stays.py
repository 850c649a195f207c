"""A numbered invoice, its lines and the audit trail stay as they are, whoever asks Postgres."""

import psycopg
import pytest

from devstack.stack import dsn
from tests.integration.actors import Actors

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
