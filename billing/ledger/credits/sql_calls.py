"""The SQL functions of sql/ as typed statements; every parameter is cast by name.

Each returns rows with a `verdict`; a comment above each function says what it does and refuses.
"""

from typing import Final

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from billing.core.prepared import Prepared


def _call(function: str, parameters: str) -> Prepared:
    """A function of named parameters, written as SQL declares them: `account_id uuid, …`."""
    names = _declared(parameters)
    arguments = ", ".join(f"p_{name} => CAST(:{name} AS {type_})" for name, type_ in names.items())
    return _typed(f"SELECT * FROM {function}({arguments})", names)  # noqa: S608


def _call_on_item(function: str, item: str, fields: str, more: str = "") -> Prepared:
    """Call a function on one item of a composite type; `fields` are the type's, in its order.

    With `more` it takes further parameters between the item and the time.
    """
    names, others = _declared(fields), _declared(more) if more else {}
    values = ", ".join(f"CAST(:{name} AS {type_})" for name, type_ in names.items())
    row = f"ROW({values})::{item.removesuffix('[]')}"
    if item.endswith("[]"):
        row = f"ARRAY[{row}]"
    given = (others | {"at": "timestamptz"}).items()
    arguments = ", ".join((row, *(f"CAST(:{name} AS {type_})" for name, type_ in given)))
    return _typed(f"SELECT * FROM {function}({arguments})", names)  # noqa: S608


def _declared(parameters: str) -> dict[str, str]:
    """The type of each name."""
    return dict(one.split() for one in parameters.split(","))


def _typed(sql: str, parameters: dict[str, str]) -> Prepared:
    json_names = [name for name, type_ in parameters.items() if type_ == "jsonb"]
    return Prepared(text(sql).bindparams(*(bindparam(name, type_=JSONB) for name in json_names)))


_GRANT: Final = (
    "account_id uuid, amount numeric, kind text, key text, is_paid boolean, reason text,"
    " expires_at timestamptz, scope text, priority integer, subject text, detail jsonb"
)
GRANT: Final = _call_on_item("credit_grant_once", "credit_grant_item", _GRANT)
GRANT_KEPT: Final = _call_on_item(
    "credit_grant_kept",
    "credit_grant_item",
    _GRANT,
    "kept numeric, cycle_start timestamptz, cycle_end timestamptz, until timestamptz",
)
# One debit is a batch of one, so that one function has the rules.
DEBIT: Final = _call_on_item(
    "credit_debit_many",
    "credit_debit_item[]",
    "account_id uuid, amount numeric, key text, hash text, reason text, scope text,"
    " paid_only boolean, subject text, detail jsonb, forced boolean",
)
# Many items as the text of one array (billing.core.arrays.records), fields in the type's order.
HOLD_MANY: Final = _call("credit_hold_many_v2", "items credit_hold_item_v2[], at timestamptz")
CAPTURE_MANY: Final = _call(
    "credit_capture_once", "items credit_capture_item[], keys text[], at timestamptz"
)
RELEASE: Final = _call("credit_release", "account_id uuid, hold_id uuid, at timestamptz")
EXPIRE: Final = _call("credit_expire", "account_id uuid, at timestamptz")
EXPIRE_AHEAD: Final = _call("credit_expire_ahead", "account_id uuid, at timestamptz")
EXPIRE_LOT: Final = _call(
    "credit_expire_lot", "account_id uuid, grant_key text, at timestamptz, reason text"
)
CLAWBACK: Final = _call(
    "credit_clawback",
    "account_id uuid, grant_key text, amount numeric, key text, reason text, at timestamptz,"
    " subject text",
)
RETURN_CLAWBACK: Final = _call(
    "credit_return_clawback",
    "account_id uuid, grant_key text, clawback_key text, key text, reason text,"
    " until timestamptz, at timestamptz, subject text",
)
ROLL_OVER: Final = _call(
    "credit_roll_over",
    "account_id uuid, subject text, before timestamptz, start timestamptz, end timestamptz,"
    " until timestamptz, begins boolean, at timestamptz",
)
DEDUCT: Final = _call(
    "credit_deduct",
    "account_id uuid, amount numeric, key text, hash text, reason text, at timestamptz,"
    " scope text, subject text",
)
