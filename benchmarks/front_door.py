"""Cost of the front door: authenticating an empty POST, and receiving a signed webhook."""

import json
import secrets
import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any, Final

from benchmarks.bench import Bench
from benchmarks.harness import ROUNDS, Report, rate
from benchmarks.wire import Wire
from sandbox.webhooks import signature

COUNT: Final = 4_000
AT_ONCE: Final = 32
MATTERS: Final = 100
WEBHOOK: Final = "/api/v1/webhooks/stripe"
# Events of one card purchase; only the third is passed on to a matter.
TYPES: Final = (
    "payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "charge.updated",
)  # fmt: skip


async def measure(bench: Bench, report: Report) -> None:
    """Measure three rates in turn: open, authenticated, and webhooks stored and passed on."""
    wire = Wire("127.0.0.1", bench.stack.ports.api)
    headers = bench.headers(await bench.account())
    stories = _stories([await _waiting_purchase(bench) for _ in range(MATTERS)])

    async def open_post() -> None:
        assert await wire.post("/bench/open", b"{}", {}) == 200

    async def auth_post() -> None:
        assert await wire.post("/bench/auth", b"{}", headers) == 200

    async def webhook() -> None:
        body = next(stories)
        signed = signature(body.decode(), bench.stack.stripe_webhook_secret, int(time.time()))
        assert await wire.post(WEBHOOK, body, {"Stripe-Signature": signed}) == 200

    for once in (open_post, auth_post, webhook):
        await rate(COUNT // 10, AT_ONCE, once)
    auth, hooks = [], []
    for _ in range(ROUNDS):
        opened = await rate(COUNT, AT_ONCE, open_post)
        proven = await rate(COUNT, AT_ONCE, auth_post)
        told = await rate(COUNT // 2, AT_ONCE, webhook)
        report.console.print(f"  open {opened:.0f}/s, proven {proven:.0f}/s, webhooks {told:.0f}/s")
        auth.append(proven / opened)
        hooks.append(told / proven)
    await wire.close()
    report.add("auth_post_vs_open_post", auth, "ratio", 0.60, 0.75)
    report.add("webhook_vs_auth_post", hooks, "ratio", 0.30, 0.45)


async def _waiting_purchase(bench: Bench) -> dict[str, Any]:
    """Create a purchase that waits for its payment: the matter of the events."""
    answer = await bench.http.post(
        "/billing/purchases",
        json={"pack": "small"},
        headers=bench.headers(await bench.account()),
    )
    answer.raise_for_status()
    started: dict[str, Any] = answer.json()
    return started


def _stories(purchases: list[dict[str, Any]]) -> Iterator[bytes]:
    """Yield events as Stripe sends them, never the same twice."""
    for purchase, kind in cycle((p, kind) for p in purchases for kind in TYPES):
        intent = purchase["next_action"]["client_secret"].partition("_secret_")[0]
        subject = {
            "id": intent,
            "object": kind.partition(".")[0],
            "amount": purchase["amount_cents"],
            "currency": "usd",
            "metadata": {"matter": f"purchase/{purchase['purchase_id']}"},
        }
        yield json.dumps(
            {
                "id": f"evt_{secrets.token_hex(12)}",
                "object": "event",
                "type": kind,
                "created": int(time.time()),
                "livemode": False,
                "data": {"object": subject},
            }
        ).encode()
