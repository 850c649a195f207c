"""A history learns from the database that it refused a row, and nothing of the row."""

from typing import Any

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.billing_interceptor import BillingInterceptor
from billing.platform.parking.service import Barrier


class Refused(ActivityInboundInterceptor):
    """An activity whose row the database does not take."""

    def __init__(self) -> None:
        """Is the last of the chain."""

    async def execute_activity(self, _: ExecuteActivityInput) -> Any:
        said = psycopg.errors.UniqueViolation("duplicate key\nDETAIL:  Key (name)=(Alice) exists.")
        raise IntegrityError("INSERT INTO notes", {"name": "Alice"}, said)


class Open(Barrier):
    """Nothing is parked."""

    def __init__(self) -> None:
        """Needs no database."""


async def test_a_refused_row_is_tried_again_and_not_told() -> None:
    chain = BillingInterceptor(Open()).intercept_activity(Refused())
    asked = ExecuteActivityInput(fn=print, args=[], executor=None, headers={})
    with pytest.raises(ApplicationError) as refused:
        await ActivityEnvironment().run(chain.execute_activity, asked)
    assert (refused.value.type, refused.value.non_retryable) == ("UniqueViolation", False)
    assert str(refused.value) == "UniqueViolation: duplicate key"
    assert refused.value.__cause__ is None
