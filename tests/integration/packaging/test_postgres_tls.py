"""The certificates of the containers, with a Postgres that has TLS: asked by it, or not at all.

The stack's own Postgres is built without TLS, so one of the machine is taken, where there is one.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from billing.core.database import open_database
from cli.certificates import write
from tests.integration.sandbox.support import free_port
from tests.unit.api.conftest import lonely_settings

pytestmark = pytest.mark.skipif(
    shutil.which("initdb") is None, reason="no PostgreSQL is installed on this machine"
)
OURS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
"""True where the connection that asks is by TLS."""


@pytest.fixture
def server() -> Iterator[tuple[Path, int]]:
    """The folder with its certificates, which are for `localhost`, and its port."""
    folder, port = Path(tempfile.mkdtemp(prefix="billing-tls-")), free_port()
    owner = os.getuid() or int(subprocess.check_output(["id", "-u", "postgres"]))
    write(folder, "localhost", owner)
    os.chown(folder, owner, -1)
    data = str(folder / "data")
    as_owner: dict[str, Any] = {"user": owner, "cwd": "/"} if os.getuid() == 0 else {}
    subprocess.run(
        ["initdb", "-D", data, "-U", "billing_app", "--auth=trust", "--no-sync"],
        check=True, capture_output=True, **as_owner,
    )  # fmt: skip
    files = [f"ssl_cert_file={folder}/server.crt", f"ssl_key_file={folder}/server.key"]
    options = [word for name in ("ssl=on", "fsync=off", *files) for word in ("-c", name)]
    process = subprocess.Popen(
        ["postgres", "-D", data, "-p", str(port), "-k", str(folder), *options],
        stderr=subprocess.DEVNULL, **as_owner,
    )  # fmt: skip
    try:
        yield folder, port
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


async def asked(port: int, authority: Path, host: str = "localhost") -> bool:
    """Ask as the product does; True by TLS. Errors: OperationalError."""
    url = f"postgresql+psycopg://billing_app@{host}:{port}/postgres"
    url += f"?sslmode=verify-full&sslrootcert={authority}"
    settings = lonely_settings(database_url=url)
    async with open_database(settings) as database, database.tenant() as connection:
        return bool(await connection.scalar(text(OURS)))


async def test_postgres_is_asked_by_tls_and_only_under_the_name_of_its_certificate(
    server: tuple[Path, int], tmp_path: Path
) -> None:
    folder, port = server
    for _ in range(100):
        try:
            assert await asked(port, folder / "ca.crt")
            break
        except OperationalError as error:
            if "refused" not in str(error) and "starting up" not in str(error):
                raise
            await asyncio.sleep(0.1)
    else:
        pytest.fail("the server does not start")
    with pytest.raises(OperationalError, match="does not match host name"):
        await asked(port, folder / "ca.crt", host="127.0.0.1")
    write(tmp_path, "localhost", os.getuid())
    with pytest.raises(OperationalError, match="SSL error"):
        await asked(port, tmp_path / "ca.crt")
