"""While one secret of Stripe's webhooks replaces the other, the stand-in signs with the new one."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from billing.platform.provider_inbox import webhooks
from devstack.options import Options
from devstack.ports import fixed_ports
from devstack.process_specs import sandbox_spec
from sandbox.webhooks import signature


@pytest.mark.parametrize("listed", ["whsec_new", "whsec_new,whsec_old", "whsec_new, whsec_old"])
def test_the_first_secret_signs(tmp_path: Path, listed: str) -> None:
    options = Options(data=tmp_path)
    spec = sandbox_spec(options, fixed_ports({}), {"STRIPE_WEBHOOK_SECRET": listed})
    now = datetime.now(UTC)
    header = signature("{}", spec.env["SANDBOX_WEBHOOK_SECRET"], int(now.timestamp()))
    webhooks.verify(b"{}", header, ["whsec_new", "whsec_old"], now)
