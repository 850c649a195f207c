"""Old things are let go by the daily job, as the settings say; the books stay whole."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from temporalio.testing import ActivityEnvironment

from activities.dependencies import Dependencies
from activities.scheduled_jobs import ScheduledJobs
from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import Database, open_database
from billing.core.settings import Settings
from billing.metering.quotas import store as quota_store
from billing.money.payments import event_owners
from billing.platform.outbox import store as outbox_store
from billing.platform.provider_inbox import store as inbox
from billing.platform.provider_inbox.webhooks import read
from devstack.stack import StackInfo, dsn
from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.api_app import stack_settings
from tests.integration.followers import PATH, Follower
from tests.integration.operator_acts import check_books
from tests.integration.scratch import scratch_database, url_of
from workflows.contracts import JobRequest

# As if all that an account was told had been told so many days ago.
AGE_EVENTS: Final = """
    UPDATE events SET created_at = created_at - %(days)s * interval '1 day',
        id = (lpad(to_hex(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint
            - %(days)s * 86400000::bigint), 12, '0') || right(replace(id::text, '-', ''), 20))::uuid
    WHERE account_id = %(me)s AND seq <= %(until)s
"""
# What is written of the past is never changed: its time is instead the one up to which all is gone.
UP_TO: Final = """
    UPDATE dropped_events AS d SET at = t.real_at FROM billing_audit AS t
    WHERE d.account_id = %(me)s AND t.subject = %(purchase)s AND t.action = 'purchase.completed'
"""


async def housekeeping(actors: Actors, database: Database, **settings: Any) -> dict[str, int]:
    client: Any = None  # this job tells no workflow
    dependencies = Dependencies(
        database=database, provider=client, settings=stack_settings(actors.stack, **settings)
    )
    job = ScheduledJobs(dependencies, client)
    report = await ActivityEnvironment().run(job.run, JobRequest(name="housekeeping"))
    return dict(report.counts)


async def aged(customer: Customer, until: int) -> None:
    await customer.rows(AGE_EVENTS + "RETURNING 1", days=31, until=until)


async def first_number(customer: Customer) -> int:
    """Of its events: numbers jump for all accounts when billing is parked."""
    page = await customer.ask("GET", f"{PATH}?limit=1", status=200)
    return int(page["data"][0]["seq"])


async def of_purchase(customer: Customer) -> Json:
    """Its event of the provider, once it is handled, of a hundred days ago."""
    await customer.bought("small")
    found = await wait_for(
        lambda: customer.rows(
            "SELECT stripe_event_id AS id, payload FROM stripe_webhook_events"
            " WHERE account_id = %(me)s AND type = 'payment_intent.succeeded'"
            " AND status = 'handled'"
        ),
        "the event is handled",
    )
    await customer.rows(
        "UPDATE stripe_webhook_events SET received_at = received_at - interval '100 days'"
        " WHERE account_id = %(me)s RETURNING 1"
    )
    return found[0]


async def stored(customer: Customer, event: Json) -> Json:
    [row] = await customer.rows(
        "SELECT payload, status, deliveries, replays, emptied_at FROM stripe_webhook_events"
        " WHERE stripe_event_id = %(id)s",
        id=event["id"],
    )
    return row


async def test_an_old_event_of_the_provider_is_emptied_and_still_known(
    actors: Actors, customer: Customer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "EMPTY_PAGE", 1)
    event = await of_purchase(customer)
    assert (await housekeeping(actors, database, BILLING_RETENTION_INBOX_DAYS=0))[
        "payloads_emptied"
    ] == 0, "0 is for ever"
    assert (await housekeeping(actors, database))["payloads_emptied"] >= 1
    row = await stored(customer, event)
    assert (row["payload"], row["status"]) == ({}, "handled")

    subject = event["payload"]["data"]["object"]
    async with database.operator() as connection:
        again = read(event["payload"])
        assert await event_owners.receive(connection, [again], "webhook", real_now()) == [None]
    row = await stored(customer, event)
    assert (row["payload"], row["deliveries"]) == ({}, 2), f"{subject['id']} came again"
    assert await customer.credits() == 100

    path = f"/admin/webhooks/{event['id']}/replay"
    refused = await actors.operate("POST", path, status=409)
    assert refused["code"] == "WEBHOOK_EMPTIED"
    assert (await stored(customer, event))["replays"] == 0
    listed = await actors.operate("GET", f"/admin/webhooks?account_id={customer.id}")
    [shown] = [one for one in listed["data"] if one["event_id"] == event["id"]]
    assert shown["emptied_at"] is not None
    assert (await housekeeping(actors, database))["payloads_emptied"] == 0
    await check_books(customer)


@pytest.mark.parametrize("status", ["received", "unmatched", "parked"])
async def test_an_event_that_waits_keeps_what_it_says(
    customer: Customer, database: Database, status: str
) -> None:
    """In a transaction that is undone: the sweep would look into it, and then it waits no more."""
    event = await of_purchase(customer)
    waits = "UPDATE stripe_webhook_events SET status = :s WHERE stripe_event_id = :id"
    kept = "SELECT payload FROM stripe_webhook_events WHERE stripe_event_id = :id"
    async with database.operator() as connection:
        for now, payload in ((status, event["payload"]), ("handled", {})):
            await connection.execute(text(waits), {"s": now, "id": event["id"]})
            while await inbox.empty(connection, real_now() - timedelta(days=90)):
                pass
            assert await connection.scalar(text(kept), {"id": event["id"]}) == payload
        await connection.rollback()


async def test_who_was_away_longer_than_events_are_kept_is_told_where_to_go_on(
    actors: Actors, customer: Customer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_store, "PAGE", 2)
    first = await customer.bought("small")
    away, present = Follower(customer, after=1), Follower(customer)
    await present.go_on()
    old, count = present.after, len(present.told)
    await customer.bought("small")
    await aged(customer, old)
    assert (await housekeeping(actors, database, BILLING_RETENTION_OUTBOX_DAYS=0))[
        "events_dropped"
    ] == 0, "0 is for ever"
    assert (await housekeeping(actors, database))["events_dropped"] >= count
    assert (await housekeeping(actors, database))["events_dropped"] == 0

    refused = await customer.refused("EVENTS_GONE", "GET", f"{PATH}?after={away.after}")
    assert (refused["status"], refused["next_after"]) == (410, old)
    away.after = refused["next_after"]
    await away.go_on()
    await present.go_on()
    assert await present.missed() == [], "who followed in time misses nothing"
    assert await away.missed() == [], "and the other one nothing that is kept"
    assert min(away.told) == old + 1
    page = await customer.ask("GET", f"{PATH}?limit=1", status=200)
    assert [one["seq"] for one in page["data"]] == [old + 1], "the first that is kept"
    refused = await customer.refused("EVENTS_REWOUND", "GET", f"{PATH}?after={away.after + 5}")
    assert refused["next_after"] == away.after
    await check_books(customer)
    await customer.rows(f"{UP_TO} RETURNING 1", purchase=first["purchase_id"])
    proof = await customer.ask("GET", f"/billing/purchases/{first['purchase_id']}/proof")
    assert (proof["published"], proof["consistent"]) == (1, True), proof["verdict"]


async def test_an_account_that_rests_loses_all_events_and_goes_on_behind_them(
    actors: Actors, customer: Customer, database: Database
) -> None:
    await customer.bought("small")
    last = (await customer.ask("GET", PATH))["next_after"]
    await aged(customer, last)
    await housekeeping(actors, database)
    page = await customer.ask("GET", f"{PATH}?after={last}", status=200)
    assert (page["data"], page["next_after"]) == ([], last)
    refused = await customer.refused("EVENTS_REWOUND", "GET", f"{PATH}?after={last + 1}")
    assert refused["next_after"] == last
    await check_books(customer)
    await customer.bought("small")
    page = await customer.ask("GET", f"{PATH}?after={last}", status=200)
    assert page["data"][0]["seq"] == last + 1
    await check_books(customer)


async def test_events_numbered_the_other_way_round_leave_no_gap(
    actors: Actors, customer: Customer, database: Database
) -> None:
    await customer.bought("small")
    first = await first_number(customer)
    await aged(customer, first + 1)
    # The first is the younger one, and just young enough to be kept by its own age.
    await customer.rows(
        "UPDATE events SET id = %(id)s, created_at = %(at)s"
        " WHERE account_id = %(me)s AND seq = %(first)s RETURNING 1",
        first=first,
        id=ids.first_of(real_now() - timedelta(days=30) + timedelta(minutes=5)),
        at=real_now() - timedelta(days=30) + timedelta(minutes=5),
    )
    await housekeeping(actors, database)
    page = await customer.ask("GET", f"{PATH}?limit=1")
    assert [one["seq"] for one in page["data"]] == [first + 2]
    await check_books(customer)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE dropped_events SET last_number = last_number - 1 WHERE account_id = %(me)s",
        "DELETE FROM dropped_events WHERE account_id = %(me)s",
        "UPDATE dropped_events SET last_number = last_number + 1 WHERE account_id = %(me)s",
    ],
)
async def test_events_that_are_missing_without_a_note_are_found(
    actors: Actors, customer: Customer, database: Database, damage: str
) -> None:
    await customer.bought("small")
    await aged(customer, await first_number(customer) + 1)
    await housekeeping(actors, database)
    [kept] = await customer.rows("SELECT * FROM dropped_events WHERE account_id = %(me)s")
    await customer.rows(f"{damage} RETURNING 1")
    try:
        report = await actors.operate("GET", f"/admin/integrity?account={customer.id}")
        wrong = {check["name"] for check in report["checks"] if check["violations"]}
        assert wrong == {"outbox_numbers"}
    finally:
        await customer.rows("DELETE FROM dropped_events WHERE account_id = %(me)s RETURNING 1")
        await customer.rows(
            "INSERT INTO dropped_events VALUES (%(me)s, %(last)s, %(at)s) RETURNING 1",
            last=kept["last_number"], at=kept["at"],
        )  # fmt: skip


async def test_nobody_lets_go_of_young_events(customer: Customer, database: Database) -> None:
    await customer.bought("small")
    values = {"me": customer.uuid}
    with pytest.raises(DBAPIError, match="append-only"):
        async with database.operator() as connection:
            await connection.execute(text("DELETE FROM events WHERE account_id = :me"), values)
    with pytest.raises(DBAPIError) as refused:
        async with database.tenant(customer.uuid) as connection:
            await connection.execute(text("DELETE FROM events WHERE account_id = :me"), values)
    assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)


async def test_claims_that_are_closed_go_after_a_week(
    actors: Actors, customer: Customer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota_store, "FORGET_PAGE", 1)
    add = """
        INSERT INTO quota_claims (id, account_id, event_id, meter, amount, claimed_at, expires_at,
            status, written_at)
        VALUES (uuidv7(), %(me)s, %(name)s, 'm', 1, now(), now(), %(status)s,
            CASE WHEN %(days)s < 99 THEN now() - %(days)s * interval '1 day' END) RETURNING 1
    """
    for name, status, days in (
        ("settled", "settled", 8), ("expired", "expired", 8), ("open", "open", 8),
        ("young", "settled", 6), ("of before, young", "settled", 99),
    ):  # fmt: skip
        await customer.rows(add, name=name, status=status, days=days)
    assert (await housekeeping(actors, database, BILLING_RETENTION_CLAIMS_DAYS=0))[
        "claims_forgotten"
    ] == 0, "0 is for ever"
    assert (await housekeeping(actors, database))["claims_forgotten"] == 2
    left = await customer.rows("SELECT event_id FROM quota_claims WHERE account_id = %(me)s")
    assert {row["event_id"] for row in left} == {"open", "young", "of before, young"}
    await customer.rows("DELETE FROM quota_claims WHERE account_id = %(me)s RETURNING 1")


async def test_a_claim_that_nobody_recorded_goes_though_its_account_uses_nothing_more(
    actors: Actors, database: Database
) -> None:
    customer = await actors.customer()
    limit = {"account_id": customer.id, "limit": "10", "feature_type": "chat_messages"}
    await actors.operate("PUT", "/admin/quotas", limit)
    for name in ("of long ago", "of now"):
        use = {"requested_amount": "3", "feature_type": "chat_messages", "event_id": name}
        asked = await customer.ask("POST", "/quota/check", use | {"consume": True})
        assert asked["allowed"]
    await customer.rows(
        "UPDATE quota_claims SET expires_at = expires_at - interval '8 days',"
        " written_at = written_at - interval '8 days'"
        " WHERE account_id = %(me)s AND event_id = 'of long ago' RETURNING 1"
    )
    await housekeeping(actors, database)
    left = await customer.rows("SELECT event_id FROM quota_claims WHERE account_id = %(me)s")
    assert [row["event_id"] for row in left] == ["of now"]
    (row,) = await customer.rows("SELECT used FROM billing_quotas WHERE account_id = %(me)s")
    assert row["used"] == 3, "only the other claim counts"


async def test_more_claims_of_an_account_than_can_be_released_at_once_are_all_released(
    actors: Actors, customer: Customer, database: Database
) -> None:
    add = """
        INSERT INTO quota_claims (id, account_id, event_id, meter, amount, claimed_at, expires_at,
            status)
        SELECT uuidv7(), %(me)s, n, 'm', 1, now(), now() - interval '8 days', 'open'
        FROM generate_series(1, 5001) AS n RETURNING 1
    """
    await customer.rows(add)
    assert (await housekeeping(actors, database))["claims_expired"] >= 5_001
    left = "SELECT count(*) FROM quota_claims WHERE account_id = %(me)s AND status = 'open'"
    assert await customer.rows(left) == [{"count": 0}]
    await customer.rows("DELETE FROM quota_claims WHERE account_id = %(me)s RETURNING 1")


# Rows of a hundred accounts over a hundred days, of which the last ten are due.
GROWN: Final = """
    SET session_replication_role = replica;
    INSERT INTO accounts (id, external_id, created_at)
    SELECT md5(n::text)::uuid, n, now() FROM generate_series(0, 99) AS n;
    INSERT INTO events (id, account_id, seq, type, data, occurred_at, created_at)
    SELECT uuidv7(n * interval '-7 min'), md5((n % 100)::text)::uuid, 20001 - n, 't',
        jsonb_build_object('a', repeat('x', 500)), now(), now() - n * interval '7 min'
    FROM generate_series(1, 20000) AS n;
    INSERT INTO stripe_webhook_events (stripe_event_id, type, payload, status, received_at)
    SELECT n, 't', jsonb_build_object('a', repeat('x', 1500)), 'handled',
        now() - n * interval '7 min'
    FROM generate_series(1, 20000) AS n;
    INSERT INTO quota_claims (id, account_id, event_id, meter, amount, claimed_at, expires_at,
        status, written_at)
    SELECT uuidv7(), md5((n % 100)::text)::uuid, n, 'm', 1, at, at,
        CASE WHEN n % 101 = 0 THEN 'open' ELSE 'settled' END, at
    FROM generate_series(1, 20000) AS n CROSS JOIN LATERAL (
        SELECT now() - n * interval '7 min') AS long_ago(at);
    ANALYZE accounts, events, stripe_webhook_events, quota_claims
"""


@pytest.fixture(scope="module")
async def grown(stack: StackInfo) -> AsyncIterator[Database]:
    """A database of its own: the plans of small tables depend on what other tests left there."""
    with scratch_database(stack) as env:
        name = psycopg.conninfo.conninfo_to_dict(dsn(env["DATABASE_URL"]))["dbname"]
        with psycopg.connect(dsn(url_of(stack.superuser_url, str(name)))) as superuser:
            superuser.execute(GROWN)
        urls = {"database_url": env["DATABASE_URL"]}
        urls["database_operator_url"] = env["DATABASE_OPERATOR_URL"]
        async with open_database(Settings.model_validate(urls)) as database:
            yield database


@pytest.mark.parametrize(
    ("statement", "table", "index"),
    [
        (inbox._EMPTY, "stripe_webhook_events", "ix_stripe_webhook_events_full"),
        (outbox_store._DROP, "events", "pk_events"),
        (quota_store._FORGET, "quota_claims", "ix_quota_claims_closed"),
        (quota_store._EXPIRED, "quota_claims", "ix_quota_claims_open"),
    ],
)
async def test_no_page_reads_a_whole_table(
    grown: Database, statement: Any, table: str, index: str
) -> None:
    known = statement.compile().params
    before = real_now() - timedelta(days=90)
    values = {
        "before": before, "limit": 1000, "after": UUID(int=0), "until": ids.first_of(before),
    }  # fmt: skip
    async with grown.operator() as connection:
        await connection.execute(outbox_store._BY_INDEX)
        plan = "\n".join(
            await connection.scalars(
                text(f"EXPLAIN {statement.text}"), {name: values[name] for name in known}
            )
        )
    assert index in plan, plan
    assert f"Seq Scan on {table}" not in plan, plan
