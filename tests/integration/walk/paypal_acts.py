"""A payer at PayPal: approves an order there, and PayPal decides on it."""

from typing import Final

from tests.integration.actors import wait_for
from tests.integration.walk.asking import NOTHING, Asking, Done
from tests.integration.walk.diary import Json

BACK: Final = "https://shop.example/back"
PATIENCE_SECONDS: Final = 3.0


class PayPalActs(Asking):
    """Orders that wait for their payer, and captures that wait for PayPal."""

    async def approve_order(self, capture: str) -> Done:
        """The payer approves the oldest order; then it pays, is declined, or has to wait."""
        for order in await self._orders():
            if order["status"] == "PAYER_ACTION_REQUIRED":
                name = str(order["id"])
                await self.customer.actors.sandbox.paypal_steer(name, capture)
                await self.customer.actors.sandbox.paypal_approve(name)
                await self._heard(name)
                return 200, {}, {"order": name, "capture": capture}
        return NOTHING

    async def settle_order(self, status: str) -> Done:
        """PayPal ends what it held back."""
        for order in await self._orders():
            held = [one for one in captures(order) if one["status"] == "PENDING"]
            if held:
                await self.customer.actors.sandbox.paypal_settle(str(order["id"]), status)
                return 200, {}, {"order": order["id"], "status": status}
        return NOTHING

    async def reverse_order(self) -> Done:
        """PayPal takes the newest money back for its payer."""
        for order in reversed(await self._orders()):
            if any(one["status"] == "COMPLETED" for one in captures(order)):
                await self.customer.actors.sandbox.paypal_reverse(str(order["id"]))
                return 200, {}, {"order": order["id"]}
        return NOTHING

    async def _orders(self) -> list[Json]:
        """Every order of the account, oldest first."""
        rows = await self.customer.rows(
            "SELECT workflow_id FROM payments WHERE account_id = %(me)s AND flow = 'paypal'"
            " GROUP BY workflow_id ORDER BY min(created_at), workflow_id"
        )
        sandbox = self.customer.actors.sandbox
        return [order for row in rows for order in await sandbox.paypal(row["workflow_id"])]

    async def _heard(self, order: str) -> None:
        """Until it was tried; one that was given up never is."""

        async def tried() -> bool:
            found = [one for one in await self._orders() if one["id"] == order]
            return bool(found and found[0]["tries"])

        try:
            await wait_for(tried, "the order is tried", patience=PATIENCE_SECONDS)
        except AssertionError:
            return


def captures(order: Json) -> list[Json]:
    """Money that was taken from an order."""
    (unit,) = order["purchase_units"]
    return list(unit.get("payments", {}).get("captures", []))
