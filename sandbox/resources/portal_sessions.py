"""Sessions of the customer portal: POST /v1/billing_portal/sessions. Its page shows the cards."""

from sandbox import problems
from sandbox.calls import Call, Routes
from sandbox.parameters import text, url
from sandbox.shapes import Json, new_id

KIND = "billing_portal.session"
routes = Routes()


@routes.post("/v1/billing_portal/sessions", {"customer": text(), "return_url": url()})
def create(call: Call) -> Json:
    """Create a portal session of one customer."""
    if "customer" not in call.params:
        raise problems.missing_parameter("customer")
    customer = call.load("customer", call.params["customer"], "customer")
    session_id = new_id("bps")
    session: Json = {
        "id": session_id,
        "object": KIND,
        "after_expiration": None,
        "configuration": "bpc_sandbox",
        "created": call.now(customer["id"]),
        "customer": customer["id"],
        "customer_account": None,
        "flow": None,
        "livemode": False,
        "locale": None,
        "on_behalf_of": None,
        "return_url": call.params.get("return_url"),
        "url": f"{call.settings.public_url}/portal/{session_id}",
    }
    return call.store.insert(session)
