"""The environment of the stack's processes: the user's settings, and what a server needs.

In the test profile nothing from outside configures the product, so that runs are the same anywhere.
"""

import os
from typing import Final

from dotenv import dotenv_values
from pydantic_settings import SettingsError

from billing.core.profile import Profile
from billing.core.secret_files import read_secrets
from billing.core.setting_names import file_names, names
from billing.core.settings import Settings
from cli.errors import StackError
from devstack.options import ROOT

SANDBOX_PREFIX: Final = "SANDBOX_"


def person_environment(profile: Profile) -> dict[str, str]:
    """Return the shell's environment over `.env`; in tests without the product's settings.

    Secrets from files are included by value.
    """
    files = file_names()
    if profile == "test":
        ours = names() | files
        return {
            name: value
            for name, value in os.environ.items()
            if name not in ours and not name.startswith(SANDBOX_PREFIX)
        }
    written = {name: value for name, value in dotenv_values(ROOT / ".env").items() if value}
    told = written | dict(os.environ)
    try:
        secrets = read_secrets(Settings.secret_names(), told)
    except SettingsError as error:
        raise StackError(str(error)) from error
    return {name: value for name, value in told.items() if name not in files} | secrets


def system_environment() -> dict[str, str]:
    """Return the few variables that PostgreSQL and Temporal need."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}
