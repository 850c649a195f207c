"""Changes of an account's tax status, for drafts from then on [L5].

Each change takes the account's lock, because invoices are drafted under it.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.taxes.schemas import Jurisdiction
from billing.core import ids
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.effects import Announce
from billing.matters.schemas import Matter
from billing.money.taxation import rules, store
from billing.money.taxation.schemas import TaxProfile, TaxQuestion, VatAnswer
from billing.platform.audit import service as audit
from billing.platform.outbox import service as outbox


async def exempt(
    connection: AsyncConnection, account_id: UUID, because: str | None, at: datetime
) -> TaxProfile:
    """Free an account from taxes, with the reason on record; None: it pays them again."""
    await credits.lock(connection, account_id)
    before = await store.profile(connection, account_id)
    if before.exempt_because == because:
        return before
    found = await store.put(connection, account_id, exempt_because=because, updated_at=at)
    await audit.record(
        connection,
        account_id=account_id,
        action="account.exempted" if because else "account.taxed",
        subject=ids.encode(ids.ACCOUNT, account_id),
        at=at,
        reason=because,
    )
    return found


async def give_vat_id(
    connection: AsyncConnection, account_id: UUID, number: str | None, at: datetime
) -> Matter | None:
    """Store the account's VAT id, to be looked up in its register; None: it has none.

    The same id is looked up again unless it is valid; while it waits for an answer, tax goes back
    from when it was given first. Returns the matter to notify, which queries the register. Errors:
    INVALID_TAX_ID.
    """
    vat_id = rules.written(number) if number is not None else None
    await credits.lock(connection, account_id)
    before = await store.profile(connection, account_id)
    if before.vat_id == vat_id and before.vat_status in (None, "valid"):
        return None
    waits = before.vat_id == vat_id and before.vat_status == "pending"
    given_at = before.vat_given_at if waits else at
    await store.put(
        connection,
        account_id,
        vat_id=vat_id,
        vat_given_at=given_at if vat_id else None,
        vat_status="pending" if vat_id else None,
        vat_name=None,
        vat_proof=None,
        vat_decided_at=None,
        vat_tries=0,
        vat_check_at=at if vat_id else None,
        vat_credit_at=None,
        vat_turn=before.vat_turn + 1,
        updated_at=at,
    )
    await _announce(connection, account_id, "given" if vat_id else "removed", at, vat_id=vat_id)
    return await matters.ensure_account(connection, account_id, due=at, at=at) if vat_id else None


async def follow(
    connection: AsyncConnection,
    account_id: UUID,
    asked: str,
    answer: VatAnswer | None,
    at: datetime,
) -> str:
    """Record the register's answer on a VAT id, if it still is the account's; None: no register.

    Callers hold the account's lock. Returns the status.
    """
    known = await store.profile(connection, account_id)
    if known.vat_id != asked or known.vat_status != "pending":
        return "another is asked for"
    if answer is None:
        again_at = rules.without_register(at)
        await store.put(connection, account_id, vat_check_at=again_at, updated_at=at)
        return "no register is set"
    if answer.is_valid is None:
        tries = known.vat_tries + 1
        later = rules.next_check(at, tries)
        await store.put(connection, account_id, vat_tries=tries, vat_check_at=later, updated_at=at)
        return "not answered"
    status = "valid" if answer.is_valid else "unknown"
    await store.put(
        connection,
        account_id,
        vat_status=status,
        vat_name=answer.name,
        vat_proof=answer.proof,
        vat_decided_at=at,
        vat_check_at=None,
        vat_credit_at=at if answer.is_valid else None,
        updated_at=at,
    )
    what = "proven" if answer.is_valid else "refused"
    await _announce(connection, account_id, what, at, vat_id=asked, proof=answer.proof)
    return status


async def credited(connection: AsyncConnection, account_id: UUID, at: datetime) -> None:
    """Note that tax charged before the proof is given back. Callers hold the account's lock."""
    await store.put(connection, account_id, vat_credit_at=None, updated_at=at)


async def ask(connection: AsyncConnection, account_id: UUID, at: datetime) -> Matter | None:
    """Have the tax provider queried for the account's address, unless it has answered for it.

    Returns the matter to notify, which queries it.
    """
    await credits.lock(connection, account_id)
    asked = await store.question(connection, account_id)
    if asked is None or not await store.want_quote(connection, account_id, asked.digest, at):
        return None
    return await matters.ensure_account(connection, account_id, due=at, at=at)


async def quote(
    connection: AsyncConnection,
    account_id: UUID,
    asked: TaxQuestion,
    found: tuple[Jurisdiction, ...] | None,
    at: datetime,
) -> None:
    """Store the tax provider's answer for an address; None: it could not be reached.

    The answer applies to the account's drafts until the next one, while its address is this one.
    Callers hold the account's lock.
    """
    if found is None:
        tries = await store.quote_tries(connection, account_id) + 1
        later = rules.next_quote(at, tries)
        await store.put_quote(connection, account_id, tries=tries, ask_at=later)
        return
    await store.put_quote(
        connection,
        account_id,
        wanted=asked.digest,
        address=asked.digest,
        jurisdictions=[one.model_dump(mode="json") for one in found],
        quoted_at=at,
        tries=0,
        ask_at=rules.next_quote(at, 0),
    )


async def _announce(
    connection: AsyncConnection, account_id: UUID, what: str, at: datetime, **detail: Any
) -> None:
    """Write one audit row and one `evt.billing.tax_id.*`."""
    subject = ids.encode(ids.ACCOUNT, account_id)
    event = Announce(account_id, f"tax_id.{what}", subject, {"account_id": subject, **detail})
    await outbox.announce(connection, event, at)
