"""Declared parameters that several resources share.

An operation's own parameters stand beside it; only what is the same everywhere is here.
"""

from sandbox.parameters import (
    Fields,
    boolean,
    clearable,
    gone,
    list_of,
    one_of,
    record,
    required,
    text,
)

ADDRESS = record(
    city=clearable(text()),
    country=clearable(text()),
    line1=clearable(text()),
    line2=clearable(text()),
    postal_code=clearable(text()),
    state=clearable(text()),
)
BILLING_DETAILS = record(
    address=clearable(ADDRESS),
    email=clearable(text()),
    name=clearable(text()),
    phone=clearable(text()),
)
SHIPPING = record(address=required(ADDRESS), name=required(text()), phone=clearable(text()))
REDISPLAY = one_of("always", "limited", "unspecified")
USAGE = one_of("off_session", "on_session")
AUTOMATIC = record(enabled=required(boolean()), allow_redirects=one_of("always", "never"))
TYPES: Fields = {
    "allowed_payment_method_types": list_of(one_of("card", "link")),
    "excluded_payment_method_types": list_of(text(60)),
    "payment_method_types": gone(),
}
