"""The doctor asks Stripe for customers of ours: a key of another account knows none of them."""

from typing import Any, cast

from billing.core.settings import Settings
from cli.doctor_checks import Patient, stripe
from tests.integration.actors import Actors
from tests.integration.api_app import Api, stack_settings
from tests.integration.sandbox.support import Process


async def test_the_doctor_says_that_a_key_is_another_accounts(
    api: Api, actors: Actors, sandbox: Process
) -> None:
    await (await actors.customer()).save_card()

    async def said(settings: Settings) -> tuple[str, str]:
        (sign,) = await stripe(Patient(settings, api.database, cast(Any, None), None))
        return sign.state, sign.words

    assert await said(stack_settings(api.stack)) == ("healthy", "answers, and takes our key")
    state, words = await said(stack_settings(api.stack, stripe_api_base=sandbox.url))
    assert state == "unhealthy"
    assert words.startswith("takes our key, and does not know our cus_")
    assert words.endswith(": is it another account's?")
