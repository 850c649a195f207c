"""An operator's desk: invoices that are taken back or given up, money from outside, contracts."""

from typing import Final
from uuid import uuid4

from tests.integration.walk.asking import NOTHING, Asking, Done
from tests.integration.walk.diary import Json

WHY: Final = "our mistake"
AGREED: Final[dict[str, Json]] = {
    "cheaper": {"amount_cents": 1500},
    "minimum": {"amount_cents": 1500, "minimum_cents": 2500},
    "committed": {"amount_cents": 1900},
}
COMMITMENT: Final[Json] = {"amount_cents": 6000, "currency": "USD", "periods": 2}


class OfficeActs(Asking):
    """Commands of operators for one account."""

    async def void_invoice(self) -> Done:
        return await self._on_invoice(await self._owed(), "void", {"reason": WHY})

    async def give_up(self) -> Done:
        return await self._on_invoice(await self._owed(), "mark-uncollectible", {"reason": WHY})

    async def record_money(self, percent: int) -> Done:
        """Money came outside of the service, for the oldest debt."""
        invoice = await self._owed()
        left = int(invoice["amount_remaining"]) if invoice else 0
        body = {
            "amount_cents": max(1, left * percent // 100),
            "reference": f"TRX-{uuid4().hex[:10]}",
        }
        return await self._on_invoice(invoice if left else None, "record-payment", body)

    async def credit_note(self, percent: int, to: str) -> Done:
        """A part of the newest invoice is taken back, paid or not."""
        listed = (await self.customer.ask("GET", "/billing/invoices?limit=100"))["invoices"]
        numbered = [one for one in listed if one["invoice_number"] and one["total"]]
        invoice = numbered[0] if numbered else None
        part = max(1, int(invoice["total"]) * percent // 100) if invoice else 0
        body = {"amount_cents": part, "reason": WHY, "to": to}
        return await self._on_invoice(invoice, "credit-note", body)

    async def agree(self, terms: str) -> Done:
        """A contract for the plan basic by the month."""
        price = {"plan": "basic", "interval": "month", "currency": "USD"} | AGREED[terms]
        body: Json = {"prices": [price]}
        if terms == "committed":
            body["commitment"] = COMMITMENT
        return await self._operate(self._contract, body, method="PUT")

    async def end_contract(self) -> Done:
        return await self._operate(self._contract, None, method="DELETE")

    async def move(self, zone: str) -> Done:
        """The customer lives elsewhere from now on."""
        named = {"external_id": self.customer.account["external_id"], "zone": zone}
        return await self._operate("/admin/accounts", named)

    async def void_use(self) -> Done:
        """The newest use that was taken is taken back."""
        if not self.uses:
            return NOTHING
        name = self.uses.pop()
        done = await self._operate(f"/billing/records/{name}/void", {"reason": WHY}, role="service")
        return done[0], done[1], {"billing_id": name}

    @property
    def _contract(self) -> str:
        return f"/admin/accounts/{self.customer.id}/contract"

    async def _on_invoice(self, invoice: Json | None, verb: str, body: Json) -> Done:
        if invoice is None:
            return NOTHING
        path = f"/admin/invoices/{invoice['invoice_id']}/{verb}"
        done = await self._operate(path, body, key=str(uuid4()))
        return done[0], done[1], done[2] | {"invoice_id": invoice["invoice_id"]}
