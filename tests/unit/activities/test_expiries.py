"""The step that ends credits goes on in parts only if ending all at once takes too long."""

from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg.errors import DeadlockDetected, Error, LockNotAvailable, QueryCanceled
from sqlalchemy.exc import OperationalError

from activities.accounts import AccountActivities
from billing.core import ids
from billing.matters.agenda import Step
from workflows.contracts import MatterRef, StepRequest

ACCOUNT = ids.new()
REF = MatterRef(kind="account", account_id=ACCOUNT, subject_id=ACCOUNT, workflow_id="account/acc_1")
STEP = Step(name="expire_credits", key="expire", due=datetime(2027, 1, 1, tzinfo=UTC))


class Worker(AccountActivities):
    """A worker whose database refuses its tries with these errors."""

    def __init__(self, *refusals: Error) -> None:
        self.refusals, self.parts = list(refusals), 0

    async def once(self, *_: Any) -> Any:
        if self.refusals:
            raise OperationalError("SELECT", {}, self.refusals.pop(0))

    async def _expire_ahead(self, *_: Any) -> int:
        self.parts += 1
        return 1_000


async def test_what_takes_too_long_or_has_parts_is_ended_in_parts() -> None:
    worker = Worker(QueryCanceled(), LockNotAvailable())
    await worker.expire_credits(StepRequest(ref=REF, step=STEP))
    assert worker.parts == 2


async def test_another_error_ends_no_part() -> None:
    worker = Worker(DeadlockDetected())
    with pytest.raises(OperationalError):
        await worker.expire_credits(StepRequest(ref=REF, step=STEP))
    assert worker.parts == 0
