"""One use as callers send it: the fields of single uses, of batch rows, and of OpenAPI.

`UseBody` is their one definition. msgspec decodes batch rows by it; pydantic, whose model is made
of the same fields, validates a single use with an error for each wrong field. The Python client and
the file import declare their fields themselves, and a test compares them with these.
"""

from datetime import UTC, datetime
from functools import reduce
from operator import attrgetter, or_
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import Meta
from pydantic import AfterValidator, Field, GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema, core_schema

from api.answers.public_ids import row_id
from api.answers.schemas import Body, Credits, Instant, Text
from api.calls import Call
from api.edge.request_limits import JSON_DEPTH
from api.gates import ALLOWED
from api.identity.auth import BILLING
from api.requests.exact_json import plain, shortest
from api.user_scope import own_event_key, user_of
from billing.catalog.products.schemas import ServiceType
from billing.catalog.rating.schemas import BillingMethod
from billing.core import ids
from billing.core.errors import NotAllowed
from billing.core.money import MINOR_LIMIT
from billing.core.periods import BEYOND_CALENDAR, within_calendar
from billing.metering.usage.rules import AMOUNT
from billing.metering.usage.schemas import Use, UseKind

MAX_WORD: Final = 255
DETAIL_BYTES: Final = 16_384
"""Of `usage_details` as JSON without spaces: lists return them whole, 100 uses a page."""
Word = Annotated[str, Meta(min_length=1, max_length=MAX_WORD)]
Amount = Annotated[str, Meta(pattern=AMOUNT)] | Annotated[int, Meta(ge=0, lt=MINOR_LIMIT)]
"""The type for batch rows, which are decoded fast; a number with a point takes the slow path."""
Details = dict[str, Any]
Moment = Annotated[datetime, Meta(tz=True)]
_PYDANTIC: Final[dict[Any, Any]] = {
    Word: Text,
    Amount: Annotated[Credits, Field(ge=0), AfterValidator(lambda amount: f"{amount:f}")],
    Moment: Instant,
    Details: Annotated[Details, AfterValidator(plain)],
}
"""Pydantic types for fields that have these types for msgspec."""

SAID: Final = {
    "account_id": "The account, by our id or your own; by default the caller's",
    "billing_method": "What pays: bought credits (`wallet_deduction`), any credits"
    " (`credit_consumption`), the card (`payment_charge`), or the plan (`subscription_included`),"
    " which is the default if it limits the meter or nothing else pays, else any credits are",
    "event_id": "Your own id of the use: sent again under it, it is not counted again. Without one"
    " the `Idempotency-Key` is its id",
    "external_id": "The account, by your own id",
    "feature_type": "The feature that was used; without a product it says what is counted",
    "hold_id": "The hold that pays for the use; what is left of it is freed",
    "model": "The model that was used; by default `model` of `usage_details`",
    "occurred_at": "When it happened; by default now",
    "operation": "What was done, in your own word; one with a cost of its own costs that for each"
    " unit",
    "service_type": "The service that was used; without a product it says what is counted",
    "usage_amount": "How much was used, in units of the meter, above 0; of a level, such as"
    " storage, the reading",
}
"""The meaning of fields for who sends a use, where answers with such a field say less."""

Kinds = dict[tuple[object, ...], UseKind]


class UseBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One use. `product_id` prices it; else `service_type` or `feature_type` says what is counted,
    and an `operation` with its own price (`/admin/credit-costs`) costs that for each unit.

    `usage_amount` is above 0; for a level, such as storage, it is the reading and may be 0. With
    `event_id` (else the Idempotency-Key) a use is never counted twice; `request_id` is only stored
    and identifies no use. With `hold_id` that hold pays: the cost of the use is captured from it,
    and the rest is released.
    """

    usage_amount: Amount
    user_id: Word | None = None
    organization_id: Word | None = None
    session_id: Word | None = None
    request_id: Word | None = None
    event_id: Word | None = None
    product_id: Word | None = None
    service_type: ServiceType | None = None
    feature_type: Word | None = None
    operation: Word | None = None
    model: Word | None = None
    billing_method: BillingMethod | None = None
    on_insufficient: Literal["reject", "defer"] = "reject"
    occurred_at: Moment | None = None
    usage_details: Details | None = None
    hold_id: Word | None = None

    def __post_init__(self) -> None:
        if not (self.product_id or self.service_type or self.feature_type or self.operation):
            raise ValueError("name a product_id, a service_type, a feature_type or an operation")
        if self.hold_id is not None and (self.billing_method or self.on_insufficient != "reject"):
            raise ValueError("with hold_id, leave out billing_method and on_insufficient")
        if self.occurred_at is not None and not within_calendar(self.occurred_at):
            raise ValueError(f"occurred_at: {BEYOND_CALENDAR}")
        if self.usage_details is not None:
            _bound(self.usage_details)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            lambda checked: cls(**checked.__dict__), handler.generate_schema(_model(cls))
        )


class UseRow(UseBody):
    """One use of a batch; `account_id` or `external_id` name another account than the caller's."""

    account_id: Word | None = None
    external_id: Word | None = None


STRING_FIELDS: Final = tuple(
    field.name for field in msgspec.structs.fields(UseRow) if field.type == Word | None
)
"""The fields of a row that are the caller's own text."""


_TEXTS: Final = attrgetter(
    *(field.name for field in msgspec.structs.fields(UseBody) if field.type == Word | None)
)
_one: Final = msgspec.json.Decoder(UseBody)


def read_use(raw: bytes) -> UseBody | None:
    """Read a plain use as pydantic would, at a tenth of the cost; return None for one with a time
    or details, with surrounding space, and for a wrong one.
    """
    try:
        body = _one.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    texts = list(filter(None, _TEXTS(body)))
    is_plain = body.occurred_at is None and body.usage_details is None
    return body if is_plain and list(map(str.strip, texts)) == texts else None


def use_of(body: UseBody, account_id: UUID, call: Call, kinds: Kinds) -> Use:
    """Return the use to record for an account; equal kinds of a batch share one object in `kinds`.

    Errors: NOT_FOUND for another user's use, FORBIDDEN for a deferred one from a member;
    HOLD_NOT_FOUND.
    """
    if body.on_insufficient == "defer" and call.caller.roles.isdisjoint(ALLOWED[BILLING]):
        raise NotAllowed("FORBIDDEN", "deferring a payment requires the role billing")
    details = body.usage_details
    model = body.model or (_model_in(details) if details else None)
    kind = (
        body.product_id, body.service_type, body.feature_type, body.operation, model,
        body.billing_method, body.on_insufficient == "defer",
    )  # fmt: skip
    return Use(
        account_id,
        kinds.get(kind) or kinds.setdefault(kind, UseKind(*kind)),
        shortest(body.usage_amount),
        body.event_id,
        body.occurred_at.astimezone(UTC) if body.occurred_at else None,
        user_of(body.user_id, call),
        body.organization_id,
        body.session_id,
        body.request_id,
        None if details is None else msgspec.json.encode(details).decode(),
        row_id(ids.HOLD, body.hold_id) if body.hold_id else None,
        own_event_key(account_id, body.event_id, call),
    )


def _model_in(details: dict[str, Any]) -> str | None:
    """Return the model that `usage_details` names, where the use names none [G11]."""
    named = details.get("model")
    named = named.strip() if isinstance(named, str) else ""
    return named if 0 < len(named) <= MAX_WORD else None


def _model(struct: type[UseBody]) -> type[Body]:
    fields: dict[str, Any] = {
        field.name: (
            _checked(field.type),
            Field(... if field.required else field.default, description=SAID.get(field.name)),
        )
        for field in msgspec.structs.fields(struct)
    }
    return create_model(struct.__name__, __base__=Body, __doc__=struct.__doc__, **fields)


def _checked(type_: Any) -> Any:
    if type_ in _PYDANTIC:
        return _PYDANTIC[type_]
    if get_origin(type_) in (Union, UnionType):
        return reduce(or_, map(_checked, get_args(type_)))
    return type_


def _bound(details: Details) -> None:
    text = msgspec.json.encode(details)
    # Few brackets cannot be deep.
    if text.count(b"{") + text.count(b"[") > JSON_DEPTH and _is_deeper(details, JSON_DEPTH):
        raise ValueError(f"usage_details: nested deeper than {JSON_DEPTH} levels")
    if len(text) > DETAIL_BYTES:
        raise ValueError(f"usage_details: more than {DETAIL_BYTES} bytes of JSON")


def _is_deeper(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = value.values()
    return levels == 0 or any(
        _is_deeper(item, levels - 1) for item in value if isinstance(item, (dict, list))
    )
