"""Signed links to the page on which a payer finishes one payment, or saves one card.

A link names its account, subject and expiry; it is signed, not stored (`billing/core/signed.py`).
"""

import struct
from datetime import UTC, datetime
from typing import Final, Literal
from uuid import UUID

from billing.core import signed
from billing.core.frozen import Frozen
from billing.core.settings import Settings
from billing.money.payments.rules import LINK_LIFETIME

LinkKind = Literal["invoice", "setup"]
_KINDS: Final[tuple[LinkKind, ...]] = ("invoice", "setup")
_FORM: Final = struct.Struct(">B16s16sQ")
_DAY: Final = 86_400
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
        self._secrets = settings.pay_link_secrets

    @property
    def back(self) -> str:
        """The return page for payments without a return address."""
        return f"{self._base}/pay/back"

    def url(self, account_id: UUID, kind: LinkKind, subject_id: UUID, now: datetime) -> str:
        """The address of the page for this invoice or setup."""
        # Links end with a day, so that two made on one day are equal.
        end = (int((now + LINK_LIFETIME).timestamp()) // _DAY + 1) * _DAY
        content = _FORM.pack(_KINDS.index(kind), account_id.bytes, subject_id.bytes, end)
        return f"{self._base}/pay/{signed.write(_PURPOSE, content, self._secrets)}"

    def read(self, token: str) -> PayLink | None:
        """Return the link in a token; None if we have not signed it."""
        content = signed.read(_PURPOSE, _FORM.size, token, self._secrets)
        if content is None:
            return None
        kind, account, subject, end = _FORM.unpack(content)
        return PayLink(
            account_id=UUID(bytes=account),
            kind=_KINDS[kind],
            subject_id=UUID(bytes=subject),
            expires_at=datetime.fromtimestamp(end, UTC),
        )
