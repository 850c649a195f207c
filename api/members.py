"""Whose uses a caller records and sees: a member its own, others the account's [A14, X29]."""

from api.auth import MEMBER
from api.dependencies import Call
from api.problem_codes import CODES
from billing.core.errors import NotAllowed, NotFound


def only_user(call: Call) -> str | None:
    """The one user whose uses the caller may see; None where it may see everybody's."""
    return call.caller.subject if call.caller.roles == {MEMBER} else None


def user_of(named: str | None, call: Call) -> str | None:
    """For whom a caller records or asks: a member for itself. Errors: FORBIDDEN for another."""
    only = only_user(call)
    if only is not None and named not in (None, only):
        raise NotAllowed("FORBIDDEN", "a member acts for its own user only")
    return named if only is None else only


def visible(named: str | None, call: Call) -> str | None:
    """Whose single uses a read is to show; None for everybody's.

    Errors: NOT_FOUND for a user whom the caller may not see.
    """
    try:
        return user_of(named, call)
    except NotAllowed as error:
        raise NotFound("NOT_FOUND", CODES["NOT_FOUND"].detail) from error
