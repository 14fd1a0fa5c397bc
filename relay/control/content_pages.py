"""The pages that show what a message says: its content, its HTML in a frame, the file, before and after."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay.control.access import HEADERS
from relay.control.content_answers import eml, frame
from relay.control.content_reader import ContentReader, Looker, NoContent
from relay.control.page_maker import PageMaker
from relay.control.queue_admin import BadOrder
from relay.control.views import story_view
from relay.spool.entry import TransferItem

WITH_FRAME = f"{HEADERS['content-security-policy']}; frame-src 'self'"

Show = Callable[[Request, TransferItem], Awaitable[Response]]


def content_routes(reader: ContentReader, maker: PageMaker) -> list[Route]:
    pages = ContentPages(reader, maker)
    return [
        Route("/messages/{queue_id}/content", pages.looked(pages.content, "page")),
        Route("/messages/{queue_id}/html", pages.looked(pages.html, "page")),
        Route("/messages/{queue_id}/changes", pages.looked(pages.changes, "page")),
        Route("/messages/{queue_id}/eml", pages.looked(pages.eml, "file")),
    ]


class ContentPages:
    """One method for each; none is reached without a line in the message's trail."""

    def __init__(self, reader: ContentReader, maker: PageMaker) -> None:
        self._reader, self._maker = reader, maker

    def looked(self, show: Show, how: str) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                item = await self._reader.item(request.path_params["queue_id"], Looker.of(request.scope), how)
                return await show(request, item)
            except NoContent as error:
                return await self._maker.page(request, "error.html", error.code, key=f"content_{error.why}")
            except BadOrder:
                return await self._maker.page(request, "error.html", 404, key="gone")

        return endpoint

    async def content(self, request: Request, item: TransferItem) -> Response:
        shown = await self._reader.shown(item)
        answer = await self._maker.page(request, "content.html", story=story_view(item.stored), shown=shown)
        answer.headers["content-security-policy"] = WITH_FRAME
        return answer

    async def html(self, request: Request, item: TransferItem) -> Response:
        found = await self._reader.html(item)
        if found is None:
            return await self._maker.page(request, "error.html", 404, key="not_found")
        return frame(found)

    async def changes(self, request: Request, item: TransferItem) -> Response:
        found = await self._reader.before_and_after(item)
        if found is None:
            return await self._maker.page(request, "error.html", 404, key="not_found")
        return await self._maker.page(request, "changes.html", story=story_view(item.stored), found=found)

    async def eml(self, _request: Request, item: TransferItem) -> Response:
        return eml(item)
