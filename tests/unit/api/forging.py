"""Tokens made by hand: honest ones, and every flaw an honest library would not write."""

import base64
import hmac
import json
import time
from typing import Any

from tests.unit.api.conftest import SECRET

NOW = int(time.time())


def claims(**more: Any) -> dict[str, Any]:
    """Good claims, with changes; a value of `...` takes the claim away."""
    base = {
        "sub": "mallory",
        "account_id": "*",
        "roles": ["admin"],
        "aud": "durable-billing",
        "iss": "durable-billing",
        "iat": NOW,
        "exp": NOW + 3600,
    }
    return {name: value for name, value in (base | more).items() if value is not ...}


def part(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def handmade(header: Any, payload: Any, key: str | bytes = SECRET) -> str:
    """A token with whatever header and payload, correctly signed with HMAC-SHA256."""
    signed = f"{part(header)}.{part(payload)}"
    secret = key.encode() if isinstance(key, str) else key
    mac = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def signed(header: dict[str, Any] | None = None, **changed: Any) -> str:
    return handmade({"typ": "JWT", "alg": "HS256"} | (header or {}), claims(**changed))
