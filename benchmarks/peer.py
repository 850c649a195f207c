"""Side by side with django-hordak, a ledger on the same Postgres, from a venv of its own."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import psycopg
from pydantic import SecretStr

from api.batching.balances import Balances
from api.batching.usage_batcher import UsageBatcher
from benchmarks.ground import Ground
from benchmarks.harness import ROUNDS, Report, pace
from benchmarks.loads import Once
from billing.core.database import open_database
from billing.core.settings import load_settings
from billing.metering.usage.schemas import Use, UseKind
from devstack.options import ROOT

VENV: Final = ROOT / "build" / "hordak"
PACKAGES: Final = ("django-hordak==2.0.0", "psycopg[binary]==3.3.9")
PEER: Final = Path(__file__).with_name("peer_hordak.py")
ACCOUNTS: Final = 50
AT_ONCE: Final = 32
SECONDS: Final = 2.0
PAID: Final = UseKind("gpt-4", None, None, None, None, "credit_consumption", defer=False)


async def measure(ground: Ground, report: Report) -> None:
    """Measure their transfers and balances against our debits and balances, 32 callers each.

    Ours are what routes call, without HTTP: a debit is also rated, counted and recorded.
    Theirs are threads, ours tasks; if a single thread does more, its rate counts for theirs.
    """
    peer = await asyncio.to_thread(_open_peer, ground)
    if peer is None:
        report.console.print("  django-hordak cannot be installed here: its two rows are left out")
        return
    settings = load_settings().model_copy(
        update={
            "database_url": SecretStr(_with_driver(ground.small.app_url)),
            "database_operator_url": SecretStr(_with_driver(ground.small.app_url)),
        }
    )
    database = open_database(settings)
    accounts = ground.accounts[:ACCOUNTS]
    soon = timedelta(days=settings.expiry_notice_days)
    batcher, balances = UsageBatcher(database), Balances(database, soon)
    transfers, reads = [], []
    try:
        for _ in range(ROUNDS):
            theirs = await asyncio.to_thread(_ask, peer)
            debits = await pace(SECONDS, AT_ONCE, _debit(batcher, accounts))
            found = await pace(SECONDS, AT_ONCE, _read(balances, accounts))
            report.console.print(
                f"  hordak: {theirs['transfers']:.0f} transfers/s, {theirs['balances']:.0f}"
                f" balances/s; ours: {debits:.0f} debits/s, {found:.0f} balances/s"
            )
            transfers.append(debits / theirs["transfers"])
            reads.append(found / theirs["balances"])
    finally:
        await database.close()
        peer.terminate()
        peer.wait(10)
    report.add("hordak_transfers", transfers, "ratio", 2, 3)
    report.add("hordak_balances", reads, "ratio", 10, 15)


def _debit(batcher: UsageBatcher, accounts: Sequence[UUID]) -> Once:
    async def once() -> None:
        done = await batcher.one(Use(random.choice(accounts), PAID, "5"))
        assert done.verdict == "recorded", done

    return once


def _read(balances: Balances, accounts: Sequence[UUID]) -> Once:
    async def once() -> None:
        assert await balances.of(random.choice(accounts))

    return once


def _open_peer(ground: Ground) -> subprocess.Popen[str] | None:
    """Start the peer's process, waiting for a line; None if it cannot be installed."""
    python = VENV / "bin" / "python"
    if not python.exists() or not _has_hordak(python):
        made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False)
        words = [str(python), "-m", "pip", "install", "--quiet", *PACKAGES]
        if made.returncode or subprocess.run(words, check=False, capture_output=True).returncode:
            return None
    known = psycopg.conninfo.conninfo_to_dict(ground.small.url)
    with psycopg.connect(
        ground.small.url.replace("/small?", "/postgres?"), autocommit=True
    ) as connection:
        connection.execute("CREATE DATABASE peer_hordak")
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password"}
    return subprocess.Popen(
        [str(python), str(PEER)],
        env={**os.environ, **{name: str(known[key]) for name, key in names.items()}},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _has_hordak(python: Path) -> bool:
    words = [str(python), "-c", "import hordak, psycopg"]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def _ask(peer: subprocess.Popen[str]) -> dict[str, float]:
    if peer.stdin is None or peer.stdout is None:
        raise RuntimeError("the peer has no pipes")
    peer.stdin.write("go\n")
    peer.stdin.flush()
    answer: dict[str, float] = json.loads(peer.stdout.readline())
    return answer


def _with_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")
