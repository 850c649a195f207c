"""The control plane: scripts, the journal, forgetting."""

import sqlite3
from typing import Any

import httpx2
import pytest

from sandbox.control import ControlError, SandboxControl
from sandbox.settings import LOOPBACK, Settings, admits, is_ours
from tests.integration.sandbox.support import Process, declined


async def charge(v1: Any, customer: str, card: str = "pm_card_visa", **more: Any) -> Any:
    """Charge 9.99 at once."""
    return await v1.payment_intents.create_async(
        {
            "amount": 999,
            "currency": "usd",
            "customer": customer,
            "payment_method": card,
            "confirm": True,
            **more,
        }
    )


async def test_a_script_is_consumed_one_word_per_charge_and_then_the_card_is_itself(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    await control.script(customer, "insufficient_funds", "succeed", "authentication_required")
    error = await declined(charge(v1, customer))
    assert error.decline_code == "insufficient_funds"
    statuses = [(await charge(v1, customer)).status for _ in range(3)]
    assert statuses == ["succeeded", "requires_action", "succeeded"]


async def test_the_last_word_of_a_script_can_stay(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": customer})
    await control.script(card.id, "lost_card", then="last")
    for _ in range(3):
        error = await declined(charge(v1, customer, card.id))
        assert (error.decline_code, error.advice_code) == ("lost_card", "do_not_try_again")
    assert (await charge(v1, customer)).status == "succeeded"
    await control.script(card.id)
    assert (await charge(v1, customer, card.id)).status == "succeeded"


async def test_a_scripted_authentication_is_a_decline_off_session(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    await control.script(customer, "authentication_required")
    error = await declined(charge(v1, customer, off_session=True))
    assert error.code == "authentication_required"


async def test_orders_nobody_understands_are_refused(
    control: SandboxControl, customer: str
) -> None:
    with pytest.raises(ControlError, match="not an outcome"):
        await control.script(customer, "sunshine")
    with pytest.raises(ControlError):
        await control.fault("explode")
    with pytest.raises(ControlError):
        await control.webhooks("eat", customer=customer)
    with pytest.raises(ControlError, match="no plans called"):
        await control.plans("wishes")
    with pytest.raises(ControlError):
        await control.redeliver("evt_nothing")
    assert (await control.authenticate("pi_nothing")).status == 404


async def test_the_journal_holds_each_request_and_each_movement_of_money(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    await declined(
        charge(v1, customer, "pm_card_visa_chargeDeclined", metadata={"account": customer})
    )
    key = f"{customer}/charge"
    intent = await v1.payment_intents.create_async(
        {
            "amount": 999,
            "currency": "usd",
            "customer": customer,
            "metadata": {"account": customer, "matter": "pur_1"},
            "payment_method": "pm_card_visa",
            "confirm": True,
        },
        {"idempotency_key": key},
    )
    await v1.refunds.create_async({"payment_intent": intent.id, "amount": 99})
    effects = await control.effects(customer=customer)
    assert [(row["name"], row["amount"]) for row in effects] == [
        ("charge.failed", 999),
        ("charge.succeeded", 999),
        ("refund.succeeded", 99),
    ]
    assert effects[1]["key"] == key
    assert effects[1]["payment_intent"] == intent.id
    assert len(await control.effects(metadata={"account": customer})) == 3
    assert len(await control.effects(metadata={"matter": "pur_1"}, customer=customer)) == 2
    (row,) = await control.requests(key=key)
    assert (row["name"], row["status"], row["actor"]) == ("POST /v1/payment_intents", 200, "api")
    assert row["request"] == effects[1]["request"]
    later = await control.journal(customer=customer, since=effects[1]["seq"])
    assert "refund.succeeded" in [found["name"] for found in later]
    assert await control.effects(customer=customer, last=2) == effects[1:]
    assert await control.effects(customer=customer, limit=2) == effects[:2]


async def test_what_a_person_does_is_in_the_journal_too(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    made = await v1.payment_intents.create_async(
        {"amount": 999, "currency": "usd", "customer": customer}
    )
    await control.confirm_as_client(made.id, "pm_card_authenticationRequired")
    await control.authenticate(made.id)
    actors = [row["actor"] for row in await control.requests(customer=customer)]
    assert actors[-3:] == ["api", "client", "person"]


async def test_the_journal_cannot_be_rewritten(sandbox: Process, customer: str) -> None:
    with sqlite3.connect(sandbox.folder / "sandbox.db", timeout=5) as database:
        for statement in ("DELETE FROM journal", "UPDATE journal SET amount = 0"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                database.execute(statement)
    database.close()


async def test_forgetting_a_customer_keeps_the_journal(
    v1: Any, control: SandboxControl, customer: str
) -> None:
    await charge(v1, customer)
    await control.reset(customer)
    assert (await v1.payment_intents.list_async({"customer": customer})).data == []
    assert len(await control.effects(customer=customer)) == 1
    *_, note = await control.journal(customer=customer, entry="note")
    assert note["name"] == "customer.reset"


async def test_forgetting_everything_starts_anew(tmp_path: Any, receiver: Any) -> None:
    process = Process(tmp_path, "")
    process.start()
    async with SandboxControl(process.url) as control:
        await control.fault("error_429")
        await control.emit("customer.created", {"id": "cus_1", "object": "customer"})
        await control.reset()
        assert await control.plans("faults") == []
        assert await control.journal() == []
        assert (await control.health())["status"] == "ok"
    process.stop()


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("192.168.1.5", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1", False),
        ("testclient", False),
        ("", False),
    ],
)
def test_only_this_machine_is_served(host: str, served: bool) -> None:
    assert admits(LOOPBACK, host) is served


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1:12111", True),
        ("[::1]:12111", True),
        ("localhost", True),
        ("sandbox:12111", True),
        ("Stripe.Example:443", True),
        ("evil.example:12111", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        ("[", False),
    ],
)
def test_a_page_of_another_site_does_not_reach_it_by_its_own_name(host: str, ours: bool) -> None:
    assert is_ours(Settings(public_url="https://stripe.example"), host) is ours


async def test_a_client_from_elsewhere_is_turned_away(sandbox: Process) -> None:
    async with httpx2.AsyncClient(trust_env=False, base_url=sandbox.url) as http:
        # uvicorn takes the forwarded address from a proxy on this machine.
        answer = await http.get("/", headers={"X-Forwarded-For": "203.0.113.7"})
        assert answer.status_code == 403
        assert "this machine only" in answer.json()["error"]["message"]
        assert (await http.get("/", headers={"Host": "evil.example"})).status_code == 403
