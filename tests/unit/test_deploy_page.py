"""The page on going live names what there is: commands, settings, and the provider's events."""

import re
from typing import Any, Final

import pytest
from pydantic import ValidationError
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from billing.core.setting_names import file_names, names
from billing.core.settings import Settings
from billing.platform.provider_inbox.webhooks import PAYMENT_EVENTS
from cli.__main__ import app
from cli.doctor_checks import Patient, disk
from devstack.options import ROOT

PAGE: Final = (ROOT / "docs" / "deploy.md").read_text()
_CODE: Final = re.compile(r"^```\w*\n(.*?)^```$|`([^`\n]+)`", re.DOTALL | re.MULTILINE)
_COMMAND: Final = re.compile(r"(?:^|[\s(])billing ((?:[a-z][a-z-]*|--[a-z-]+)(?: [^\s)]+)*)")
_SETTING: Final = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b|\bENV\b")
_EVENT: Final = re.compile(r"`([a-z_]+(?:\.[a-z_]+)+)`")
_CONTAINER: Final = re.compile(
    r"docker compose run((?: --(?:env|volume|entrypoint) [^ ]+| --[a-z-]+)+) ([a-z-]+)"
)
_JOB: Final = re.compile(r'job(?:_name: |=")([a-z-]+)')
WORST: Final[dict[str, Any]] = {
    "env": "production",
    "BILLING_PROFILE": "test",
    "stripe_api_base": "http://stand-in",
    "BILLING_PAYPAL_URL": "http://x",
    "BILLING_VIES_URL": "http://x",
}
"""Every door that a setting can open."""


def code() -> list[str]:
    """Each line of the blocks, and each piece of code between them."""
    found = [block or inline for block, inline in _CODE.findall(PAGE)]
    return [line for text in found for line in text.replace("\\\n", " ").splitlines()]


def commands() -> set[str]:
    return {words for line in code() for words in _COMMAND.findall(line)}


def settings() -> set[str]:
    """The environment variables of the product."""
    return names() | file_names()


def refusals(**more: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate(WORST | more)
    return str(refused.value)


def test_every_command_of_the_page_is_one() -> None:
    assert len(commands()) >= 7
    for words in sorted(commands()):
        command, asked = get_command(app), list[str]()
        for word in words.split():
            if isinstance(command, TyperGroup) and word in command.commands:
                command, asked = command.commands[word], [*asked, word]
        assert not isinstance(command, TyperGroup), f"billing {words}"
        assert CliRunner().invoke(app, [*asked, "--help"]).exit_code == 0, f"billing {words}"
        options = {name for option in command.params for name in option.opts}
        assert set(re.findall(r"--[a-z-]+", words)) <= options, f"billing {words}"


def test_every_setting_of_the_page_is_one() -> None:
    of_compose = set(_SETTING.findall((ROOT / ".env.example").read_text())) - settings()
    named = {name for line in code() for name in _SETTING.findall(line)}
    assert named - settings() - of_compose == set()


def test_every_setting_that_production_refuses_is_on_the_page() -> None:
    told = refusals(jwt_secret="short") + refusals(jwt_jwks_url="http://x")
    wanted = set(_SETTING.findall(told)) & settings()
    assert {"STRIPE_SECRET_KEY", "BILLING_PUBLIC_URL", "JWT_JWKS_URL", "JWT_SECRET"} <= wanted
    assert wanted - set(_SETTING.findall(PAGE)) == set()


def test_the_page_names_the_events_of_the_provider_that_are_read_and_no_other() -> None:
    _, _, after = PAGE.partition("tick exactly these events:")
    table = "\n".join(line for line in after.partition("\n## ")[0].splitlines() if "|" in line)
    assert set(_EVENT.findall(table)) == PAYMENT_EVENTS


def test_the_page_says_how_an_alert_reaches_somebody() -> None:
    folder = ROOT / "deploy" / "prometheus"
    scraped = (folder / "prometheus.yml").read_text()
    alerts = (folder / "alerts.yml").read_text()
    jobs = set(_JOB.findall(alerts))
    assert jobs
    assert jobs <= set(_JOB.findall(scraped))
    words = jobs | set(re.findall(r"severity: (\w+)", alerts)) | {"BILLING_SERVICE_HOST"}
    assert {word for word in words if f"`{word}`" not in PAGE.partition("**Alerts.**")[2]} == set()
    assert "# alerting:\n#   alertmanagers:" in scraped


def test_the_endpoint_of_the_provider_is_made_before_anything_starts() -> None:
    asked = refusals()
    assert "set STRIPE_WEBHOOK_SECRET to the secret of your endpoint" in asked
    assert PAGE.index("add an endpoint for `https://") < PAGE.index("\ndocker compose up")


def test_a_command_in_a_container_starts_no_other_service() -> None:
    composed = (ROOT / "docker-compose.yml").read_text()
    for page in sorted((ROOT / "docs").rglob("*.md")):
        words = " ".join(page.read_text().split())
        for options, service in _CONTAINER.findall(words):
            assert "--no-deps" in options, f"{page.name}: docker compose run{options}{service}"
            assert f"\n  {service}:\n" in composed, f"{page.name}: {service}"
        bare = len(re.findall(r"docker compose run --rm", words))
        assert len(_CONTAINER.findall(words)) == bare, page.name


async def test_the_disk_that_the_doctor_does_not_see_is_the_operators_to_watch() -> None:
    nothing: Any = None
    assert await disk(Patient(nothing, nothing, nothing, stack=None)) == []
    assert "**The disk of Postgres.** Watch it yourself" in PAGE
