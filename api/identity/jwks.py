"""Public keys of the identity provider, fetched from one configured address and refreshed.

A token only names a key id; the provider's list says which key and algorithm that is.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from time import monotonic
from typing import Any, Final

import httpx2
import jwt

from api.certificates import trusted
from billing.core.background import in_background
from billing.core.errors import Unavailable

REFRESH_SECONDS: Final = 300.0
# An unknown key id may mean a rotation, but callers must not be able to cause fetches.
MIN_GAP_SECONDS: Final = 10.0
FETCH_TIMEOUT_SECONDS: Final = 3.0
MAX_BYTES: Final = 262_144
MIN_RSA_BITS: Final = 2_048
ASYMMETRIC: Final = frozenset({"RS256", "ES256"})
_BY_TYPE: Final = {"RSA": "RS256", "EC": "ES256"}
_logger = logging.getLogger("api.jwks")


class Jwks:
    """The provider's signing keys by key id, each pinned to one algorithm."""

    def __init__(
        self,
        url: str,
        algorithms: tuple[str, ...],
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url
        self._algorithms = ASYMMETRIC.intersection(algorithms) or ASYMMETRIC
        self._transport = transport
        self._keys: dict[str, tuple[Any, str]] = {}
        self._is_current = False
        self._fetched_at = -MIN_GAP_SECONDS
        self._lock = asyncio.Lock()
        self.generation = 0

    async def find(self, header: dict[str, Any]) -> tuple[Sequence[Any], str]:
        """Return the key the header names; raises `InvalidKeyError` when the provider has no such
        key, and Unavailable when its list could not be read.
        """
        key_id = header.get("kid")
        if not isinstance(key_id, str):
            raise jwt.InvalidKeyError("no key id")
        if key_id not in self._keys:
            await self.refresh(min_gap=MIN_GAP_SECONDS)
        found = self._keys.get(key_id)
        if found is None and not self._is_current:
            # It may be a new one: nobody can know while the list cannot be read.
            raise Unavailable("UNAVAILABLE", "the identity provider's keys are unavailable")
        if found is None or found[1] != header.get("alg"):
            raise jwt.InvalidKeyError("no such key")
        return [found[0]], found[1]

    async def refresh(self, min_gap: float = 0.0) -> None:
        """Fetch the list again, unless the last fetch is less than `min_gap` seconds ago."""
        async with self._lock:
            if monotonic() - self._fetched_at < min_gap:
                return
            self._fetched_at = monotonic()
            try:
                listed = await self._fetch()
            except (httpx2.HTTPError, ValueError, jwt.PyJWTError) as error:
                # Known keys stay valid: an outage of the provider must not lock all callers out.
                _logger.warning("identity provider's keys not read: %s", type(error).__name__)
                self._is_current = False
                return
            keys = self._signing_keys(listed)
            if not self._keys.items() <= keys.items():
                self.generation += 1  # a key was removed, or another one has its id
            self._keys, self._is_current = keys, True

    async def _fetch(self) -> list[dict[str, Any]]:
        async with httpx2.AsyncClient(
            timeout=FETCH_TIMEOUT_SECONDS, transport=self._transport, trust_env=False,
            verify=trusted(),
        ) as client:  # fmt: skip
            response = await client.get(self._url)
        response.raise_for_status()
        if len(response.content) > MAX_BYTES:
            raise ValueError("too large")
        listed = response.json()
        keys = listed.get("keys") if isinstance(listed, dict) else None
        if not isinstance(keys, list):
            raise ValueError("no keys")
        return [key for key in keys if isinstance(key, dict)]

    def _signing_keys(self, listed: list[dict[str, Any]]) -> dict[str, tuple[Any, str]]:
        found: dict[str, tuple[Any, str]] = {}
        for entry in listed:
            kind, key_id = str(entry.get("kty")), entry.get("kid")
            algorithm = str(entry.get("alg") or _BY_TYPE.get(kind))
            fits = _BY_TYPE.get(kind) == algorithm and entry.get("use", "sig") == "sig"
            if not (fits and isinstance(key_id, str) and algorithm in self._algorithms):
                continue
            with contextlib.suppress(jwt.PyJWTError, ValueError):
                key = jwt.PyJWK(entry, algorithm).key
                if kind == "EC" or key.key_size >= MIN_RSA_BITS:
                    found[key_id] = (key, algorithm)
        return found


@contextlib.asynccontextmanager
async def refreshed(keys: Jwks | None) -> AsyncIterator[None]:
    """Keep the list fresh in the background while the app runs."""
    if keys is None:
        yield
        return
    async with in_background(_refresh_for_ever(keys)):
        yield


async def _refresh_for_ever(keys: Jwks) -> None:
    while True:
        await keys.refresh()
        await asyncio.sleep(REFRESH_SECONDS)
