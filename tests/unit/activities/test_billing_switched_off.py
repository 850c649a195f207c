"""While billing is switched off the worker starts no new charge, and follows those on their way."""

from typing import Any, cast

import pytest

from activities.subscriptions import SubscriptionActivities
from billing.core.errors import Unavailable
from billing.money.payments.calls import Call, What

PAYMENT: Any = cast("Any", None)


def worker(*, billing: bool) -> SubscriptionActivities:
    made = SubscriptionActivities.__new__(SubscriptionActivities)
    made.billing_enabled = billing
    return made


@pytest.mark.parametrize("what", ["open", "open_page", "try_card"])
def test_a_new_charge_waits(what: What) -> None:
    call = Call(what, PAYMENT)
    with pytest.raises(Unavailable) as refused:
        worker(billing=False)._refuse_new_charge(call)
    assert (refused.value.code, refused.value.retryable) == ("BILLING_DISABLED", True)
    worker(billing=True)._refuse_new_charge(call)


@pytest.mark.parametrize("call", [
    None, Call("look", PAYMENT), Call("call_back", PAYMENT), Call("try_card", PAYMENT, again=True),
])  # fmt: skip
def test_what_is_on_its_way_is_followed(call: Call | None) -> None:
    worker(billing=False)._refuse_new_charge(call)
