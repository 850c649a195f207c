"""The step that ends an account's credits, run as a worker runs it: at its time, and once."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from unittest.mock import Mock

import pytest

from activities.accounts import AccountActivities
from activities.dependencies import Dependencies
from billing.core.errors import Conflict
from billing.core.settings import Settings
from billing.matters import store as matters
from billing.matters.kinds import ACCOUNT
from billing.money.account_agenda import rules
from tests.integration.credits.accounts import CreditAccount
from workflows.contracts import MatterRef, StepRequest

END: Final = datetime(2027, 3, 1, 12, tzinfo=UTC)


async def ending(new_account: Any) -> tuple[CreditAccount, AccountActivities, StepRequest]:
    """An account whose credits end at END, a second from now, and the step that ends them."""
    account: CreditAccount = await new_account(clock_at=END - timedelta(seconds=1))
    await account.grant("10", expires_at=END)
    provider: Any = Mock()
    worker = AccountActivities(Dependencies(account.database, provider, Settings()))
    ref = MatterRef(
        workflow_id=ACCOUNT.workflow_id(account.id), account_id=account.id, kind="account",
        subject_id=account.id,
    )  # fmt: skip
    async with account.transaction() as connection:
        state = await worker.state(connection, ref, lock=False)
    step = next(one for one in rules.agenda(state) if one.name == "expire_credits")
    assert step.due == END
    return account, worker, StepRequest(ref=ref, step=step)


async def test_a_worker_whose_clock_is_a_second_behind_ends_them_too(new_account: Any) -> None:
    account, worker, request = await ending(new_account)
    state = await worker.expire_credits(request)
    assert [one for one in rules.agenda(state) if one.key == request.step.key] == []
    assert (await account.books()).balance == 0


async def test_a_step_whose_key_is_taken_changes_nothing(new_account: Any) -> None:
    account, worker, request = await ending(new_account)
    async with account.transaction() as connection:
        finished = await matters.send_finish(
            connection, request.ref, request.step, result="done", head=None, words="", at=END
        )
        assert await matters.is_first(finished)
    with pytest.raises(Conflict) as refused:
        await worker.expire_credits(request)
    assert refused.value.code == "STEP_DONE"
    assert (await account.books()).balance == 10
