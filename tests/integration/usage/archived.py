"""A voided use as it is once its month is archived: not in the table, while others are voided."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from billing.core import ids
from devstack.stack import StackInfo
from tests.integration.past_triggers import past_triggers

_AWAY = """
    CREATE TABLE archived AS SELECT * FROM billing_records WHERE '{use}' IN (id, voids);
    DELETE FROM billing_records WHERE id IN (SELECT id FROM archived);
    INSERT INTO month_files (id, month, until, file, digest, rows_digest, records, size_bytes,
        written_at, detached_at)
    VALUES ('{use}', '1999-01-01', '1999-02-01', '', '', '', 2, 0, now(), now())
"""
_BACK = """
    INSERT INTO billing_records SELECT * FROM archived;
    DELETE FROM month_files WHERE id = '{use}';
    DROP TABLE archived
"""


@asynccontextmanager
async def archived(stack: StackInfo, record: dict[str, Any]) -> AsyncIterator[None]:
    """Meanwhile this use and its void are away."""
    use = ids.decode(ids.BILLING_RECORD, record["billing_id"])
    await past_triggers(stack, _AWAY.format(use=use))
    try:
        yield
    finally:
        await past_triggers(stack, _BACK.format(use=use))
