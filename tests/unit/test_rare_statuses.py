"""A list by a status sends it as a part of the statement: the indexes of rare statuses name it, and
a generic plan does not know the value of a parameter.
"""

from typing import Any, Final

import pytest
from sqlalchemy import Select
from sqlalchemy.dialects import postgresql

from billing.matters import listing as matters
from billing.money.payments import store as payments
from billing.money.purchases import store as purchases
from billing.platform.provider_inbox import store as inbox

LISTS: Final = {
    "parked": inbox.listing(status="parked"),
    "halted": matters.listing(status="halted"),
    "expired": purchases.listing(None, status="expired"),
    "failed": payments.listing(None, statuses=["failed"]),
}


@pytest.mark.parametrize(("status", "query"), LISTS.items(), ids=LISTS)
def test_a_status_is_no_parameter(status: str, query: Select[Any]) -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    asked = query.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    assert f"'{status}'" in str(asked)
    assert status not in asked.params.values()
