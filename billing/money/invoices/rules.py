"""An invoice's payment reference, and the hash of its frozen content. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID


def payment_reference(subject: UUID) -> str:
    """Return what a payer writes on a bank transfer; short enough to be copied by hand."""
    return subject.hex[-12:].upper()


def content_hash(
    account_id: UUID,
    currency: str,
    total_minor: int,
    tax_minor: int,
    lines: Sequence[Mapping[str, Any]],
) -> str:
    """Return the SHA-256 of what was issued: the account, the sums, and each line in order.

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
    """Return the content of a line; without discounts and taxes as in older invoices, for their
    hash.
    """
    plain = [line["kind"], line["description"], str(line["quantity"]), line["amount_minor"]]
    more = [line["discounts"], line["taxes"]]
    return plain + more if any(more) else plain
