"""The health sign of sessions that block others. Pure."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from billing.insight.health.rules import ago, healthy, unhealthy
from billing.insight.health.schemas import Sign
from billing.insight.locks.schemas import Blocker

WAITED: Final = timedelta(seconds=2)
"""Our own steps are done by then, and go on from one statement to the next: who waits longer is
about to be refused.
"""
RESTED: Final = timedelta(seconds=10)
"""None of our programs keeps a table locked while idle for this long."""
FORGOTTEN: Final = timedelta(minutes=1)
"""None of our programs is idle for this long in a transaction that has written."""
_KEEPS: Final = {"rows": "may hold rows of", "reads": "has read"}
UNSEEN: Final = (
    "idle ones are not seen: GRANT pg_read_all_stats TO billing_operator as the superuser"
)


def sign(blockers: Sequence[Blocker], *, sees_all: bool) -> Sign:
    """Return the sign: healthy if no session waits long for a lock, and no idle one keeps any."""
    found = [words(one) for one in blockers if is_bad(one)]
    if found:
        return unhealthy("locks", f"{'; '.join(found)}: billing locks end PID --reason …")
    return healthy("locks", "nobody waits long" if sees_all else f"nobody waits long; {UNSEEN}")


def is_bad(one: Blocker) -> bool:
    """Return True if customers are refused because of this session, or are about to be."""
    if one.longest is not None and one.longest > WAITED:
        return True
    rests, since = (one.state or "").startswith("idle in transaction"), one.resting or timedelta()
    limit = {"rows": FORGOTTEN, "reads": timedelta.max}.get(one.holds or "", RESTED)
    return rests and since > (min(limit, WAITED) if one.waiting else limit)


def words(one: Blocker) -> str:
    """Return the sentence about a session that blocks others."""
    who = [f"PID {one.pid}" if one.pid else "a prepared transaction (pg_prepared_xacts)"]
    if one.role:
        who.append(f"of {one.role}")
    if one.program:
        who.append(f"({one.program})")
    if one.client:
        who.append(f"from {one.client}")
    if one.state:
        since = f" for {ago(one.resting)}" if one.resting is not None else ""
        who.append(f"is {one.state}{since} and")
    who.append(_KEEPS.get(one.holds or "", "blocks") if not one.waiting else "blocks")
    if not one.waiting:
        return f"{' '.join(who)} {one.place}"
    waits = f"{one.waiting} session{'s' if one.waiting > 1 else ''}"
    longest = f", the longest for {ago(one.longest)}" if one.longest is not None else ""
    return f"{' '.join(who)} {waits}{f' at {one.place}' if one.place else ''}{longest}"
