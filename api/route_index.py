"""An index of the routes by method and path, which spares each request a walk over all of them.

It is tried first; the normal list behind it still answers 404 and 405.
"""

from collections.abc import Iterable

from fastapi.routing import APIRoute
from starlette.convertors import StringConvertor
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send


class RouteIndex(BaseRoute):
    """Finds the first of `routes` that matches, by whole path or else by number of segments."""

    def __init__(self, routes: Iterable[APIRoute]) -> None:
        self._by_path: dict[tuple[str, str], APIRoute] = {}
        self._by_length: dict[tuple[str, int], list[APIRoute]] = {}
        wide: list[APIRoute] = []
        for route in routes:
            if not all(isinstance(one, StringConvertor) for one in route.param_convertors.values()):
                wide.append(route)  # matches any number of segments
            # A route that an earlier wide one may hide is left to the normal list.
            elif not any(one.path_regex.match(route.path_format) for one in wide):
                for method in route.methods or ():
                    self._add(method, route)

    def _add(self, method: str, route: APIRoute) -> None:
        before = self._by_length.setdefault((method, route.path.count("/")), [])
        if route.param_convertors:
            before.append(route)
        elif not any(one.path_regex.match(route.path) for one in before):
            self._by_path.setdefault((method, route.path), route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return the route of this method and path, or no match."""
        if scope["type"] != "http" or scope.get("root_path"):
            return Match.NONE, {}
        method, path = scope["method"], scope["path"]
        known = self._by_path.get((method, path))
        if known is not None:
            return Match.FULL, {"endpoint": known.endpoint, "path_params": {}, "route": known}
        for route in self._by_length.get((method, path.count("/")), ()):
            found = route.matches(scope)
            if found[0] is Match.FULL:
                return found
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the matched route answer."""
        await scope["route"].handle(scope, receive, send)
