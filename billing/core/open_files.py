"""Room for the open files of this process. Each connection is one."""

import errno
import logging
import os
import resource
from typing import Final

WANTED: Final = 10_240
"""As many as macOS gives; the usual limit of a shell or a service is 1,024."""
_USED_UP: Final = (errno.EMFILE, errno.ENFILE)
_logger = logging.getLogger("billing.open_files")


def allow_many() -> None:
    """Raise the limit of this process to `WANTED`, or to what its system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= WANTED:
        return
    allowed = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < WANTED:
        _logger.warning("at most %d connections and files can be open at once", allowed)


def has_room() -> bool:
    """Return False if no further file, and so no connection, can be opened."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        if error.errno in _USED_UP:
            return False
        raise
    return True
