"""django-hordak in its own venv: a round of transfers and balances for each line on stdin.

This module imports nothing of ours, and ours imports nothing of it.
"""

import json
import os
import random
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import django  # type: ignore[import-not-found, unused-ignore]
from django.conf import settings  # type: ignore[import-not-found, unused-ignore]

SECONDS = 2.0
ACCOUNTS = 50
THREADS = 32


def main() -> None:
    """Migrate, make accounts, then answer one line with one line."""
    warnings.simplefilter("ignore")
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "peer_hordak",
        "USER": os.environ["PGUSER"],
        "PASSWORD": os.environ["PGPASSWORD"],
        "HOST": os.environ["PGHOST"],
        "PORT": os.environ["PGPORT"],
    }
    settings.configure(
        DATABASES={"default": database},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "mptt", "hordak"],
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        SECRET_KEY="bench",
        DEFAULT_CURRENCY="EUR",
        CURRENCIES=["EUR"],
        HORDAK_MAX_DIGITS=20,
        HORDAK_DECIMAL_PLACES=2,
    )
    django.setup()
    from django.core.management import call_command  # type: ignore[import-not-found, unused-ignore]
    from hordak.models import Account  # type: ignore[import-not-found, unused-ignore]
    from moneyed import Money  # type: ignore[import-not-found, unused-ignore]

    call_command("migrate", verbosity=0)
    accounts = [
        Account.objects.create(name=f"a{n}", type="LI", currencies=["EUR"], code=str(n))
        for n in range(ACCOUNTS)
    ]

    def transfer() -> None:
        source, target = random.sample(accounts, 2)
        source.transfer_to(target, Money(3, "EUR"))

    for _ in sys.stdin:
        found = {"transfers": rate(transfer), "balances": rate(accounts[0].get_balance)}
        print(json.dumps(found), flush=True)


def rate(once: Callable[[], object]) -> float:
    """Return calls per second over two seconds, of one thread or many, whichever does more."""
    with ThreadPoolExecutor(THREADS) as pool:
        return max(pace(once, 1, pool), pace(once, THREADS, pool))


def pace(once: Callable[[], object], threads: int, pool: ThreadPoolExecutor) -> float:
    """Return calls per second of this many threads; a thread keeps its connection."""
    began = time.perf_counter()

    def lane(_: int) -> int:
        done = 0
        while time.perf_counter() - began < SECONDS:
            once()
            done += 1
        return done

    return sum(pool.map(lane, range(threads))) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
