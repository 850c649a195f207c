"""The user that PostgreSQL runs as: it refuses root, but root must be able to run this stack.

A user namespace is tried first: root still owns the files, and no other account is needed.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cli.errors import StackError

NAMESPACE: Final = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
NOBODY: Final = 65534


@dataclass(frozen=True)
class Identity:
    """The user that PostgreSQL runs as: `prefix` precedes the command; `uid`, if set, runs it."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None

    def own(self, path: Path) -> None:
        """Make the user that PostgreSQL runs as the owner of a file or a whole folder.

        Root may find a cluster that was made under its other identity.
        """
        wanted = os.geteuid() if self.uid is None else self.uid
        if path.stat().st_uid == wanted:
            return
        for file in (path, *path.rglob("*")):
            os.chown(file, wanted, wanted)


def choose_identity(*paths: Path) -> Identity:
    """Return no change for an ordinary user; for root a namespace, else nobody if `paths` allow.

    Errors: StackError if neither works for root.
    """
    if os.geteuid() != 0:
        return Identity()
    if _namespaces_work():
        return Identity(prefix=NAMESPACE)
    for path in paths:
        if not _reachable(path):
            raise StackError(
                f"PostgreSQL cannot run as root, user namespaces are forbidden here, and {path} "
                "is closed to other users: run as an ordinary user, or open that folder (chmod a+x)"
            )
    return Identity(uid=NOBODY)


def as_user(uid: int | None) -> dict[str, Any]:
    """Return the options that start a process as this user, in no other group; None: as ours."""
    return {"user": uid, "group": uid, "extra_groups": None if uid is None else []}


def _namespaces_work() -> bool:
    try:
        tried = subprocess.run([*NAMESPACE, "true"], capture_output=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def _reachable(path: Path) -> bool:
    """Return True if anybody may enter every existing folder down to `path`."""
    folders = [path, *path.parents]
    return all(folder.stat().st_mode & 0o001 for folder in folders if folder.exists())
