"""Whoever acts around one account: what they look at first, and how they ask."""

from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import httpx2

from tests.integration.actors import Customer
from tests.integration.walk.diary import Json

AGAIN: Final = 5
"""A busy machine may be slow to answer that Temporal is there; nothing was changed, ask again."""
Done = tuple[int, Json, Json]
"""The status of the answer, its body, and what was asked."""
NOTHING: Final[Done] = (0, {}, {})


@dataclass
class Asking:
    """The account, and what its people remember."""

    customer: Customer
    secrets: list[str] = field(default_factory=list)
    """Intents that a browser may confirm, oldest first."""
    holds: list[Json] = field(default_factory=list)
    uses: list[str] = field(default_factory=list)
    """Uses that were taken, oldest first."""

    # -- what they look at first ---------------------------------------------------------------

    async def _owed(self) -> Json | None:
        for status in ("pending", "uncollectible"):
            listed = await self.customer.ask("GET", f"/billing/invoices?status={status}")
            if listed["invoices"]:
                return dict(listed["invoices"][-1])
        return None

    async def _manual_purchase(self) -> Json | None:
        listed = await self.customer.ask("GET", "/billing/purchases?status=pending")
        manual = [one for one in listed["data"] if one["payment_method"] == "manual"]
        return dict(manual[-1]) if manual else None

    async def _asked(self) -> Json | None:
        """The money that is to be sent before a subscription begins."""
        answer = await self.customer.call("GET", "/billing/subscription")
        asked = _json(answer).get("next_action") or {}
        return asked if asked.get("type") == "manual" else None

    async def _cards(self) -> list[Json]:
        return list((await self.customer.ask("GET", "/billing/payment-methods"))["data"])

    async def _intents(self) -> list[str]:
        rows = await self.customer.rows(
            "SELECT stripe_payment_intent_id AS id FROM payments WHERE account_id = %(me)s"
            " AND stripe_payment_intent_id IS NOT NULL ORDER BY created_at DESC, id DESC LIMIT 3"
        )
        return [row["id"] for row in rows]

    async def _charged(self, intent: str) -> list[Json]:
        effects = await self.customer.effects("charge.succeeded")
        return [one for one in effects if one["payment_intent"] == intent]

    async def _provider_customer(self) -> str | None:
        rows = await self.customer.rows(
            "SELECT stripe_customer_id AS id FROM accounts WHERE id = %(me)s"
        )
        found: str | None = rows[0]["id"]
        return found

    # -- asking --------------------------------------------------------------------------------

    async def _use(self, body: Json) -> Done:
        done = await self._post("/usage/record", body | {"event_id": f"evt-{uuid4()}"})
        if 200 <= done[0] < 300 and "billing_id" in done[1]:
            self.uses.append(str(done[1]["billing_id"]))
        return done

    async def _steer(self, verb: str, body: Json) -> Done:
        operate = self.customer.actors.operate
        cases = (await operate("GET", f"/admin/dunning?account_id={self.customer.id}"))["data"]
        live = [one for one in cases if one["status"] in ("open", "paused", "exhausted")]
        if not live:
            return NOTHING
        name = live[0]["dunning_case_id"]
        done = await self._operate(f"/admin/dunning/{name}/{verb}", body, str(uuid4()))
        return done[0], done[1], done[2] | {"invoice_id": live[0]["invoice_id"]}

    async def _decide(self, verb: str, terms: Any) -> Done:
        listed = await self.customer.ask("GET", "/billing/payments?status=pending_approval")
        if not listed["data"]:
            return NOTHING
        sent = listed["data"][0]
        return await self._operate(f"/admin/payments/{sent['payment_id']}/{verb}", terms(sent))

    async def _operate(
        self, path: str, body: Json | None, key: str | None = None, *, method: str = "POST",
        role: str = "admin", for_it: bool = False,
    ) -> Done:  # fmt: skip
        """An operator's command; `for_it` is one that the customer could give too."""
        actors = self.customer.actors
        headers = actors.headers("*", role, key)
        headers |= {"X-Account-Id": self.customer.id} if for_it else {}
        answer = await actors.client.request(method, f"/api/v1{path}", json=body, headers=headers)
        return answer.status_code, _json(answer), body or {}

    async def _post(self, path: str, body: Json | None = None, *, key: bool = False) -> Done:
        return await self._ask("POST", path, body, key=key)

    async def _ask(
        self, method: str, path: str, body: Json | None = None, *, key: bool = False
    ) -> Done:
        named = str(uuid4()) if key else None
        answer = await self.customer.call(method, path, body, key=named)
        for _ in range(AGAIN):
            if _json(answer).get("code") != "TEMPORAL_UNAVAILABLE":
                break
            answer = await self.customer.call(method, path, body, key=named)
        told = _json(answer)
        secret = (told.get("next_action") or {}).get("client_secret")
        if secret:
            self.secrets.append(secret.partition("_secret")[0])
        return answer.status_code, told, body or {}


def _json(answer: httpx2.Response) -> Json:
    told = answer.json() if answer.content else {}
    return told if isinstance(told, dict) else {"data": told}
