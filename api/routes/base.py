"""How every route file starts: `router = new_router("credits")`, paths below /api/v1.

The prefix is in each route rather than in an include, so that routing stays one flat list.
"""

from typing import Final

from fastapi import APIRouter
from fastapi.routing import APIRoute

from api.straight import StraightRoute

PREFIX: Final = "/api/v1"


def new_router(tag: str, prefix: str = PREFIX) -> APIRouter:
    """A router whose operations are named after their handlers, for generated clients."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        generate_unique_id_function=_name,
        route_class=StraightRoute,
    )


def _name(route: APIRoute) -> str:
    return route.name
