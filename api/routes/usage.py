"""Recording and billing of usage, one use at a time or a thousand at once [G1-G4]."""

from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import Body, Depends, Request
from fastapi.responses import Response
from pydantic import Field, TypeAdapter

from api.answers import content_types
from api.answers.problems import JSON, responses
from api.answers.schemas import Answer, Credits, UnitPrice
from api.calls import AccountCall, Call
from api.dependencies import MemberUse
from api.gates import OperatorGate, gate_headers
from api.idempotency import KeyHeader, encoded_answer, valid_key
from api.identity.auth import MEMBER
from api.requests.fast_route import fast, reading
from api.routes.base import new_router
from api.usage import batch_parser, dated_uses, use_times
from api.usage.batch import UsageBatch
from api.usage.body import SAID, UseBody, UseRow, read_use, use_of
from api.usage.card_usage import charge_now
from api.usage.dry_run import DryRun, attempt_one
from api.usage.refusals import CODES_OF_USES, refusal
from api.usage.repeats import sent_again
from api.user_scope import for_all, others_holds
from billing.catalog.rating.schemas import BY_CARD, BillingMethod
from billing.core import ids
from billing.core.errors import BillingError, NotFound, wrong_field
from billing.core.money import show_decimal
from billing.metering.usage import rules
from billing.metering.usage.schemas import Recorded, Status, Use

router = new_router("usage")

BatchCall = Annotated[Call, Depends(OperatorGate(MEMBER))]
_ROW_SCHEMA: Final[dict[str, Any]] = msgspec.json.schema(UseRow)["$defs"]["UseRow"]
_ROW_SCHEMA["properties"]["usage_amount"] = TypeAdapter(Credits).json_schema()
for _name, _words in SAID.items():
    _ROW_SCHEMA["properties"][_name] |= {"description": _words}
_BATCH_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["events"],
    "additionalProperties": False,
    "properties": {
        "events": {
            "type": "array",
            "description": "The uses, each with its own outcome",
            "minItems": 1,
            "maxItems": rules.MAX_ROWS,
            "items": _ROW_SCHEMA,
        }
    },
}
_BATCH_EXAMPLE: Final = {
    "events": [{"event_id": "evt-1", "product_id": "gpt-4", "usage_amount": "1000"}]
}
_BATCH_CONTENT: Final = {JSON: {"schema": _BATCH_SCHEMA, "example": _BATCH_EXAMPLE}}


class UseAnswer(Answer):
    """A use as it was recorded and billed."""

    success: Literal[True] = Field(True, description="Always true")
    billing_id: str
    usage_record_id: str
    billing_status: Status
    billing_method: BillingMethod
    meter: str
    unit_price: UnitPrice
    total_cost: Credits
    currency: str
    is_free_tier: bool
    is_included_in_subscription: bool


class RowAnswer(Answer):
    """The outcome of one row, by its place in the request.

    `retry` of a rejected row is true when the same row may be recorded later, for example when a
    part of the service is unavailable.
    """

    row: int = Field(description="Its place in the request, from 0")
    event_id: str | None
    status: Literal["recorded", "duplicate", "rejected"] = Field(
        description="`recorded`; `duplicate`: it was recorded before; `rejected`: it was not"
        " recorded",
    )
    code: str | None = Field(None, description="The code of the error, of a rejected row")
    detail: str | None = Field(None, description="The same error in words")
    retry: bool | None = Field(
        None, description="True if the same row may be recorded later; of a rejected row"
    )


class BatchAnswer(Answer):
    """The outcome of each row, in the order of the request."""

    recorded: int = Field(description="How many rows were recorded")
    duplicate: int = Field(description="How many rows had been recorded before")
    rejected: int = Field(description="How many rows were not recorded")
    results: list[RowAnswer] = Field(
        description="The outcome of each row, in the order of the request"
    )


def answer_of(done: Recorded) -> bytes:
    """Encode the `UseAnswer` of a recorded use without pydantic, because it is made very often."""
    return msgspec.json.encode(
        {
            "success": True,
            "billing_id": ids.encode(ids.BILLING_RECORD, done.id),
            "usage_record_id": ids.encode(ids.USAGE_RECORD, done.id),
            "billing_status": done.status,
            "billing_method": done.method,
            "meter": done.meter,
            "unit_price": show_decimal(done.unit_price),
            "total_cost": show_decimal(done.total),
            "currency": done.currency,
            "is_free_tier": done.is_free,
            "is_included_in_subscription": done.is_included,
        }
    )


@router.post(
    "/usage/record",
    status_code=201,
    response_model=UseAnswer,
    responses={
        200: {"model": UseAnswer, "description": "Dry run: the use as it would be recorded"},
        **responses(
            "NOT_FOUND", "IDEMPOTENCY_KEY_INVALID", "IDEMPOTENCY_KEY_REQUIRED",
            "IDEMPOTENCY_KEY_REUSED", "BILLING_PARKED", "TEMPORAL_UNAVAILABLE",
            "PRICING_UNAVAILABLE", *CODES_OF_USES,
        ),
    },
)  # fmt: skip
@fast
@reading(read_use)
async def record_usage(
    body: Annotated[UseBody, Body()],
    sent: MemberUse,
    idempotency_key: KeyHeader = None,
    dry_run: DryRun = False,
) -> Response:
    """Record one use: rate it, count it against plan and quotas, and pay it, in one transaction.

    With `payment_charge` a saved card is charged at once, and `billing_status` says whether it
    paid; this needs the role billing, and an `event_id` or Idempotency-Key. A repeated event
    returns its first result with `Idempotent-Replayed: true`. Without both each call is a separate
    use.

    If the role service names no account, `user_id` is the external id of the account. A dry run
    returns 200 with the same fields; its ids refer to nothing.
    """
    key = valid_key(idempotency_key)
    body.event_id = body.event_id or key
    call = await sent.of_user(body.user_id)
    use = use_of(body, call.account.id, call, {})
    if await others_holds([use], call):
        raise NotFound("HOLD_NOT_FOUND")
    await use_times.check(call, use)
    await _price(call, body)
    done = await _recorded(call, use, dry_run=dry_run)
    if done.verdict not in ("recorded", "duplicate"):
        raise await refusal(done, use, call)
    status = 200 if dry_run else 201
    return encoded_answer(answer_of(done), status, replayed=done.verdict == "duplicate")


async def _price(call: AccountCall, body: UseBody) -> None:
    """Fetch the price of a use. One that is already recorded needs none [G3]."""
    used_by = for_all(body.service_type, call)
    try:
        await call.services.prices.need(call.account, body.product_id, used_by)
    except BillingError:
        async with call.transaction() as connection:
            if not await sent_again(connection, call, {0: (call.account.id, body.event_id)}):
                raise


async def _recorded(call: AccountCall, use: Use, *, dry_run: bool) -> Recorded:
    if dry_run:
        return await attempt_one(call, use)
    if use.kind.method == BY_CARD:
        return await charge_now(call, use)
    if dated_uses.are_among(call, [use]):
        return (await dated_uses.record(call, [use]))[0]
    return await call.services.usage_batcher.one(use)


@router.post(
    "/usage/batch",
    response_model=BatchAnswer,
    openapi_extra={"requestBody": {"required": True, "content": _BATCH_CONTENT}},
    responses=responses("MERCHANT_NOT_FOUND", "IDEMPOTENCY_KEY_INVALID"),
)
@fast
async def record_usage_batch(
    request: Request, call: BatchCall, idempotency_key: KeyHeader = None, dry_run: DryRun = False
) -> Response:
    """Record up to 1,000 uses, each with its own result; an invalid row does not affect the others.

    The role service names an account per row (`account_id` or `external_id`); others record for
    their own. Platform headers, if sent, must match every account named, else nothing is recorded.
    Rows that cost credits are paid together; each row with `payment_charge` is charged to its
    account's card after the response, and its billing record shows the result.

    A row without `event_id` gets `{Idempotency-Key}/{row}` as its event id; without a key it is a
    separate use. If a row of the role service names no account, its `user_id` does. Accounts are
    recorded in parts: after a 5xx or no response repeat the request with the same key or event ids;
    rows that were recorded return `duplicate`. In a dry run `recorded` counts those that would be.
    """
    if not content_types.is_json(request):
        raise wrong_field(content_types.FIELD, content_types.NOT_JSON)
    rows = batch_parser.parse(await request.body())
    named = batch_parser.named(rows, valid_key(idempotency_key))
    batch = UsageBatch(named, call, gate_headers(request), dry_run=dry_run)
    return Response(await batch.record(), media_type=JSON)
