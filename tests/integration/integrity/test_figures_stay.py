"""Figures of a row stay as they were written, whoever asks Postgres; the rest goes on."""

from typing import Final

import psycopg
import pytest

from tests.integration.actors import Actors, Customer

REWRITTEN: Final = (
    "UPDATE prices SET amount_minor = 1 WHERE kind = 'nothing'",
    "UPDATE prices SET currency = 'EUR', is_current = true WHERE kind = 'nothing'",
    "UPDATE plans SET monthly_credits = 1 WHERE key = 'nothing'",
    "UPDATE product_prices SET unit_price = 1 WHERE product = 'nothing'",
    "UPDATE price_overrides SET tiers = '[]' WHERE product = 'nothing'",
    "UPDATE payments SET amount_minor = amount_minor + 100 WHERE account_id = %(me)s",
    "UPDATE payments SET currency = 'EUR' WHERE account_id = %(me)s",
    "UPDATE credit_lots SET is_paid = false WHERE account_id = %(me)s",
    "UPDATE credit_lots SET amount = amount + 1 WHERE account_id = %(me)s",
    "UPDATE credit_lots SET kind = 'trial' WHERE account_id = %(me)s",
    "UPDATE credit_lots SET scope = 'gpt-4' WHERE account_id = %(me)s",
    "UPDATE credit_lots SET grant_key = 'other' WHERE account_id = %(me)s",
    "UPDATE billing_records SET usage_amount = usage_amount * 2 WHERE account_id = %(me)s",
)
STEPS: Final = (
    "DELETE FROM steps WHERE account_id = %(me)s",
    "UPDATE steps SET result = 'other' WHERE account_id = %(me)s",
    "TRUNCATE steps",
)
GOES_ON: Final = (
    "UPDATE prices SET is_current = is_current WHERE kind = 'nothing'",
    "UPDATE plans SET is_active = is_active WHERE key = 'nothing'",
    "UPDATE product_prices SET effective_to = effective_to WHERE product = 'nothing'",
    "UPDATE payments SET status = status WHERE account_id = %(me)s",
    "UPDATE credit_lots SET remaining = remaining, held = held WHERE account_id = %(me)s",
    "UPDATE billing_records SET billing_status = billing_status WHERE account_id = %(me)s",
)


@pytest.fixture(scope="module")
async def buyer(actors: Actors) -> Customer:
    """Somebody who bought a pack."""
    customer = await actors.customer()
    await customer.bought("small")
    return customer


@pytest.mark.parametrize("statement", REWRITTEN)
async def test_nobody_rewrites_what_a_row_is_about(buyer: Customer, statement: str) -> None:
    with pytest.raises(psycopg.errors.RestrictViolation, match="stays as it was written"):
        await buyer.actors.sql(statement, me=buyer.uuid)


@pytest.mark.parametrize("statement", STEPS)
async def test_nobody_takes_back_a_step_that_was_done(buyer: Customer, statement: str) -> None:
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        await buyer.actors.sql(statement, me=buyer.uuid)


async def test_what_becomes_of_a_row_goes_on(buyer: Customer) -> None:
    for statement in GOES_ON:
        await buyer.actors.sql(statement, me=buyer.uuid)
