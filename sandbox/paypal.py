"""PayPal's orders in memory: created, approved by their payer, captured once, refunded."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, TypeVar
from uuid import uuid4

from sandbox.paypal_events import Events
from sandbox.shapes import Json

T = TypeVar("T")
Taking = Literal["pays", "declined", "refused", "pending", "unanswered", "late"]
"""`declined` asks the payer again; `refused` leaves the order approved; `unanswered` pays, but its
answers are lost until the order is steered again; `late` pays when it is settled, and its answer is
lost.
"""
WHOLE_CURRENCIES = frozenset({"HUF", "JPY", "TWD"})
MAX_DECIMALS = 2


class Refusal(Exception):
    """A refusal as PayPal writes it."""

    def __init__(self, status: int, name: str, issue: str | None = None) -> None:
        super().__init__(issue or name)
        self.status = status
        details = [{"issue": issue, "description": f"The stand-in says {issue}."}] if issue else []
        self.body: Json = {"name": name, "details": details, "debug_id": uuid4().hex[:13]}


@dataclass
class Order:
    """One order, its capture and the captures' fate."""

    body: Json
    taking: Taking = "pays"
    issue: str = "INSTRUMENT_DECLINED"
    mute: bool = False
    expired: bool = False
    """It is older than three hours: nobody can approve or capture it any more."""
    tries: int = 0
    refunds: dict[str, Json] = field(default_factory=dict)

    @property
    def unit(self) -> Json:
        """The order's one purchase unit."""
        unit: Json = self.body["purchase_units"][0]
        return unit

    @property
    def capture(self) -> Json | None:
        """The capture, if there is one."""
        found: Json | None = next(iter(self.unit.get("payments", {}).get("captures", [])), None)
        return found


class PayPal:
    """Every order of one process; forgotten when it ends."""

    def __init__(self, events: Events, public_url: str) -> None:
        self.orders: dict[str, Order] = {}
        self._events = events
        self._public_url = public_url
        self._kept: dict[tuple[str, str], Json] = {}

    def order(self, order_id: str) -> Order:
        """Return the order with this id."""
        return _found(self.orders.get(order_id))

    def seen(self, order_id: str) -> Json:
        """Return what is told of an order."""
        order = self.order(order_id)
        if order.capture is not None and order.taking == "unanswered":
            raise Refusal(503, "SERVICE_UNAVAILABLE")
        return order.body

    def of_capture(self, capture_id: str) -> Order:
        """Return the order of this capture."""
        orders = (one for one in self.orders.values() if one.capture)
        return _found(
            next((one for one in orders if one.capture and one.capture["id"] == capture_id), None)
        )

    def create(self, wanted: Json, key: str | None) -> tuple[Json, int]:
        """Create an order that waits for its payer; a known key returns its order."""
        known = self._kept.get(("create", key or ""))
        if known is not None:
            return known, 200
        unit = wanted["purchase_units"][0]
        _check(unit["amount"])
        order_id = _new_id()
        source = wanted["payment_source"]["paypal"]["experience_context"]
        body: Json = {
            "id": order_id,
            "intent": wanted["intent"],
            "status": "PAYER_ACTION_REQUIRED",
            "payment_source": {"paypal": {}},
            "purchase_units": [{"reference_id": "default", **unit}],
            "create_time": _now(),
            "links": [
                _link("self", f"{self._public_url}/v2/checkout/orders/{order_id}"),
                _link("payer-action", f"{self._public_url}/checkoutnow?token={order_id}"),
            ],
        }
        self.orders[order_id] = Order(body)
        self._kept[("return", order_id)] = {"url": source["return_url"]}
        if key:
            self._kept[("create", key)] = body
        return body, 201

    def return_url(self, order_id: str) -> str:
        """Return the address that an order's payer goes back to."""
        return str(self._kept[("return", order_id)]["url"])

    def approve(self, order_id: str) -> None:
        """Approve an order as its payer."""
        order = self.order(order_id)
        if order.body["status"] == "COMPLETED":
            raise Refusal(422, "UNPROCESSABLE_ENTITY", "ORDER_ALREADY_CAPTURED")
        if order.expired:
            raise Refusal(422, "UNPROCESSABLE_ENTITY", "ORDER_EXPIRED")
        order.body["status"] = "APPROVED"
        self._tell(order, "CHECKOUT.ORDER.APPROVED", order.body)

    def take(self, order_id: str, key: str | None) -> tuple[Json, int]:
        """Capture an order; a known key returns the earlier answer."""
        kept, order = self._kept.get(("capture", key or "")), self.order(order_id)
        if kept is not None:
            return kept, 200
        if order.capture is not None:
            raise Refusal(422, "UNPROCESSABLE_ENTITY", "ORDER_ALREADY_CAPTURED")
        if order.expired:
            raise Refusal(422, "UNPROCESSABLE_ENTITY", "ORDER_EXPIRED")
        if order.body["status"] != "APPROVED":
            raise Refusal(422, "UNPROCESSABLE_ENTITY", "ORDER_NOT_APPROVED")
        order.tries += 1
        if order.taking == "late":
            raise Refusal(503, "SERVICE_UNAVAILABLE")
        if order.taking in ("declined", "refused"):
            if order.taking == "declined":
                order.body["status"] = "PAYER_ACTION_REQUIRED"
            raise Refusal(422, "UNPROCESSABLE_ENTITY", order.issue)
        capture: Json = {
            "id": _new_id(),
            "status": "PENDING" if order.taking == "pending" else "COMPLETED",
            "amount": order.unit["amount"],
            "final_capture": True,
            "invoice_id": order.unit["invoice_id"],
            "custom_id": order.unit["custom_id"],
            "supplementary_data": {"related_ids": {"order_id": order_id}},
            "create_time": _now(),
        }
        order.unit["payments"] = {"captures": [capture]}
        order.body["status"] = "COMPLETED"
        if key:
            self._kept[("capture", key)] = order.body
        self._tell(order, f"PAYMENT.CAPTURE.{capture['status']}", capture)
        return self.seen(order_id), 201

    def settle(self, order_id: str, status: str) -> None:
        """End a pending capture; one that is late pays now."""
        order = self.order(order_id)
        if order.taking == "late":
            order.taking = "pays"
            self.take(order_id, None)
            return
        capture = _found(order.capture)
        capture["status"] = "DECLINED" if status == "DENIED" else status
        self._tell(order, f"PAYMENT.CAPTURE.{status}", capture)

    def refund(self, capture_id: str, wanted: Json, key: str | None) -> tuple[Json, int]:
        """Refund money of a capture; a known key returns the earlier answer."""
        order = self.of_capture(capture_id)
        kept = self._kept.get(("refund", key or ""))
        if kept is not None:
            return kept, 200
        capture = _found(order.capture)
        amount = wanted.get("amount") or capture["amount"]
        _check(amount)
        given = sum(Decimal(one["amount"]["value"]) for one in order.refunds.values())
        given += Decimal(amount["value"])
        if given > Decimal(capture["amount"]["value"]):
            raise Refusal(422, "UNPROCESSABLE_ENTITY", "REFUND_AMOUNT_EXCEEDED")
        back: Json = {
            "id": _new_id(), "status": "COMPLETED", "amount": amount, "create_time": _now(),
            **{name: wanted[name] for name in ("custom_id", "invoice_id") if name in wanted},
            "links": [_link("up", f"{self._public_url}/v2/payments/captures/{capture_id}")],
        }  # fmt: skip
        self._keep(order, back)
        whole = given == Decimal(capture["amount"]["value"])
        capture["status"] = "REFUNDED" if whole else "PARTIALLY_REFUNDED"
        if key:
            self._kept[("refund", key)] = back
        self._tell(order, "PAYMENT.CAPTURE.REFUNDED", back)
        return back, 201

    def reverse(self, order_id: str) -> None:
        """Reverse what is left of a capture, as PayPal does for the payer or their bank."""
        order = self.order(order_id)
        capture = _found(order.capture)
        given = sum(Decimal(one["amount"]["value"]) for one in order.refunds.values())
        left = Decimal(capture["amount"]["value"]) - given
        if not left:
            raise Refusal(422, "UNPROCESSABLE_ENTITY", "CAPTURE_FULLY_REFUNDED")
        back: Json = {
            "id": _new_id(), "status": "COMPLETED", "create_time": _now(),
            "amount": capture["amount"] | {"value": str(left)},
            "note_to_payer": "Payment reversed",
            "links": [_link("up", f"{self._public_url}/v2/payments/captures/{capture['id']}")],
        }  # fmt: skip
        self._keep(order, back)
        capture["status"] = "REFUNDED"
        self._tell(order, "PAYMENT.CAPTURE.REVERSED", back)

    def found_refund(self, refund_id: str) -> Json:
        """Return a refund by its id."""
        every = (one.refunds.get(refund_id) for one in self.orders.values())
        found = next((one for one in every if one), None)
        if found is None:
            raise Refusal(404, "RESOURCE_NOT_FOUND")
        return found

    def _keep(self, order: Order, back: Json) -> None:
        order.refunds[back["id"]] = back
        order.unit["payments"]["refunds"] = list(order.refunds.values())

    def _tell(self, order: Order, kind: str, resource: Json) -> None:
        if not order.mute:
            self._events.send(order.body["id"], kind, resource)


def _found(found: T | None) -> T:
    if found is None:
        raise Refusal(404, "RESOURCE_NOT_FOUND")
    return found


def _check(amount: Json) -> None:
    """Refuse decimals that the currency does not have."""
    value = Decimal(amount["value"])
    exponent = value.as_tuple().exponent
    decimals = -exponent if isinstance(exponent, int) else 0
    most = 0 if amount["currency_code"] in WHOLE_CURRENCIES else MAX_DECIMALS
    if decimals > most:
        raise Refusal(422, "UNPROCESSABLE_ENTITY", "DECIMAL_PRECISION")
    if value <= 0:
        raise Refusal(422, "UNPROCESSABLE_ENTITY", "CANNOT_BE_ZERO_OR_NEGATIVE")


def _new_id() -> str:
    return uuid4().hex[:17].upper()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _link(rel: str, href: str) -> Json:
    return {"rel": rel, "href": href, "method": "GET"}
