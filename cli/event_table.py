"""The published events as Markdown, from the list in code."""

import json
from typing import Any, Final

from billing.platform.outbox.fields import TAIL, Field
from billing.platform.outbox.kinds import FAMILIES, KINDS, PREFIX, Family, Kind, fields_of
from cli.pages import show

FORMS: Final = {
    "decimal": "decimal in a string",
    "id": "id",
    "instant": "time, RFC 3339",
    "money": "whole number, minor units of `currency`",
    "object": "object",
    "text": "string",
    "whole": "whole number",
    "yes or no": "boolean",
}
_HEAD: Final = """\
# Events

Made by `billing events` from `billing/platform/outbox/kinds.py`; a test keeps them equal, and the
tests of what happens to customers compare every published event with that list.

`GET /api/v1/billing/events?after=0` returns an account's events in order. `type=` selects one type;
an unknown one is refused with `INVALID_EVENT_TYPE`. An event is written in the transaction of the
change it reports: none is missing, and none reports a change that did not happen. Events are
deleted after 30 days (`BILLING_RETENTION_OUTBOX_DAYS`). If events after the given number were
deleted, the answer is 410 `EVENTS_GONE`, with the number to continue from; 0 begins with the oldest
event kept. To follow events, see [using the API](integrate.md#following-what-happens). An event
looks like this:

```json
{envelope}
```

| field | type | meaning |
|---|---|---|
| `event_id` | id | the event; the same id again is the same event |
| `account_id` | id | the account it belongs to |
| `seq` | whole number | its position in the account's events; it rises, sometimes by more than 1 |
| `type` | string | one of the types below |
| `data` | object | the fields of its type, below |
| `correlation_id` | string or null | the request that caused it; null: no single request |
| `occurred_at` | time, RFC 3339 | when it happened, by the account's clock |

Some events report many requests at once and have no `correlation_id`: `credits.low`, `.empty`,
`.expired` and `.hold_expired`, `usage.recorded`, `.threshold_reached` and `.budget_reached`.

Ignore unknown fields and types: later versions add some, and rename none. Money is in
minor units (cents), as whole numbers; `JPY` and its like have no smaller unit. Credits and use are
decimals in strings. A field marked ° is not in every event of the type; each other field is always
there, and may be null where its type says so. The examples show all fields of a type.
"""


def render() -> str:
    """Return the page docs/events.md."""
    envelope = {
        "event_id": f"evt{TAIL}",
        "account_id": f"acc{TAIL}",
        "seq": 7,
        "type": f"{PREFIX}credits.adjusted",
        "data": _example(KINDS[f"{PREFIX}credits.adjusted"]),
        "correlation_id": "01k3v9q2w7e8r",
        "occurred_at": "2027-01-01T09:00:00Z",
    }
    parts = [_HEAD.replace("{envelope}", json.dumps(envelope, indent=1, ensure_ascii=False))]
    return "\n".join([*parts, *map(_family, FAMILIES)])


def _family(family: Family) -> str:
    """Return a family's section: a table of types, a table of fields, and examples."""
    lines = [f"## {family.title}", "", "| type | sent when | fields of `data` |", "|---|---|---|"]
    fields: dict[str, Field] = {}
    for kind in family.kinds:
        named = list(fields_of(family, kind))
        fields |= {name: field for name, field, _ in named}
        shown = ", ".join(f"`{name}`{'' if always else '°'}" for name, _, always in named)
        lines.append(f"| `{PREFIX}{family.name}.{kind.name}` | {kind.when} | {shown} |")
    lines += ["", "| field | type | meaning | example |", "|---|---|---|---|"]
    for name, field in sorted(fields.items()):
        form = FORMS[field.form] + (" or null" if field.may_be_null else "")
        shown = json.dumps(field.example, ensure_ascii=False)
        lines.append(f"| `{name}` | {form} | {field.meaning} | `{shown}` |")
    lines += ["", "```json", *(_line(family, kind) for kind in family.kinds), "```", ""]
    return "\n".join(lines)


def _line(family: Family, kind: Kind) -> str:
    type_ = f"{PREFIX}{family.name}.{kind.name}"
    shown = {"type": type_, "data": _example(KINDS[type_])}
    return json.dumps(shown, ensure_ascii=False)


def _example(fields: dict[str, tuple[Field, bool]]) -> dict[str, Any]:
    return {name: field.example for name, (field, _) in fields.items()}


def events() -> None:
    """Print every type of event with its fields."""
    show(render())
