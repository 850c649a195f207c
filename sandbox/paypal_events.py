"""PayPal's events: signed with the stand-in's own certificate, posted until accepted."""

import asyncio
import json
import zlib
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from sandbox.poster import Poster
from sandbox.settings import Settings
from sandbox.shapes import Json

TIMEOUT_SECONDS = 20.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
TRIES = 40


class Signer:
    """A key and its certificate, made at start."""

    def __init__(self) -> None:
        self.name = f"CERT-{uuid4().hex}"
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "PayPal stand-in")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365))
            .sign(self._key, SHA256())
        )
        self.certificate = made.public_bytes(Encoding.PEM)

    def headers(self, body: bytes, webhook_id: str, url: str) -> dict[str, str]:
        """Return the headers that PayPal sends with a body."""
        sent, at = str(uuid4()), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        signed = f"{sent}|{at}|{webhook_id}|{zlib.crc32(body)}".encode()
        return {
            "Content-Type": "application/json",
            "PAYPAL-TRANSMISSION-ID": sent,
            "PAYPAL-TRANSMISSION-TIME": at,
            "PAYPAL-TRANSMISSION-SIG": b64encode(
                self._key.sign(signed, PKCS1v15(), SHA256())
            ).decode(),
            "PAYPAL-CERT-URL": f"{url}/v1/notifications/certs/{self.name}",
            "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        }


class Events:
    """Every event of every order, and its deliveries."""

    def __init__(self, settings: Settings) -> None:
        self.signer = Signer()
        self._settings = settings
        self._sent: dict[str, list[Json]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, order_id: str, kind: str, resource: Json) -> None:
        """Write an event of an order, and post it."""
        event = {
            "id": f"WH-{uuid4().hex.upper()}",
            "create_time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "event_version": "1.0",
            "resource_version": "2.0",
            "event_type": kind,
            "resource_type": "checkout-order" if kind.startswith("CHECKOUT") else "capture",
            # As it is now: the order goes on.
            "resource": json.loads(json.dumps(resource)),
        }
        self._sent.setdefault(order_id, []).append(event)
        self._post(event)

    def repeat(self, order_id: str) -> None:
        """Post every event of an order again."""
        for event in self._sent.get(order_id, ()):
            self._post(event)

    def _post(self, event: Json) -> None:
        if not self._settings.paypal_webhook_url:
            return
        task = asyncio.create_task(self._deliver(json.dumps(event).encode()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, body: bytes) -> None:
        settings, pause = self._settings, FIRST_PAUSE_SECONDS
        poster = Poster(settings.paypal_webhook_url, TIMEOUT_SECONDS)
        for _ in range(TRIES):
            headers = self.signer.headers(body, settings.paypal_webhook_id, settings.public_url)
            try:
                if 200 <= await poster.post(body, headers) < 300:
                    break
            except (OSError, TimeoutError):
                pass
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        await poster.close()
