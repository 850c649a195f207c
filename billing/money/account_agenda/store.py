"""The one query on the open work of an account itself."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.prepared import Fields, Prepared
from billing.matters.kinds import ACCOUNT
from billing.money.account_agenda.rules import (
    BETWEEN_CARDS,
    AccountState,
    ChargePlan,
    CompletionPlan,
    PortalPlan,
    RemovalPlan,
    RetryPlan,
    SetupPlan,
    TaxAskPlan,
    TopUpPlan,
    state_words,
)
from billing.platform.accounts import store as accounts
from billing.platform.provider_inbox.tables import WAITING_EVENTS

# One round trip for everything the account's agenda needs. If many cards are being saved, those
# that somebody waits for come first. The day that late use waits is that of `usage_note_late`,
# which wakes the matter.
_STATE = Prepared(
    text(
        f"""
    SELECT a.status, a.clock_at, b.next_expiry,
           CASE WHEN b.top_up_below IS NOT NULL AND NOT b.top_up_open THEN b.top_up_from END
               AS top_up_from,
           t.id AS top_up_id, t.wanted_at,
           (SELECT min(l.expires_at) FROM credit_lots l
            WHERE l.account_id = a.id AND l.is_open AND l.noticed_at IS NULL
              AND l.expires_at > l.created_at + :notice) - :notice AS next_notice,
           (SELECT min(u.late_at) FROM usage_periods u
            WHERE u.account_id = a.id AND u.late_at IS NOT NULL) + interval '1 day' AS late_usage,
           (SELECT min(o.due_at) FROM limit_overrides o
            WHERE o.account_id = a.id AND o.due_at IS NOT NULL) AS limits_due,
           (SELECT jsonb_build_object(
                'invoice', c.invoice, 'meter', c.meter, 'start_at', c.start_at, 'part', c.part,
                'began_at', c.began_at)
            FROM usage_settlements c WHERE c.account_id = a.id
            ORDER BY c.invoice, c.meter, c.start_at, c.part LIMIT 1) AS completion,
           (SELECT jsonb_build_object('wanted', q.wanted, 'due', q.ask_at)
            FROM tax_quotes q WHERE q.account_id = a.id) AS tax_ask,
           x.vat_check_at AS vat_check, x.vat_credit_at AS vat_credit,
           coalesce(x.vat_turn, 0) AS vat_turn,
           (SELECT jsonb_build_object('id', w.id, 'asked_at', w.asked_at)
            FROM unpaid_retries w WHERE w.account_id = a.id) AS unpaid_retry,
           (SELECT min(u.overdue_at) FROM unpaid_uses u
            WHERE u.account_id = a.id AND u.told_at IS NULL) AS unpaid_notice,
           (SELECT jsonb_build_object(
                'id', u.record_id, 'tries', u.tries, 'due', greatest(u.charge_at, (
                    SELECT max(tried_at) FROM unpaid_uses WHERE account_id = a.id)
                    + :between_cards))
            FROM unpaid_uses u WHERE u.account_id = a.id AND u.charge_at IS NOT NULL
            ORDER BY u.charge_at, u.used_at, u.record_id LIMIT 1) AS unpaid_charge,
           {WAITING_EVENTS} AS events,
           ARRAY(SELECT jsonb_build_object(
                     'id', s.id, 'opened', s.stripe_setup_intent_id IS NOT NULL,
                     'created_at', s.created_at, 'checks', s.checks, 'asked_at', s.asked_at,
                     'asks', s.asks)
                 FROM setup_intents s
                 WHERE s.account_id = a.id AND s.finished_at IS NULL
                 ORDER BY s.stripe_setup_intent_id IS NULL DESC, s.asked_at, s.created_at
                 LIMIT 100) AS setups,
           ARRAY(SELECT jsonb_build_object('id', m.id, 'removed_at', m.removed_at)
                 FROM payment_methods m
                 WHERE m.account_id = a.id AND m.status = 'removing'
                 ORDER BY m.removed_at LIMIT 100) AS removals,
           ARRAY(SELECT jsonb_build_object('id', p.id, 'created_at', p.created_at)
                 FROM portal_sessions p
                 WHERE p.account_id = a.id AND p.finished_at IS NULL
                 ORDER BY p.created_at LIMIT 100) AS portals
    FROM accounts a JOIN credit_balances b ON b.account_id = a.id
    LEFT JOIN tax_profiles x ON x.account_id = a.id
    LEFT JOIN top_ups t ON t.account_id = a.id AND t.status = 'wanted'
    WHERE a.id = :account_id
    """  # noqa: S608 - put together from constants
    )
)

# Accounts whose own matter would not look at these in time: a worker of the release before, which
# does not know them, looked at it last. Mostly there are none, so each account is probed once.
_WATCH_FORGOTTEN = text(
    """
    WITH page AS (
        SELECT id, clock_at FROM accounts WHERE id > :after ORDER BY id LIMIT :limit
    ), first AS MATERIALIZED (
        SELECT p.id, p.clock_at, least(
            (SELECT min(asked_at) FROM unpaid_retries WHERE account_id = p.id),
            (SELECT min(overdue_at) FROM unpaid_uses
             WHERE account_id = p.id AND told_at IS NULL),
            (SELECT greatest(charge_at, (
                SELECT max(tried_at) FROM unpaid_uses WHERE account_id = p.id)
                + CAST(:between_cards AS interval))
             FROM unpaid_uses WHERE account_id = p.id AND charge_at IS NOT NULL
             ORDER BY charge_at LIMIT 1),
            (SELECT ask_at FROM tax_quotes WHERE account_id = p.id),
            (SELECT least(vat_check_at, vat_credit_at) FROM tax_profiles WHERE account_id = p.id),
            (SELECT min(created_at) FROM portal_sessions
             WHERE account_id = p.id AND finished_at IS NULL)) AS due
        FROM page p
    ), forgotten AS (
        SELECT f.id, f.due, coalesce(f.clock_at, :at) AS at FROM first f
        WHERE f.due IS NOT NULL AND f.due < coalesce(
            (SELECT m.next_due FROM matters m
             WHERE m.workflow_id = 'account/' || public_id('acc', f.id) AND m.closed_at IS NULL),
            'infinity')
        ORDER BY f.id
    )
    SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last, count(w.workflow_id) AS watched
    FROM forgotten f CROSS JOIN LATERAL account_watch(f.id, f.due, f.at) AS w
    """
)


async def watch_forgotten(
    connection: AsyncConnection, after: UUID, *, at: datetime, limit: int
) -> tuple[int, UUID | None]:
    """Have those of a page of accounts looked at whose uses, taxes or portal nobody would see.

    Return how many, and the last account of the page; None at the end.
    """
    sent = {"after": after, "at": at, "limit": limit, "between_cards": BETWEEN_CARDS}
    found = (await connection.execute(_WATCH_FORGOTTEN, sent)).one()
    return found.watched, found.last


async def state(connection: AsyncConnection, account_id: UUID, notice: timedelta) -> AccountState:
    """The state of one account's own matter, read from its rows; NOT_FOUND.

    The account is notified `notice` before credits end, unless they came with less time than that.
    Under the account's lock (`credits.service.lock`) the state is current.
    """
    row = await _STATE.first(
        connection,
        account_id=account_id,
        workflow_id=ACCOUNT.workflow_id(account_id),
        notice=notice,
        between_cards=BETWEEN_CARDS,
    )
    if row is None:
        raise accounts.no_account()
    known = AccountState(
        clock_at=row["clock_at"],
        status=row["status"],
        account=ids.encode(ids.ACCOUNT, account_id),
        next_expiry=row["next_expiry"],
        next_notice=row["next_notice"],
        top_up=_top_up(row),
        top_up_from=row["top_up_from"],
        late_usage=row["late_usage"],
        limits_due=row["limits_due"],
        completion=row["completion"] and CompletionPlan(**row["completion"]),
        vat_check=row["vat_check"],
        vat_credit=row["vat_credit"],
        vat_turn=row["vat_turn"],
        tax_ask=row["tax_ask"] and TaxAskPlan(**row["tax_ask"]),
        unpaid_retry=row["unpaid_retry"] and RetryPlan(**row["unpaid_retry"]),
        unpaid_notice=row["unpaid_notice"],
        unpaid_charge=_charge(row["unpaid_charge"]),
        setups=tuple(map(_setup, row["setups"])),
        removals=tuple(map(_removal, row["removals"])),
        portals=tuple(map(_portal, row["portals"])),
        events=tuple(row["events"]),
    )
    return known.model_copy(update={"words": state_words(known)})


def _setup(found: dict[str, Any]) -> SetupPlan:
    return SetupPlan(setup=ids.encode(ids.SETUP_INTENT, UUID(found.pop("id"))), **found)


def _removal(found: dict[str, Any]) -> RemovalPlan:
    method = ids.encode(ids.PAYMENT_METHOD, UUID(found["id"]))
    return RemovalPlan(method=method, removed_at=found["removed_at"])


def _portal(found: dict[str, Any]) -> PortalPlan:
    portal = ids.encode(ids.PORTAL_SESSION, UUID(found["id"]))
    return PortalPlan(portal=portal, created_at=found["created_at"])


def _charge(found: dict[str, Any] | None) -> ChargePlan | None:
    if found is None:
        return None
    use = ids.encode(ids.BILLING_RECORD, UUID(found["id"]))
    return ChargePlan(use=use, tries=found["tries"], due=found["due"])


def _top_up(row: Fields) -> TopUpPlan | None:
    if row["top_up_id"] is None:
        return None
    return TopUpPlan(top_up=ids.encode(ids.TOP_UP, row["top_up_id"]), wanted_at=row["wanted_at"])
