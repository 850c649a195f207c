"""Operators ask for the checks, of one account or of all."""

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from api.routes.admin import integrity as route
from billing.insight.integrity.rules import CHECKS
from tests.integration.actors import API, Actors, Customer, wait_for
from tests.integration.api_app import Api


async def test_an_operator_reads_the_findings(actors: Actors, customer: Customer) -> None:
    report = await actors.operate("GET", f"/admin/integrity?account={customer.id}")
    assert report["ok"]
    assert len(report["checks"]) == len(CHECKS)
    assert report["checks"][0] == {
        "name": "ledger_balance", "invariant": "I1",
        "sentence": "the balance is the sum of the ledger",
        "ok": True, "violations": 0, "examples": [],
    }  # fmt: skip
    await actors.operate("GET", "/admin/integrity?account=nobody", status=404)


async def test_all_accounts_are_read_at_once_while_they_are_few(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "MOST_ACCOUNTS", 1_000_000)
    whole = await api.client.get(f"{API}/admin/integrity", headers=api.admin())
    assert len(whole.json()["checks"]) == len(CHECKS)
    monkeypatch.setattr(route, "MOST_ACCOUNTS", 0)
    refused = await api.client.get(f"{API}/admin/integrity", headers=api.admin())
    assert (refused.status_code, refused.json()["code"]) == (409, "TOO_MANY_ACCOUNTS")


async def test_an_account_with_very_many_uses_is_left_to_the_command(
    api: Api, actors: Actors, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, use = (
        f"/admin/integrity?account={customer.id}",
        {"product_id": "gpt-4", "usage_amount": "1"},
    )
    await customer.bought()
    monkeypatch.setattr(route, "MOST_USES", 1)
    await customer.ask("POST", "/usage/record", use)
    assert (await actors.operate("GET", path))["ok"]
    await customer.ask("POST", "/usage/record", use | {"user_id": "ann"})
    refused = await api.client.get(f"{API}{path}", headers=api.admin())
    assert (refused.status_code, refused.json()["code"]) == (409, "TOO_MANY_USES")
    assert "billing verify --account" in refused.json()["detail"]


async def test_checks_that_take_too_long_are_too_many(
    api: Api, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "MOST_ACCOUNTS", 1_000_000)
    monkeypatch.setattr(route, "LONGEST_SECONDS", 0.001)
    for asked, code in (
        ("", "TOO_MANY_ACCOUNTS"), (f"?account={customer.id}", "TOO_MANY_USES"),
    ):  # fmt: skip
        refused = await api.client.get(f"{API}/admin/integrity{asked}", headers=api.admin())
        assert (refused.status_code, refused.json()["code"]) == (409, code)


@pytest.mark.parametrize("table", ["billing_records", "invoices"])
async def test_checks_that_a_lock_holds_up_end_with_their_statement_and_may_be_asked_again(
    api: Api,
    customer: Customer,
    superuser: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
) -> None:
    monkeypatch.setattr(route, "MOST_ACCOUNTS", 1_000_000)
    monkeypatch.setattr(route, "LONGEST_SECONDS", 0.5)
    await superuser.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
    for asked in ("", f"?account={customer.id}"):
        refused = await api.client.get(f"{API}/admin/integrity{asked}", headers=api.admin())
        assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
        assert "billing locks list" in refused.json()["detail"]
        assert refused.headers["Retry-After"]
    waiting = text(
        f"SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"
    )
    await wait_for(lambda: superuser.scalar(waiting), "nobody waits", lambda count: count == 0)
