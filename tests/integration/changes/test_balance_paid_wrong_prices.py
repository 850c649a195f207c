"""A wrong price that the money balance paid in part is given back to the balance."""

from asyncio import to_thread
from uuid import uuid4

from tests.integration.actors import Actors
from tests.integration.arrears.overage_uses import START
from tests.integration.changes.test_wrong_prices import MEANT, TERMS, WRONG
from tests.integration.money_seen import money
from tests.integration.stack.test_commands import billing


async def test_what_the_balance_paid_with_a_card_is_given_back_to_the_balance(
    actors: Actors,
) -> None:
    for terms in (TERMS, WRONG):
        await actors.operate("PUT", f"/admin/plans/slip-parts{MEANT}", terms)
    paid = await actors.customer_on_clock(START)
    gift = {"amount_cents": 1500, "reason": "a gift"}
    path = f"/admin/accounts/{paid.id}/balance/adjust"
    await actors.operate("POST", path, gift, key=str(uuid4()))
    await paid.subscribed("slip-parts")
    said = ("--currency", "USD", "--wrong-version", "2", "--right-version", "1", "--reason", "x")
    words = ("subscription", "undo-price", "slip-parts", *said)

    for more in (["--dry-run"], []):
        done = await to_thread(billing, actors.stack, *words, "--to", "payer", *more)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "refused, REFUND_TOO_LARGE: its payment brought less" in done.stdout
        assert ("`to`: `balance`" in done.stdout, await money(paid)) == (True, 0)
    done = await to_thread(billing, actors.stack, *words, "--to", "balance")
    assert done.returncode == 0, done.stdout + done.stderr
    assert await money(paid) == 2000
