"""A member reads its own single uses; those of others are missing to it, the account's sums not."""

from typing import Any

import pytest

from tests.integration.usage.conftest import V1, NewShop, Shop


async def ask(shop: Shop, path: str, role: str = "member", **query: str) -> Any:
    """A read by a caller of the account whose name is ann."""
    headers = shop.api.token(shop.account["id"], [role], "ann")
    return await shop.api.client.get(f"{V1}{path}", params=query, headers=headers)


async def users(shop: Shop, path: str, role: str = "member", **query: str) -> set[str | None]:
    answer = await ask(shop, path, role, **query)
    assert answer.status_code == 200, answer.text
    return {row["user_id"] for row in answer.json()["data"]}


@pytest.fixture
async def shop(new_shop: NewShop) -> Shop:
    made = await new_shop("100")
    for user in ("ann", "bob", None):
        await made.record(user_id=user, usage_details={"prompt": "secret"})
    return made


@pytest.mark.parametrize("path", ["/billing/records", "/usage/logs", "/billing/credits/usage"])
async def test_lists_of_single_uses_are_a_members_own(shop: Shop, path: str) -> None:
    assert await users(shop, path) == {"ann"}
    assert await users(shop, path, "billing") == {"ann", "bob", None}


async def test_another_user_is_missing_to_a_member_and_known_to_its_staff(shop: Shop) -> None:
    for path, query in (
        ("/billing/records/user/bob", {}),
        ("/usage/logs", {"user_id": "bob"}),
        ("/usage/aggregations", {"user_id": "bob"}),
    ):
        refused = await ask(shop, path, **query)
        assert (refused.status_code, refused.json()["code"]) == (404, "NOT_FOUND")
        assert (await ask(shop, path, "billing", **query)).json()["data"] != []
    assert await users(shop, "/billing/records/user/ann") == {"ann"}
    assert await users(shop, "/usage/logs", user_id="ann") == {"ann"}
    (mine,) = (await ask(shop, "/usage/aggregations", user_id="ann")).json()["data"]
    assert mine["events"] == 1


async def test_one_record_is_read_by_its_user_and_by_staff(shop: Shop) -> None:
    records = (await ask(shop, "/billing/records", "billing")).json()["data"]
    for record in records:
        path = f"/billing/records/{record['billing_id']}"
        own = await ask(shop, path)
        assert own.status_code == (200 if record["user_id"] == "ann" else 404)
        if own.status_code == 404:
            assert own.json()["code"] == "BILLING_RECORD_NOT_FOUND"
        assert (await ask(shop, path, "billing")).status_code == 200


async def test_the_accounts_sums_stay_readable(shop: Shop) -> None:
    (day,) = (await ask(shop, "/usage/aggregations")).json()["data"]
    assert day["events"] == 3
    assert (await ask(shop, "/usage/summary")).json()["total_events"] == 3
    assert (await ask(shop, "/stats")).json()["active_users"] == 2


async def test_reports_and_limits_show_a_member_itself_alone(shop: Shop) -> None:
    for user in ("ann", "bob"):
        await shop.quota("5", user_id=user)
    await shop.quota("50")
    for grouped, column, all_of in (("record", "user_id", 3), ("user", "user", 3)):
        for role, expected in (("member", 1), ("billing", all_of)):
            report = await ask(shop, "/usage/reports", role, format="json", group_by=grouped)
            rows = report.json()["data"]
            assert len(rows) == expected
            assert role == "billing" or rows[0][column] == "ann"
    report = await ask(shop, "/usage/reports", format="json", group_by="meter")
    assert report.json()["data"][0]["events"] == 3
    for role, owners in (("member", {"ann", None}), ("billing", {"ann", "bob", None})):
        limits = (await ask(shop, "/usage/limits", role)).json()["data"]
        assert {limit["owner_id"] for limit in limits} == owners


async def test_a_member_who_guesses_the_id_of_an_event_takes_nothing_from_it(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("1000")
    use = {"event_id": "req-1", "product_id": "gpt-4", "usage_amount": "0.000001"}
    own = shop.api.token(shop.account["id"], ["member"], "ann")
    service = shop.api.token("*", ["service"], "meter") | {"X-Account-Id": shop.account["id"]}

    async def sent(
        headers: dict[str, str], body: dict[str, Any], path: str = "/usage/record"
    ) -> Any:
        answer = await shop.api.client.post(f"{V1}{path}", json=body, headers=headers)
        return answer.status_code, answer.json()

    status, guessed = await sent(own, use)
    assert status == 201
    status, true = await sent(service, use | {"usage_amount": "1000"})
    assert (status, true["total_cost"]) == (201, "2.00")
    again = await sent(own, use)
    assert again == (201, guessed), "each is known to its own sender"
    assert (await sent(service, use | {"usage_amount": "1000"}))[1] == true
    bob = shop.api.token(shop.account["id"], ["member"], "bob")
    assert (await sent(bob, use | {"usage_amount": "2"}))[0] == 201


async def spend(shop: Shop, maker: str, **more: str) -> str:
    """A hold of this caller, captured; its ledger entry."""
    headers = shop.api.token(shop.account["id"], ["billing"], maker)
    body = {"amount": "2", "reason": f"{maker}'s diagnosis", "subject": f"{maker}'s chat"}
    made = await shop.api.client.post(
        f"{V1}/billing/credits/holds", json=body, headers=headers | {"Idempotency-Key": maker}
    )
    path = f"{V1}/billing/credits/holds/{made.json()['hold_id']}/capture"
    captured = await shop.api.client.post(
        path, json={"reason": f"{maker}'s answer", "detail": {"model": "m"}}, headers=headers
    )
    assert captured.status_code == 200, captured.text
    return str(captured.json()["transaction_id"])


async def test_the_ledger_tells_a_member_how_much_others_spent_and_not_on_what(shop: Shop) -> None:
    own, others = await spend(shop, "ann"), await spend(shop, "bob")
    path = "/billing/credits/transactions"
    everything = (await ask(shop, path, "billing")).json()["data"]
    seen = (await ask(shop, path)).json()["data"]
    sums = ("transaction_id", "number", "kind", "amount", "balance_after", "created_at")
    assert [[one[name] for name in sums] for one in seen] == [
        [one[name] for name in sums] for one in everything
    ]
    named = {one["transaction_id"]: one for one in seen}
    spends = [one for one in seen if one["kind"] in ("debit", "capture")]
    assert len(spends) == 5
    assert sum(one["reason"] != "" for one in spends) == 2, "its own use, and its own capture"
    assert (named[own]["reason"], named[own]["subject"]) == ("ann's answer", "ann's chat")
    hidden = [named[others][name] for name in ("reason", "scope", "subject", "detail")]
    assert hidden == ["", None, None, {}]
    assert "bob" not in str(seen)
    assert all(one["reason"] for one in everything)
    assert [one["reason"] for one in seen if one["kind"] == "grant"] != [""]


async def test_a_members_holds_and_entries_are_read_alone_by_itself_and_staff(shop: Shop) -> None:
    own, others = await spend(shop, "ann"), await spend(shop, "bob")
    for entry, status in ((own, 200), (others, 404)):
        for path in (entry, f"{entry}/explain"):
            path = f"/billing/credits/transactions/{path}"
            assert (await ask(shop, path)).status_code == status
            assert (await ask(shop, path, "billing")).status_code == 200
    holds = "/billing/credits/holds"
    (mine,) = (await ask(shop, holds)).json()["data"]
    assert mine["subject"] == "ann's chat"
    both = (await ask(shop, holds, "billing")).json()["data"]
    assert len(both) == 2
    for hold in both:
        status = 200 if hold["hold_id"] == mine["hold_id"] else 404
        assert (await ask(shop, f"{holds}/{hold['hold_id']}")).status_code == status


async def test_what_was_taken_back_stays_hidden_too(shop: Shop) -> None:
    for record in (await ask(shop, "/billing/records", "billing")).json()["data"]:
        headers = shop.api.token("*", ["service"], "staff")
        path = f"{V1}/billing/records/{record['billing_id']}/void"
        done = await shop.api.client.post(path, json={"reason": "wrong"}, headers=headers)
        assert done.status_code == 200, done.text
    seen = (await ask(shop, "/billing/credits/transactions")).json()["data"]
    voids = [one["reason"] for one in seen if one["kind"] == "void"]
    assert (len(voids), voids.count("")) == (3, 2)
