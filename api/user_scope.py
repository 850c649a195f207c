"""The users that a caller may record and read: a member itself, others everybody [A14, X29]."""

from api.auth import MEMBER
from api.dependencies import Call
from api.problem_codes import not_found
from billing.core.errors import NotAllowed


def only_user(call: Call) -> str | None:
    """The one user whose uses the caller may see; None when it may see all."""
    return call.caller.subject if call.caller.roles == {MEMBER} else None


def user_of(named: str | None, call: Call) -> str | None:
    """The user of a request: a member is its own. Errors: FORBIDDEN for another."""
    only = only_user(call)
    if only is not None and named not in (None, only):
        raise NotAllowed("FORBIDDEN", "a member acts for its own user only")
    return named if only is None else only


def visible(named: str | None, call: Call) -> str | None:
    """The user whose single uses a read shows; None for all.

    Errors: NOT_FOUND for a user whom the caller may not see.
    """
    try:
        return user_of(named, call)
    except NotAllowed as error:
        raise not_found("NOT_FOUND") from error
