"""Documents as they are printed and as they are served."""

from typing import Any

from billing.core.frozen import Frozen


class Printed(Frozen):
    """The content of a document, as texts in their places, and the logo above them."""

    content: dict[str, Any]
    logo: bytes | None = None


class Document(Frozen):
    """A rendered document; equal bytes have an equal `etag`."""

    etag: str
    content: bytes
