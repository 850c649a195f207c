"""Customers: who pays, their default card and, in tests, the clock they live by.

POST and GET /v1/customers, GET/POST/DELETE /v1/customers/{customer}, and their cards.
"""

import json
from typing import Any

from sandbox import listing, problems
from sandbox.calls import Call, Routes
from sandbox.parameters import (
    CREATED,
    METADATA,
    PAGE,
    clearable,
    integer,
    list_of,
    one_of,
    record,
    text,
)
from sandbox.resources import payment_methods
from sandbox.resources.fields import ADDRESS, REDISPLAY, SHIPPING
from sandbox.shapes import Json, address, merge_metadata, new_id, random_text

routes = Routes()

_WRITE = {
    "address": clearable(ADDRESS),
    "balance": integer(),
    "description": clearable(text()),
    "email": clearable(text(512)),
    "invoice_prefix": text(12),
    "invoice_settings": record(default_payment_method=clearable(text()), footer=clearable(text())),
    "metadata": clearable(METADATA),
    "name": clearable(text(256)),
    "next_invoice_sequence": integer(1),
    "phone": clearable(text(20)),
    "preferred_locales": list_of(text(12)),
    "shipping": clearable(SHIPPING),
    "tax_exempt": clearable(one_of("exempt", "none", "reverse")),
}
_CREATE = {**_WRITE, "payment_method": text(), "test_clock": text()}
_PLAIN = (
    "balance", "description", "email", "invoice_prefix", "name", "next_invoice_sequence",
    "phone", "preferred_locales",
)  # fmt: skip


_BLANK: Json = {
    "address": None,
    "balance": 0,
    "currency": None,
    "default_source": None,
    "delinquent": False,
    "description": None,
    "discount": None,
    "email": None,
    "livemode": False,
    "name": None,
    "next_invoice_sequence": 1,
    "phone": None,
    "preferred_locales": [],
    "shipping": None,
    "tax_exempt": "none",
}
"""Fields that are equal on every new one; nothing in it is changed in place."""


@routes.post("/v1/customers", _CREATE)
def create(call: Call) -> Json:
    """A new customer; with `test_clock` it lives at that clock's time from the start."""
    clock_id = call.params.get("test_clock")
    created = call.now()
    if clock_id:
        created = call.load("test_helpers.test_clock", clock_id, "test_clock")["frozen_time"]
    customer: Json = {
        **_BLANK,
        "id": new_id("cus"),
        "object": "customer",
        "created": created,
        "invoice_prefix": random_text(8).upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "metadata": {},
        "test_clock": clock_id,
    }
    settings = call.params.pop("invoice_settings", {})
    _apply(customer, call.params)
    call.store.insert(customer)
    if "payment_method" in call.params:
        payment_methods.attach_to(call, call.params["payment_method"], customer["id"])
    _set_invoice_settings(call, customer, settings)
    call.store.save(customer)
    call.emit("customer.created", customer)
    return customer


@routes.get("/v1/customers", {**PAGE, "created": CREATED, "email": text(), "test_clock": text()})
def index(call: Call) -> Json:
    """Customers, newest first; without `test_clock` those on a clock are left out."""
    filters: dict[str, Any] = {
        "email": call.params.get("email"),
        "test_clock": call.params.get("test_clock", listing.ABSENT),
    }
    return listing.page(call, "customer", "/v1/customers", filters)


@routes.get("/v1/customers/{customer}")
def retrieve(call: Call) -> Json:
    """One customer; a deleted one answers its stub."""
    found = call.store.find(call.path["customer"])
    if found is None or found["object"] != "customer":
        raise problems.no_such("customer", call.path["customer"])
    return found


@routes.post("/v1/customers/{customer}", {**_WRITE, "default_source": text()})
def update(call: Call) -> Json:
    """Change some fields; metadata is merged."""
    customer = call.load("customer", call.path["customer"])
    settings = call.params.pop("invoice_settings", {})
    if "default_source" in call.params:
        raise problems.invalid(
            "The sandbox keeps no sources; use invoice_settings[default_payment_method].",
            "default_source",
        )
    return change(call, customer, call.params, settings)


def change(call: Call, customer: Json, fields: Json, settings: Json) -> Json:
    """Change some fields and invoice settings, and emit what they were."""
    before = json.loads(json.dumps(customer))
    _apply(customer, fields)
    _set_invoice_settings(call, customer, settings)
    call.store.save(customer)
    previous = {key: value for key, value in before.items() if customer[key] != value}
    if "invoice_settings" in previous:  # of a nested object Stripe tells what changed in it
        now = customer["invoice_settings"]
        were = before["invoice_settings"].items()
        previous["invoice_settings"] = {key: value for key, value in were if now[key] != value}
    if previous:
        call.emit("customer.updated", customer, previous)
    return customer


@routes.delete("/v1/customers/{customer}")
def delete(call: Call) -> Json:
    """Remove a customer; its cards are detached for good."""
    customer = call.load("customer", call.path["customer"])
    return delete_customer(call, customer)


def delete_customer(call: Call, customer: Json) -> Json:
    """Detach the cards, remove the customer, emit the event."""
    for method in call.store.select("payment_method", "AND customer = ?", (customer["id"],)):
        payment_methods.detach_from(call, method)
    call.emit("customer.deleted", customer)
    return call.store.delete("customer", customer["id"])


@routes.get(
    "/v1/customers/{customer}/payment_methods",
    {**PAGE, "type": text(), "allow_redisplay": REDISPLAY},
)
def cards(call: Call) -> Json:
    """The payment methods of one customer."""
    customer = call.load("customer", call.path["customer"])["id"]
    filters: dict[str, Any] = {
        "customer": customer,
        "type": call.params.get("type"),
        "allow_redisplay": call.params.get("allow_redisplay"),
    }
    return listing.page(
        call, "payment_method", f"/v1/customers/{customer}/payment_methods", filters
    )


@routes.get("/v1/customers/{customer}/payment_methods/{payment_method}")
def card(call: Call) -> Json:
    """One payment method of one customer."""
    method = call.load("payment_method", call.path["payment_method"])
    if method["customer"] != call.path["customer"]:
        raise problems.no_such("payment_method", method["id"])
    return method


def _apply(customer: Json, params: Json) -> None:
    for name in _PLAIN:
        if name in params:
            customer[name] = params[name]
    if "metadata" in params:
        customer["metadata"] = merge_metadata(customer["metadata"], params["metadata"])
    if "tax_exempt" in params:
        customer["tax_exempt"] = params["tax_exempt"] or "none"
    if "address" in params:
        customer["address"] = address(params["address"]) if params["address"] else None
    if "shipping" in params:
        given = params["shipping"]
        customer["shipping"] = given and {
            "address": address(given["address"]),
            "name": given["name"],
            "phone": given.get("phone"),
        }


def _set_invoice_settings(call: Call, customer: Json, settings: Json) -> None:
    """Set the invoice settings; a default card must belong to this customer."""
    method_id = settings.get("default_payment_method")
    if method_id is not None:
        method = call.store.get("payment_method", method_id)
        if method is None or method["customer"] != customer["id"]:
            raise problems.ApiError(
                400,
                f"The customer does not have a payment method with the ID {method_id}. The "
                "payment method must be attached to the customer.",
                code="resource_missing",
                param="invoice_settings[default_payment_method]",
            )
    customer["invoice_settings"].update(settings)
