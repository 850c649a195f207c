"""SQL that reads the refunds and disputes of invoices."""

from collections.abc import Mapping
from typing import Final

from billing.matters.effects import Row
from billing.money.disputes.schemas import Dispute
from billing.money.disputes.tables import disputes
from billing.money.payments.reading import hanging
from billing.money.refunds.schemas import Refund
from billing.money.refunds.tables import refunds

REVERSALS: Final = f"""
           {hanging(refunds.name, "x.created_at, x.id")} AS refunds,
           {hanging(disputes.name, "x.created_at, x.id")} AS disputes"""
TYPES: Final[Mapping[str, type[Row]]] = {"refunds": Refund, "disputes": Dispute}
