"""One key, one effect: replays, races, crashes, other bodies, other accounts [P9, P10]."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Annotated, Any, Final, Literal
from uuid import uuid4

import httpx2
import pytest
from fastapi import Response
from pydantic import Field
from sqlalchemy import func, select, update

from api.answers.schemas import Answer, Body
from api.app import create_app
from api.dependencies import BillingCall
from api.idempotency import OptionalKey, RequiredKey
from api.routes.base import new_router
from billing.core import ids
from billing.core.clock import real_now
from billing.core.errors import Conflict, PaymentRequired, ProviderFailure
from billing.platform.audit import service as audit
from billing.platform.audit.tables import billing_audit
from billing.platform.idempotency import store
from billing.platform.idempotency.schemas import LEASE, Granted, KeyedRequest, StoredAnswer
from billing.platform.idempotency.tables import billing_idempotency
from tests.integration.api_app import Api, stack_settings
from tests.integration.wrong_clock import wrong_clock
from workflows.client import connect

Mood = Literal["made", "waits", "declined", "refused", "away", "breaks", "slow"]
THINGS: Final = "/api/v1/billing/things"


class ThingBody(Body):
    """A thing to make, and how its making goes."""

    size: Annotated[int, Field(strict=True)] = 1
    mood: Mood = "made"


class Thing(Answer):
    """The thing that was made; its flag tells whether a second try went on with a first one's."""

    thing_id: str
    size: int
    resumed: bool


def _raise(error: Exception) -> None:
    raise error


MOODS: Final[dict[str, Callable[[], None]]] = {
    "declined": lambda: _raise(PaymentRequired("CARD_DECLINED", "no")),
    "refused": lambda: _raise(Conflict("SUBSCRIPTION_STATE", "no")),
    "away": lambda: _raise(ProviderFailure("PLATFORM_ERROR", "no")),
    "breaks": lambda: _raise(RuntimeError("a bug")),
}

router = new_router("things")


@router.post("/billing/things", response_model=Thing)
async def make_thing(body: ThingBody, call: BillingCall, once: OptionalKey) -> Response:
    """A write as routes write it: its effect is one audit row."""
    async with once.claim(call) as claim:
        thing_id = ids.encode(ids.EVENT, claim.resource_id)
        async with call.transaction() as connection:
            await audit.record(
                connection, account_id=call.account.id, action="thing.made", subject=thing_id,
                at=real_now(),
            )  # fmt: skip
        if body.mood == "slow":
            await asyncio.sleep(0.3)
        MOODS.get(body.mood, lambda: None)()
        answer = Thing(thing_id=thing_id, size=body.size, resumed=claim.resumed)
        return claim.answer(202 if body.mood == "waits" else 201, answer)


@router.post("/billing/things/{name}/pay", response_model=Thing)
async def pay_thing(name: str, call: BillingCall, once: RequiredKey) -> Response:
    """Money moves at once: a key is required."""
    async with once.claim(call) as claim:
        return claim.answer(200, Thing(thing_id=name, size=1, resumed=claim.resumed))


@pytest.fixture(scope="module")
async def things(api: Api) -> AsyncIterator[Api]:
    """The same app with two routes more."""
    settings = stack_settings(api.stack)
    app = create_app(settings, api.database, await connect(settings))
    app.router.routes.extend(router.routes)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        yield Api(app, client, api.stack)


class Shop:
    """One fresh account and its requests."""

    def __init__(self, api: Api, account: dict[str, Any]) -> None:
        self.api = api
        self.id = ids.decode(ids.ACCOUNT, account["id"])
        self.headers = api.token(account["id"], ["billing"])

    async def make(self, key: str | None, path: str = THINGS, **body: Any) -> httpx2.Response:
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        return await self.api.client.post(path, json=body, headers=headers)

    async def made(self) -> int:
        """Number of effects on this account."""
        async with self.api.database.tenant(self.id) as connection:
            query = select(func.count()).where(billing_audit.c.action == "thing.made")
            return int((await connection.execute(query)).scalar_one())

    async def age(self, **columns: Any) -> None:
        """Change what the key's row says about time, as waiting would."""
        async with self.api.database.operator() as connection:
            await connection.execute(
                update(billing_idempotency)
                .where(billing_idempotency.c.account_id == self.id)
                .values(**columns)
            )


@pytest.fixture
async def shop(things: Api) -> Shop:
    return Shop(things, await things.new_account())


def same(first: httpx2.Response, second: httpx2.Response) -> bool:
    """True if the second answer is the first one again, marked as such."""
    return (
        second.content == first.content
        and second.status_code == first.status_code
        and second.headers["Content-Type"] == first.headers["Content-Type"]
        and second.headers.get("Idempotent-Replayed") == "true"
        and "Idempotent-Replayed" not in first.headers
    )


async def test_the_same_request_twice_has_one_effect_and_one_answer(shop: Shop) -> None:
    first = await shop.make("k", size=3)
    second = await shop.make("k", size=3)
    assert first.status_code == 201
    assert same(first, second)
    assert await shop.made() == 1


async def test_the_same_json_in_another_spelling_is_the_same_request(shop: Shop) -> None:
    first = await shop.make("k", size=3, mood="made")
    spelled = await shop.api.client.post(
        THINGS + "/",
        content=b'{ "mood":"made",\n "size": 3}',
        headers=shop.headers | {"Idempotency-Key": "k", "Content-Type": "application/json"},
    )
    assert same(first, spelled)


async def test_without_a_key_each_request_is_new(shop: Shop) -> None:
    ids_made = {(await shop.make(None)).json()["thing_id"] for _ in range(3)}
    assert len(ids_made) == await shop.made() == 3


async def test_a_key_stands_for_one_body(shop: Shop) -> None:
    await shop.make("k", size=1)
    other = await shop.make("k", size=2)
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert await shop.made() == 1


async def test_fifty_at_once_with_one_key_have_one_effect(shop: Shop) -> None:
    answers = await asyncio.gather(*(shop.make("k", mood="slow") for _ in range(50)))
    assert sorted({answer.status_code for answer in answers}) == [201, 409]
    waiting = [answer for answer in answers if answer.status_code == 409]
    assert {answer.json()["code"] for answer in waiting} == {"IDEMPOTENCY_IN_FLIGHT"}
    assert all(answer.headers["Retry-After"] == "1" for answer in waiting)
    assert await shop.made() == 1
    assert (await shop.make("k", mood="slow")).headers["Idempotent-Replayed"] == "true"


async def test_two_accounts_and_two_routes_never_share_a_key(things: Api, shop: Shop) -> None:
    other = Shop(things, await things.new_account())
    one, two = await shop.make("k"), await other.make("k", size=2)
    assert one.status_code == two.status_code == 201
    assert one.json()["thing_id"] != two.json()["thing_id"]
    paid = await shop.make("k", path=f"{THINGS}/a/pay")
    assert paid.status_code == 200
    elsewhere = await shop.make("k", path=f"{THINGS}/b/pay")
    assert elsewhere.json()["code"] == "IDEMPOTENCY_KEY_REUSED", "another thing is another body"


async def test_an_operator_for_an_account_shares_that_accounts_keys(shop: Shop) -> None:
    first = await shop.make("k")
    operator = shop.api.admin() | {"X-Account-Id": ids.encode(ids.ACCOUNT, shop.id)}
    again = await shop.api.client.post(THINGS, json={}, headers=operator | {"Idempotency-Key": "k"})
    assert same(first, again)


async def test_where_nothing_was_charged_the_key_starts_anew(shop: Shop) -> None:
    assert (await shop.make("k", mood="away")).status_code == 502
    second = await shop.make("k", mood="away")
    assert second.status_code == 502
    assert "Idempotent-Replayed" not in second.headers
    assert await shop.made() == 2
    fixed = await shop.make("k", mood="made")
    assert fixed.json()["resumed"] is False


@pytest.mark.parametrize(("mood", "status"), [("refused", 409), ("declined", 402)])
async def test_a_refusal_by_state_or_card_is_final_for_its_body(
    shop: Shop, mood: Mood, status: int
) -> None:
    first = await shop.make("k", mood=mood)
    assert first.status_code == status
    assert same(first, await shop.make("k", mood=mood))
    assert await shop.made() == 1


@pytest.mark.parametrize(("mood", "status"), [("waits", 202), ("breaks", 500)])
async def test_an_undecided_request_is_rejoined_by_its_key(
    shop: Shop, mood: Mood, status: int
) -> None:
    first = await shop.make("k", mood=mood)
    assert first.status_code == status
    second = await shop.make("k", mood=mood)
    assert second.status_code == status
    if mood == "waits":
        assert second.json() == first.json() | {"resumed": True}
    async with shop.api.database.tenant(shop.id) as connection:
        subjects = (await connection.execute(
            select(billing_audit.c.subject).where(billing_audit.c.action == "thing.made")
        )).scalars().all()  # fmt: skip
    assert len(subjects) == 2
    assert len(set(subjects)) == 1, "the second try names the same thing"


async def test_a_claim_whose_holder_died_is_taken_over_with_its_thing(shop: Shop) -> None:
    first = await shop.make("k")
    await shop.age(status=None, media_type=None, body=None, lease_until=real_now() + LEASE)
    waiting = await shop.make("k")
    assert waiting.json()["code"] == "IDEMPOTENCY_IN_FLIGHT", "its lease of 30 s still runs"
    await shop.age(lease_until=real_now())
    other = await shop.make("k", size=9)
    assert other.json()["code"] == "IDEMPOTENCY_KEY_REUSED", "nor may another body take over"
    taken = await shop.make("k")
    assert taken.json() == first.json() | {"resumed": True}


@pytest.mark.parametrize("leaves_by", ["finish", "release", "forget"])
async def test_who_lost_its_lease_leaves_the_key_to_the_one_that_took_it_over(
    shop: Shop, leaves_by: str
) -> None:
    asked = KeyedRequest(account_id=shop.id, route="r", key="k", request_hash="h")
    async with shop.api.database.tenant(shop.id) as connection:
        late = await store.claim(connection, asked)
        await connection.execute(update(billing_idempotency).values(lease_until=real_now()))
        taken = await store.claim(connection, asked)
        assert isinstance(late, Granted)
        assert isinstance(taken, Granted)
        assert taken.resumed
        rows = select(billing_idempotency)
        before = (await connection.execute(rows)).one()
        match leaves_by:
            case "finish":
                wrong = StoredAnswer(status=409, media_type="application/json", body=b"{}")
                await store.finish(connection, asked, late, wrong)
            case "release":
                await store.release(connection, asked, late)
            case "forget":
                await store.forget(connection, asked, late)
            case _:
                raise ValueError(leaves_by)
        assert (await connection.execute(rows)).one_or_none() == before


async def test_of_fifty_takeovers_one_wins(shop: Shop) -> None:
    await shop.make("k", mood="waits")
    answers = await asyncio.gather(*(shop.make("k", mood="waits") for _ in range(50)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    decided = [answer.json()["thing_id"] for answer in answers if answer.status_code == 202]
    assert decided
    assert len(set(decided)) == 1


async def test_after_a_day_a_key_is_forgotten(shop: Shop) -> None:
    first = await shop.make("k", size=1)
    await shop.age(expires_at=real_now())
    second = await shop.make("k", size=2)
    assert second.status_code == 201
    assert second.json()["thing_id"] != first.json()["thing_id"]
    assert second.json()["resumed"] is False
    assert same(second, await shop.make("k", size=2))


@pytest.mark.parametrize("hours", [25, -25])
async def test_a_process_with_a_wrong_clock_forgets_no_key(shop: Shop, hours: int) -> None:
    first = await shop.make("first")
    with wrong_clock(timedelta(hours=hours)):
        assert same(first, await shop.make("first"))
        second = await shop.make("second")
    assert same(second, await shop.make("second"))


async def test_expired_keys_are_swept_and_living_ones_stay(shop: Shop) -> None:
    await shop.make("old")
    await shop.age(expires_at=real_now() - timedelta(hours=1))
    await shop.make("young")
    async with shop.api.database.operator() as connection:
        assert await store.purge(connection, real_now()) >= 1
    async with shop.api.database.tenant(shop.id) as connection:
        left = (await connection.execute(select(billing_idempotency.c.key))).scalars().all()
    assert left == ["young"]


async def test_money_that_moves_at_once_needs_a_key(shop: Shop) -> None:
    answer = await shop.make(None, path=f"{THINGS}/a/pay")
    assert (answer.status_code, answer.json()["code"]) == (400, "IDEMPOTENCY_KEY_REQUIRED")


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\tbed", "é"])
async def test_a_key_that_is_no_key_is_refused(shop: Shop, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    headers += [(name.encode(), value.encode()) for name, value in shop.headers.items()]
    answer = await shop.api.client.post(THINGS, json={}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "IDEMPOTENCY_KEY_INVALID")
    assert await shop.made() == 0


async def test_a_refused_caller_or_body_uses_up_no_key(shop: Shop) -> None:
    anonymous = await shop.api.client.post(THINGS, json={}, headers={"Idempotency-Key": "k"})
    assert anonymous.status_code == 401
    member = shop.api.token(ids.encode(ids.ACCOUNT, shop.id), ["member"])
    refused = await shop.api.client.post(THINGS, json={}, headers=member | {"Idempotency-Key": "k"})
    assert refused.status_code == 403
    assert (await shop.make("k", size=1.5)).status_code == 422
    assert (await shop.make("k", size=1)).status_code == 201


async def test_a_new_accounts_key_is_the_operators_own(things: Api) -> None:
    body = {"external_id": f"shop-{uuid4()}"}
    headers = things.admin() | {"Idempotency-Key": f"k-{uuid4()}"}
    first = await things.client.post("/api/v1/admin/accounts", json=body, headers=headers)
    again = await things.client.post("/api/v1/admin/accounts", json=body, headers=headers)
    assert first.status_code == 201
    assert same(first, again)


GIFT: Final = {"amount": "1", "reason": "sorry"}


async def give(shop: Shop, key: str, **more: Any) -> httpx2.Response:
    """An operator gives the account credits."""
    body = GIFT | {"account_id": ids.encode(ids.ACCOUNT, shop.id)} | more
    headers = shop.api.admin() | {"Idempotency-Key": key}
    return await shop.api.client.post("/api/v1/admin/credits/adjust", json=body, headers=headers)


async def test_an_operators_key_belongs_to_the_account_of_the_act(things: Api, shop: Shop) -> None:
    other, key = Shop(things, await things.new_account()), f"campaign-{uuid4()}"
    for one in (shop, other):
        first = await give(one, key)
        assert first.status_code == 201, first.text
        assert same(first, await give(one, key))
    assert (await give(other, key, amount="2")).json()["code"] == "IDEMPOTENCY_KEY_REUSED"


@pytest.mark.parametrize("amount", [1, 100, 2.5, "100.00"])
async def test_an_operators_key_that_the_release_before_kept_has_its_first_answer(
    shop: Shop, amount: float | str
) -> None:
    key = f"campaign-{uuid4()}"
    first = await give(shop, key, amount=amount)
    assert first.status_code == 201, first.text
    body = GIFT | {"account_id": ids.encode(ids.ACCOUNT, shop.id), "amount": amount}
    await shop.age(scope="*", account_id=None, request_hash=hashed_before(body))
    assert same(first, await give(shop, key, amount=amount))
    assert (await give(shop, key, amount="2")).status_code == 201


def hashed_before(body: dict[str, Any]) -> str:
    """The hash of a body sent to a path without parameters, as release 0.1.0 stored it."""
    text = json.dumps([{}, [], body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


async def test_a_takeover_goes_on_with_what_the_release_before_had_begun(shop: Shop) -> None:
    key = f"campaign-{uuid4()}"
    first = await give(shop, key, amount=7)
    body = GIFT | {"account_id": ids.encode(ids.ACCOUNT, shop.id), "amount": 7}
    await shop.age(
        scope="*", account_id=None, request_hash=hashed_before(body),
        status=None, media_type=None, body=None, lease_until=real_now(),
    )  # fmt: skip
    again = await give(shop, key, amount=7)
    assert (again.status_code, again.json()) == (201, first.json())
