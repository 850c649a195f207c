"""Commands as they are given: by the customer's staff, a browser, an operator, a bank, or time.

Commands name nothing: an act takes the oldest debt, the newest hold, the card saved first. Where
there is none, nothing happens.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from sandbox.control import ControlError, Outcome
from tests.integration.actors import instant
from tests.integration.operator_acts import walk_to
from tests.integration.walk.asking import NOTHING, Done
from tests.integration.walk.diary import Json
from tests.integration.walk.office_acts import OfficeActs
from tests.integration.walk.paypal_acts import BACK, PayPalActs

OPEN: Final = frozenset({"incomplete", "trialing", "active", "past_due", "unpaid", "paused"})
COUPONS: Final[dict[str, Json]] = {
    "WALK20": {"percent": "20", "duration": "forever"},
    "WALK300": {"amounts": {"USD": 300}, "duration": "repeating", "periods": 2, "kinds": ["plan"]},
}
PAYPAL: Final[Json] = {"payment_method": "paypal", "return_url": BACK}


class Acts(PayPalActs, OfficeActs):
    """The people and machines around one account."""

    # -- cards and browsers --------------------------------------------------------------------

    async def save_card(self, card: str) -> Done:
        begun = await self._post("/billing/payment-methods/setup-intent", {})
        if begun[0] != 201:
            return begun
        reference = begun[1]["provider_reference"]
        await self.customer.actors.sandbox.confirm_as_client(reference, card)
        body = {"setup_intent_id": reference, "make_default": True, "confirm": "DEFAULT"}
        return await self._post("/billing/payment-methods", body)

    async def backup(self) -> Done:
        """The card saved first that is not charged becomes the backup."""
        others = [one for one in await self._cards() if not one["is_default"]]
        if not others:
            return NOTHING
        return await self._post(f"/billing/payment-methods/{others[-1]['id']}/backup")

    async def script(self, words: list[str], then: str) -> Done:
        customer = await self._provider_customer()
        if customer is None:
            return NOTHING
        await self.customer.actors.sandbox.script(customer, *words, then=then)
        return 200, {}, {"words": words, "then": then}

    async def confirm(self, card: str) -> Done:
        if not self.secrets:
            return NOTHING
        try:
            outcome = await self.customer.actors.sandbox.confirm_as_client(self.secrets[-1], card)
        except ControlError:
            return NOTHING
        if outcome.status == 200 and outcome.body.get("status") != "requires_action":
            self.secrets.pop()
        return _of_outcome(outcome, {"card": card})

    async def authenticate(self, passed: bool) -> Done:
        for intent in await self._intents():
            try:
                outcome = await self.customer.actors.sandbox.authenticate(intent, passed=passed)
            except ControlError:
                continue
            if outcome.status == 200:
                return _of_outcome(outcome, {"intent": intent, "passed": passed})
        return NOTHING

    async def settle(self, outcome: str) -> Done:
        """The bank ends what it was processing."""
        effects = await self.customer.effects(None)
        over = {one["object"] for one in effects if one["name"] != "charge.pending"}
        waiting = [one for one in effects if one["object"] not in over]
        if not waiting:
            return NOTHING
        intent = waiting[0]["payment_intent"]
        told = await self.customer.actors.sandbox.settle(intent, outcome)
        return _of_outcome(told, {"intent": intent, "outcome": outcome})

    # -- the subscription ----------------------------------------------------------------------

    async def subscribe(
        self, plan: str, interval: str, trial: bool, way: str, quantity: int = 1
    ) -> Done:
        body: Json = {"plan": plan, "interval": interval, "trial": trial}
        body |= {"quantity": quantity} if quantity > 1 else {}
        if way == "transfer":
            body |= {"collection": "send_invoice", "days_until_due": 20}
            return await self._operate("/billing/subscription", body, str(uuid4()), for_it=True)
        if way == "card":
            body["payment_method"] = "card"
        if way == "named":
            cards = await self._cards()
            body |= {"payment_method_id": cards[-1]["id"]} if cards else {}
        return await self._post("/billing/subscription", body, key=True)

    async def cancel(self, at: str, refund: str = "none") -> Done:
        body = {"at": at} | ({"refund": refund} if refund != "none" else {})
        return await self._post("/billing/subscription/cancel", body)

    async def cancel_at(self, days: int) -> Done:
        end = await self.now() + timedelta(days=days)
        return await self._post("/billing/subscription/cancel", {"cancel_at": end.isoformat()})

    async def pause_plan(self, at: str) -> Done:
        return await self._post("/billing/subscription/pause", {"at": at})

    async def extend_plan(self, days: int) -> Done:
        path = f"/admin/accounts/{self.customer.id}/subscription/extend"
        return await self._operate(path, {"days": days, "reason": "we were down"}, str(uuid4()))

    async def reactivate(self) -> Done:
        return await self._post("/billing/subscription/reactivate")

    async def resume(self) -> Done:
        return await self._post("/billing/subscription/resume", {}, key=True)

    async def pay_overdue(self, resume: bool) -> Done:
        return await self._post("/billing/pay-overdue", {"resume": resume}, key=True)

    async def add_ons(self, quantity: int, when: str | None = None) -> Done:
        wanted = [{"add_on": "ai-500", "quantity": quantity}] if quantity else []
        wish = {"add_ons": wanted} | ({"at": when} if when else {})
        return await self._ask("PUT", "/billing/subscription", wish, key=True)

    async def seats(self, quantity: int, when: str | None) -> Done:
        wish = {"quantity": quantity} | ({"at": when} if when else {})
        return await self._ask("PUT", "/billing/subscription", wish, key=True)

    async def change_plan(self, plan: str, interval: str | None, when: str | None) -> Done:
        """Another plan as it was previewed a moment before; what was shown is kept."""
        wish = {"plan": plan, "interval": interval, "at": when}
        wish = {name: value for name, value in wish.items() if value is not None}
        seen = await self._post("/billing/subscription/preview", wish)
        if seen[0] != 200:
            return seen
        body = wish | {"preview_token": seen[1]["preview_token"]}
        done = await self._ask("PUT", "/billing/subscription", body, key=True)
        return done[0], done[1], done[2] | {"preview": seen[1]}

    async def coupon(self, code: str) -> Done:
        terms = {"code": code, "name": "Of a walk", "max_per_account": 100} | COUPONS[code]
        await self._operate("/admin/coupons", terms)  # refused where another life has made it
        return await self._post("/billing/subscription/coupon", {"code": code})

    async def take_off(self, code: str) -> Done:
        return await self._ask("DELETE", f"/billing/subscription/coupon/{code}")

    async def cancel_while_paying(self, card: str, at: str) -> Done:
        """The browser pays in the same moment; what the cancel was answered counts."""
        answer, _ = await asyncio.gather(self.cancel(at), self.confirm(card))
        return answer

    # -- debts ---------------------------------------------------------------------------------

    async def pay(self, way: str) -> Done:
        invoice = await self._owed()
        if invoice is None:
            return NOTHING
        path = f"/billing/invoices/{invoice['invoice_id']}/pay"
        body = {"card": {"payment_method": "card"}, "paypal": PAYPAL}.get(way, {})
        done = await self._post(path, body, key=True)
        if way == "card" and done[0] in (200, 202):
            await self.confirm("pm_card_visa")
        return done[0], done[1], done[2] | {"invoice_id": invoice["invoice_id"]}

    async def submit(self) -> Done:
        invoice = await self._owed() or await self._manual_purchase() or await self._asked()
        if invoice is None:
            return NOTHING
        body = {
            "invoice_id": invoice["invoice_id"],
            "payment_method": "bank_transfer",
            "transaction_reference": f"TRX-{uuid4().hex[:10]}",
        }
        return await self._post("/billing/payments/manual", body)

    async def approve(self, percent: int) -> Done:
        return await self._decide("approve", lambda sent: {"amount_minor": _part(sent, percent)})

    async def reject(self) -> Done:
        return await self._decide("reject", lambda sent: {"reason": "it never came"})

    async def refund(self, percent: int, to: str) -> Done:
        """An operator gives a part of the newest money back, or all that is left of it."""
        listed = (await self.customer.ask("GET", "/billing/payments?limit=100"))["data"]
        paid = [one for one in listed if one["amount_received"] > one["amount_refunded"]]
        if not paid:
            return NOTHING
        left = paid[0]["amount_received"] - paid[0]["amount_refunded"]
        body = {"reason": "asked for", "to": to, "amount_cents": _part({"amount": left}, percent)}
        path = f"/admin/payments/{paid[0]['payment_id']}/refund"
        done = await self._operate(path, body, key=str(uuid4()))
        return done[0], done[1], done[2] | {"invoice_id": paid[0]["invoice_id"]}

    async def give_back(self, percent: int) -> Done:
        """Somebody refunds a card's newest payment in the provider's dashboard."""
        for intent in await self._intents():
            came = [one for one in await self._charged(intent) if one["amount"]]
            if not came:
                continue
            amount = _part(came[0], percent)
            told = await self.customer.actors.sandbox.refund(intent, amount)
            return _of_outcome(told, {"intent": intent, "amount": amount})
        return NOTHING

    async def dispute(self, outcome: str | None) -> Done:
        """The payer's bank takes a payment back, or asks; and decides where `outcome` says how."""
        sandbox = self.customer.actors.sandbox
        for intent in await self._intents():
            if await self._charged(intent):
                # After one for fraud nothing is charged to the card by itself.
                told = await sandbox.dispute(intent, "general", inquiry=outcome is None)
                if told.status == 200 and outcome is not None:
                    await sandbox.finish_dispute(str(told.body["id"]), outcome)
                return _of_outcome(told, {"intent": intent, "outcome": outcome})
        return NOTHING

    async def forgive(self) -> Done:
        return await self._steer("forgive", {"reason": "our fault"})

    async def retry_now(self) -> Done:
        return await self._steer("retry-now", {})

    async def extend(self, days: int) -> Done:
        return await self._steer("extend", {"days": days})

    async def pause(self) -> Done:
        return await self._steer("pause", {})

    async def resume_case(self) -> Done:
        return await self._steer("resume", {})

    # -- use and credits -----------------------------------------------------------------------

    async def record(self, feature: str, amount: str) -> Done:
        return await self._use({"feature_type": feature, "usage_amount": amount})

    async def spend(self, amount: str) -> Done:
        return await self._use({"product_id": "gpt-4", "usage_amount": amount})

    async def defer(self, amount: str) -> Done:
        body = {"product_id": "gpt-4", "usage_amount": amount, "on_insufficient": "defer"}
        return await self._use(body)

    async def charge(self, amount: str) -> Done:
        body = {"product_id": "gpt-4", "usage_amount": amount, "billing_method": "payment_charge"}
        return await self._use(body)

    async def hold(self, amount: str) -> Done:
        body = {"amount": amount, "reason": "a job"}
        done = await self._post("/billing/credits/holds", body, key=True)
        if done[0] == 201:
            self.holds.append(done[1])
        return done

    async def capture(self, percent: int) -> Done:
        if not self.holds:
            return NOTHING
        held = self.holds.pop()
        body = {"amount": str(int(float(held["amount"]) * percent) / 100)}
        return await self._post(f"/billing/credits/holds/{held['hold_id']}/capture", body)

    async def release(self) -> Done:
        if not self.holds:
            return NOTHING
        held = self.holds.pop()
        return await self._post(f"/billing/credits/holds/{held['hold_id']}/release")

    async def buy(self, pack: str, flow: str) -> Done:
        body = {"pack": pack, "payment_method": flow} | (PAYPAL if flow == "paypal" else {})
        return await self._post("/billing/purchases", body, key=True)

    async def top_up(self, is_enabled: bool, threshold: str) -> Done:
        body = {
            "is_enabled": is_enabled, "threshold": threshold, "pack": "small",
            "monthly_cap_cents": 5000,
        }  # fmt: skip
        return await self._ask("PUT", "/billing/credits/auto-top-up", body)

    # -- time ----------------------------------------------------------------------------------

    async def advance(self, days: int, hours: int) -> Done:
        return await self._walk(await self.now() + timedelta(days=days, hours=hours))

    async def to_renewal(self, days: int, seconds: int) -> Done:
        """To the end of the open period and so much further."""
        shown = await self.subscription()
        if shown.get("status") not in OPEN:
            return await self.advance(3, 0)
        end = instant(shown["current_period_end"])
        return await self._walk(end + timedelta(days=days, seconds=seconds))

    async def now(self) -> datetime:
        return instant((await self.customer.clock())["clock_at"])

    async def subscription(self) -> Json:
        """The subscription as it is shown; empty when there never was one."""
        answer = await self.customer.call("GET", "/billing/subscription")
        shown: Json = answer.json()
        return shown if answer.status_code == 200 else {}

    async def _walk(self, to: datetime) -> Done:
        if to <= await self.now():
            return NOTHING
        await walk_to(self.customer, to)
        return 200, {}, {"to": to.isoformat()}


def _part(sent: Json, percent: int) -> int:
    return max(1, int(sent["amount"]) * percent // 100)


def _of_outcome(outcome: Outcome, sent: Json) -> Done:
    code = outcome.code
    return outcome.status, ({"code": code} if code else {}), sent
