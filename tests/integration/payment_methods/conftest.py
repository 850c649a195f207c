"""Customers who keep cards, with the sandbox playing their browser and Stripe's dashboard."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.integration.actors import Actors, Customer, Json, wait_for

METHODS: Final = "/billing/payment-methods"
SETUP: Final = f"{METHODS}/setup-intent"


@dataclass(frozen=True)
class Cardholder(Customer):
    """An account, with what only stories about its cards need."""

    async def begin(self, **body: Any) -> Json:
        """Ask to save a card: the setup intent with its secret."""
        return await self.ask("POST", SETUP, body, status=201)

    async def confirm_card(self, begun: Json, card: str = "pm_card_visa") -> int:
        """Give the card in the browser; the status Stripe answers."""
        reference = begun["provider_reference"]
        outcome = await self.actors.sandbox.confirm_as_client(
            reference, card, return_url="https://shop.example/back"
        )
        return outcome.status

    async def methods(self) -> list[Json]:
        """The stored methods, newest first."""
        listed: list[Json] = (await self.ask("GET", METHODS, status=200))["data"]
        return listed

    async def eventually(self, wanted: Callable[[list[Json]], bool]) -> list[Json]:
        """The stored methods, as soon as they are as wanted."""

        found: list[list[Json]] = []

        async def look() -> bool:
            found[:] = [await self.methods()]
            return wanted(found[0])

        await wait_for(look, "the cards are as wanted")
        return found[0]

    async def reference(self) -> str:
        """Stripe's id of the newest card that is here."""
        rows = await self.rows(
            "SELECT stripe_payment_method_id AS id FROM payment_methods"
            " WHERE account_id = %(me)s AND status = 'active'"
            " ORDER BY created_at DESC, payment_methods.id DESC LIMIT 1"
        )
        return str(rows[0]["id"])

    async def stripe(self, method: str, path: str, **form: str) -> Json:
        """One call of Stripe's own API, as its dashboard would make it."""
        stack = self.actors.stack
        answer = await self.actors.client.request(
            method,
            f"{stack.sandbox_url}{path}",
            params=form if method == "GET" else None,
            data=form if method == "POST" else None,
            headers={"Authorization": f"Bearer {stack.stripe_secret_key}"},
        )
        assert answer.status_code == 200, answer.text
        told: Json = answer.json()
        return told

    async def audit(self) -> list[str]:
        """The audit log of the account's cards, oldest first."""
        path = f"/admin/accounts/{self.id}/audit?limit=100"
        entries = (await self.actors.operate("GET", path))["data"]
        named = [entry["action"] for entry in reversed(entries)]
        return [action for action in named if action.startswith("payment_method.")]


@pytest.fixture
def new_customer(actors: Actors) -> Callable[..., Awaitable[Cardholder]]:
    """Makes a fresh account; fields such as `is_test` and `clock_at` go to its birth."""

    async def make(**fields: Any) -> Cardholder:
        return Cardholder(actors, (await actors.customer(**fields)).account)

    return make


@pytest.fixture
async def customer(new_customer: Callable[..., Awaitable[Cardholder]]) -> Cardholder:
    """A fresh account in real time."""
    return await new_customer()
