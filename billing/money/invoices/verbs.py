"""Verbs for the engines of matters that may number an invoice."""

from typing import Final

from billing.money.discounts import service as discount_service
from billing.money.discounts import transitions as discounts
from billing.money.invoices import snapshots, store
from billing.money.invoices.operations import KEEP_SNAPSHOT, OWE_TAX
from billing.money.taxation import store as tax_profiles
from billing.platform.decisions.writer import ISSUE, Verb

NUMBERING: Final[dict[str, Verb]] = {
    ISSUE: store.issue,
    KEEP_SNAPSHOT: snapshots.keep,
    OWE_TAX: tax_profiles.owe,
    discounts.COUNT: discount_service.count,
}
