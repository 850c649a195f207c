"""What makes an invoice the same invoice: the hash of its frozen content; pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID


def content_hash(
    account_id: UUID,
    currency: str,
    total_minor: int,
    tax_minor: int,
    lines: Sequence[Mapping[str, Any]],
) -> str:
    """SHA-256 of what was issued: for whom, the sums, and each line in order.

    A line needs `kind`, `description`, `quantity` (as stored, all its decimals) and
    `amount_minor`. The form never changes: numbered invoices carry its value for good.
    """
    content = {
        "account": str(account_id),
        "currency": currency,
        "total": total_minor,
        "tax": tax_minor,
        "lines": [
            [line["kind"], line["description"], str(line["quantity"]), line["amount_minor"]]
            for line in lines
        ],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
