"""Side by side with django-hordak, a ledger on the same Postgres, from a venv of its own."""

import asyncio
import json
import os
import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import Final
from uuid import uuid4

import psycopg
from pydantic import SecretStr

from benchmarks.ground import Ground
from benchmarks.harness import ROUNDS, Report
from billing.core import clock
from billing.core.database import Database, open_database
from billing.core.settings import load_settings
from billing.credits import service, store
from embedded.options import ROOT

VENV: Final = ROOT / "build" / "hordak"
PACKAGES: Final = ("django-hordak==2.0.0", "psycopg[binary]==3.3.9")
PEER: Final = Path(__file__).with_name("peer_hordak.py")
ACCOUNTS: Final = 50
SECONDS: Final = 2.0


async def measure(ground: Ground, report: Report) -> None:
    """Transfers and balances of theirs against debits and balances of ours, one at a time."""
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
    transfers, balances = [], []
    try:
        for _ in range(ROUNDS):
            theirs = await asyncio.to_thread(_ask, peer)
            debits = await _debits(database, ground)
            reads = await _reads(database, ground)
            report.console.print(
                f"  hordak: {theirs['transfers']:.0f} transfers/s, {theirs['balances']:.0f}"
                f" balances/s; ours: {debits:.0f} debits/s, {reads:.0f} balances/s"
            )
            transfers.append(debits / theirs["transfers"])
            balances.append(reads / theirs["balances"])
    finally:
        await database.close()
        peer.terminate()
        peer.wait(10)
    report.add("hordak_transfers", transfers, "ratio", 2, 3)
    report.add("hordak_balances", balances, "ratio", 10, 15)


async def _debits(database: Database, ground: Ground) -> float:
    began, done = perf_counter(), 0
    while perf_counter() - began < SECONDS:
        account = random.choice(ground.accounts[:ACCOUNTS])
        async with database.tenant(account) as connection:
            await service.debit(
                connection, account_id=account, amount=Decimal("0.03"), key=str(uuid4()),
                reason="bench",
            )  # fmt: skip
        done += 1
    return done / (perf_counter() - began)


async def _reads(database: Database, ground: Ground) -> float:
    began, done = perf_counter(), 0
    while perf_counter() - began < SECONDS:
        account = random.choice(ground.accounts[:ACCOUNTS])
        async with database.tenant(account) as connection:
            await store.balance_at(connection, account, clock.real_now())
        done += 1
    return done / (perf_counter() - began)


def _open_peer(ground: Ground) -> subprocess.Popen[str] | None:
    """The peer's process, waiting for a line; None where it cannot be installed."""
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
