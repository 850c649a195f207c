"""The worker starts no new charge while billing is off, or of a test account on a live key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from activities import subscriptions
from activities.accounts import AccountActivities
from activities.subscriptions import SubscriptionActivities
from billing.core import ids
from billing.core.errors import Unavailable
from billing.matters.agenda import Step
from billing.money.payment_methods import card_setup, following
from billing.money.payment_methods import store as method_store
from billing.money.payments.calls import Call, What
from billing.platform.accounts import store as accounts
from billing.platform.provider_inbox import store as inbox
from billing.platform.provider_inbox.rules import WaitingEvent, event_step
from workflows.contracts import MatterRef, StepRequest

NEW: tuple[What, ...] = ("open", "open_page", "try_card")
PAYMENT: Any = cast("Any", None)
NOWHERE: Any = cast("Any", None)
ON_ITS_WAY = [
    None, Call("look", PAYMENT), Call("call_back", PAYMENT), Call("try_card", PAYMENT, again=True),
]  # fmt: skip
TEST, REAL = ids.new(), ids.new()
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two accounts whose kind is remembered: nobody asks a database."""
    monkeypatch.setattr(accounts, "_IS_TEST", {TEST: True, REAL: False})


class Nothing:
    """A database that is not asked."""

    @asynccontextmanager
    async def tenant(self, *_: UUID) -> AsyncIterator[None]:
        yield


def worker(*, billing: bool = True, live: bool = False) -> SubscriptionActivities:
    made = SubscriptionActivities.__new__(SubscriptionActivities)
    made.billing_enabled, made.has_live_stripe = billing, live
    return made


@pytest.mark.parametrize("what", NEW)
async def test_a_new_charge_waits(what: What) -> None:
    call = Call(what, PAYMENT)
    with pytest.raises(Unavailable) as refused:
        await worker(billing=False)._refuse_new_charge(NOWHERE, REAL, call)
    assert (refused.value.code, refused.value.retryable) == ("BILLING_DISABLED", True)
    await worker()._refuse_new_charge(NOWHERE, REAL, call)


@pytest.mark.parametrize("what", NEW)
async def test_a_test_account_is_charged_nothing_by_a_live_key(what: What) -> None:
    call = Call(what, PAYMENT)
    with pytest.raises(Unavailable, match="TEST_ACCOUNT_ON_LIVE_KEY"):
        await worker(live=True)._refuse_new_charge(NOWHERE, TEST, call)
    await worker(live=True)._refuse_new_charge(NOWHERE, REAL, call)
    await worker(live=False)._refuse_new_charge(NOWHERE, TEST, call)


@pytest.mark.parametrize(
    ("billing", "live", "is_test", "may"),
    [
        (True, False, True, True),
        (True, True, False, True),
        (True, True, True, False),
        (False, False, False, False),
    ],
)
def test_a_renewal_begins_no_charge_that_would_wait(
    *, billing: bool, live: bool, is_test: bool, may: bool
) -> None:
    facts = SimpleNamespace(is_test=is_test)
    assert worker(billing=billing, live=live)._may_charge(facts) is may


@pytest.mark.parametrize("call", ON_ITS_WAY)
async def test_what_is_on_its_way_is_followed(call: Call | None) -> None:
    await worker(billing=False, live=True)._refuse_new_charge(NOWHERE, TEST, call)


async def test_a_renewal_is_done_though_its_charge_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was halted under the renewal's name, half an hour later."""

    async def refuse(request: StepRequest) -> Any:
        assert request.step == charge
        raise Unavailable("BILLING_DISABLED")

    renew, charge = (Step(name=name, due=LONG_AGO, key=name) for name in ("renew", "charge"))
    state: Any = SimpleNamespace(clock_at=None)
    monkeypatch.setattr(subscriptions, "agenda", lambda _: [charge])
    made = worker(billing=False)
    monkeypatch.setattr(made, "_step", refuse)
    ref = MatterRef(kind="subscription", account_id=REAL, subject_id=REAL)
    assert await made.after(StepRequest(ref=ref, step=renew), state) is state


class Strangers:
    """A provider that nobody may ask."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


@pytest.mark.parametrize("account_id", [TEST, REAL])
async def test_a_live_key_never_sees_a_test_account(account_id: UUID) -> None:
    made = AccountActivities.__new__(AccountActivities)
    made.settings = cast("Any", SimpleNamespace(has_live_stripe=True))
    made.database, made.customers = cast("Any", Nothing()), cast("Any", Strangers())
    made.provider = cast("Any", Strangers())
    setup: Any = SimpleNamespace(
        id=ids.new(), account_id=account_id, stripe_setup_intent_id="seti_1", return_url=None
    )
    for asked in (
        made._open(setup), made._ask(setup), made._open_portal(setup),
        made._card(account_id, "pm_1"),
    ):  # fmt: skip
        if account_id == TEST:
            assert await asked is None
        else:
            with pytest.raises(AssertionError):
                await asked


@pytest.mark.parametrize(
    ("subject", "setup"),
    [("pm_1", None), ("cus_1", None),
     ("seti_1", SimpleNamespace(id=TEST, stripe_setup_intent_id="seti_1"))],
)  # fmt: skip
async def test_an_event_about_a_card_that_a_live_key_may_not_read_leaves_it(
    monkeypatch: pytest.MonkeyPatch, subject: str, setup: Any
) -> None:
    step, done = event_step("acc_1", WaitingEvent(id="evt_1")), list[str]()

    def answers(found: Any, word: str = "") -> Any:
        async def answer(*_: Any, **__: Any) -> Any:
            done.extend([word] if word else [])
            return found

        return answer

    async def once(_: Any, verb: Any) -> None:
        done.append(await verb(None, step, None))

    made = AccountActivities.__new__(AccountActivities)
    made.settings = cast("Any", SimpleNamespace(has_live_stripe=True))
    made.database, made.provider = cast("Any", Nothing()), cast("Any", Strangers())
    if setup is not None:
        setup.account_id = TEST
    for module, name, answer in (
        (made, "still_due", answers(step)), (made, "once", once),
        (accounts, "get", answers(SimpleNamespace(stripe_customer_id="cus_1"))),
        (inbox, "subject_of", answers(subject)), (inbox, "mark_looked", answers(None, "looked")),
        (card_setup, "find_by_reference", answers(setup)),
        (method_store, "find_by_reference", answers(SimpleNamespace())),
        (card_setup, "record", answers([], "recorded")),
        (following, "follow", answers([], "followed")),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, answer)
    monkeypatch.setattr("activities.accounts.database_now", answers(None))
    ref = MatterRef(kind="account", account_id=TEST, subject_id=TEST, workflow_id="account/acc_1")
    await made.check(StepRequest(ref=ref, step=step))
    assert done == ["looked", "kept apart"]
