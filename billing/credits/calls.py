"""The SQL functions of migrations/functions as typed statements; every parameter is cast by name.

Each answers rows with a `verdict`; what they do and refuse is said above each function there.
"""

import json
from typing import Any, Final

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from billing.core.prepared import Prepared


def _call(function: str, **parameters: str) -> Prepared:
    arguments = ", ".join(
        f"p_{name} => CAST(:{name} AS {type_})" for name, type_ in parameters.items()
    )
    return _typed(f"SELECT * FROM {function}({arguments})", parameters)  # noqa: S608


def _typed(sql: str, parameters: dict[str, str]) -> Prepared:
    json_names = [name for name, type_ in parameters.items() if type_ == "jsonb"]
    return Prepared(text(sql).bindparams(*(bindparam(name, type_=JSONB) for name in json_names)))


GRANT: Final = _call(
    "credit_grant",
    account_id="uuid",
    amount="numeric",
    kind="text",
    key="text",
    is_paid="boolean",
    reason="text",
    at="timestamptz",
    expires_at="timestamptz",
    scope="text",
    priority="integer",
    subject="text",
    detail="jsonb",
)
# One debit is a batch of one: the rules live in one function.
DEBIT: Final = _typed(
    "SELECT * FROM credit_debit_batch("
    " p_account_ids => ARRAY[CAST(:account_id AS uuid)],"
    " p_amounts => ARRAY[CAST(:amount AS numeric)],"
    " p_keys => ARRAY[CAST(:key AS text)],"
    " p_hashes => ARRAY[CAST(:hash AS text)],"
    " p_reasons => ARRAY[CAST(:reason AS text)],"
    " p_scopes => ARRAY[CAST(:scope AS text)],"
    " p_paid_only => ARRAY[CAST(:paid_only AS boolean)],"
    " p_subjects => ARRAY[CAST(:subject AS text)],"
    " p_details => ARRAY[CAST(:detail AS jsonb)],"
    " p_at => CAST(:at AS timestamptz),"
    " p_forced => ARRAY[CAST(:forced AS boolean)])",
    {"detail": "jsonb"},
)
HOLD_BATCH: Final = _call(
    "credit_hold_batch",
    account_ids="uuid[]",
    amounts="numeric[]",
    keys="text[]",
    hashes="text[]",
    reasons="text[]",
    expires_at="timestamptz[]",
    lifetimes="interval[]",
    scopes="text[]",
    paid_only="boolean[]",
    subjects="text[]",
    at="timestamptz",
)
CAPTURE_BATCH: Final = _call(
    "credit_capture_batch",
    account_ids="uuid[]",
    hold_ids="uuid[]",
    amounts="numeric[]",
    reasons="text[]",
    details="jsonb[]",
    at="timestamptz",
)
RELEASE: Final = _call("credit_release", account_id="uuid", hold_id="uuid", at="timestamptz")
LAPSE: Final = _call("credit_lapse", account_id="uuid", at="timestamptz")
LAPSE_LOT: Final = _call(
    "credit_lapse_lot",
    account_id="uuid",
    grant_key="text",
    at="timestamptz",
    reason="text",
)
CLAWBACK: Final = _call(
    "credit_clawback",
    account_id="uuid",
    grant_key="text",
    amount="numeric",
    key="text",
    reason="text",
    at="timestamptz",
    subject="text",
)
TAKE: Final = _call(
    "credit_take",
    account_id="uuid",
    amount="numeric",
    key="text",
    hash="text",
    reason="text",
    at="timestamptz",
    scope="text",
    subject="text",
)
LOOK_TOP_UP: Final = _call("credit_look_top_up", account_id="uuid", at="timestamptz")


def as_json(value: Any) -> str:
    """One element of a jsonb[] parameter."""
    return json.dumps(value, separators=(",", ":"))
