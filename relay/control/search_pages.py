"""The list of messages: a search, pages by key, and orders for all that match."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from relay.control.api import TooLong
from relay.control.page_maker import PageMaker, StaleForm, first_of
from relay.control.queue_admin import BadOrder, QueueAdmin
from relay.control.searching import ATTENTION, MOMENTS, TEXTS, Asked, BadSearch, understood
from relay.control.zones import viewers_zone
from relay.spool.entry import Action, State
from relay.spool.search import PageKey

PER_PAGE = 50
_MORE = ("address", "subject", "device", "said", *MOMENTS)
"""What is asked for less often; shown when it is."""
_ALL_PLACES = "older_than", "newer_than"


def search_routes(desk: QueueAdmin, maker: PageMaker) -> list[Route]:
    pages = SearchPages(desk, maker)
    return [
        Route("/messages", pages.messages),
        Route("/messages/matching", pages.matching),
        Route("/orders/matching", pages.order, methods=["POST"]),
    ]


class SearchPages:
    """The list, the question before an order for all that match, and the order."""

    def __init__(self, desk: QueueAdmin, maker: PageMaker) -> None:
        self._desk, self._maker = desk, maker

    async def messages(self, request: Request) -> Response:
        said = request.query_params
        mistake = ""
        try:
            asked = understood(said.multi_items(), viewers_zone(request))
        except BadSearch as error:
            asked, mistake = Asked(), error.name
        places = {name: place for name in _ALL_PLACES if (place := PageKey.read(said.get(name, "")))}
        page, tally = await asyncio.gather(self._desk.found(asked, PER_PAGE, **places), self._desk.tally())
        return await self._maker.page(
            request,
            "messages.html",
            page=page,
            asked=asked,
            here=_with(asked, **{name: str(place) for name, place in places.items()}),
            newer=_with(asked, newer_than=str(page.newer)),
            older=_with(asked, older_than=str(page.older)),
            mistake=mistake,
            said={name: said.get(name, "") for name in (*TEXTS, *MOMENTS)},
            more_asked=any(asked.text(name) for name in _MORE) or mistake in MOMENTS,
            states=[state.value for state in State],
            state=asked.states_said[0] if len(asked.states_said) == 1 else "",
            attention=ATTENTION,
            tally=tally,
            upstreams=self._desk.offered,
        )

    async def matching(self, request: Request) -> Response:
        """Says how many match, and for how many of them the order is, before it is given."""
        said = request.query_params
        action, via = said.get("action", ""), said.get("via", "") if said.get("action") == Action.RELEASE.value else ""
        try:
            asked, asked_at = understood(said.multi_items(), viewers_zone(request)), self._desk.now
            matching, fitting = await self._desk.matching(asked, action, via)
        except (BadOrder, BadSearch):
            return await self._maker.page(request, "error.html", 400, key="bad_order")
        return await self._maker.page(
            request,
            "matching.html",
            asked=asked,
            back=_with(asked),
            action=action,
            via=via,
            matching=matching,
            fitting=(at_once := self._desk.at_once(fitting, action, via)),
            left=fitting - at_once,
            asked_at=asked_at.isoformat(),
        )

    async def order(self, request: Request) -> Response:
        """Carries it out for what matches now."""
        try:
            form = await self._maker.form(request)
        except (TooLong, ValueError):
            return await self._maker.page(request, "error.html", 413, key="bad_order")
        except StaleForm:
            return await self._maker.page(request, "error.html", 403, key="stale_form")
        action, via = first_of(form, "action"), first_of(form, "via")
        try:
            pairs = ((name, value) for name, values in form.items() for value in values)
            asked, said = understood(pairs, viewers_zone(request)), first_of(form, "asked_at")
            asked_at = datetime.fromisoformat(said).astimezone(UTC) if said else None
            done = await self._desk.order_matching(action, asked, via, asked_at)
        except (ValueError, OverflowError):  # BadOrder and BadSearch are such
            return await self._maker.page(request, "error.html", 400, key="bad_order")
        told: Mapping[str, Any] = {"done": action if done["applied"] else "none", "n": done["applied"]}
        risk = {"risk": 1} if "risks" in done else {}
        return RedirectResponse(_with(asked, **told, **risk), 303)


def _with(asked: Asked, **more: object) -> str:
    """The address of the list for this search."""
    query = "&".join(filter(None, (asked.query, urlencode(more))))
    return f"/messages?{query}" if query else "/messages"
