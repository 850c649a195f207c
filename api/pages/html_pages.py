"""HTML pages: one set of templates and one policy; nothing is loaded from another host."""

import secrets
import sys
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from billing.core.money import show_money
from billing.money.documents.glyphs import fit

_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
)
_EVERY: Final = range(sys.maxunicode + 1)
"""The characters that a browser shows."""
_TEMPLATES.filters["money"] = show_money
_TEMPLATES.filters["name"] = lambda text: fit(text, _EVERY)
_POLICY: Final = (
    "default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; frame-ancestors 'none'; "
)
_NO_FORM: Final = "form-action 'none'"


def page(template: str, *, status: int = 200, policy: str = _NO_FORM, **names: Any) -> HTMLResponse:
    """Return the page with its values filled in; `policy` lists what else it may load."""
    nonce = secrets.token_urlsafe(16)
    text = _TEMPLATES.get_template(template).render(names | {"nonce": nonce})
    headers = {"Content-Security-Policy": (_POLICY + policy).format(nonce=nonce)}
    return HTMLResponse(text, status, headers)
