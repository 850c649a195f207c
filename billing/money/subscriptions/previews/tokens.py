"""Signed tokens of previews: the instant and the digest, valid for a quarter of an hour.

They are not stored. The first secret signs and every secret verifies, so that one can replace
another.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from billing.core.errors import Conflict
from billing.core.frozen import Frozen

LIFETIME: Final = timedelta(minutes=15)
_FORM: Final = struct.Struct(">16sqq32s")
_SIGNATURE_BYTES: Final = 32
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# Data signed with the same secret for another purpose must not pass as a preview.
_PURPOSE: Final = b"preview/1:"


class Promise(Frozen):
    """The content of a token."""

    subscription_id: UUID
    as_of: datetime
    """The instant of the account to which it is prorated."""
    digest: bytes


def write(promise: Promise, secrets: Sequence[str], real_at: datetime) -> str:
    """Return the token for a preview."""
    content = _FORM.pack(
        promise.subscription_id.bytes,
        (promise.as_of - _EPOCH) // _MICROSECOND,
        (real_at + LIFETIME - _EPOCH) // _MICROSECOND,
        promise.digest,
    )
    token = base64.urlsafe_b64encode(content + _sign(secrets[0], content))
    return token.decode().rstrip("=")


def read(token: str, secrets: Sequence[str], real_at: datetime | None) -> Promise:
    """Return the preview behind a token; without `real_at` its expiry is not checked, because it
    was read in time before. Errors: PREVIEW_EXPIRED, also for a token that we did not sign.
    """
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise expired() from None
    content, signature = raw[: _FORM.size], raw[_FORM.size :]
    if len(content) != _FORM.size or len(signature) != _SIGNATURE_BYTES:
        raise expired()
    if not any(hmac.compare_digest(signature, _sign(one, content)) for one in secrets):
        raise expired()
    subject, as_of, end, digest = _FORM.unpack(content)
    if real_at is not None and real_at >= _EPOCH + end * _MICROSECOND:
        raise expired()
    return Promise(
        subscription_id=UUID(bytes=subject), as_of=_EPOCH + as_of * _MICROSECOND, digest=digest
    )


def expired() -> Conflict:
    """Return the refusal of an outdated preview."""
    return Conflict("PREVIEW_EXPIRED")


def _sign(secret: str, content: bytes) -> bytes:
    return hmac.new(secret.encode(), _PURPOSE + content, hashlib.sha256).digest()
