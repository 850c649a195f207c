"""What the SQL functions of credits answer, read: a fact, or the refusal behind a verdict."""

from typing import Final, TypeVar

from billing.core.errors import BillingError, Conflict, Invalid, NotFound, PaymentRequired
from billing.core.money import show_decimal
from billing.core.prepared import Fields
from billing.credits.schemas import Fact

DONE: Final = ("ok", "duplicate")
FactT = TypeVar("FactT", bound=Fact)


def is_refused(row: Fields) -> bool:
    """Whether nothing was done, now or before."""
    return row["verdict"] not in DONE


def refusal(row: Fields) -> BillingError:
    """Why: the code and sentence of a verdict that is neither `ok` nor `duplicate`."""
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
        case "expired":
            return Invalid("INVALID_EXPIRY", "a hold must end after the account's now")
        case "no_hold":
            return NotFound("HOLD_NOT_FOUND", "no such hold")
        case "exceeded":
            return Invalid("HOLD_EXCEEDED", "a capture may not take more than was held")
        case "captured" | "released" | "lapsed" as state:
            return Conflict("HOLD_RESOLVED", f"the hold was {state}", hold_status=state)
        case _:
            return NotFound("NOT_FOUND", "no such account or grant")


def fact(model: type[FactT], row: Fields) -> FactT:
    """The row as what the verb answers; `replayed` where its key had been used before."""
    fields = {name: value for name, value in row.items() if name in model.model_fields}
    if "replayed" in model.model_fields:
        fields["replayed"] = row["verdict"] == "duplicate"
    return model.model_validate(fields)
