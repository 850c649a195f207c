"""The command line on the run's stack: it finds the stack by its folder and needs nothing else."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from billing.core import setting_names
from devstack.options import ROOT
from devstack.stack import StackInfo


def billing(stack: StackInfo, *words: str) -> subprocess.CompletedProcess[str]:
    names = setting_names.names()
    environment = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, "-m", "cli", *words],
        cwd=ROOT,
        env={**environment, "STACK_DATA": str(stack.data)},
        capture_output=True,
        text=True,
        check=False,
    )


async def test_a_minted_token_is_believed_by_the_api(stack: StackInfo) -> None:
    minted = billing(stack, "token", "--roles", "admin", "--sub", "somebody", "--ttl", "60")
    assert minted.returncode == 0, minted.stderr
    async with httpx2.AsyncClient(base_url=stack.api_url, trust_env=False) as client:
        accounts = f"{stack.api_url}/api/v1/admin/accounts"
        bearer = {"Authorization": f"Bearer {minted.stdout.strip()}"}
        assert (await client.get(accounts, headers=bearer)).status_code == 200
        assert (await client.get(accounts)).status_code == 401


UNFIT = {
    ("--roles", "king"): "unknown role 'king'; known are admin, billing, member, service",
    ("--roles", "billing"): "the API refuses role billing for account *:",
    ("--roles", "member"): "the API refuses role member for account *:",
    ("--account", "shop-1", "--roles", "admin"): "the API refuses role admin for account shop-1:",
    ("--account", "shop-1", "--roles", "billing,service"): "the API refuses role billing, service",
    ("--sub", " "): "--sub ' ' is not a name: use 1 to 255 visible characters",
    ("--account", "no-such-shop"): "no account no-such-shop: create it with POST /admin/accounts",
}
"""Claims that the API refuses, and what the command says instead of making a token."""


@pytest.mark.parametrize("words", UNFIT)
def test_a_token_that_the_api_would_refuse_is_not_made(
    stack: StackInfo, words: tuple[str, ...]
) -> None:
    refused = billing(stack, "token", *words)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(UNFIT[words])
    assert refused.stderr.count("\n") == 1


async def test_a_token_of_an_account_is_made_by_its_id_its_own_name_and_before_it_is_opened(
    stack: StackInfo,
) -> None:
    shop = f"token-shop-{uuid4()}"
    early = billing(stack, "token", "--account", shop, "--new-account")
    assert early.returncode == 0, early.stderr
    admin = billing(stack, "token").stdout.strip()
    async with httpx2.AsyncClient(base_url=f"{stack.api_url}/api/v1", trust_env=False) as client:
        opened = await client.post(
            "/admin/accounts",
            json={"external_id": shop, "name": "Ann"},
            headers={"Authorization": f"Bearer {admin}"},
        )
        assert opened.is_success, opened.text
        for name in (shop, opened.json()["id"]):
            minted = billing(stack, "token", "--account", name, "--roles", "member")
            for made in (early, minted):
                bearer = {"Authorization": f"Bearer {made.stdout.strip()}"}
                assert (await client.get("/billing/plans", headers=bearer)).status_code == 200


def test_after_applying_it_the_stack_sells_what_the_catalog_says(stack: StackInfo) -> None:
    # Other stories of the run may have changed what is sold.
    assert billing(stack, "catalog", "apply", "--yes", "--allow-large-change").returncode == 0
    shown = billing(stack, "catalog", "diff")
    assert (shown.returncode, shown.stdout.strip()) == (0, "nothing changes"), shown.stderr


def test_a_catalog_is_applied_only_when_somebody_says_so_twice_for_a_large_change(
    stack: StackInfo, tmp_path: Path
) -> None:
    cheap = tmp_path / "cheap.yaml"
    sold = (ROOT / "catalog.yaml").read_text().replace("{USD: 4900, EUR: 4900}", "{USD: 490}")
    cheap.write_text(sold)
    words = ("catalog", "apply", "--file", str(cheap))
    refused = billing(stack, *words, "--yes")
    assert (refused.returncode, "pro per month: 49.00 USD → 4.90" in refused.stdout) == (1, True)
    assert "price of plan pro in minor units of USD: 4900 → 490" in refused.stderr
    unasked = billing(stack, *words, "--allow-large-change")
    assert (unasked.returncode, "use --yes" in unasked.stderr) == (1, True)
    shown = billing(stack, "catalog", "diff")
    assert shown.stdout.strip() == "nothing changes", "neither of them wrote anything"


def test_an_empty_catalog_withdraws_nothing_unless_it_is_said(
    stack: StackInfo, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.yaml"
    empty.touch()
    words = ("catalog", "apply", "--file", str(empty))
    refused = billing(stack, *words, "--yes")
    assert (refused.returncode, "use --allow-large-change" in " ".join(refused.stderr.split())) == (
        1, True,
    ), refused.stderr  # fmt: skip
    assert "price of pack small: 9.99 USD → none" in refused.stderr
    unasked = billing(stack, *words, "--allow-large-change")
    assert (unasked.returncode, "use --yes" in unasked.stderr) == (1, True)
    shown = billing(stack, "catalog", "diff")
    assert shown.stdout.strip() == "nothing changes", "neither of them wrote anything"


async def test_the_audit_names_the_command_that_changed_what_is_sold(
    stack: StackInfo, tmp_path: Path
) -> None:
    told = tmp_path / "told.yaml"
    sold = (ROOT / "catalog.yaml").read_text()
    told.write_text(sold.replace("A few features to try", f"Some features to try ({uuid4()})"))
    # Other stories of the run may have added what the file does not have.
    words = ("catalog", "apply", "--yes", "--allow-large-change")
    assert billing(stack, *words, "--file", str(told)).returncode == 0
    assert billing(stack, *words).returncode == 0
    admin = billing(stack, "token").stdout.strip()
    async with httpx2.AsyncClient(base_url=f"{stack.api_url}/api/v1", trust_env=False) as client:
        trail = await client.get(
            "/admin/audit?subject=plan%20free", headers={"Authorization": f"Bearer {admin}"}
        )
    assert trail.json()["data"][0]["actor"] == "operator:catalog", trail.text


def test_many_are_steered_by_one_command_that_says_what_it_would_do(stack: StackInfo) -> None:
    act = ("steer", "extend", "--days", "3", "--reason", "an outage")
    words = (*act, "--past-due-from", "2099-01-01T00:00:00Z")
    assert billing(stack, *words, "--dry-run").stdout.strip() == (
        "0 would be steered, 0 refused; overdue of them: nothing"
    )
    done = billing(stack, *words, "--key", "once")
    assert (done.returncode, "--key once" in done.stdout) == (0, True), done.stderr
    refused = billing(stack, "steer", "forgive", "--reason", "nobody is named")
    assert refused.stderr.startswith("VALIDATION_FAILED")
    unknown = billing(stack, *act, "--plan", "none-such", "--dry-run")
    assert unknown.stderr.startswith("PLAN_NOT_FOUND")


def test_a_catalog_that_is_wrong_names_the_file(stack: StackInfo) -> None:
    refused = billing(stack, "catalog", "apply", "--file", "no-such-catalog.yaml")
    assert refused.returncode == 1
    assert "no-such-catalog.yaml cannot be read" in refused.stderr


def test_the_doctor_names_what_is_installed_and_that_parts_are_ready(stack: StackInfo) -> None:
    seen = " ".join(billing(stack, "doctor").stdout.split())
    assert "PostgreSQL) 18." in seen
    assert "postgres, temporal, sandbox, worker, api ready" in seen


def test_status_shows_where_things_are(stack: StackInfo) -> None:
    shown = billing(stack, "status")
    assert shown.returncode == 0
    assert f"{stack.api_url}/docs" in shown.stdout


@pytest.mark.parametrize("words", [("verify",), ("rebuild",), ("catalog", "diff")])
def test_a_folder_without_a_stack_is_no_other_database(
    stack: StackInfo, tmp_path: Path, words: tuple[str, ...]
) -> None:
    refused = billing(stack, *words, "--data", str(tmp_path))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"no stack runs on {tmp_path}")
