"""An operator's order whose answer was lost, or came before its result, is given once."""

from dataclasses import replace
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest

from api import workflow_calls
from api.routes.admin import dunning, dunning_pauses
from billing.core import ids
from billing.money.invoice_requests import operating
from tests.integration.actors import API, Actors
from tests.integration.api_app import Api
from tests.integration.dunning.dunning_setup import case, overdue, owed, steer


@pytest.mark.parametrize("whose", ["the case", "all cases"])
async def test_a_resume_that_broke_off_is_answered_after_the_money_came(
    actors: Actors, api: Api, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    customer = await overdue(actors)
    path = f"/admin/dunning/{(await case(customer))['dunning_case_id']}"
    routes: ModuleType = dunning
    waits, why = "wait_until_done", {"reason": "in court"}
    if whose == "all cases":
        path, routes = f"/admin/accounts/{customer.id}/dunning", dunning_pauses
        waits = "wait_until_all_done"
    mine = replace(actors, client=api.client)
    keys = {"pause": str(uuid4()), "resume": str(uuid4())}

    async def dies(*_: Any) -> None:
        raise RuntimeError("the process is killed behind the commit")

    for verb, key in keys.items():
        with monkeypatch.context() as patched:
            patched.setattr(routes, waits, dies)
            await mine.operate("POST", f"{path}/{verb}", why, key=key, status=500)
    again = await mine.operate("POST", f"{path}/pause", why, key=keys["pause"], status=200)
    assert again.get("status", "paused") == "paused"
    assert (await case(customer))["status"] == "open", "it is not paused a second time"
    await customer.script("succeed", then="last")
    await steer(customer, "retry-now")
    assert (await case(customer))["status"] == "recovered"
    await mine.operate("POST", f"{path}/resume", why, key=keys["resume"], status=200)


async def test_a_retry_that_is_undecided_says_so_and_its_key_gets_the_result(
    actors: Actors, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await overdue(actors, "insufficient_funds", "succeed")
    path = f"/admin/dunning/{(await case(customer))['dunning_case_id']}/retry-now"
    mine, key = replace(actors, client=api.client), str(uuid4())

    async def busy(*_: Any) -> None:
        """The workers do not come to it in time."""

    with monkeypatch.context() as patched:
        patched.setattr(dunning, "wait_until_done", busy)
        undecided = await mine.operate("POST", path, key=key, status=202)
    assert undecided["attempts"][-1]["status"] == "declined", "the renewal's own"
    decided = await mine.operate("POST", path, key=key, status=200)
    assert (decided["status"], decided["attempts"][-1]["status"]) == ("recovered", "succeeded")


@pytest.mark.parametrize("route", ["pay", "pay-overdue", "retry-now"])
async def test_a_payment_that_other_money_forestalls_is_decided_by_that(
    actors: Actors, api: Api, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-03-05T12:00:00Z")
    await customer.script("succeed", then="last")
    name = (await owed(customer))["invoice_id"]
    mine, key = replace(actors, client=api.client), str(uuid4())
    headers = actors.headers(customer.id, "billing", key)

    async def credited(place: str) -> None:
        """Behind the commit, before the workflow hears of it."""
        if place == "api.committed":
            monkeypatch.undo()
            async with api.database.tenant(customer.uuid) as connection:
                await operating.credit(
                    connection, ids.decode(ids.INVOICE, name),
                    amount_minor=4900, lines=(), reason="x", to="debt", suffix="x",
                )  # fmt: skip

    monkeypatch.setattr(workflow_calls, "failpoint", credited)
    if route == "retry-now":
        path = f"/admin/dunning/{(await case(customer))['dunning_case_id']}/retry-now"
        await mine.operate("POST", path, key=key, status=200)
    else:
        path = f"/billing/invoices/{name}/pay" if route == "pay" else "/billing/pay-overdue"
        body = {"resume": True} if route == "pay-overdue" else {}
        said = await api.client.post(f"{API}{path}", json=body, headers=headers)
        assert (said.status_code, said.json()["next_action"]) == (200, {"type": "none"})
    resumed = route == "pay-overdue"
    assert len(await customer.effects()) == 1 + resumed, "nothing is charged for that debt"
    assert (await customer.subscription())["status"] == ("active" if resumed else "paused")
