"""One batch of uses: the account, price and use of each row, and the verdict on it."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from api.answers.problem_codes import is_temporary
from api.batching.usage_batcher import record_last
from api.calls import AccountCall, Call
from api.identity.auth import SERVICE
from api.identity.tenants import Tenant
from api.pricing import Wanted
from api.shop_headers import check_platform
from api.usage import dated_uses, use_times
from api.usage.batch_parser import Fault
from api.usage.body import Kinds, UseRow, use_of
from api.usage.card_usage import charge_rows
from api.usage.dry_run import attempt
from api.usage.refusals import code_and_detail
from api.usage.repeats import sent_again
from api.user_scope import for_all, others_holds
from billing.catalog.rating.schemas import BY_CARD
from billing.core.error_codes import CODES
from billing.core.errors import BillingError, NotFound
from billing.metering.usage.schemas import Recorded, Use

Row = UseRow | Fault
CodeAndDetail = tuple[str, str]
"""A code and a sentence."""


class UsageBatch:
    """The rows of one request; outcomes are stored by the row's place."""

    def __init__(
        self, rows: Sequence[Row], call: Call, headers: Mapping[bytes, str], *, dry_run: bool
    ) -> None:
        self._dry_run = dry_run
        self._rows = rows
        self._call = call
        self._headers = headers
        self._by_user = SERVICE in call.caller.roles and not headers.get(b"x-account-id")
        self._owners: dict[str | None, Tenant | None] = {}
        self._refused: dict[int, CodeAndDetail] = {}
        self._duplicates: set[int] = set()

    async def record(self) -> bytes:
        """Record the valid rows, or try them; return the `BatchAnswer` with the verdict on each
        row.

        Errors: MERCHANT_NOT_FOUND for the caller's own account; PLATFORM_MISMATCH.
        """
        await self._find_owners()
        accounts = [owner for owner in self._owners.values() if owner is not None]
        await check_platform(self._headers, accounts, self._call.services)
        await self._price()
        uses = await self._allowed(self._uses())
        places, rows = list(uses), list(uses.values())
        for number, done in (await self._write(rows)).items():
            if done.verdict == "duplicate":
                self._duplicates.add(places[number])
            else:
                self._refused[places[number]] = code_and_detail(done, rows[number])
        return self._answer()

    async def _find_owners(self) -> None:
        """Look up the accounts that rows name; None stands for the caller's or the header's."""
        tenants, caller = self._call.services.tenants, self._call.caller
        whole = [row for row in self._rows if isinstance(row, UseRow)]
        names = {self._named(row) for row in whole} | {row.external_id for row in whole}
        named = {name for name in names if name is not None}
        header = self._headers.get(b"x-account-id")
        if caller.operates:
            self._owners.update(await tenants.find_all(named))
            self._owners[None] = await tenants.find(header) if header else None
            return
        own = await tenants.own(caller.account, header)
        if own is None:
            raise NotFound("MERCHANT_NOT_FOUND")
        self._owners.update({name: own for name in named if own.answers_to(name)})
        self._owners[None] = own

    def _named(self, row: UseRow) -> str | None:
        """Return the account that a row names; for a service that names none, its user [A14]."""
        return row.account_id or row.external_id or (row.user_id if self._by_user else None)

    async def _price(self) -> None:
        """Refuse new rows whose product the product service currently does not price."""
        prices = self._call.services.prices
        if not prices.are_external:
            return
        wanted = {
            place: Wanted(owner, row.product_id, for_all(row.service_type, self._call))
            for place, row in enumerate(self._rows)
            if isinstance(row, UseRow)
            and row.product_id is not None
            and (owner := self._owners.get(self._named(row))) is not None
        }
        found = await prices.refusals(wanted.values())
        refused = {
            place: (refusal.code, CODES[refusal.code].detail)
            for place, one in wanted.items()
            if (refusal := found.get((one.tenant, one.product))) is not None
        }
        if refused:
            known = await self._sent_again({place: wanted[place].tenant.id for place in refused})
            self._refused.update({place: refused[place] for place in refused.keys() - known})

    async def _sent_again(self, accounts: Mapping[int, UUID]) -> set[int]:
        """Return the rows, by place with their account, that are already recorded [G3]."""
        events = {place: (owner, self._rows[place].event_id) for place, owner in accounts.items()}
        async with self._call.database.tenant(*set(accounts.values())) as connection:
            return await sent_again(connection, self._call, events)

    def _uses(self) -> dict[int, Use]:
        """Return the uses to record, by place; all other rows are refused."""
        uses: dict[int, Use] = {}
        kinds: Kinds = {}
        for place, row in enumerate(self._rows):
            if place in self._refused:
                continue
            if isinstance(row, Fault):
                self._refused[place] = "VALIDATION_FAILED", row.detail
                continue
            owner = self._owner(row)
            if not isinstance(owner, Tenant):
                self._refused[place] = owner
                continue
            try:
                uses[place] = use_of(row, owner.id, self._call, kinds)
            except BillingError as error:
                self._refused[place] = error.code, error.detail
        return uses

    async def _allowed(self, uses: dict[int, Use]) -> dict[int, Use]:
        """Return the uses whose holds and times the caller may name; refuse the others."""
        others = await others_holds(uses.values(), self._call)
        strange = [place for place, use in uses.items() if use.hold_id in others]
        refusal = "HOLD_NOT_FOUND", CODES["HOLD_NOT_FOUND"].detail
        self._refused.update(dict.fromkeys(strange, refusal))
        self._refused.update(await self._too_old(uses))
        return {place: use for place, use in uses.items() if place not in self._refused}

    async def _too_old(self, uses: dict[int, Use]) -> dict[int, CodeAndDetail]:
        """Return a customer's uses dated too far back; each is of its own account."""
        call = self._own_call()
        if call is None:
            return {}
        places = list(uses)
        found = await use_times.too_old(call, list(uses.values()))
        return {places[number]: (use_times.TOO_OLD, why) for number, why in found.items()}

    def _own_call(self) -> AccountCall | None:
        """Return a customer's call, which owns every row's account; None for an operator's."""
        own = None if self._call.caller.operates else self._owners[None]
        return AccountCall(self._call.caller, self._call.services, own) if own else None

    def _owner(self, row: UseRow) -> Tenant | CodeAndDetail:
        name = self._named(row)
        owner = self._owners.get(name)
        if owner is None and name is None and not self._headers.get(b"x-account-id"):
            return "ACCOUNT_REQUIRED", "name the account in account_id, external_id or X-Account-Id"
        if owner is None or (row.external_id and self._owners.get(row.external_id) is not owner):
            return "MERCHANT_NOT_FOUND", CODES["MERCHANT_NOT_FOUND"].detail
        return owner

    async def _write(self, uses: list[Use]) -> dict[int, Recorded]:
        """Record uses, those paid by card last; return the outcome of each one not recorded."""
        if self._dry_run:
            tried = enumerate(await attempt(self._call, uses))
            return {number: one for number, one in tried if one.verdict != "recorded"}
        charged = [number for number, use in enumerate(uses) if use.kind.method == BY_CARD]
        if not charged:
            return await self._record(uses)
        charge = partial(charge_rows, self._own_call() or self._call)
        return await record_last(uses, charged, self._record, charge)

    async def _record(self, uses: Sequence[Use]) -> dict[int, Recorded]:
        """Record uses that no card pays; return the outcome of each one not recorded, by number."""
        batcher, call = self._call.services.usage_batcher, self._own_call()
        if call is None or not dated_uses.are_among(call, uses):
            return await batcher.many(uses)
        found = await dated_uses.record(call, uses)
        return {number: one for number, one in found.items() if one.verdict != "recorded"}

    def _answer(self) -> bytes:
        results: list[dict[str, Any]] = []
        for place, row in enumerate(self._rows):
            entry: dict[str, Any] = {"row": place, "event_id": row.event_id, "status": "recorded"}
            if place in self._refused:
                code, detail = self._refused[place]
                entry["status"] = "rejected"
                entry |= {"code": code, "detail": detail, "retry": is_temporary(code)}
            elif place in self._duplicates:
                entry["status"] = "duplicate"
            results.append(entry)
        refused, duplicates = len(self._refused), len(self._duplicates)
        return msgspec.json.encode(
            {
                "recorded": len(results) - refused - duplicates,
                "duplicate": duplicates,
                "rejected": refused,
                "results": results,
            }
        )
