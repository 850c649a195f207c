"""A decision about a card costs the same however often the card has paid."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import real_now
from billing.money.payment_methods import store as methods
from billing.money.payments import store
from billing.money.payments.card_rules import ATTEMPT_WINDOW
from billing.money.payments.schemas import Attempt
from billing.money.purchases import reading
from billing.platform.decisions.service import Read
from tests.integration.actors import Actors
from tests.integration.rows_fetched import fetched

MANY = 4_000
PAST = text(
    "INSERT INTO payment_attempts SELECT (jsonb_populate_record(t, jsonb_build_object("
    " 'id', gen_random_uuid(), 'invoice_id', gen_random_uuid(),"
    " 'key', gen_random_uuid()::text))).*"
    f" FROM payment_attempts t, generate_series(1, {MANY}) WHERE t.account_id = :me"
)


async def test_the_declines_of_a_card_are_found_among_all_its_tries(
    actors: Actors, superuser: AsyncConnection
) -> None:
    customer = await actors.customer()
    await customer.save_card()
    bought = await customer.buy("small", "saved_card")
    await superuser.execute(PAST, {"me": customer.uuid})
    await superuser.execute(text("ANALYZE payment_attempts"))
    card = await methods.default(superuser, customer.uuid)
    assert card
    before = await fetched(superuser, "payment_attempts")
    assert await store.declines_of(superuser, card, real_now() - ATTEMPT_WINDOW) == 0
    subject = Read(ids.decode(ids.PURCHASE, bought["purchase_id"]), locked=False)
    rows, _ = await reading.read(superuser, subject)
    assert len(rows.of(Attempt)) == 1
    assert await fetched(superuser, "payment_attempts") - before < MANY / 10
