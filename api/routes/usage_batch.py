"""A thousand uses at once [G4]: parsed at speed, each row with its own verdict."""

from datetime import UTC
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Depends, Header, Request
from fastapi.responses import Response

from api import usage_rows
from api.auth import MEMBER
from api.charging import charge_rows
from api.dependencies import Call, OperatorGate, check_platform, gate_headers, no_such_account
from api.idempotency import valid_key
from api.members import user_of
from api.pricing import Wanted
from api.problem_codes import CODES, passes
from api.problems import responses
from api.routes.base import new_router
from api.routes.usage import words_of
from api.schemas import Answer
from api.tenants import Tenant
from api.usage_rows import Fault, Row
from billing.charges import service as charges
from billing.core import ids
from billing.core.errors import NotAllowed, NotFound
from billing.usage import rules
from billing.usage.schemas import Kind, Recorded, Use

router = new_router("usage")

Owners = dict[str | None, Tenant | None]
Kinds = dict[tuple[object, ...], Kind]
BatchCall = Annotated[Call, Depends(OperatorGate(MEMBER))]


_BATCH_SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["events"],
                    "additionalProperties": False,
                    "properties": {
                        "events": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": rules.MAX_ROWS,
                            "items": msgspec.json.schema(Row)["$defs"]["Row"],
                        }
                    },
                },
                "example": {
                    "events": [{"event_id": "evt-1", "product_id": "gpt-4", "usage_amount": "1000"}]
                },
            }
        },
    }
}


class RowAnswer(Answer):
    """What became of one row, by its place in the request.

    A rejected row says by `retry` whether it is worth sending again as it is: true where what
    refused it passes, as when a part of the service is away.
    """

    row: int
    event_id: str | None
    status: Literal["recorded", "duplicate", "rejected"]
    code: str | None = None
    detail: str | None = None
    retry: bool | None = None


class BatchAnswer(Answer):
    """What became of each row, in the order of the request."""

    recorded: int
    duplicate: int
    rejected: int
    results: list[RowAnswer]


@router.post(
    "/usage/batch",
    response_model=BatchAnswer,
    openapi_extra=_BATCH_SCHEMA,
    responses=responses("INVALID_JSON", "MERCHANT_NOT_FOUND", "IDEMPOTENCY_KEY_INVALID"),
)
async def record_usage_batch(
    request: Request,
    call: BatchCall,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Record up to 1,000 uses, each with its own verdict; a bad row fails alone.

    Role service names an account per row (`account_id` or `external_id`); others record for their
    own. Platform headers, when sent, must fit every account named, else nothing is recorded.
    Rows of one request that cost credits are paid together; each with `payment_charge` is
    charged to its account's card behind the answer, as its billing record tells.

    A row without `event_id` is named `{Idempotency-Key}/{row}`. A large batch is recorded in
    parts: after a 5xx or no answer send the same request again, with the same key or event ids;
    rows that are there answer `duplicate`.
    """
    rows = usage_rows.named(usage_rows.parse(await request.body()), valid_key(idempotency_key))
    owners = await _owners(rows, request, call)
    accounts = [owner for owner in owners.values() if owner is not None]
    await check_platform(gate_headers(request), accounts, call.services)
    refused = await _unpriced(rows, owners, call)
    named = not call.caller.operates or "x-account-id" in request.headers
    uses: list[Use] = []
    places: list[int] = []
    kinds: Kinds = {}
    for place, row in enumerate(rows):
        if place in refused:
            continue
        use = _row_use(row, owners, call, kinds, named=named)
        if isinstance(use, Use):
            uses.append(use)
            places.append(place)
        else:
            refused[place] = use
    for place, one in (await _record(uses, call)).items():
        duplicate = one.verdict == "duplicate"
        refused[places[place]] = ("", "") if duplicate else words_of(one)
    return Response(_batch_answer(rows, refused), media_type="application/json")


async def _record(uses: list[Use], call: Call) -> dict[int, Recorded]:
    """By place, what became of those not recorded; those that cards pay come last."""
    charged = [place for place, use in enumerate(uses) if use.kind.method == charges.METHOD]
    if not charged:
        return await call.services.recorder.many(uses)
    rest = [place for place, use in enumerate(uses) if use.kind.method != charges.METHOD]
    plain = await call.services.recorder.many([uses[place] for place in rest])
    cards = await charge_rows(call, [uses[place] for place in charged])
    return {rest[place]: one for place, one in plain.items()} | {
        charged[place]: one for place, one in cards.items()
    }


async def _unpriced(
    rows: list[Row | Fault], owners: Owners, call: Call
) -> dict[int, tuple[str, str]]:
    """By place, rows whose product the product service does not price now, and why."""
    prices = call.services.prices
    if not prices.are_asked_for:
        return {}
    wanted = {
        place: Wanted(owner, row.product_id, row.service_type)
        for place, row in enumerate(rows)
        if isinstance(row, Row)
        and row.product_id is not None
        and (owner := owners.get(row.account_id or row.external_id)) is not None
    }
    found = await prices.refusals(wanted.values())
    return {
        place: (refusal.code, CODES[refusal.code].detail)
        for place, one in wanted.items()
        if (refusal := found.get((one.tenant, one.product))) is not None
    }


async def _owners(rows: list[Row | Fault], request: Request, call: Call) -> Owners:
    """The accounts that rows name; under None the one of the caller or the header."""
    tenants = call.services.tenants
    header = request.headers.get("x-account-id")
    if not call.caller.operates:
        own = await tenants.find(call.caller.account)
        if own is None or (header and not own.answers_to(header)):
            raise no_such_account()
        mine: Owners = {name: own for name in _named(rows) if own.answers_to(name)}
        return mine | {None: own}
    found: Owners = {}
    found.update(await tenants.find_all(_named(rows)))
    found[None] = await tenants.find(header) if header else None
    return found


def _named(rows: list[Row | Fault]) -> set[str]:
    whole = [row for row in rows if isinstance(row, Row)]
    names = {row.account_id for row in whole} | {row.external_id for row in whole}
    return {name for name in names if name is not None}


def _row_use(
    row: Row | Fault, owners: Owners, call: Call, kinds: Kinds, *, named: bool
) -> Use | tuple[str, str]:
    """The use a row stands for, or (code, detail) of why it is refused."""
    if isinstance(row, Fault):
        return "VALIDATION_FAILED", row.words
    name = row.account_id or row.external_id
    owner = owners.get(name)
    if owner is None and name is None and not named:
        return "ACCOUNT_REQUIRED", "name the account in account_id, external_id or X-Account-Id"
    if owner is None or (row.external_id and owners.get(row.external_id) is not owner):
        return "MERCHANT_NOT_FOUND", CODES["MERCHANT_NOT_FOUND"].detail
    try:
        user = user_of(row.user_id, call)
        hold = ids.decode(ids.HOLD, row.hold_id) if row.hold_id else None
    except NotAllowed as error:
        return error.code, error.detail
    except NotFound:
        return "HOLD_NOT_FOUND", CODES["HOLD_NOT_FOUND"].detail
    words = (
        row.product_id, row.service_type, row.feature_type, row.operation, row.model,
        row.billing_method, row.on_insufficient == "defer",
    )  # fmt: skip
    return Use(
        owner.id,
        kinds.get(words) or kinds.setdefault(words, Kind(*words)),
        row.usage_amount,
        row.event_id,
        row.occurred_at.astimezone(UTC) if row.occurred_at else None,
        user,
        row.organization_id,
        row.session_id,
        row.request_id,
        usage_rows.details(row.usage_details),
        hold,
    )  # fmt: skip


def _batch_answer(rows: list[Row | Fault], refused: dict[int, tuple[str, str]]) -> bytes:
    results: list[dict[str, Any]] = []
    duplicates = 0
    for place, row in enumerate(rows):
        entry: dict[str, Any] = {
            "row": place,
            "event_id": row.event_id,
            "status": "recorded",
        }
        if place in refused:
            code, detail = refused[place]
            if code:
                entry |= {"status": "rejected", "code": code, "detail": detail}
                entry["retry"] = passes(code)
            else:
                duplicates += 1
                entry["status"] = "duplicate"
        results.append(entry)
    return msgspec.json.encode(
        {
            "recorded": len(rows) - len(refused),
            "duplicate": duplicates,
            "rejected": len(refused) - duplicates,
            "results": results,
        }
    )
