"""`python -m api`: the API, configured by the environment."""

from contextlib import suppress

import uvloop

from api.server import serve
from billing.core import logs, open_files
from billing.core.process_end import run_and_end
from billing.core.setting_names import warn_of_names
from billing.core.settings import load_settings


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = load_settings()
    logs.configure(settings, process="api")
    warn_of_names(settings)
    open_files.allow_many()
    with suppress(KeyboardInterrupt):
        uvloop.run(serve(settings))


if __name__ == "__main__":
    run_and_end(main)
