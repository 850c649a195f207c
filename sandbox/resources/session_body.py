"""The body of a new checkout session, and of its lines.

A person's actions on it are in `checkout_sessions` and `people`.
"""

from sandbox import amounts, problems
from sandbox.calls import Call
from sandbox.shapes import Json, address, merge_metadata, new_id, random_text


def lines(call: Call, given: list[Json], customer: str | None) -> list[Json]:
    """Line items with a price each, made from `price_data`; one currency for all."""
    now = call.now(customer)
    made = []
    for place, line in enumerate(given):
        param = f"line_items[{place}]"
        if "price" in line:
            raise problems.no_such("price", line["price"], f"{param}[price]")
        if "price_data" not in line:
            raise problems.missing_parameter(f"{param}[price_data]")
        made.append(_line(line, _price(line["price_data"], now, param)))
    if len({line["currency"] for line in made}) > 1:
        message = "All line items of a Checkout Session must have the same currency."
        raise problems.invalid(message, "line_items")
    return made


def _line(given: Json, price: Json) -> Json:
    quantity = given.get("quantity", 1)
    total = price["unit_amount"] * quantity
    return {
        "id": new_id("li"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": total,
        "amount_tax": 0,
        "amount_total": total,
        "currency": price["currency"],
        "description": given["price_data"]["product_data"]["name"],
        "metadata": given.get("metadata", {}),
        "price": price,
        "quantity": quantity,
    }


def _price(data: Json, now: int, param: str) -> Json:
    if "product_data" not in data:
        raise problems.missing_parameter(f"{param}[price_data][product_data]")
    return {
        "id": new_id("price"),
        "object": "price",
        "active": False,
        "billing_scheme": "per_unit",
        "created": now,
        "currency": data["currency"],
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": new_id("prod"),
        "recurring": None,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "one_time",
        "unit_amount": data["unit_amount"],
        "unit_amount_decimal": str(data["unit_amount"]),
    }


_BLANK: Json = {
    "after_expiration": None,
    "allow_promotion_codes": None,
    "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
    "client_secret": None,
    "collected_information": None,
    "consent": None,
    "consent_collection": None,
    "currency_conversion": None,
    "custom_fields": [],
    "custom_text": {
        "after_submit": None,
        "shipping_address": None,
        "submit": None,
        "terms_of_service_acceptance": None,
    },
    "discounts": [],
    "integration_identifier": None,
    "invoice": None,
    "invoice_creation": None,
    "livemode": False,
    "origin_context": None,
    "payment_intent": None,
    "payment_link": None,
    "payment_method_configuration_details": None,
    "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
    "permissions": None,
    "phone_number_collection": {"enabled": False},
    "recovered_from": None,
    "saved_payment_method_options": None,
    "setup_intent": None,
    "shipping_address_collection": None,
    "shipping_cost": None,
    "shipping_options": [],
    "status": "open",
    "subscription": None,
    "ui_mode": "hosted_page",
    "wallet_options": None,
}
"""Fields that are equal on every new one; nothing in it is changed in place."""


def new(call: Call, params: Json, items: list[Json], expires_at: int) -> Json:
    """The body of an open session; not inserted yet."""
    session_id = f"cs_test_{random_text(58)}"
    paying = params["mode"] == "payment"
    total = sum(item["amount_total"] for item in items) if paying else None
    currency = items[0]["currency"] if items else params.get("currency")
    if total is not None:
        amounts.check(total, currency or "", "line_items")
    email = params.get("customer_email")
    return {
        **_BLANK,
        "id": session_id,
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False} if paying else None,
        "amount_subtotal": total,
        "amount_total": total,
        "billing_address_collection": params.get("billing_address_collection"),
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "created": call.now(params.get("customer")),
        "currency": currency,
        "customer": params.get("customer"),
        "customer_creation": _creation(params) if paying else None,
        "customer_details": customer_details({"email": email}) if email else None,
        "customer_email": email,
        "expires_at": expires_at,
        "locale": params.get("locale"),
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "mode": params["mode"],
        "payment_method_collection": "if_required" if paying else None,
        "payment_method_types": params.get("allowed_payment_method_types", ["card"]),
        "payment_status": "unpaid" if paying else "no_payment_required",
        "submit_type": params.get("submit_type"),
        "success_url": params["success_url"],
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0}
        if paying
        else None,
        "url": f"{call.settings.public_url}/checkout/{session_id}",
    }


def _creation(params: Json) -> str | None:
    return None if params.get("customer") else params.get("customer_creation", "if_required")


def customer_details(person: Json) -> Json:
    """The person's details that the page collected."""
    return {
        "address": address(person.get("address")),
        "business_name": None,
        "email": person.get("email"),
        "individual_name": None,
        "name": person.get("name"),
        "phone": person.get("phone"),
        "tax_exempt": "none",
        "tax_ids": None,
    }
