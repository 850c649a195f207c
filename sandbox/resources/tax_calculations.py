"""Tax calculations: POST /v1/tax/calculations, by the rates set with PUT /_sandbox/tax-rates.

Only the journal's row of them is kept: a calculation moves no money.
"""

from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from sandbox import problems
from sandbox.calls import Call, Routes
from sandbox.parameters import currency, integer, list_of, one_of, record, required, text
from sandbox.shapes import Json, address, new_id
from sandbox.store import Store

RATES: Final = "sandbox.tax_rates"
PRESET: Final = "txcd_10000000"
"""The tax code of a line that names none."""
LIFE_SECONDS: Final = 90 * 86_400
routes = Routes()

_ADDRESS: Final = record(
    country=required(text()), state=text(), postal_code=text(), city=text(),
    line1=text(), line2=text(),
)  # fmt: skip
_DETAILS: Final = record(address=required(_ADDRESS), address_source=one_of("billing", "shipping"))
_LINE: Final = record(
    amount=required(integer(0)),
    reference=text(),
    tax_behavior=one_of("exclusive"),
    tax_code=text(),
)


def collect(store: Store, rates: Json) -> Json:
    """Set the taxes of these places; return every known place."""
    kept = store.get(RATES, RATES)
    if kept is None:
        kept = store.insert({"id": RATES, "object": RATES, "created": 0, "rates": {}})
    kept["rates"] |= rates
    store.save(kept)
    known: Json = kept["rates"]
    return known


@routes.post(
    "/v1/tax/calculations",
    {
        "currency": required(currency()),
        "customer_details": required(_DETAILS),
        "line_items": required(list_of(_LINE)),
    },
)
def create(call: Call) -> Json:
    """Return the taxes of lines of goods at an address."""
    where = call.params["customer_details"]["address"]
    if where["country"] == "US" and "postal_code" not in where:
        message = "We could not determine the customer's tax location based on the address."
        raise problems.invalid(message, "customer_details", "customer_tax_location_invalid")
    kept = call.store.get(RATES, RATES) or {"rates": {}}
    region = f"{where['country']}-{where.get('state', '')}"
    asked = [one | {"region": None} for one in kept["rates"].get(where["country"], [])]
    asked += [one | {"region": where.get("state")} for one in kept["rates"].get(region, [])]
    lines = [_line(line, where["country"], asked) for line in call.params["line_items"]]
    expanded = "line_items.data.tax_breakdown" in call.params.get("expand", [])
    return _calculation(call, address(where), lines, expanded=expanded)


def _line(line: Json, country: str, asked: list[Json]) -> Json:
    code = line.get("tax_code", PRESET)
    taxes = [_tax(line["amount"], country, one, code) for one in asked]
    return {
        "id": new_id("tax_li"),
        "object": "tax.calculation_line_item",
        "amount": line["amount"],
        "amount_tax": sum(one["amount"] for one in taxes),
        "livemode": False,
        "metadata": None,
        "performance_location": None,
        "product": None,
        "quantity": 1,
        "reference": line.get("reference", new_id("L")),
        "tax_behavior": "exclusive",
        "tax_breakdown": taxes or [_not_collected(country)],
        "tax_code": code,
    }


def _tax(amount: int, country: str, asked: Json, code: str) -> Json:
    percent = asked["of"].get(code, asked["percent"])
    exempt = Decimal(percent) == 0
    exact = Decimal(amount) * Decimal(percent) / 100
    details = {"display_name": asked["tax"], "percentage_decimal": percent}
    return {
        "amount": int(exact.to_integral_value(ROUND_HALF_UP)),
        "jurisdiction": {
            "country": country,
            "display_name": asked["place"],
            "level": asked["level"],
            "state": asked["region"],
        },
        "sourcing": "destination",
        "tax_rate_details": None if exempt else details | {"tax_type": asked["tax_type"]},
        "taxability_reason": "product_exempt" if exempt else "standard_rated",
        "taxable_amount": 0 if exempt else amount,
    }


def _not_collected(country: str) -> Json:
    """A country where the seller is not registered."""
    place = {"country": country, "display_name": country, "level": "country", "state": None}
    return {
        "amount": 0,
        "jurisdiction": place,
        "sourcing": "destination",
        "tax_rate_details": None,
        "taxability_reason": "not_collecting",
        "taxable_amount": 0,
    }


def _calculation(call: Call, where: Json, lines: list[Json], *, expanded: bool) -> Json:
    total, now = sum(one["amount_tax"] for one in lines), call.now()
    shown: list[Json] = [
        one if expanded else {name: one[name] for name in one if name != "tax_breakdown"}
        for one in lines
    ]
    made = new_id("taxcalc")
    url = f"/v1/tax/calculations/{made}/line_items"
    return {
        "id": made,
        "object": "tax.calculation",
        "amount_total": sum(one["amount"] for one in lines) + total,
        "currency": call.params["currency"],
        "customer": None,
        "customer_details": {
            "address": where,
            "address_source": call.params["customer_details"].get("address_source"),
            "ip_address": None,
            "tax_ids": [],
            "taxability_override": "none",
        },
        "expires_at": now + LIFE_SECONDS,
        "line_items": {"object": "list", "data": shown, "has_more": False, "url": url},
        "livemode": False,
        "ship_from_details": None,
        "shipping_cost": None,
        "tax_amount_exclusive": total,
        "tax_amount_inclusive": 0,
        "tax_breakdown": [],
        "tax_date": now,
    }
