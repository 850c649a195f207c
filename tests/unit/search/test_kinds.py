"""Every id that is given out can be searched for."""

from datetime import UTC, datetime, timedelta

from billing.core import ids
from billing.insight.search.kinds import KINDS

PREFIXES = {
    value
    for name, value in vars(ids).items()
    if name.isupper() and isinstance(value, str) and not name.startswith("_")
}

# An adjustment is found in the audit trail, a comparison and a migration request in short lists of
# their own. The others are the catalog's, terms that stand with an
# account, a claim of a few minutes, or parts of keys.
NOT_BY_ID = {
    ids.ADJUSTMENT, ids.PLAN, ids.PACK, ids.CONTRACT, ids.LIMIT, ids.QUOTA, ids.BUDGET,
    ids.USAGE_RECORD, ids.NOTE, ids.REQUEST, ids.RECONCILIATION, ids.MIGRATION_REQUEST,
}  # fmt: skip


def test_every_prefix_has_its_kind() -> None:
    found = {kind.prefix for kind in KINDS if kind.is_found_by_id} - {None}
    assert found == PREFIXES - NOT_BY_ID


def test_an_id_says_when_it_was_made() -> None:
    ago = datetime.now(UTC) - ids.born_at(ids.new())
    assert abs(ago) < timedelta(seconds=5)
