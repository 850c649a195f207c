"""Billing addresses: one default, real countries, texts that fit on a line of an invoice."""

import asyncio
from typing import Any, Final

import httpx2
import pytest

from billing.core import ids
from tests.integration.api_app import Api

PATH: Final = "/api/v1/billing/addresses"
BERLIN: Final = {
    "line1": "Straße des 17. Juni 135", "line2": "Haus A", "city": "Berlin",
    "postal_code": "10623", "country": "DE",
}  # fmt: skip
OSAKA: Final = {"line1": "梅田3丁目1-1", "city": "大阪市", "state": "大阪府", "country": "JP"}


class Tenant:
    """The staff of one account."""

    def __init__(self, api: Api, account_id: str) -> None:
        self.api, self.account_id = api, account_id
        self.headers = api.token(account_id, ["billing"])

    async def send(
        self, method: str, name: str = "", body: Any = None, **headers: str
    ) -> httpx2.Response:
        return await self.api.client.request(
            method, f"{PATH}{name}", json=body, headers=self.headers | headers
        )

    async def add(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.send("POST", "", body)
        assert answer.status_code == 201, answer.text
        added: dict[str, Any] = answer.json()
        return added

    async def acts(self) -> list[dict[str, Any]]:
        """The account's audit, newest first."""
        trail = await self.api.client.get(
            f"/api/v1/admin/accounts/{self.account_id}/audit", headers=self.api.admin()
        )
        return list(trail.json()["data"])

    async def defaults(self) -> list[str]:
        data = (await self.send("GET")).json()["data"]
        return [one["address_id"] for one in data if one["is_default"]]


@pytest.fixture
async def tenant(api: Api) -> Tenant:
    return Tenant(api, (await api.new_account())["id"])


async def test_the_first_address_is_the_default_until_another_is_made_it(tenant: Tenant) -> None:
    berlin = await tenant.add(BERLIN)
    assert berlin["is_default"]
    assert {name: berlin[name] for name in BERLIN} == BERLIN
    osaka = await tenant.add(OSAKA)
    assert (osaka["is_default"], osaka["line1"]) == (False, "梅田3丁目1-1")
    changed = await tenant.send("PATCH", f"/{osaka['address_id']}", {"is_default": True})
    assert changed.json()["is_default"]
    assert await tenant.defaults() == [osaka["address_id"]]
    third = await tenant.add(BERLIN | {"is_default": True})
    assert await tenant.defaults() == [third["address_id"]]

    removed = await tenant.send("DELETE", f"/{third['address_id']}")
    assert removed.json() == {"address_id": third["address_id"], "deleted": True}
    assert await tenant.defaults() == [osaka["address_id"]], "the newest other one"
    acts = [(one["action"], one["subject"]) for one in await tenant.acts()]
    assert ("address.removed", third["address_id"]) in acts
    for method, body in (("GET", None), ("PATCH", {"city": "Bath"}), ("DELETE", None)):
        gone = await tenant.send(method, f"/{third['address_id']}", body)
        assert (gone.status_code, gone.json()["code"]) == (404, "ADDRESS_NOT_FOUND")


async def test_a_member_finds_the_addresses_of_all_and_its_own(tenant: Tenant) -> None:
    added = {user: await tenant.add(BERLIN | {"user_id": user}) for user in ("ann", "bob", None)}
    ann = tenant.api.token(tenant.account_id, ["member"], "ann")
    seen = (await tenant.api.client.get(PATH, headers=ann)).json()
    assert [one["user_id"] for one in seen["data"]] == [None, "ann"]
    assert seen["pagination"]["total"] == 2
    for user, address in added.items():
        one = await tenant.api.client.get(f"{PATH}/{address['address_id']}", headers=ann)
        code = one.json().get("code")
        expected = (404, "ADDRESS_NOT_FOUND") if user == "bob" else (200, None)
        assert (one.status_code, code) == expected
    assert len((await tenant.send("GET")).json()["data"]) == 3


async def test_an_address_is_changed_field_by_field_and_the_audit_says_which(
    tenant: Tenant,
) -> None:
    made = await tenant.add(BERLIN | {"user_id": "u-7"})
    path = f"/{made['address_id']}"
    moved = (await tenant.send("PATCH", path, {"city": "Potsdam", "line2": None})).json()
    moved.pop("updated_at")
    expected = made | {"city": "Potsdam", "line2": None}
    assert moved == {name: expected[name] for name in moved}
    shown = (await tenant.send("GET", path)).json()
    assert {name: shown[name] for name in moved} == moved
    entry, added = (await tenant.acts())[:2]
    assert (entry["action"], entry["detail"]["fields"]) == ("address.changed", ["city", "line2"])
    assert added["action"] == "address.added"
    assert "Potsdam" not in str(entry)


@pytest.mark.parametrize(
    "wrong",
    [
        {"country": "XX"}, {"country": "de"}, {"country": "DEU"}, {"country": "UK"},
        {"line1": ""}, {"line1": "  "}, {"city": "x" * 256}, {"line1": None},
        {"line1": "Main St 1\r\nBcc: everybody"}, {"city": "a\x00b"}, {"city": "Ba\u2028th"},
        {"state": "\u202eabc"}, {"line2": "4242 4242 4242 4242"}, {"postal_code": 10623},
        {"is_default": "yes"}, {"zip": "1"},
    ],
    ids=str,
)  # fmt: skip
async def test_an_address_that_no_invoice_can_carry_is_refused(
    tenant: Tenant, wrong: dict[str, Any]
) -> None:
    refused = await tenant.send("POST", "", BERLIN | wrong)
    assert refused.status_code in {400, 422}, refused.text
    assert (await tenant.send("GET")).json()["data"] == []


async def test_a_change_that_leaves_no_address_is_refused(tenant: Tenant) -> None:
    made = await tenant.add(BERLIN)
    for wrong in ({"city": None}, {"country": None}, {"is_default": False}, {"country": "EU"}):
        refused = await tenant.send("PATCH", f"/{made['address_id']}", wrong)
        assert (refused.status_code, refused.json()["code"]) == (422, "VALIDATION_FAILED")
    assert (await tenant.send("GET", f"/{made['address_id']}")).json() == made


async def test_many_at_once_leave_one_default_and_at_most_fifty(tenant: Tenant) -> None:
    answers = await asyncio.gather(
        *(tenant.send("POST", "", BERLIN | {"is_default": True}) for _ in range(52))
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 50 + [409] * 2
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"ADDRESS_LIMIT"}
    assert len(await tenant.defaults()) == 1


async def test_the_same_key_adds_one_address(tenant: Tenant) -> None:
    answers = [
        await tenant.send("POST", "", BERLIN, **{"Idempotency-Key": "one-address"})
        for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert len((await tenant.send("GET")).json()["data"]) == 1


async def test_another_account_sees_and_changes_nothing(api: Api, tenant: Tenant) -> None:
    path = f"/{(await tenant.add(BERLIN))['address_id']}"
    other = Tenant(api, (await api.new_account())["id"])
    for method, body in (("GET", None), ("PATCH", {"city": "Bath"}), ("DELETE", None)):
        assert (await other.send(method, path, body)).status_code == 404
    tenant.headers = api.token(tenant.account_id, ["member"])
    assert (await tenant.send("GET", path)).status_code == 200
    assert (await tenant.send("DELETE", path)).status_code == 403
    assert ids.parse(ids.ADDRESS, path[1:]) is not None
