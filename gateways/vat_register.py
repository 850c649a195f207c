"""The EU's register of VAT ids (VIES), through its REST interface.

`POST {url}/check-vat-number` {countryCode, vatNumber} answers `valid`, `name`, `requestIdentifier`,
and in `userError` what kept a country's register from answering.
"""

import asyncio
import json
import logging
from typing import Any, Final

import httpx2

from billing.money.taxation.schemas import VatAnswer
from gateways.silence import Silence

MAX_BYTES: Final = 65_536
TIMEOUT_SECONDS: Final = 8.0
_WORDS: Final = frozenset({"VALID", "INVALID", ""})
_HIDDEN: Final = "---"
"""Some countries return no names."""
UNANSWERED: Final = VatAnswer(is_valid=None)
_logger = logging.getLogger("gateways.vat_register")


class Vies:
    """The register at a URL; it never raises: if it cannot be reached, the answer is unknown."""

    def __init__(self, url: str, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._client = httpx2.AsyncClient(
            base_url=url, timeout=TIMEOUT_SECONDS, transport=transport, trust_env=False
        )
        self._silence = Silence()

    async def check(self, vat_id: str) -> VatAnswer:
        """Return the register's answer for a VAT id such as DE136695976."""
        if self._silence.is_kept():
            return UNANSWERED
        body = {"countryCode": vat_id[:2], "vatNumber": vat_id[2:]}
        try:
            with self._silence.asking():
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    answer = await self._client.post("/check-vat-number", json=body)
        except (httpx2.HTTPError, TimeoutError) as error:
            return _unanswered(type(error).__name__)
        if answer.status_code != 200 or len(answer.content) > MAX_BYTES:
            return _unanswered(f"status {answer.status_code}, {len(answer.content)} bytes")
        return _read(answer.content)


def _unanswered(reason: str) -> VatAnswer:
    _logger.warning("the register of VAT ids gave no answer: %s", reason)
    return UNANSWERED


def _read(content: bytes) -> VatAnswer:
    try:
        body: Any = json.loads(content)
    except ValueError:
        return _unanswered("no JSON")
    if not isinstance(body, dict) or not isinstance(body.get("valid"), bool):
        return _unanswered("no word on validity")
    if (problem := str(body.get("userError") or "")) not in _WORDS:
        return _unanswered(problem[:100])
    name, proof = str(body.get("name") or ""), str(body.get("requestIdentifier") or "")
    return VatAnswer(
        is_valid=body["valid"],
        name=name[:255] if name.strip() not in ("", _HIDDEN) else None,
        proof=proof[:64] or None,
    )
