"""What answers on web.address: the pages, the API and the metrics behind one guard."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from relay.control.access import AccessRules, Guard, PasswordCheck
from relay.control.api import api_routes, unknown
from relay.control.api import unavailable as api_unavailable
from relay.control.care_api import care_routes
from relay.control.care_pages import care_page_routes
from relay.control.content_pages import content_routes
from relay.control.content_reader import ContentReader
from relay.control.log_in_pages import log_in_routes
from relay.control.metrics import metrics_route
from relay.control.page_maker import PageMaker
from relay.control.pages import Pages, page_routes
from relay.control.search_pages import search_routes
from relay.control.status import RelayStatus
from relay.spool.contract import SpoolBroken


def make_site(watch: RelayStatus, hostname: Callable[[], str], rules: AccessRules) -> ASGIApp:
    pages = Pages(watch, hostname)
    check = PasswordCheck(rules)

    async def missing(request: Request, error: Exception) -> Response:
        if request.url.path.startswith("/api/"):
            return await unknown(request, error)
        return await pages.missing(request, error)

    async def unavailable(request: Request, error: Exception) -> Response:
        if request.url.path.startswith("/api/"):
            return await api_unavailable(request, error)
        return await pages.unavailable(request)

    log_in = log_in_routes(check, PageMaker(hostname, watch.now))
    found = search_routes(watch.desk, pages.maker)
    looks = content_routes(ContentReader(watch.desk, watch.now, watch.content, watch.as_sent), pages.maker)
    routes = [*found, *looks, *page_routes(pages), *log_in, *api_routes(watch), metrics_route(watch)]
    routes += [*care_page_routes(watch, hostname), *care_routes(watch, trusted=False)]
    site = Starlette(routes=routes, exception_handlers={HTTPException: missing, SpoolBroken: unavailable})
    return Guard(site, rules, check=check)
