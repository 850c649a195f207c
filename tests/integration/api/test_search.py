"""Operators find a thing by any name that somebody tells them, over all accounts, by indexes."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import metadata
from billing.insight.search import store
from billing.insight.search.kinds import KINDS, Kind
from tests.integration.api.invoice_samples import credited, numbered, owed, paying, recovering
from tests.integration.api.route_samples import card, granted, held, matter, setup, told
from tests.integration.api.subscription_samples import subscription
from tests.integration.api_app import Api

Json = dict[str, Any]
SEARCH: Final = "/api/v1/admin/search"


async def search(api: Api, name: str) -> list[Json]:
    answer = await api.client.get(SEARCH, params={"q": name}, headers=api.admin())
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["data"]
    return found


async def test_a_thing_is_found_by_each_of_its_names(api: Api) -> None:
    mark = uuid4().hex
    email = f"Ann-{mark}@Shop.example"
    account = await api.new_account(name=f"Bakery {mark}", email=email)
    subscribed = await subscription(api, account)
    made = {
        await made_by(api, account): kind
        for made_by, kind in (
            (owed, "invoice"), (paying, "payment"), (recovering, "dunning_case"),
            (credited, "credit_note"), (card, "payment_method"), (setup, "setup_intent"),
            (granted, "transaction"), (held, "hold"), (matter, "matter"), (told, "webhook"),
        )
    } | {account["id"]: "account", subscribed: "subscription"}  # fmt: skip
    for name, kind in made.items():
        (found,) = await search(api, f" {name} ")
        assert (found["kind"], found["id"], found["account_id"]) == (kind, name, account["id"])
        assert found["words"]
    for field, name in (
        ("email", email.lower()), ("name", f"BAKERY {mark}"),
        ("external_id", account["external_id"]),
    ):  # fmt: skip
        (found,) = await search(api, name)
        assert (found["id"], found["matched"]) == (account["id"], field)


async def test_what_came_from_outside_leads_to_its_payment_and_invoice(api: Api) -> None:
    mark = uuid4().hex
    account = await api.new_account()
    await subscription(api, account)
    invoice, payment = await owed(api, account), await paying(api, account)
    names = {
        "stripe_payment_intent_id": f"pi_{mark}", "stripe_checkout_session_id": f"cs_{mark}",
        "stripe_charge_id": f"ch_{mark}", "transaction_reference": f"TRX {mark}",
    }  # fmt: skip
    payments, invoices = metadata.tables["payments"], metadata.tables["invoices"]
    async with api.database.operator() as connection:
        await connection.execute(
            payments.update()
            .where(payments.c.id == ids.decode(ids.PAYMENT, payment))
            .values(**names)
        )
        await connection.execute(
            invoices.update()
            .where(invoices.c.id == ids.decode(ids.INVOICE, invoice))
            .values(payment_reference=mark[:12].upper())
        )
    number = await numbered(api, invoice)
    for field, name in names.items():
        (found,) = await search(api, name)
        assert (found["kind"], found["id"], found["matched"]) == ("payment", payment, field)
        assert "subscription/sub_" in found["words"], "it names the matter it is for"
    for field, name in (("number", number), ("payment_reference", mark[:12].upper())):
        (found,) = await search(api, name)
        assert (found["kind"], found["id"], found["matched"]) == ("invoice", invoice, field)
        assert found["words"].startswith(f"invoice {number}, ")
    assert await search(api, number.lower()) == [], "capitals count in numbers"


async def test_of_many_things_with_one_name_the_newest_are_shown(api: Api) -> None:
    account, mark, at = await api.new_account(), f"pi_{uuid4().hex}", real_now()
    events = metadata.tables["stripe_webhook_events"]
    rows: list[Json] = [
        {"stripe_event_id": f"evt_{mark}_{number}", "account_id": None, "object_id": mark,
         "type": "charge.failed", "payload": {}, "status": "handled", "received_at": at}
        for number in range(store.MOST + 2)
    ]  # fmt: skip
    async with api.database.operator() as connection:
        await connection.execute(events.insert(), rows)
        older = {
            "workflow_id": mark, "account_id": ids.decode(ids.ACCOUNT, account["id"]),
            "kind": "trial", "subject_id": ids.new(), "status": "closed",
            "created_at": at - timedelta(days=1), "woken_at": at, "closed_at": at,
        }  # fmt: skip
        await connection.execute(metadata.tables["matters"].insert(), older)
    found = await search(api, mark)
    assert len(found) == store.MOST
    assert {one["matched"] for one in found} == {"object_id"}
    assert (await search(api, account["id"]))[0]["account_id"] == account["id"]


@pytest.mark.parametrize("name", ["4242 4242 4242 4242", "", " ", "x" * 256])
async def test_what_is_no_name_is_refused(api: Api, name: str) -> None:
    answer = await api.client.get(SEARCH, params={"q": name}, headers=api.admin())
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")


async def test_only_administrators_search(api: Api) -> None:
    account = await api.new_account()
    for headers in (api.token("*", ["service"]), api.token(account["id"], ["billing", "member"])):
        answer = await api.client.get(SEARCH, params={"q": account["id"]}, headers=headers)
        assert answer.status_code == 403


def nodes(plan: Json) -> Iterator[Json]:
    """Every node of a plan."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_an_index_serves_every_name(api: Api, kind: Kind) -> None:
    name = ids.encode(kind.prefix, ids.new()) if kind.prefix else "evt_1"
    query = store.finding(kind, name)
    assert query is not None
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    written = query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    async with api.database.operator() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        rows = await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {written}")
        ((plan,),) = rows.scalars()
    found = list(nodes(plan["Plan"]))
    assert not [node for node in found if node["Node Type"] == "Seq Scan"], found
    scans = [node for node in found if "Index Name" in node]
    assert scans
    assert all("Index Cond" in node for node in scans), found
