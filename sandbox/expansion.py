"""`expand[]`: puts an object where its id stands, up to four levels deep.

What can be expanded is one table, so a wrong path gets Stripe's refusal.
"""

from sandbox import problems
from sandbox.shapes import Json
from sandbox.store import Store

MAX_DEPTH = 4

_REFERENCES: dict[str, frozenset[str]] = {
    "balance_transaction": frozenset({"source"}),
    "charge": frozenset(
        {"balance_transaction", "customer", "failure_balance_transaction", "payment_intent"}
    ),
    "checkout.session": frozenset({"customer", "payment_intent", "setup_intent"}),
    "customer": frozenset({"invoice_settings.default_payment_method", "test_clock"}),
    "dispute": frozenset({"charge", "payment_intent"}),
    "payment_intent": frozenset({"customer", "latest_charge", "payment_method"}),
    "payment_method": frozenset({"customer"}),
    "refund": frozenset(
        {
            "balance_transaction",
            "charge",
            "customer",
            "failure_balance_transaction",
            "payment_intent",
            "payment_method",
        }
    ),
    "setup_intent": frozenset({"customer", "payment_method"}),
    "tax.calculation_line_item": frozenset({"tax_breakdown"}),
}
_INCLUDED = {("charge", "refunds"), ("checkout.session", "line_items")}


def expand(store: Store, body: Json, paths: list[str]) -> Json:
    """Expand each path in place; raises a 400 for one that cannot be."""
    for path in paths:
        steps = path.split(".")
        if len(steps) > MAX_DEPTH + (steps[0] == "data"):
            raise problems.invalid(
                f"You cannot expand more than {MAX_DEPTH} levels of a property ({path}).", "expand"
            )
        _walk(store, body, steps, path)
    return body


def _walk(store: Store, body: Json, steps: list[str], path: str, prefix: str = "") -> None:
    step, rest = steps[0], steps[1:]
    kind = str(body.get("object", ""))
    if kind == "list" and step == "data" and rest:
        for item in body["data"]:
            _walk(store, item, rest, path)
        return
    _into(store, body, step, rest, path, kind, prefix)


def _into(
    store: Store, body: Json, step: str, rest: list[str], path: str, kind: str, prefix: str
) -> None:
    holder = prefix.partition("/")[0] or kind
    name = f"{prefix.partition('/')[2]}.{step}".lstrip(".")
    if (holder, name) in _INCLUDED:
        body[step] = _include(store, body, step)
    elif name in _REFERENCES.get(holder, ()):
        if isinstance(body.get(step), str):
            body[step] = store.find(body[step]) or body[step]
    elif not (rest and isinstance(body.get(step), dict)):
        raise problems.invalid(f"This property cannot be expanded ({path}).", "expand")
    child = body.get(step)
    if rest and isinstance(child, dict):
        inner = "" if "object" in child else f"{holder}/{name}"
        _walk(store, child, rest, path, inner)


def _include(store: Store, body: Json, step: str) -> Json:
    if step == "line_items":
        data, url = store.hidden(body["id"])["line_items"], "/v1/checkout/sessions/{}/line_items"
    else:
        refunds = store.select("refund", "AND source = ?", (body["id"],))
        data, url = refunds[::-1], "/v1/charges/{}/refunds"
    return {"object": "list", "data": data, "has_more": False, "url": url.format(body["id"])}
