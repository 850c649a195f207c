"""Results of the credit SQL functions: a fact, or the refusal for a verdict."""

from typing import Any, Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.errors import BillingError, Conflict, Invalid, NotFound, PaymentRequired
from billing.core.frozen import Frozen
from billing.core.money import show_decimal
from billing.core.prepared import Fields, Prepared, Row

DONE: Final = ("ok", "duplicate")
FactT = TypeVar("FactT", bound=Frozen)


def is_refused(row: Fields) -> bool:
    """True if nothing was done, now or before."""
    return row["verdict"] not in DONE


def refusal(row: Fields) -> BillingError:
    """The error for a verdict that is neither `ok` nor `duplicate`: its code and sentence."""
    match row["verdict"]:
        case "insufficient":
            return PaymentRequired(
                "INSUFFICIENT_CREDITS",
                "not enough credits for this",
                required=show_decimal(row["amount"]),
                available=show_decimal(row["available"]),
            )
        case "conflict":
            return Invalid("IDEMPOTENCY_KEY_REUSED", "this key was used for another request")
        case "ends_in_the_past":
            return Invalid("INVALID_EXPIRY")
        case "no_hold":
            return NotFound("HOLD_NOT_FOUND")
        case "exceeded":
            return Invalid("HOLD_EXCEEDED")
        case "captured" | "released" | "expired" as state:
            return Conflict("HOLD_RESOLVED", f"the hold is already {state}", hold_status=state)
        case _:
            return NotFound("NOT_FOUND", "no such account or grant")


async def answered(connection: AsyncConnection, function: Prepared, **values: Any) -> Row:
    """Call the function and return its row. Errors: its refusal."""
    row = await function.one(connection, **values)
    if is_refused(row):
        raise refusal(row)
    return row


def fact(model: type[FactT], row: Fields) -> FactT:
    """Return the row as the verb's result; `replayed` if its key had been used before."""
    fields = {name: value for name, value in row.items() if name in model.model_fields}
    if "replayed" in model.model_fields:
        fields["replayed"] = row["verdict"] == "duplicate"
    return model.model_validate(fields)
