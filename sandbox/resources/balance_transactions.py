"""Balance transactions: what each charge, refund and dispute does to the seller's balance.

GET /v1/balance_transactions and /v1/balance_transactions/{id}.
"""

from sandbox import listing
from sandbox.calls import Call, Routes
from sandbox.parameters import CREATED, PAGE, currency, text
from sandbox.shapes import Json, new_id

routes = Routes()

AVAILABLE_AFTER_SECONDS = 2 * 86_400


def record(
    call: Call,
    source: Json,
    kind: str,
    category: str,
    amount: int,
    fee: int = 0,
    *,
    at: int,
    description: str | None = None,
) -> Json:
    """Book one movement; `amount` is negative when money leaves the seller."""
    return call.store.insert(
        {
            "id": new_id("txn"),
            "object": "balance_transaction",
            "amount": amount,
            "available_on": at + AVAILABLE_AFTER_SECONDS,
            "balance_type": "payments",
            "created": at,
            "currency": source["currency"],
            "description": description,
            "exchange_rate": None,
            "fee": fee,
            "fee_details": _fees(fee, source["currency"]),
            "net": amount - fee,
            "reporting_category": category,
            "source": source["id"],
            "status": "pending",
            "type": kind,
        }
    )


def _fees(fee: int, currency: str) -> list[Json]:
    if not fee:
        return []
    return [
        {
            "amount": fee,
            "application": None,
            "currency": currency,
            "description": "Stripe processing fees",
            "type": "stripe_fee",
        }
    ]


@routes.get(
    "/v1/balance_transactions",
    {**PAGE, "created": CREATED, "currency": currency(), "source": text(), "type": text()},
)
def index(call: Call) -> Json:
    """Movements, newest first."""
    names = ("currency", "source", "type")
    filters = {name: call.params.get(name) for name in names}
    return listing.page(call, "balance_transaction", "/v1/balance_transactions", filters)


@routes.get("/v1/balance_transactions/{id}")
def retrieve(call: Call) -> Json:
    """One movement."""
    return call.load("balance_transaction", call.path["id"])
