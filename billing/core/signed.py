"""Signed tokens that are not stored: some content and its HMAC-SHA256, as text for addresses.

The first secret signs and every secret verifies, so that one can replace another. Each kind of
token has a purpose of its own: content signed for one must not pass as another.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence


def write(purpose: bytes, content: bytes, secrets: Sequence[str]) -> str:
    """Return the token for this content."""
    token = base64.urlsafe_b64encode(content + _sign(secrets[0], purpose + content))
    return token.decode().rstrip("=")


def read(purpose: bytes, size: int, token: str, secrets: Sequence[str]) -> bytes | None:
    """Return the content in a token, of `size` bytes; None if we have not signed it."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    content, signature = raw[:size], raw[size:]
    signed = [hmac.compare_digest(signature, _sign(one, purpose + content)) for one in secrets]
    return content if any(signed) else None


def _sign(secret: str, content: bytes) -> bytes:
    return hmac.new(secret.encode(), content, hashlib.sha256).digest()
