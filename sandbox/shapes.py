"""Small shapes that several resources share.

Everything on the wire is plain JSON, so the sandbox's objects are dictionaries, not classes.
"""

import os
from typing import Any

Json = dict[str, Any]

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TABLE = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))


def random_text(length: int) -> str:
    """Return letters and digits that nobody can guess."""
    return os.urandom(length).translate(_TABLE).decode()


def new_id(prefix: str) -> str:
    """Return an id as Stripe writes it: `pi_` and 24 letters and digits."""
    return f"{prefix}_{random_text(24)}"


def client_secret(object_id: str) -> str:
    """The secret that lets a browser confirm this one intent."""
    return f"{object_id}_secret_{random_text(25)}"


ADDRESS_FIELDS = ("city", "country", "line1", "line2", "postal_code", "state")


def address(given: Json | None = None) -> Json:
    """Return an address with every key, null for those not given."""
    return {name: (given or {}).get(name) for name in ADDRESS_FIELDS}


def billing_details(given: Json | None = None) -> Json:
    """Return the payer as shown on cards and charges."""
    given = given or {}
    return {
        "address": address(given.get("address")),
        "email": given.get("email"),
        "name": given.get("name"),
        "phone": given.get("phone"),
        "tax_id": given.get("tax_id"),
    }


def merge_metadata(current: Json | None, given: Json | None) -> Json:
    """Stripe's rule: keys are merged, an empty value removes its key, null removes all."""
    if given is None:
        return {}
    merged = {**(current or {}), **given}
    return {key: value for key, value in merged.items() if value != ""}
