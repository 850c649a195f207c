"""The step of a billing threshold writes its invoice wherever the database says that it is due."""

from decimal import Decimal
from typing import Any, Final, NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.money import round_minor
from billing.matters.agenda import Step
from billing.matters.effects import Work
from billing.money.subscriptions.reading import read
from billing.money.subscriptions.transitions import bill_early
from billing.platform.decisions.service import Read
from tests.integration.catalog.subscribing import START
from tests.integration.usage.conftest import Shop
from tests.searching import examples

METERS: Final = ("ai_responses", "chat_messages", "api_calls")
COUNTED: Final = text(
    """
    INSERT INTO usage_counters (account_id, owner, grain, period_start, bucket, meter, facet,
        quantity, events, maximum, last_value, last_at, credits, overage, overage_total)
    VALUES (:account, '', 'day', :start, :start, :meter, '|overage|pending|USD', :units, 1, :units,
        :units, :start, 0, :units, :total)
    """
)
INVOICE: Final = text(
    """
    INSERT INTO invoices (id, account_id, workflow_id, fact_key, status, number, currency,
        subtotal_minor, total_minor, amount_due_minor, subscription_id, created_at)
    VALUES (:invoice, :account, :matter, :key, :status, :key, 'USD', 1, 1, 1, :subscription, :start)
    """
)
LINE: Final = text(
    """
    INSERT INTO invoice_lines (id, account_id, invoice_id, position, kind, description, quantity,
        unit_amount, amount_minor, period_start, detail)
    VALUES (:line, :account, :invoice, :place, 'usage', 'use', :billed, 0, :minor, :start,
        jsonb_build_object('meter', CAST(:meter AS text), 'early', true,
            'accrued', CAST(:accrued AS text)))
    """
)
CROSSED: Final = text(
    "UPDATE usage_periods SET threshold_at = :start, threshold_number = threshold_number + 1"
    " WHERE account_id = :account"
)
AMOUNTS: Final = st.decimals(0, 20, places=4)


class Use(NamedTuple):
    """Use of a meter beyond the plan, by its cost: what an invoice bills, and what none does."""

    billed: Decimal
    left: Decimal
    is_owed: bool
    """True if that invoice is not paid."""


@settings(max_examples=examples(30))
@given(
    uses=st.lists(st.builds(Use, AMOUNTS, AMOUNTS, st.booleans()), min_size=1, max_size=3),
    least=st.integers(1, 3000),
)
@example([Use(Decimal(0), Decimal(10), is_owed=False)], 1000)
@example([Use(Decimal(0), Decimal("9.9999"), is_owed=False)], 1000)
# What an invoice bills is billed, though that is not paid.
@example([Use(Decimal(12), Decimal(6), is_owed=True)], 1000)
async def test_the_step_bills_what_the_database_found_due(
    basic_shop: Shop, uses: list[Use], least: int
) -> None:
    async with basic_shop.api.database.operator() as connection:
        await _compare(connection, basic_shop, uses, least)
        await connection.rollback()


async def _compare(connection: AsyncConnection, shop: Shop, uses: list[Use], least: int) -> None:
    subscription = await connection.scalar(
        text("UPDATE subscriptions SET billing_threshold_minor = :least"
             " WHERE account_id = :account RETURNING id"), {"least": least, "account": shop.id},
    )  # fmt: skip
    known = {"account": shop.id, "start": START, "subscription": subscription}
    for meter, use in zip(METERS, uses, strict=False):
        await _used(connection, use, known | {"meter": meter})
    asked = text("SELECT usage_threshold(:account, :start)")
    await connection.execute(asked, known)
    is_due = await connection.scalar(
        text("SELECT threshold_at IS NOT NULL FROM usage_periods WHERE account_id = :account"),
        known,
    )
    await connection.execute(CROSSED, known)
    step = Step(name="bill_early", due=START, key="early")
    w = Work(*await read(connection, Read(subscription, deciding=True, step=step)))
    bill_early(w, step)
    assert (w.result != "nothing to bill") == is_due, w.result


async def _used(connection: AsyncConnection, use: Use, known: dict[str, Any]) -> None:
    """A unit for each part that cost something."""
    units, total = bool(use.billed) + bool(use.left), use.billed + use.left
    await connection.execute(COUNTED, known | {"units": units, "total": total})
    if use.billed:
        invoice = ids.new()
        known = known | {
            "invoice": invoice, "line": ids.new(), "key": str(invoice), "place": 1, "billed": 1,
            "status": "open" if use.is_owed else "paid", "accrued": str(use.billed),
            "matter": f"subscription/{ids.encode(ids.SUBSCRIPTION, known['subscription'])}",
            "minor": round_minor(use.billed * 100),
        }  # fmt: skip
        await connection.execute(INVOICE, known)
        await connection.execute(LINE, known)
