"""What answers on web.address: the pages, the API and the metrics behind one guard."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from relay.control.access import AccessRules, Guard
from relay.control.api import api_routes, unknown
from relay.control.api import unavailable as api_unavailable
from relay.control.content_pages import content_routes
from relay.control.content_reader import ContentReader
from relay.control.metrics import metrics_route
from relay.control.pages import Pages, page_routes
from relay.control.search_pages import search_routes
from relay.control.status import RelayStatus
from relay.spool.contract import SpoolBroken


def make_site(watch: RelayStatus, hostname: Callable[[], str], rules: AccessRules) -> ASGIApp:
    pages = Pages(watch, hostname)

    async def missing(request: Request, error: Exception) -> Response:
        if request.url.path.startswith("/api/"):
            return await unknown(request, error)
        return await pages.missing(request, error)

    async def unavailable(request: Request, error: Exception) -> Response:
        if request.url.path.startswith("/api/"):
            return await api_unavailable(request, error)
        return await pages.unavailable(request)

    found = search_routes(watch.desk, pages.maker)
    looks = content_routes(ContentReader(watch.desk, watch.now, watch.content, watch.as_sent), pages.maker)
    routes = [*found, *looks, *page_routes(pages), *api_routes(watch), metrics_route(watch)]
    return Guard(Starlette(routes=routes, exception_handlers={HTTPException: missing, SpoolBroken: unavailable}), rules)
