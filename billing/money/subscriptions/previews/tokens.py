"""Signed tokens of previews: the instant and the digest, valid for a quarter of an hour.

They are not stored (`billing/core/signed.py`).
"""

import struct
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from billing.core import signed
from billing.core.errors import Conflict
from billing.core.frozen import Frozen
from billing.core.periods import EPOCH, MICROSECOND

LIFETIME: Final = timedelta(minutes=15)
_FORM: Final = struct.Struct(">16sqq32s")
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
        (promise.as_of - EPOCH) // MICROSECOND,
        (real_at + LIFETIME - EPOCH) // MICROSECOND,
        promise.digest,
    )
    return signed.write(_PURPOSE, content, secrets)


def read(token: str, secrets: Sequence[str], real_at: datetime | None) -> Promise:
    """Return the preview behind a token; without `real_at` its expiry is not checked, because it
    was read in time before. Errors: PREVIEW_EXPIRED, also for a token that we did not sign.
    """
    content = signed.read(_PURPOSE, _FORM.size, token, secrets)
    if content is None:
        raise expired()
    subject, as_of, end, digest = _FORM.unpack(content)
    if real_at is not None and real_at >= EPOCH + end * MICROSECOND:
        raise expired()
    return Promise(
        subscription_id=UUID(bytes=subject), as_of=EPOCH + as_of * MICROSECOND, digest=digest
    )


def expired() -> Conflict:
    """Return the refusal of an outdated preview."""
    return Conflict("PREVIEW_EXPIRED")
