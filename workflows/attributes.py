"""The four search attributes by which operators find a matter; ids and single words only.

They are never encrypted, so nothing personal goes in.
"""

from datetime import datetime
from typing import Any, Final

from temporalio.common import SearchAttributeKey

ACCOUNT_ID: Final = SearchAttributeKey.for_keyword("AccountId")
BILLING_STATUS: Final = SearchAttributeKey.for_keyword("BillingStatus")
NEXT_DUE_AT: Final[SearchAttributeKey[datetime]] = SearchAttributeKey.for_datetime("NextDueAt")
PLAN: Final = SearchAttributeKey.for_keyword("Plan")

ATTRIBUTES: Final[tuple[SearchAttributeKey[Any], ...]] = (
    ACCOUNT_ID,
    BILLING_STATUS,
    NEXT_DUE_AT,
    PLAN,
)
"""All search attributes; the namespace must have each."""

HALTED: Final = "halted"
