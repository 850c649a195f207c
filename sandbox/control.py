"""A typed client of the control plane, for tests, the demo and the benchmarks.

One method per verb, returning plain JSON; a person's actions add the status Stripe would send.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx2

Json = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """Result of an action of a person."""

    status: int
    """200, or the refusal's: 402 for a decline."""
    body: Json

    @property
    def code(self) -> str | None:
        """The error code, if it was refused."""
        found: str | None = self.body.get("error", {}).get("code")
        return found


class ControlError(Exception):
    """The control plane refused an order; the message is its answer."""


class SandboxControl:
    """Steers one running sandbox; use it as an async context manager, or call `close`."""

    def __init__(self, base_url: str, timeout_seconds: float = 30.0) -> None:
        self.base_url = base_url.rstrip("/")
        self._client = httpx2.AsyncClient(
            base_url=self.base_url, timeout=timeout_seconds, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    # Looking

    async def health(self) -> Json:
        """Status, API version, webhook address, open deliveries."""
        return await self._get("/health")

    async def journal(self, **query: Any) -> list[Json]:
        """Rows, oldest first: entry, name, object, customer, payment_intent, key, request,
        since, limit, last, and `metadata` as a dictionary."""
        return await self._rows("/journal", query)

    async def effects(self, **query: Any) -> list[Json]:
        """Movements of money only; the same filters as `journal`."""
        return await self._rows("/effects", query)

    async def requests(self, **query: Any) -> list[Json]:
        """Requests only; the same filters as `journal`."""
        return await self._rows("/journal", {**query, "entry": "request"})

    async def violations(self) -> list[Json]:
        """Return requests and answers that differ from the SDK's shapes (SANDBOX_CONFORMANCE=1)."""
        return await self._rows("/violations", {})

    async def deliveries(self, customer: str | None = None, state: str | None = None) -> list[Json]:
        """Every posting of an event, oldest first."""
        return await self._rows("/webhooks/deliveries", {"customer": customer, "state": state})

    async def plans(self, kind: str) -> list[Json]:
        """Plans of a kind: faults, webhooks or scripts."""
        return await self._rows(f"/{kind}/plans", {})

    # Planning

    async def script(
        self, target: str, *outcomes: str, then: str = "normal", purpose: str = "charge"
    ) -> Json:
        """Set the next outcomes of a payment method or a customer; an empty list removes them."""
        order = {"outcomes": list(outcomes), "then": then, "purpose": purpose}
        return await self._post(f"/cards/{target}/script", order)

    async def fault(
        self,
        kind: str,
        *,
        method: str | None = None,
        path: str | None = None,
        customer: str | None = None,
        metadata: dict[str, str] | None = None,
        nth: int = 1,
        times: int | None = 1,
        seconds: float | None = None,
    ) -> int:
        """Plan a fault for matching requests; return its number."""
        match = {"method": method, "path": path, "customer": customer, "metadata": metadata or {}}
        order = {"kind": kind, "match": match, "nth": nth, "times": times, "seconds": seconds}
        return int((await self._post("/faults", order))["id"])

    async def webhooks(self, action: str, **order: Any) -> int:
        """Plan deliveries: drop, hold, duplicate (copies), delay (seconds), shuffle (seed)."""
        return int((await self._post("/webhooks", {"action": action, **order}))["id"])

    async def clear(self, kind: str, number: int | None = None) -> int:
        """Forget one plan, or all: kind is faults, webhooks or scripts."""
        query = {} if number is None else {"id": number}
        answer = await self._client.delete(f"/_sandbox/{kind}/plans", params=query)
        return int(self._taken(answer)["removed"])

    async def age_keys(self, hours: float) -> int:
        """Make kept idempotency keys older."""
        return int((await self._post("/idempotency/age", {"hours": hours}))["aged"])

    async def set_clock(self, customer: str, frozen_time: int) -> Outcome:
        """Put a customer on a clock of its own, or move that clock."""
        return await self._act(f"/customers/{customer}/clock", {"frozen_time": frozen_time})

    async def reset(self, customer: str | None = None) -> None:
        """Forget everything, or one customer's objects."""
        await self._post("/reset", {"customer": customer})

    # Posting

    async def release(self, **order: Any) -> int:
        """Release held deliveries: customer, types, events, order, seed."""
        return int((await self._post("/webhooks/release", order))["released"])

    async def redeliver(self, event: str, copies: int = 1) -> None:
        """Post an event again."""
        await self._post(f"/events/{event}/redeliver", {"copies": copies})

    async def emit(self, kind: str, subject: Json, api_version: str | None = None) -> Json:
        """Send an event without a cause."""
        order = {"type": kind, "object": subject, "api_version": api_version}
        return await self._post("/events", order)

    # Being a person

    async def pay_session(
        self,
        session: str,
        payment_method: str = "pm_card_visa",
        authenticate: bool | None = None,
    ) -> Outcome:
        """Pay, or save a card, on the hosted page."""
        order = {"payment_method": payment_method, "authenticate": authenticate}
        return await self._act(f"/checkout/sessions/{session}/pay", order)

    async def fail_session(self, session: str, reason: str = "generic_decline") -> Outcome:
        """Have a card declined on the hosted page."""
        return await self._act(f"/checkout/sessions/{session}/fail", {"reason": reason})

    async def cancel_session(self, session: str) -> Outcome:
        """Leave the hosted page by its back link."""
        return await self._act(f"/checkout/sessions/{session}/cancel", {})

    async def authenticate(self, intent: str, *, passed: bool = True) -> Outcome:
        """Pass or fail 3-D Secure."""
        return await self._act(f"/intents/{intent}/authenticate", {"passed": passed})

    async def confirm_as_client(
        self, intent: str, payment_method: str = "pm_card_visa", return_url: str | None = None
    ) -> Outcome:
        """Confirm a payment or setup intent as a browser does."""
        kind = "setup_intents" if intent.startswith("seti_") else "payment_intents"
        order = {"payment_method": payment_method, "return_url": return_url}
        return await self._act(f"/{kind}/{intent}/confirm_as_client", order)

    async def reissue(self, method: str, card: str) -> Outcome:
        """Give a saved card the number of a test card, as its bank does."""
        return await self._act(f"/payment_methods/{method}/reissue", {"card": card})

    async def settle(self, intent: str, outcome: str | None = None) -> Outcome:
        """End a payment that is processing; without an outcome as its bank account does."""
        return await self._act(f"/payment_intents/{intent}/settle", {"outcome": outcome})

    async def cancel(self, intent: str) -> Outcome:
        """Cancel a payment in the dashboard, also one that is processing."""
        return await self._act(f"/payment_intents/{intent}/cancel", {})

    async def refund(self, intent: str, amount: int | None = None) -> Outcome:
        """Refund a payment in the dashboard; all that is left without an amount."""
        return await self._act(f"/payment_intents/{intent}/refund", {"amount": amount})

    async def dispute(
        self,
        intent: str,
        reason: str = "fraudulent",
        *,
        inquiry: bool = False,
        amount: int | None = None,
        prevented: str | None = None,
    ) -> Outcome:
        """Dispute a payment, or have its bank ask; the whole charge without an amount.

        `prevented`: Stripe ends it at once, by a `block` or by a `resolution`.
        """
        order = {"reason": reason, "inquiry": inquiry, "amount": amount, "prevented": prevented}
        return await self._act(f"/payment_intents/{intent}/dispute", order)

    async def finish_dispute(
        self, dispute: str, outcome: str, *, returned: int | None = None
    ) -> Outcome:
        """End a dispute: won or lost, with a part `returned` of what is lost."""
        order = {"outcome": outcome, "returned": returned}
        return await self._act(f"/disputes/{dispute}/finish", order)

    async def vat_register(self, names: Json | None = None, *, away: bool = False) -> None:
        """Add businesses to the VAT register by id, or make it unavailable."""
        order = {"names": names or {}, "away": away}
        answer = await self._client.put("/_sandbox/vat-register", json=order)
        answer.raise_for_status()

    async def tax_rates(self, rates: Json) -> None:
        """Set the taxes that Stripe Tax returns for these countries and regions."""
        answer = await self._client.put("/_sandbox/tax-rates", json={"rates": rates})
        answer.raise_for_status()

    async def paypal(self, custom_id: str) -> list[Json]:
        """Return PayPal's orders with this custom id, oldest first, with their capture tries."""
        return await self._rows("/paypal/orders", {"custom_id": custom_id})

    async def paypal_steer(
        self, order: str, capture: str = "pays", *, issue: str | None = None, mute: bool = False,
        expired: bool = False,
    ) -> None:  # fmt: skip
        """Make captures of an order pay, be declined, be refused while it stays approved, wait,
        be `unanswered` or `late`; `mute`: send no webhooks; `expired`: its time is over.
        """
        body = {"capture": capture, "mute": mute, "expired": expired}
        body |= {"issue": issue} if issue else {}
        answer = await self._client.put(f"/_sandbox/paypal/orders/{order}", json=body)
        answer.raise_for_status()

    async def paypal_approve(self, order: str) -> None:
        """Approve an order as its payer."""
        await self._post(f"/paypal/orders/{order}/approve", {})

    async def paypal_settle(self, order: str, status: str) -> None:
        """End a pending capture: COMPLETED or DENIED; one that is late pays."""
        await self._post(f"/paypal/orders/{order}/settle", {"status": status})

    async def paypal_reverse(self, order: str) -> None:
        """Reverse what is left of an order's capture, as PayPal does for its payer."""
        await self._post(f"/paypal/orders/{order}/reverse", {})

    async def paypal_repeat(self, order: str) -> None:
        """Send every event of an order again."""
        await self._post(f"/paypal/orders/{order}/repeat", {})

    async def _get(self, path: str) -> Json:
        return self._taken(await self._client.get(f"/_sandbox{path}"))

    async def _rows(self, path: str, query: Json) -> list[Json]:
        flat: dict[str, str] = {}
        for name, value in query.items():
            if isinstance(value, dict):
                flat |= {f"{name}[{key}]": str(inner) for key, inner in value.items()}
            elif value is not None:
                flat[name] = str(value)
        answer = await self._client.get(f"/_sandbox{path}", params=flat)
        found: list[Json] = self._taken(answer)["data"]
        return found

    async def _post(self, path: str, order: Json) -> Json:
        return self._taken(await self._client.post(f"/_sandbox{path}", json=order))

    async def _act(self, path: str, order: Json) -> Outcome:
        answer = await self._client.post(f"/_sandbox{path}", json=order)
        body: Json = answer.json()
        if answer.status_code == 422 or "detail" in body:
            raise ControlError(f"{answer.status_code}: {answer.text}")
        return Outcome(answer.status_code, body)

    @staticmethod
    def _taken(answer: httpx2.Response) -> Json:
        if answer.status_code != 200:
            raise ControlError(f"{answer.status_code}: {answer.text}")
        body: Json = answer.json()
        return body
