"""Idempotency-Key on write routes: `async with once.claim(call)` claims the key, keeps the answer.

The same key and body get the first answer again. A key whose first request crashed continues with
that request's resource id. Without a key each request is new.
"""

import hashlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

from fastapi import Depends, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from api import committed
from api.answers import problems
from api.calls import Call
from api.requests.exact_json import by_value, exact
from api.requests.fastapi_internals import amount_names
from billing.core import ids
from billing.core.database_words import database_words
from billing.core.errors import BillingError, Conflict, Invalid
from billing.core.keys import MAX_KEY_CHARS
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.schemas import Matter
from billing.platform.idempotency import store
from billing.platform.idempotency.schemas import (
    Granted,
    KeyedRequest,
    Refused,
    StoredAnswer,
    outcome,
)

T = TypeVar("T")

KEY_MEMBER: Final = "idempotency_key"
REPLAYED_HEADER: Final = "Idempotent-Replayed"
_FORM: Final = {"minLength": 1, "maxLength": MAX_KEY_CHARS, "pattern": "^[ -~]+$"}
KeyHeader = Annotated[str | None, Header(json_schema_extra=_FORM)]
_STORED_AS: Final = {
    "setup_intents.create_payment_method": "payment_methods.create_payment_method",
    "setup_intents.create_setup_intent": "payment_methods.create_setup_intent",
    "subscription_changes.change_subscription": "subscriptions.change_subscription",
}
"""Handlers that moved since a release, and the names under which it stores their keys."""
_logger = logging.getLogger("api.idempotency")


class Replayed(Exception):
    """Raised for a key that has an answer, which is sent instead of running the handler."""

    def __init__(self, answer: StoredAnswer) -> None:
        super().__init__("answered before")
        self.answer = answer


class Claim:
    """Permission to act once.

    `resource_id` is the id of what the request creates: a new UUIDv7, or the id that the first
    request chose. `resumed` means that an earlier request with this key ended without a final
    answer, or still runs, and may have written rows under `resource_id`: look for them before
    writing, under the lock that the earlier one writes them under. A handler sets `has_acted` once
    a part of several acts is committed, so that no refusal of a later part makes the same key start
    again.
    """

    def __init__(self, granted: Granted, asked: KeyedRequest | None = None) -> None:
        self.granted = granted
        self._asked = asked
        self.resource_id = granted.resource_id
        self.resumed = granted.resumed
        self.answered: Response | None = None
        self.has_acted = False
        self._is_found = False

    async def begun(
        self, connection: AsyncConnection, account_id: UUID, workflow_id: str
    ) -> Matter | None:
        """Return the matter that an earlier request with this key started; take the account's lock
        first, because that request may be about to commit.
        """
        if not self.resumed:
            return None
        await credits.lock(connection, account_id)
        return self.found(await matters.find(connection, workflow_id))

    def found(self, row: T | None) -> T | None:
        """Return what an earlier request with this key wrote: it cannot write it again."""
        self._is_found = self._is_found or row is not None
        return row

    @property
    def may_forget(self) -> bool:
        """True if nothing can be written under `resource_id` any more. An earlier request that was
        not found may still run.
        """
        return not self.has_acted and (self._is_found or not self.resumed)

    @property
    def suffix(self) -> str:
        """The end of the keys that the request writes; a repeat of it ends them alike."""
        return ids.encode(ids.REQUEST, self.resource_id)

    @property
    def is_keyed(self) -> bool:
        """True if the request has a key and may therefore be repeated."""
        return self._asked is not None

    async def keep(self, connection: AsyncConnection, status: int, body: BaseModel) -> None:
        """Store the answer in the same transaction as the act, in case of a crash.

        A request repeated after the lease expires then does not act a second time. A request that
        survives stores its own answer. Errors: IDEMPOTENCY_IN_FLIGHT where a repeat has taken the
        key over.
        """
        if self._asked is None:
            return
        kept = StoredAnswer(
            status=status, media_type=problems.JSON, body=body.model_dump_json().encode()
        )
        if not await store.keep(connection, self._asked, self.granted, kept):
            raise in_flight()

    def answer(self, status: int, body: BaseModel, **headers: str) -> Response:
        """Return the handler's answer; store it for the key when its status is final."""
        content = body.model_dump_json().encode()
        self.answered = Response(content, status, headers=headers or None, media_type=problems.JSON)
        return self.answered


class Once:
    """A write request that may carry an Idempotency-Key."""

    def __init__(self, request: Request, key: str | None, *, in_body: bool = False) -> None:
        self._request = request
        self._key = key
        self._in_body = in_body

    def named(self, key: str | None) -> "Once":
        """Return the request with the key in its body, unless its header has one."""
        return Once(self._request, self._key or valid_key(key), in_body=True)

    def require(self) -> None:
        """Raise 400 IDEMPOTENCY_KEY_REQUIRED without a key, for a body that moves money at once."""
        if not self._key:
            raise missing_key()

    def claim(
        self, call: Call, account_id: UUID | None = None
    ) -> AbstractAsyncContextManager[Claim]:
        """Act at most once per account, route and key.

        `account_id` is the account that an operator's path or body names; without it the key
        belongs to no account. Raises `Conflict` IDEMPOTENCY_IN_FLIGHT and `Invalid`
        IDEMPOTENCY_KEY_REUSED. For a key that already has an answer it raises `Replayed` with that
        answer.
        """
        whose = call.account.id if call.account else account_id
        return _free() if self._key is None else self._keyed(call, self._key, whose)

    @asynccontextmanager
    async def _keyed(self, call: Call, key: str, whose: UUID | None) -> AsyncIterator[Claim]:
        asked = KeyedRequest(
            account_id=whose,
            route=route_name(self._request),
            key=key,
            request_hash=await request_hash(self._request, in_body=self._in_body),
        )
        before = asked.model_copy(
            update={
                "account_id": call.account.id if call.account else None,
                "request_hash": await released_hash(self._request),
            }
        )
        asked, granted = await _take(call, asked, before)
        claim = Claim(granted, asked)
        try:
            async with committed.accepting(keyed=True):
                yield claim
        except BillingError as error:
            await _close(call, asked, claim, problems.from_error(error), error.code)
            raise
        except Exception:
            await _close(call, asked, claim, None)
            raise
        await _close(call, asked, claim, claim.answered)


def encoded_answer(body: bytes, status: int, *, replayed: bool) -> Response:
    """Return a hot route's answer: JSON that is already encoded, marked when it is a replay."""
    headers = {REPLAYED_HEADER: "true"} if replayed else None
    return Response(body, status, headers=headers, media_type=problems.JSON)


def route_name(request: Request) -> str:
    """Return the handler's name, such as `purchases.create`: a path and its aliases share keys."""
    endpoint = request.scope["endpoint"]
    name = f"{endpoint.__module__.rpartition('.')[2]}.{endpoint.__name__}"
    return _STORED_AS.get(name, name)


async def request_hash(request: Request, *, in_body: bool = False) -> str:
    """Hash path, query and body; different spellings of the same JSON, and of the same amount, have
    the same hash. So has a body that is left out or empty, and a key in the header or (`in_body`)
    in the body.
    """
    raw = await request.body()
    try:
        body: Any = json.loads(raw, parse_float=exact) if raw else None
        if in_body and isinstance(body, dict):
            body.pop(KEY_MEMBER, None)
        body = by_value(body, amount_names(request.scope["route"])) if body else None
    except ValueError:
        body = raw.hex()
    return _hashed(request, body)


async def released_hash(request: Request) -> str:
    """Return the hash that release 0.1.0 stores: each spelling of an amount has its own."""
    raw = await request.body()
    try:
        body: Any = json.loads(raw) if raw else None
    except ValueError:
        body = raw.hex()
    return _hashed(request, body)


def _hashed(request: Request, body: Any) -> str:
    parts = [request.path_params, sorted(request.query_params.multi_items()), body]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


async def replay(_: Request, error: Replayed) -> Response:
    """Return the first answer, byte for byte, with the header that marks it as replayed."""
    answer = error.answer
    return Response(
        answer.body, answer.status, {REPLAYED_HEADER: "true"}, media_type=answer.media_type
    )


@asynccontextmanager
async def _free() -> AsyncIterator[Claim]:
    async with committed.accepting(keyed=False):
        yield Claim(Granted(resource_id=ids.new(), lease=ids.new()))


def _rows(call: Call) -> AbstractAsyncContextManager[AsyncConnection]:
    return call.database.tenant(call.account.id) if call.account else call.database.operator()


async def _take(
    call: Call, asked: KeyedRequest, before: KeyedRequest
) -> tuple[KeyedRequest, Granted]:
    """Claim the request's key in the database; return the permission to act.

    `before` is the request as the previous release stores it.
    """
    async with _rows(call) as connection:
        if before != asked:
            asked = await store.as_kept_before(connection, asked, before)
        found = await store.claim(connection, asked)
    if isinstance(found, StoredAnswer):
        raise Replayed(found)
    if isinstance(found, Refused):
        if found.reason == "reused":
            raise Invalid("IDEMPOTENCY_KEY_REUSED")
        raise in_flight()
    return asked, found


async def _close(
    call: Call,
    asked: KeyedRequest,
    claim: Claim,
    answer: Response | None,
    code: str | None = None,
) -> None:
    """Store the answer, or release or forget the key. A failure here does not change the answer."""
    what = outcome(answer.status_code, code) if answer is not None else "keep"
    if what == "forget" and not claim.may_forget:
        what = "keep"
    try:
        async with _rows(call) as connection:
            if what == "store" and answer is not None:
                kept = StoredAnswer(
                    status=answer.status_code,
                    media_type=answer.media_type or problems.JSON,
                    body=bytes(answer.body),
                )
                await store.finish(connection, asked, claim.granted, kept)
            elif what == "forget":
                await store.forget(connection, asked, claim.granted)
            else:
                await store.release(connection, asked, claim.granted)
    except (SQLAlchemyError, OSError) as error:
        # The lease expires; a retry with the key then finds the rows by their id.
        _logger.warning("idempotency key not closed: %s", database_words(error))


async def _optional(request: Request, idempotency_key: KeyHeader = None) -> Once:
    return Once(request, valid_key(idempotency_key))


async def _required(request: Request, idempotency_key: KeyHeader = None) -> Once:
    if not idempotency_key:
        raise missing_key()
    return Once(request, valid_key(idempotency_key))


async def _ledger_key(idempotency_key: KeyHeader = None) -> str:
    return valid_key(idempotency_key) or str(ids.new())


async def _sent_key(idempotency_key: KeyHeader = None) -> str | None:
    return valid_key(idempotency_key)


def in_flight() -> Conflict:
    """Return the error for a key whose request is running elsewhere."""
    return Conflict("IDEMPOTENCY_IN_FLIGHT")


def missing_key() -> Invalid:
    """Return the error for a body that moves money and has no key."""
    return Invalid("IDEMPOTENCY_KEY_REQUIRED")


def valid_key(key: str | None) -> str | None:
    """Return the key as sent. Raises 400 IDEMPOTENCY_KEY_INVALID if empty or unprintable."""
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY_CHARS or not (key.isascii() and key.isprintable()):
        raise Invalid(
            "IDEMPOTENCY_KEY_INVALID",
            f"an Idempotency-Key must have 1 to {MAX_KEY_CHARS} printable ASCII characters",
        )
    return key


SentKey = Annotated[str | None, Depends(_sent_key)]
"""`key: SentKey` — the ledger stores the key, and does without one."""

OptionalKey = Annotated[Once, Depends(_optional)]
"""`once: OptionalKey` — a write that accepts an Idempotency-Key."""

RequiredKey = Annotated[Once, Depends(_required)]
"""`once: RequiredKey` — a write that moves money: 400 IDEMPOTENCY_KEY_REQUIRED without a key."""

CLAIMING: Final = frozenset({_optional, _required})
"""The dependencies of the routes that claim their key in the database."""

LedgerKey = Annotated[str, Depends(_ledger_key)]
"""`key: LedgerKey` — hot routes: the ledger stores the key. Without one each call is new."""
