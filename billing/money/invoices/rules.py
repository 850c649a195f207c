"""The hash of an invoice's frozen content, and what of it was not served. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from billing.core.money import split


def content_hash(
    account_id: UUID,
    currency: str,
    total_minor: int,
    tax_minor: int,
    lines: Sequence[Mapping[str, Any]],
) -> str:
    """SHA-256 of what was issued: for whom, the sums, and each line in order.

    A line needs `kind`, `description`, `quantity` (as stored, all its decimals), `amount_minor`,
    `discounts` and `taxes`. The form never changes: numbered invoices carry its value for good.
    """
    content = {
        "account": str(account_id),
        "currency": currency,
        "total": total_minor,
        "tax": tax_minor,
        "lines": [_content(line) for line in lines],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _content(line: Mapping[str, Any]) -> list[Any]:
    """Discounts and taxes only where there are any: the invoices of before have none."""
    plain = [line["kind"], line["description"], str(line["quantity"]), line["amount_minor"]]
    more = [line["discounts"], line["taxes"]]
    return plain + more if any(more) else plain


def unserved_minor(
    total_minor: int, used_minor: int, start: datetime | None, end: datetime | None, at: datetime
) -> int:
    """The part of a period's invoice for the time after `at`, by the second.

    Its usage, `used_minor` of the total, was served; an invoice without a period was served whole.
    """
    if start is None or end is None or at >= end:
        return 0
    whole = int((end - start).total_seconds())
    served = max(0, min(whole, int((at - start).total_seconds())))
    return split(total_minor - used_minor, [served, whole - served])[1]
