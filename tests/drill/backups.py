"""Incidents that end with a restore: the books cannot be trusted, or went back in time."""

import shutil
import tempfile
from pathlib import Path
from typing import Final

from tests.drill.customers import adjust, command
from tests.integration.actors import Actors, Customer
from tests.integration.followers import Follower
from tests.integration.rebuild.test_restore import restore, tool

# Behind the trigger that refuses it: who can do this owns the server.
ALTER: Final = (
    "SET session_replication_role = replica;"
    " UPDATE billing_audit SET actor = 'nobody' WHERE id = (SELECT min(id) FROM billing_audit)"
)


class Backup:
    """A backup, and a customer whose follower heard of what came after it."""

    def __init__(self) -> None:
        self.folder = Path()
        self.follower: Follower | None = None

    async def taken(self, actors: Actors) -> Customer:
        """Take it, and let life go on."""
        self.folder = Path(tempfile.mkdtemp(prefix="billing-backup-"))
        customer = await actors.customer()
        await customer.bought("small")
        await tool(actors, "pg_dump", "--format=custom", f"--file={self.file}", "{database}")
        await customer.bought("small")
        self.follower = Follower(customer)
        await self.follower.go_on()
        return customer

    @property
    def file(self) -> Path:
        """The backup itself."""
        return self.folder / "billing.dump"

    async def rewritten(self, actors: Actors) -> None:
        """Somebody rewrites an entry of the audit afterwards."""
        await self.taken(actors)
        await actors.sql(ALTER)

    async def restored(self, actors: Actors) -> None:
        """The database is restored, and parked."""
        await self.taken(actors)
        await restore(actors, self.file)

    async def from_backup(self, actors: Actors) -> None:
        """All steps of a restore."""
        await restore(actors, self.file)
        await self.gone_on(actors)

    async def gone_on(self, actors: Actors) -> None:
        """The steps behind the parking; a follower misses nothing."""
        for verb in ("catch-up", "rebuild", "unpark"):
            await command(actors, verb)
        shutil.rmtree(self.folder, ignore_errors=True)
        assert self.follower is not None
        await adjust(actors, self.follower.customer, "1", "a gift after the restore")
        await self.follower.go_on()
        assert self.follower.rewound_to, "it had heard of what is lost"
        assert await self.follower.missed() == []


AUDIT: Final = Backup()
REWOUND: Final = Backup()
