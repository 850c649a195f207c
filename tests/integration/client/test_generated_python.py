"""A Python client that a generator makes of the API document: it buys and reads an error."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.api_document import DOCUMENT
from tests.integration.actors import Actors, Customer
from tests.integration.client.conftest import token_of

GENERATOR: Final = "openapi-python-client==0.29.1"
# The generator knows bytes by this name alone.
CONFIG: Final = {"content_type_overrides": {"application/pdf": "application/octet-stream"}}
SHOP: Final = """
import sys, time
import httpx
from durable_billing_client import AuthenticatedClient
from durable_billing_client.api.invoices import download_invoice, list_invoices
from durable_billing_client.api.purchases import create_purchase, read_purchase
from durable_billing_client.api.subscriptions import subscribe
from durable_billing_client.models import (
    ProblemBody, PurchaseAnswer, PurchaseBody, PurchaseBodyPaymentMethod, SubscribeBody,
)

url, stand_in, token = sys.argv[1:]
client = AuthenticatedClient(url, token)
body = PurchaseBody(pack="small", payment_method=PurchaseBodyPaymentMethod.CHECKOUT)
bought = create_purchase.sync(client=client, body=body, idempotency_key="order-1")
assert isinstance(bought, PurchaseAnswer), bought
session = bought.next_action.url.rpartition("/")[2]
paid = httpx.post(
    f"{stand_in}/_sandbox/checkout/sessions/{session}/pay", json={"payment_method": "pm_card_visa"}
)
paid.raise_for_status()
while read_purchase.sync(bought.purchase_id, client=client).status != "completed":
    time.sleep(0.2)
refused = create_purchase.sync(client=client, body=PurchaseBody(pack="no-such-pack"))
assert isinstance(refused, ProblemBody), refused
assert refused.code == "INVALID_PACK"
page = list_invoices.sync(client=client)
pdf = download_invoice.sync(page.invoices[0].invoice_id, client=client)
assert pdf.payload.read(4) == b"%PDF"
begun = subscribe.sync(client=client, body=SubscribeBody(plan="basic", trial=False))
assert begun.next_action.client_secret, begun
print("bought and refused")
"""


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the generator, and beside it the client that it made."""
    folder = tmp_path_factory.mktemp("generated")
    run(sys.executable, "-m", "venv", "environment", folder=folder)
    python = folder / "environment" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", GENERATOR, "ruff", folder=folder)
    (folder / "document.json").write_text(json.dumps(DOCUMENT))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    activated = f'PATH="{python.parent}:$PATH" openapi-python-client generate'
    run("sh", "-c", f"{activated} --path document.json --config config.json --fail-on-warning"
        " --output-path client", folder=folder)  # fmt: skip
    run(python, "-m", "compileall", "-q", "client", folder=folder)
    return python


@pytest.fixture
async def said(actors: Actors, customer: Customer, python: Path) -> str:
    stack, folder = actors.stack, python.parents[2]
    (folder / "client" / "shop.py").write_text(SHOP)
    token = token_of(actors, customer.id, "billing")
    addresses = (stack.api_url.rstrip("/"), stack.sandbox_url.rstrip("/"))
    return run(python, "shop.py", *addresses, token, folder=folder / "client")


async def test_the_generated_client_buys_and_reads_an_error(said: str, customer: Customer) -> None:
    assert said == "bought and refused\n"
    assert len(await customer.grants()) == 1
