"""Under another account's key Stripe knows none of our objects: that ends and removes nothing."""

from tests.integration.actors import wait_for
from tests.integration.payment_methods.conftest import Cardholder
from tests.integration.payment_methods.test_keeping_cards import remove


async def until_it_waits(customer: Cardholder) -> None:
    """The account's workflow has given up asking for now, and operators see that."""
    halted = "SELECT status FROM matters WHERE account_id = %(me)s AND kind = 'account'"
    ends = ({"status": "halted"}, {"status": "closed"})
    (matter,) = await wait_for(
        lambda: customer.rows(halted), "it halts", lambda rows: rows and rows[0] in ends
    )
    assert matter == ends[0]


async def resume(customer: Cardholder) -> None:
    """An operator has set the right key."""
    await customer.actors.operate("POST", f"/admin/matters/account/{customer.id}/resume")


async def test_a_card_that_stripe_does_not_know_under_this_key_is_not_detached(
    customer: Cardholder,
) -> None:
    card, reference = await customer.save_card(), await customer.reference()
    path = f"/v1/payment_methods/{reference}"
    foreign = await customer.actors.sandbox.fault("error_404_missing", path=path, times=None)
    await remove(customer, card)
    await until_it_waits(customer)
    assert "payment_method.detached" not in await customer.audit()
    await customer.actors.sandbox.clear("faults", foreign)
    await resume(customer)

    async def forgotten() -> bool:
        return (await customer.stripe("GET", path))["customer"] is None

    await wait_for(forgotten, "with the right key it is")
    await wait_for(
        customer.audit, "that is noted", lambda seen: seen[-1] == "payment_method.detached"
    )


async def test_a_card_that_was_given_is_kept_though_its_setup_is_not_known_under_this_key(
    customer: Cardholder,
) -> None:
    begun = await customer.begin()
    path = f"/v1/setup_intents/{begun['provider_reference']}"
    foreign = await customer.actors.sandbox.fault(
        "error_404_missing", method="GET", path=path, times=None
    )
    assert await customer.confirm_card(begun) == 200
    await until_it_waits(customer)
    await customer.actors.sandbox.clear("faults", foreign)
    await resume(customer)
    (card,) = await customer.eventually(lambda methods: len(methods) == 1)
    assert card["is_default"]
