"""Before its first look a process claims nothing that calls somebody."""

import subprocess
import sys
from typing import Final

FRESH: Final = """
from prometheus_client import REGISTRY
from api.monitoring import gauges
print(REGISTRY.get_sample_value("billing_database_connections_free"))
"""


def test_a_process_that_never_looked_does_not_say_that_the_database_is_full() -> None:
    asked = [sys.executable, "-c", FRESH]
    told = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "nan"
