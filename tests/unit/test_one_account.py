"""Only a list of names crosses accounts, so accounts can be divided over databases.

docs/scale.md says what each would need. Row-level security keeps queries to one account as they
run; here the constraints are held to it, and the modules that look at all accounts.
"""

import re
from typing import Any, Final

import pytest
from sqlalchemy import Column, ForeignKeyConstraint, Table, UniqueConstraint, Uuid

from billing.core.database import metadata
from devstack.options import ROOT
from migrations.draft import load_tables

load_tables()

_PAGE: Final = (ROOT / "docs/scale.md").read_text()
# Ids of Stripe, and keys with the id of a row in their text: unique wherever they were made.
_UNIQUE_ANYWHERE: Final = re.compile(r"stripe_\w+_id|(fact_|intent_|grant_)?key|workflow_id")
_LOOKING: Final = re.compile(r"\.operator(_statement|_engine)?\b")
ACROSS: Final = {
    "accounts": {("external_id",)},
    "billing_audit": {("id",)},
    "billing_idempotency": {("scope", "route", "key")},
    "credit_notes": {("series", "number")},
    "invoices": {("series", "number"), ("payment_reference",)},
    "trial_identities": {("kind", "identity_hash")},
    "trials": {("kind", "identity_hash")},
}
"""Unique over all accounts."""
LOOKING_AT_ALL: Final = {
    "activities/earlier_release.py",
    "activities/housekeeping.py",
    "activities/leftovers.py",
    "activities/missing_runs.py",
    "activities/paged_scan.py",
    "activities/polling.py",
    "activities/reconciling.py",
    "activities/resting.py",
    "activities/scheduled_jobs.py",
    "activities/usage_sync.py",
    "api/calls.py",
    "api/identity/rate_leases.py",
    "api/webhooks/inbox.py",
    "api/monitoring/gauges.py",
    "api/idempotency.py",
    "api/pricing.py",
    "api/routes/billing_records.py",
    "api/routes/quotas.py",
    "api/routes/timeline.py",
    "api/routes/trials.py",
    "api/identity/tenants.py",
    "billing/core/database_roles.py",
    "billing/insight/health/service.py",
    "billing/insight/integrity/hourly.py",
    "billing/insight/integrity/numbers.py",
    "billing/insight/integrity/service.py",
    "billing/metering/quotas/counter_rebuild.py",
    "billing/metering/usage/counter_rebuild.py",
}
"""Modules that see the rows of all accounts, beside operators' routes and commands."""
SHARED: Final = {
    "check_rounds", "coupons", "credit_costs", "credit_packages", "default_plan",
    "integrity_runs", "invoice_series", "issuer_logos", "issuers", "job_runs", "meters",
    "month_files", "parkings", "past_credit_costs", "payment_method_configs", "plans", "prices",
    "processes", "product_prices", "products", "proven_series", "rate_windows", "reconciliations",
    "skipped_events", "skipped_numbers", "tax_jurisdictions", "tax_terms", "usage_months",
}  # fmt: skip
"""Tables whose rows belong to no account."""
BEYOND_ROW_SECURITY: Final = {"usage_make_months"}
"""SQL functions with their owner's rights: row-level security does not hold them."""
_HOT: Final = "written by the SQL functions of the hot path, of one account each"
_ANY: Final = "names a thing of any kind"
WITHOUT_KEY: Final = {
    "billing_events.billing_id": _HOT,
    "billing_idempotency.lease": "names no row",
    "billing_idempotency.resource_id": _ANY,
    "billing_records.transaction_id": _HOT,
    "billing_records.voids": _HOT,
    "capture_logs.transaction_id": _HOT,
    "credit_balances.period_id": _HOT,
    "credit_hold_lots.hold_id": _HOT,
    "credit_hold_lots.lot_id": _HOT,
    "credit_transaction_lots.lot_id": _HOT,
    "credit_transaction_lots.transaction_id": _HOT,
    "matters.subject_id": _ANY,
    "quota_slices.quota_id": _HOT,
    "unpaid_retries.from_id": _HOT,
    "unpaid_uses.record_id": _HOT,
    "usage_periods.plan_id": "names a row of no account",
    "usage_periods.subscription_id": _HOT,
}
"""Columns that name another row without a foreign key, and the reason."""


def _owner(table: Table) -> str | None:
    """The column that names the account of a row; none where rows are shared."""
    owner: str = table.info.get("tenant_key", "account_id")
    return owner if owner in table.c else None


def _unique(table: Table) -> set[tuple[str, ...]]:
    """Columns of every rule of uniqueness."""
    rules = [rule for rule in table.constraints if isinstance(rule, UniqueConstraint)]
    named = {tuple(rule.columns.keys()) for rule in (*rules, table.primary_key)}
    return named | {tuple(index.columns.keys()) for index in table.indexes if index.unique}


def _is_of_one_account(table: Table, columns: tuple[str, ...]) -> bool:
    """True if no two accounts can meet in it: by the account, an id, or a name that has one."""
    return any(
        name == _owner(table)
        or (isinstance(table.c[name].type, Uuid) and not _names_a_shared_row(table.c[name]))
        or (len(columns) == 1 and _UNIQUE_ANYWHERE.fullmatch(name))
        for name in columns
    )


def _names_a_shared_row(column: Column[Any]) -> bool:
    return any(key.column.table.name in SHARED for key in column.foreign_keys)


def test_no_other_table_has_rows_without_an_account() -> None:
    assert {table.name for table in metadata.sorted_tables if not _owner(table)} == SHARED


def test_a_row_refers_to_rows_of_its_own_account() -> None:
    for table in metadata.sorted_tables:
        for rule in table.constraints:
            if isinstance(rule, ForeignKeyConstraint):
                referred = rule.elements[0].column.table
                if _owner(referred) is not None and referred.name != "accounts":
                    assert _owner(table) in rule.column_keys, f"{table.name}: {rule.name}"


def test_every_other_id_of_a_row_is_a_foreign_key() -> None:
    found = {
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if _owner(table)
        and isinstance(column.type, Uuid)
        and column.name not in ("id", _owner(table))
        and not column.foreign_keys
    }
    assert found == set(WITHOUT_KEY)


def test_nothing_else_is_unique_over_all_accounts() -> None:
    found = {
        table.name: {one for one in _unique(table) if not _is_of_one_account(table, one)}
        for table in metadata.sorted_tables
        if _owner(table)
    }
    assert {name: rules for name, rules in found.items() if rules} == ACROSS


def test_nobody_else_looks_at_all_accounts() -> None:
    paths = (
        path
        for folder in ("activities", "api", "billing")
        for path in (ROOT / folder).rglob("*.py")
    )
    found = {
        path.relative_to(ROOT).as_posix() for path in paths if _LOOKING.search(path.read_text())
    } - {"billing/core/database.py"}  # the doors themselves
    assert {name for name in found if "/routes/admin/" not in name} == LOOKING_AT_ALL


def test_no_other_function_is_beyond_row_level_security() -> None:
    found = {
        path.stem
        for path in (ROOT / "billing").rglob("*.sql")
        if "SECURITY DEFINER" in path.read_text().upper()
    }
    assert found == BEYOND_ROW_SECURITY


@pytest.mark.parametrize("name", [*ACROSS, *LOOKING_AT_ALL, *BEYOND_ROW_SECURITY])
def test_the_page_names_it(name: str) -> None:
    assert f"`{name}`" in _PAGE
