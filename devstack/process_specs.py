"""The product's own processes in a stack, sandbox, worker and API, and the settings they get.

All of them are configured by environment only, exactly as in a container.
"""

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from billing.core.setting_groups.providers import SANDBOX_KEY, SANDBOX_PUBLISHABLE_KEY
from billing.platform.provider_inbox.webhooks import PAYMENT_EVENTS
from cli.health import SERVING, answers
from devstack.environment import person_environment
from devstack.options import ROOT, Options
from devstack.ports import HOST, Ports
from devstack.postgres import Postgres
from devstack.process import Spec
from devstack.temporal import NAMESPACE

WEBHOOK_PATH: Final = "/api/v1/webhooks/stripe"
PAYPAL_WEBHOOK_PATH: Final = "/api/v1/webhooks/paypal"
PAYPAL_WEBHOOK_ID: Final = "WH-SANDBOX"
PAYPAL: Final = {
    "BILLING_PAYPAL_CLIENT_ID": "paypal_sandbox",
    "BILLING_PAYPAL_CLIENT_SECRET": "paypal_sandbox",
    "BILLING_PAYPAL_WEBHOOK_ID": PAYPAL_WEBHOOK_ID,
}
NAME: Final = "durable-billing"
SPEC_FILE: Final = ROOT.parent / "shared" / "stripe" / "openapi.json"
GRACE_SECONDS: Final = 5
KEEP_ALIVE_SECONDS: Final = 75
# Tests poll without mercy; the limits have tests of their own.
TEST_RATE_LIMIT: Final = "1000000/minute"

# Longer than the API waits for its running requests, and the worker for its activities.
API_STOP_SECONDS: Final = 25.0
WORKER_STOP_SECONDS: Final = 40.0


def product_settings(
    options: Options, ports: Ports, postgres: Postgres, control: Path
) -> dict[str, str]:
    """Return the settings that the stack decides. The user's own win for Stripe and tokens."""
    person = person_environment(options.profile)
    secrets = postgres.secrets
    ours = {
        "JWT_SECRET": secrets.jwt_secret,
        "JWT_AUDIENCE": NAME,
        "JWT_ISSUER": NAME,
        "STRIPE_SECRET_KEY": SANDBOX_KEY,
        "STRIPE_PUBLISHABLE_KEY": SANDBOX_PUBLISHABLE_KEY,
        "STRIPE_WEBHOOK_SECRET": secrets.stripe_webhook_secret,
        "BILLING_PAY_LINK_SECRET": hashlib.sha256(secrets.jwt_secret.encode()).hexdigest(),
        "ENV": "development",
    }
    ours |= {name: person[name] for name in ours if person.get(name)}
    if ours["STRIPE_SECRET_KEY"] == SANDBOX_KEY:
        ours["STRIPE_API_BASE"] = f"http://{HOST}:{ports.sandbox}"
        ours["BILLING_VIES_URL"] = f"http://{HOST}:{ports.sandbox}/vies"
        ours |= PAYPAL | {"BILLING_PAYPAL_URL": f"http://{HOST}:{ports.sandbox}"}
    if options.profile == "test":
        ours["STACK_CONTROL"] = str(control)
        failpoints = options.data / "failpoints"
        failpoints.mkdir(exist_ok=True)
        ours["BILLING_FAILPOINTS"] = str(failpoints)
        ours["BILLING_RATE_LIMIT"] = TEST_RATE_LIMIT
    return ours | {
        "BILLING_PROFILE": options.profile,
        "DATABASE_URL": postgres.url("billing_app", secrets.app_password),
        "DATABASE_OPERATOR_URL": postgres.url("billing_operator", secrets.operator_password),
        "DATABASE_OWNER_URL": postgres.url("billing_owner", secrets.owner_password),
        "TEMPORAL_ADDRESS": f"{HOST}:{ports.temporal}",
        "TEMPORAL_NAMESPACE": NAMESPACE,
        "BILLING_SERVICE_HOST": HOST,
        "BILLING_SERVICE_PORT": str(ports.api),
        "BILLING_PUBLIC_URL": f"http://{HOST}:{ports.api}",
        "BILLING_API_METRICS_PORT": str(ports.api_metrics),
        "BILLING_WORKER_METRICS_PORT": str(ports.worker_metrics),
    }


def program_environment(options: Options, settings: Mapping[str, str]) -> dict[str, str]:
    """Return a Python child's environment: the user's, the settings, and the project's path."""
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **person_environment(options.profile),
        **settings,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONUNBUFFERED": "1",
    }


def working_folder(options: Options) -> Path:
    """Return the working folder of Python children; in tests one without the user's `.env`."""
    return options.data if options.profile == "test" else ROOT


def api_spec(options: Options, ports: Ports, env: Mapping[str, str]) -> Spec:
    """Return the API's specification; ready when /health answers."""
    return Spec(
        name="api",
        argv=(sys.executable, "-m", "api"),
        env=env,
        cwd=working_folder(options),
        probe=lambda: answers(ports.api, "/health"),
        stop_seconds=API_STOP_SECONDS,
    )


def worker_spec(options: Options, ports: Ports, env: Mapping[str, str]) -> Spec:
    """Return the worker's specification; ready when it asks for work."""
    return Spec(
        name="worker",
        argv=(sys.executable, str(ROOT / "worker.py")),
        env=env,
        cwd=working_folder(options),
        probe=lambda: answers(ports.worker_metrics, "/metrics", SERVING),
        stop_seconds=WORKER_STOP_SECONDS,
    )


def sandbox_spec(options: Options, ports: Ports, env: Mapping[str, str]) -> Spec:
    """Return the Stripe stand-in's specification, without our database and token secret."""
    own = {
        "SANDBOX_DATABASE": str(options.data / "sandbox.db"),
        "SANDBOX_WEBHOOK_URL": f"http://{HOST}:{ports.api}{WEBHOOK_PATH}",
        # Of two, while one replaces the other, the first one signs.
        "SANDBOX_WEBHOOK_SECRET": env["STRIPE_WEBHOOK_SECRET"].split(",")[0].strip(),
        "SANDBOX_PAYPAL_WEBHOOK_URL": f"http://{HOST}:{ports.api}{PAYPAL_WEBHOOK_PATH}",
        "SANDBOX_PAYPAL_WEBHOOK_ID": PAYPAL_WEBHOOK_ID,
        "SANDBOX_PUBLIC_URL": f"http://{HOST}:{ports.sandbox}",
    }
    if options.profile == "default":
        # As docs/operate.md tells to choose them at Stripe; tests let everything come.
        own["SANDBOX_WEBHOOK_EVENTS"] = ",".join(sorted(PAYMENT_EVENTS))
    else:
        own["SANDBOX_CONFORMANCE"] = "1"
        if SPEC_FILE.exists():
            own["SANDBOX_SPEC"] = str(SPEC_FILE)
    return Spec(
        name="sandbox",
        argv=_uvicorn("sandbox.app:app", ports.sandbox),
        env=program_environment(options, own),
        cwd=working_folder(options),
        probe=lambda: answers(ports.sandbox, "/_sandbox/health"),
        stop_seconds=GRACE_SECONDS + 5.0,
    )


def _uvicorn(app: str, port: int) -> tuple[str, ...]:
    return (
        *(sys.executable, "-m", "uvicorn", app, "--host", HOST, "--port", str(port)),
        *("--timeout-graceful-shutdown", str(GRACE_SECONDS), "--no-server-header"),
        "--no-access-log",
        # Longer than clients keep idle connections: else they meet one that just closed.
        *("--timeout-keep-alive", str(KEEP_ALIVE_SECONDS)),
    )
