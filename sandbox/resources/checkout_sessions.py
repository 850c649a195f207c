"""Checkout sessions: a hosted page where a person pays, or saves a card.

POST and GET /v1/checkout/sessions, GET/POST …/{session}, its expire and line_items.
"""

from sandbox import jobs, listing, problems
from sandbox.calls import Call, Routes
from sandbox.parameters import (
    CREATED,
    METADATA,
    PAGE,
    boolean,
    clearable,
    currency,
    gone,
    integer,
    list_of,
    one_of,
    record,
    required,
    text,
    url,
)
from sandbox.resources import (
    charging,
    intent_body,
    payment_intents,
    session_body,
    setup_intents,
)
from sandbox.resources.fields import SHIPPING, USAGE
from sandbox.shapes import Json, merge_metadata

routes = Routes()

KIND = "checkout.session"
EXPIRE = "checkout.expire"
LASTS_SECONDS = 24 * 3600
SHORTEST_SECONDS = 30 * 60
MAX_LINES = 100

_PRODUCT = record(
    name=required(text()), description=text(), metadata=METADATA, images=list_of(text(), 8)
)
_PRICE = record(
    currency=required(currency()), unit_amount=required(integer(0)), product_data=_PRODUCT
)
_LINE = record(price=text(), price_data=_PRICE, quantity=integer(1), metadata=METADATA)
_CREATE = {
    "allowed_payment_method_types": list_of(one_of("card", "link")),
    "billing_address_collection": one_of("auto", "required"),
    "cancel_url": url(),
    "client_reference_id": text(200),
    "currency": currency(),
    "customer": text(),
    "customer_creation": one_of("if_required"),
    "customer_email": text(800),
    "expires_at": integer(0),
    "line_items": list_of(_LINE, MAX_LINES),
    "locale": text(10),
    "metadata": METADATA,
    "mode": required(one_of("payment", "setup", "subscription")),
    "payment_intent_data": record(
        capture_method=one_of("automatic", "automatic_async", "manual"),
        description=text(1_000),
        metadata=METADATA,
        receipt_email=text(800),
        setup_future_usage=USAGE,
        shipping=SHIPPING,
        statement_descriptor=text(22),
        statement_descriptor_suffix=text(22),
        transfer_group=text(),
    ),
    "payment_method_types": gone(),
    "phone_number_collection": record(enabled=required(boolean())),
    "return_url": url(),
    "setup_intent_data": record(description=text(1_000), metadata=METADATA),
    "submit_type": one_of("auto", "book", "donate", "pay", "subscribe"),
    "success_url": url(),
    "ui_mode": one_of("elements", "embedded_page", "form", "hosted_page"),
}


@routes.post("/v1/checkout/sessions", _CREATE)
def create(call: Call) -> Json:
    """A hosted page for one payment, or for saving one card."""
    params = call.params
    _consistent(params)
    customer = params.get("customer")
    if customer:
        call.load("customer", customer, "customer")
    now = call.now(customer)
    expires_at = params.get("expires_at", now + LASTS_SECONDS)
    if not now + SHORTEST_SECONDS <= expires_at <= now + LASTS_SECONDS:
        raise problems.invalid(
            "The `expires_at` timestamp must be at least 30 minutes and at most 24 hours from "
            "Checkout Session creation.",
            "expires_at",
        )
    items = session_body.lines(call, params.get("line_items", []), customer)
    session = session_body.new(call, params, items, expires_at)
    if params["mode"] == "setup":
        data = {**params.get("setup_intent_data", {}), "customer": customer}
        session["setup_intent"] = setup_intents.new(call, data, session=session["id"])["id"]
    call.store.insert(session, line_items=items, intent_data=params.get("payment_intent_data", {}))
    jobs.later(call.store, expires_at - now, EXPIRE, session["id"])
    return session


def _consistent(params: Json) -> None:
    """Refuse parameters that are missing or contradict each other."""
    if params["mode"] == "subscription":
        message = "The sandbox has no subscriptions of its own; use payment or setup."
        raise problems.invalid(message, "mode")
    if params.get("ui_mode", "hosted_page") != "hosted_page":
        raise problems.invalid("The sandbox shows hosted pages only.", "ui_mode")
    if "success_url" not in params:
        raise problems.missing_parameter("success_url")
    if params["mode"] == "payment" and not params.get("line_items"):
        raise problems.missing_parameter("line_items")
    if params["mode"] == "setup" and "line_items" in params:
        raise problems.invalid("`line_items` cannot be used in `setup` mode.", "line_items")
    if params["mode"] == "setup" and "payment_intent_data" in params:
        message = "You can not pass `payment_intent_data` in `setup` mode."
        raise problems.invalid(message, "payment_intent_data")
    if params["mode"] == "payment" and "setup_intent_data" in params:
        message = "You can not pass `setup_intent_data` in `payment` mode."
        raise problems.invalid(message, "setup_intent_data")
    if "customer" in params and "customer_email" in params:
        message = "You may only specify one of these parameters: customer, customer_email."
        raise problems.invalid(message, code="parameters_exclusive")


@routes.get(
    "/v1/checkout/sessions",
    {
        **PAGE,
        "created": CREATED,
        "customer": text(),
        "payment_intent": text(),
        "status": one_of("complete", "expired", "open"),
    },
)
def index(call: Call) -> Json:
    """Sessions, newest first."""
    filters = {name: call.params.get(name) for name in ("customer", "payment_intent", "status")}
    return listing.page(call, KIND, "/v1/checkout/sessions", filters)


@routes.get("/v1/checkout/sessions/{session}")
def retrieve(call: Call) -> Json:
    """One session."""
    return call.load(KIND, call.path["session"])


@routes.post("/v1/checkout/sessions/{session}", {"metadata": clearable(METADATA)})
def update(call: Call) -> Json:
    """Change the metadata."""
    session = call.load(KIND, call.path["session"])
    if "metadata" in call.params:
        session["metadata"] = merge_metadata(session["metadata"], call.params["metadata"])
    return call.store.save(session)


@routes.get("/v1/checkout/sessions/{session}/line_items", PAGE)
def line_items(call: Call) -> Json:
    """The lines, in their order."""
    session = call.load(KIND, call.path["session"])
    items: list[Json] = call.store.hidden(session["id"])["line_items"]
    ids = [item["id"] for item in items]
    start = ids.index(call.params["starting_after"]) + 1 if _names(call, ids) else 0
    chosen = items[start : start + call.params.get("limit", listing.DEFAULT_LIMIT)]
    return {
        "object": "list",
        "data": chosen,
        "has_more": start + len(chosen) < len(items),
        "url": f"/v1/checkout/sessions/{session['id']}/line_items",
    }


def _names(call: Call, ids: list[str]) -> bool:
    after = call.params.get("starting_after")
    if after and after not in ids:
        raise problems.no_such("line_item", after, "starting_after")
    return bool(after)


@routes.post("/v1/checkout/sessions/{session}/expire")
def expire(call: Call) -> Json:
    """Close an open page: nobody can pay any more."""
    session = call.load(KIND, call.path["session"])
    if session["status"] != "open":
        raise problems.ApiError(
            400,
            'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout '
            f"Session has a status of {session['status']}.",
            executed=True,
        )
    return close(call, session)


def close(call: Call, session: Json) -> Json:
    """Expire a session: cancel its intent and close the page."""
    session |= {"status": "expired", "url": None}
    call.store.save(session)
    for kind, module in (("payment_intent", payment_intents), ("setup_intent", setup_intents)):
        intent = session[kind] and call.store.get(kind, session[kind])
        if intent and intent["status"] in payment_intents.CANCELABLE:
            module.give_up(call, intent, None)
    call.emit("checkout.session.expired", session)
    return session


@jobs.verb(EXPIRE)
def expire_when_due(call: Call, session_id: str) -> None:
    """Expire a session in real time; one on a test clock waits for its clock."""
    session = call.store.get(KIND, session_id)
    if session is None or session["status"] != "open":
        return
    if call.now(session["customer"]) >= session["expires_at"]:
        close(call, session)


def expire_overdue(call: Call, customer: str) -> None:
    """Close this customer's expired sessions after a clock moved."""
    now = call.now(customer)
    for session in call.store.select(KIND, "AND customer = ?", (customer,)):
        if session["status"] == "open" and session["expires_at"] <= now:
            close(call, session)


# What a person does on the page


def intent_for(call: Call, session: Json) -> Json:
    """Return the intent of this session, created at the first try, as at Stripe."""
    if session["payment_intent"]:
        return call.load("payment_intent", session["payment_intent"])
    data = call.store.hidden(session["id"])["intent_data"]
    given = {
        **data,
        "amount": session["amount_total"],
        "currency": session["currency"],
        "customer": session["customer"],
        "automatic_payment_methods": {"enabled": False},
    }
    intent = intent_body.new(call, given, session=session["id"])
    call.emit("payment_intent.created", intent)
    session["payment_intent"] = intent["id"]
    call.store.save(session)
    return intent


def complete(call: Call, session: Json, method: Json, *, paid: bool = True) -> None:
    """Complete the page: it is paid, its bank still decides, or the card is saved."""
    person = session["customer"] and call.store.get("customer", session["customer"])
    details = {**method["billing_details"], **{k: v for k, v in (person or {}).items() if v}}
    email = details.get("email") or session["customer_email"] or "person@example.com"
    session |= {
        "customer_details": session_body.customer_details({**details, "email": email}),
        "status": "complete",
        "url": None,
    }
    if session["mode"] == "payment" and paid:
        session["payment_status"] = "paid"
    call.store.save(session)
    call.emit("checkout.session.completed", session)


def _intent_succeeded(call: Call, intent: Json) -> None:
    session = _session_of(call, intent)
    if session and session["status"] == "open":
        complete(call, session, call.load("payment_method", intent["payment_method"]))
    elif session and session["payment_status"] == "unpaid":
        session["payment_status"] = "paid"
        call.store.save(session)
        call.emit("checkout.session.async_payment_succeeded", session)


def _debit_begun(call: Call, intent: Json) -> None:
    session = _session_of(call, intent)
    if session and session["status"] == "open":
        method = call.load("payment_method", intent["payment_method"])
        complete(call, session, method, paid=False)


def _session_of(call: Call, intent: Json) -> Json | None:
    session_id = call.store.hidden(intent["id"]).get("session")
    return call.store.get(KIND, session_id) if session_id else None


charging.AFTER_SUCCESS.append(_intent_succeeded)
charging.AFTER_DEBIT.append(_debit_begun)
setup_intents.AFTER_SUCCESS.append(_intent_succeeded)
