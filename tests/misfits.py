"""Faults of a published event: fields beside those of the list of events, or written otherwise."""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from billing.platform.outbox.fields import Field, Form
from billing.platform.outbox.kinds import KINDS

_UUID: Final = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
CALLERS: Final = frozenset(
    {"event_id", "user_id", "organization_id", "owner", "reason", "reference"}
)
"""Fields whose words are the caller's."""


def misfits(type: str, data: Mapping[str, Any]) -> list[str]:
    """One sentence for all that a published event has otherwise than this list says."""
    known = KINDS.get(type)
    if known is None:
        return [f"{type} is no type of billing/platform/outbox/kinds.py"]
    missing = [name for name, (_, always) in known.items() if always and name not in data]
    wrong = [
        f"{type}: {name} is {value!r}, not {known[name][0].form}"
        for name, value in data.items()
        if name in known and not _fits(known[name][0], value)
    ]
    bare = [
        f"{type}: {name} has an id that callers do not know: {value!r}"
        for name, value in data.items()
        if name not in CALLERS and _UUID.search(str(value))
    ]
    more = [f"{type} has {name}, which kinds.py does not name" for name in data.keys() - known]
    return [*(f"{type} has no {name}" for name in missing), *sorted(more), *wrong, *bare]


def _fits(field: Field, value: Any) -> bool:
    return field.may_be_null if value is None else _reads(field.form, value)


def _reads(form: Form, value: Any) -> bool:
    match form:
        case "whole" | "money":
            return type(value) is int
        case "yes or no":
            return isinstance(value, bool)
        case "object":
            return isinstance(value, dict)
        case _:
            return isinstance(value, str) and _is_written(form, value)


def _is_written(form: Form, value: str) -> bool:
    try:
        if form == "decimal":
            return Decimal(value).is_finite()
        if form == "instant":
            return datetime.fromisoformat(value).tzinfo is not None
    except (ValueError, InvalidOperation):
        return False
    return form != "id" or "_" in value
