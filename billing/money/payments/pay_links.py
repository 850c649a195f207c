"""Signed links to the page on which a payer finishes one payment, or saves one card.

A link names its account, subject and expiry, and is signed with HMAC-SHA256. Links are not
stored. The first secret signs and every secret verifies, so that secrets can be replaced.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from datetime import UTC, datetime
from typing import Final, Literal
from uuid import UUID

from billing.core.frozen import Frozen
from billing.core.settings import Settings
from billing.money.payments.rules import LINK_LIFETIME

LinkKind = Literal["invoice", "setup"]
_KINDS: Final[tuple[LinkKind, ...]] = ("invoice", "setup")
_FORM: Final = struct.Struct(">B16s16sQ")
_SIGNATURE_BYTES: Final = 32
_DAY: Final = 86_400
# Content signed with the same secret for another purpose must not pass as a link.
_PURPOSE: Final = b"pay-link/1:"


class PayLink(Frozen):
    """The content of a link."""

    account_id: UUID
    kind: LinkKind
    subject_id: UUID
    expires_at: datetime

    def is_over(self, now: datetime) -> bool:
        """True once the link has expired."""
        return now >= self.expires_at


class PayLinks:
    """Writes links and reads them."""

    def __init__(self, settings: Settings) -> None:
        self._base = settings.public_url.rstrip("/")
        self._secrets = [one.encode() for one in settings.pay_link_secrets]

    @property
    def back(self) -> str:
        """The return page for payments without a return address."""
        return f"{self._base}/pay/back"

    def url(self, account_id: UUID, kind: LinkKind, subject_id: UUID, now: datetime) -> str:
        """The address of the page for this invoice or setup."""
        # Links end with a day, so that two made on one day are equal.
        end = (int((now + LINK_LIFETIME).timestamp()) // _DAY + 1) * _DAY
        content = _FORM.pack(_KINDS.index(kind), account_id.bytes, subject_id.bytes, end)
        token = base64.urlsafe_b64encode(content + _sign(self._secrets[0], content))
        return f"{self._base}/pay/{token.decode().rstrip('=')}"

    def read(self, token: str) -> PayLink | None:
        """Return the link in a token; None if we have not signed it."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        content, signature = raw[: _FORM.size], raw[_FORM.size :]
        if len(content) != _FORM.size or len(signature) != _SIGNATURE_BYTES:
            return None
        signed = [hmac.compare_digest(signature, _sign(one, content)) for one in self._secrets]
        if not any(signed):
            return None
        kind, account, subject, end = _FORM.unpack(content)
        return PayLink(
            account_id=UUID(bytes=account),
            kind=_KINDS[kind],
            subject_id=UUID(bytes=subject),
            expires_at=datetime.fromtimestamp(end, UTC),
        )


def _sign(secret: bytes, content: bytes) -> bytes:
    return hmac.new(secret, _PURPOSE + content, hashlib.sha256).digest()
