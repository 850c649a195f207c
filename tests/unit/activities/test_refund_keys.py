"""The keys under which one refund is asked for, whatever the provider answers: it is made once."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import pytest
from temporalio.testing import ActivityEnvironment

from activities.dependencies import Dependencies
from activities.refund_calls import Refunder
from activities.tries import SAME_KEY_TRIES
from billing.core import ids, keys
from billing.core.errors import ProviderFailure, Unavailable
from billing.money.payments.schemas import PAYPAL, Payment
from billing.money.refunds.calls import RefundAnswer, RefundCall
from billing.money.refunds.rules import RefundOutcome, Taken
from billing.money.refunds.schemas import Refund
from gateways.provider import (
    FAILURE_KEPT,
    KEY_IN_USE,
    KEY_REFUSED,
    KEY_REUSED,
    SILENT,
    RefundRequest,
)

REFUND: Final = UUID(int=7)
NAME: Final = ids.encode(ids.REFUND, REFUND)
KEY: Final = keys.asked_refund(REFUND)
MADE: Final = RefundOutcome(refund_id="re_1", status="succeeded", amount_minor=333, name=NAME)
REFUSED: Final = "PROVIDER_REFUSED"
TIRED: Final = "PROVIDER_UNAVAILABLE"


class Provider:
    """Answers each key with its words, the last of them again and again; None: it is made."""

    def __init__(self, **words: str | None) -> None:
        self.words = {_key(name): word for name, word in words.items()}
        self.log: list[str] = []
        self.made: list[RefundOutcome] = []
        self.looks: int | None = None
        """The looks that it still answers; None: all."""

    async def refund(self, request: RefundRequest) -> RefundOutcome:
        self.log.append(request.key.removeprefix(KEY))
        word = self.words.get(request.key)
        if word == KEY_REUSED:
            raise ProviderFailure(word, "it had other parameters")
        if word == REFUSED:
            raise ProviderFailure(word, "it said no")
        if word is not None:
            raise Unavailable(word, "it did not decide")
        self.made.append(MADE)
        return MADE

    async def taken_back(self, intent_id: str) -> Taken:
        self.log.append(f"look at {intent_id}")
        if self.looks is not None:
            if not self.looks:
                raise ProviderFailure(REFUSED, "it knows no such payment")
            self.looks -= 1
        return Taken(refunds=tuple(self.made))

    async def asked(self, attempt: int = SAME_KEY_TRIES + 1, **payment: Any) -> RefundAnswer:
        """One try of the step."""
        self.log.clear()
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, attempt=attempt)
        both: Any = {"provider": self, "orders": self}
        refunder = Refunder(Dependencies(database=None, settings=None, **both))  # type: ignore[arg-type]
        call = RefundCall(Payment.model_construct(**PAID | payment), ASKED, again=attempt > 1)
        answer: RefundAnswer = await environment.run(refunder.make, call)
        return answer


def _key(name: str) -> str:
    return keys.refund_try(KEY, int(name.removeprefix("key_")))


PAID: Final[dict[str, Any]] = {"flow": "card", "stripe_payment_intent_id": "pi_1"}
ASKED: Final = Refund(
    id=REFUND, account_id=UUID(int=1), payment_id=UUID(int=2), invoice_id=UUID(int=3), key=KEY,
    status="pending", amount_minor=333, currency="USD", reason="a wish",
    created_at=datetime(2027, 1, 1, tzinfo=UTC),
)  # fmt: skip
LOOK: Final = "look at pi_1"


async def doubted(provider: Provider, attempt: int = SAME_KEY_TRIES + 1, **payment: Any) -> str:
    with pytest.raises(Unavailable) as doubt:
        await provider.asked(attempt, **payment)
    return doubt.value.code


def test_the_keys_of_one_refund_have_a_fixed_order() -> None:
    tries = [keys.refund_try(KEY, number) for number in (1, 2, 3)]
    assert tries == [KEY, f"{KEY}/again-2", f"{KEY}/again-3"]


async def test_each_key_whose_failure_is_kept_is_left_for_the_next_after_a_look() -> None:
    provider = Provider(key_1=FAILURE_KEPT, key_2=FAILURE_KEPT)
    assert (await provider.asked()).outcome == MADE
    assert provider.log == [LOOK, "", LOOK, "/again-2", LOOK, "/again-3"]
    assert (await provider.asked()).outcome == MADE
    assert provider.log == [LOOK], "another worker finds it"


async def test_a_failure_is_asked_for_some_times_before_its_key_is_left() -> None:
    provider = Provider(key_1=FAILURE_KEPT)
    for attempt in range(1, SAME_KEY_TRIES + 1):
        assert await doubted(provider, attempt) == FAILURE_KEPT
        assert provider.log == [LOOK, ""][attempt == 1 :]


@pytest.mark.parametrize("word", [SILENT, KEY_IN_USE, TIRED])
async def test_a_call_that_may_still_count_keeps_its_key(word: str) -> None:
    first = Provider(key_1=word)
    for attempt in range(1, 12):
        assert await doubted(first, attempt) == word
        assert first.log[-1] == ""
    second = Provider(key_1=FAILURE_KEPT, key_2=word)
    for _ in range(3):
        assert await doubted(second) == word
        assert second.log == [LOOK, "", LOOK, "/again-2"], "the same walk each time"


async def test_a_refund_that_was_made_under_a_failed_key_is_found_by_its_name() -> None:
    provider = Provider(key_1=FAILURE_KEPT)
    provider.made.append(MADE)
    assert (await provider.asked(attempt=2)).outcome == MADE
    assert provider.log == [LOOK]


async def test_a_provider_that_fails_whatever_is_asked_gets_no_keys_without_end() -> None:
    provider = Provider(**dict.fromkeys((f"key_{number}" for number in range(1, 50)), FAILURE_KEPT))
    assert await doubted(provider) == FAILURE_KEPT
    assert [one for one in provider.log if one != LOOK][-1] == f"/again-{keys.REFUND_TRIES}"


async def test_a_failure_of_paypal_is_asked_for_again_with_its_key() -> None:
    provider = Provider(key_1=TIRED)
    assert await doubted(provider, 9, flow=PAYPAL) == TIRED
    assert provider.log == [LOOK, ""]


async def test_a_key_that_had_other_parameters_is_a_doubt_and_the_next_try_looks() -> None:
    """The earlier call may have made the refund: as a refusal it could go back twice."""
    provider = Provider(key_1=KEY_REUSED)
    assert await doubted(provider, attempt=1) == KEY_REUSED
    provider.made.append(MADE)
    answer = await provider.asked(attempt=2)
    assert (answer.outcome, answer.refusal) == (MADE, None)
    assert provider.log == [LOOK]


@pytest.mark.parametrize(("looks", "log"), [(0, [LOOK]), (1, [LOOK, "", LOOK])])
async def test_a_look_that_is_refused_is_a_doubt(looks: int, log: list[str]) -> None:
    """Under another account's key the provider does not know what it has made."""
    provider = Provider(key_1=FAILURE_KEPT)
    provider.looks = looks
    assert await doubted(provider) == KEY_REFUSED
    assert provider.log == log


async def test_a_refusal_of_the_refund_itself_says_that_none_was_made() -> None:
    answer = await Provider(key_1=REFUSED).asked(attempt=1)
    assert (answer.outcome, answer.refusal) == (None, "it said no")
