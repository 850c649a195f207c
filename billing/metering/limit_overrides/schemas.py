"""A limit agreed with one account, replacing its plan's."""

from uuid import UUID

from pydantic import AwareDatetime

from billing.catalog.plans.schemas import Limit
from billing.core.frozen import Frozen


class LimitOverride(Frozen):
    """A limit on a meter per allowance cycle, agreed with one account over its plan's [B10]."""

    id: UUID
    account_id: UUID
    limit: Limit
    effective_from: AwareDatetime
    effective_to: AwareDatetime | None
    agreed_from: AwareDatetime | None = None
    """The instant of a contract; the period that it begins with may start later."""
    agreed_to: AwareDatetime | None = None
