"""Where a path leads, known without walking the list of all routes.

It stands before that list, which is left with what leads nowhere and with wrong methods.
"""

from collections.abc import Iterable

from fastapi.routing import APIRoute
from starlette.convertors import StringConvertor
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send


class Signpost(BaseRoute):
    """Finds the first of `routes` that fits: by its whole path, or among those of as many parts."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._exact: dict[tuple[str, str], APIRoute] = {}
        self._shaped: dict[tuple[str, int], list[APIRoute]] = {}
        wide: list[APIRoute] = []
        for route in routes:
            if not isinstance(route, APIRoute):
                continue
            if not all(isinstance(one, StringConvertor) for one in route.param_convertors.values()):
                wide.append(route)  # as many parts as it likes
            # What stands behind such a route, and would fit it too, is left to the walk.
            elif not any(one.path_regex.match(route.path_format) for one in wide):
                for method in route.methods or ():
                    self._add(method, route)

    def _add(self, method: str, route: APIRoute) -> None:
        before = self._shaped.setdefault((method, route.path.count("/")), [])
        if route.param_convertors:
            before.append(route)
        elif not any(one.path_regex.match(route.path) for one in before):
            self._exact.setdefault((method, route.path), route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """The route of this method and path, or none."""
        if scope["type"] != "http" or scope.get("root_path"):
            return Match.NONE, {}
        method, path = scope["method"], scope["path"]
        known = self._exact.get((method, path))
        if known is not None:
            return Match.FULL, {"endpoint": known.endpoint, "path_params": {}, "route": known}
        for route in self._shaped.get((method, path.count("/")), ()):
            found = route.matches(scope)
            if found[0] is Match.FULL:
                return found
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the route that was found answer."""
        await scope["route"].handle(scope, receive, send)
