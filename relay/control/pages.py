"""The pages: stories and numbers to HTML by the templates of rendering.py."""

import re
from collections.abc import Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from relay.container import look_around
from relay.control import graph, rendering, tcp, timeline
from relay.control.api import TooLong
from relay.control.device_reports import turned_away
from relay.control.first_steps import place_for_devices
from relay.control.page_maker import PageMaker, StaleForm, first_of
from relay.control.queue_admin import BadOrder
from relay.control.status import RelayStatus
from relay.control.summary import glance, was_tried
from relay.control.zones import viewers_zone

LATEST = 12
_BACK = re.compile(r"/(?:messages(?:/[0-9A-Za-z]{8,32})?(?:\?[A-Za-z0-9=&%+._~-]{0,2000})?)?\Z")


def page_routes(pages: "Pages") -> list[Route]:
    return [
        Route("/", pages.home),
        Route("/messages/{queue_id}", pages.message),
        Route("/devices", pages.devices),
        Route("/devices/{name:path}", pages.device),
        Route("/orders", pages.order, methods=["POST"]),
        Route("/static/{name}", static),
    ]


class Pages:
    """One method for each page; all are complete without JavaScript."""

    def __init__(self, watch: RelayStatus, hostname: Callable[[], str]) -> None:
        self._watch, self._desk, self.maker = watch, watch.desk, PageMaker(hostname, watch.now)

    async def home(self, request: Request) -> Response:
        status, tally = await self._watch.status(), await self._desk.tally()
        hours, findings = (await self._desk.history())["hours"], self._watch.findings()
        relayed_day = sum(hour["relayed"] for hour in hours[-24:])
        stories, away = await self._desk.stories(None, LATEST), turned_away(status["devices"], self._watch.now())
        return await self.maker.page(
            request,
            "home.html",
            status=status,
            tally=tally,
            relayed_day=relayed_day,
            glance=glance(status, tally, relayed_day, findings, tried=was_tried(tally, hours), away=away),
            away=away,
            begin=None if stories else place_for_devices(status.get("listening", ()), *whereabouts(request)),
            graph=graph.draw(hours, viewers_zone(request)),
            stories=stories,
            findings=findings,
        )

    async def message(self, request: Request) -> Response:
        try:
            story = await self._desk.message(request.path_params["queue_id"])
        except BadOrder:  # the beginning of several ids
            story = None
        if story is None:
            return await self.maker.page(request, "error.html", 404, key="gone")
        states = {recipient["state"] for recipient in story["recipients"]}
        return await self.maker.page(
            request,
            "message.html",
            story=story,
            states=states,
            repairs=timeline.repairs_of(story["trail"]),
            kept=self._watch.content() and bool(states - {"relayed"}),
            gone=states == {"relayed"},
            upstreams=self._desk.offered,
        )

    async def devices(self, request: Request) -> Response:
        status = await self._watch.status()
        return await self.maker.page(
            request,
            "devices.html",
            **await self._watch.known_devices(),
            away=turned_away(status["devices"], self._watch.now()),
            begin=place_for_devices(status.get("listening", ()), *whereabouts(request)),
        )

    async def device(self, request: Request) -> Response:
        found = await self._watch.device(request.path_params["name"])
        if found is None:
            return await self.maker.page(request, "error.html", 404, key="not_found")
        return await self.maker.page(request, "device.html", device=found)

    async def order(self, request: Request) -> Response:
        """Carries an order out, then sends the browser back to where it was: reloading orders nothing twice."""
        try:
            asked = await self.maker.form(request)
        except (TooLong, ValueError):
            return await self.maker.page(request, "error.html", 413, key="bad_order")
        except StaleForm:
            return await self.maker.page(request, "error.html", 403, key="stale_form")
        action, ids = first_of(asked, "action"), asked.get("id", [])
        everything = not ids and first_of(asked, "all") == "yes" and action == "retry"
        if not ids and not everything:
            return self._back(asked, "unticked", 0)
        try:
            done = await self._desk.order(
                action, None if everything else ids, first_of(asked, "via") if action == "release" else ""
            )
        except BadOrder:
            return await self.maker.page(request, "error.html", 400, key="bad_order")
        return self._back(asked, action if done["applied"] else "none", done["applied"], risk="risks" in done)

    @staticmethod
    def _back(asked: Mapping[str, list[str]], done: str, number: int, *, risk: bool = False) -> Response:
        back = first_of(asked, "back")
        back = back if _BACK.match(back) else "/"
        if done == "remove" and back.startswith("/messages/"):
            back = "/messages"
        return RedirectResponse(f"{back}{'&' if '?' in back else '?'}done={done}&n={number}{'&risk=1' if risk else ''}", 303)

    async def unavailable(self, request: Request) -> Response:
        """The spool cannot be read."""
        return await self.maker.page(request, "error.html", 503, key="spool_away")

    async def missing(self, request: Request, error: Exception) -> Response:
        code = error.status_code if isinstance(error, HTTPException) else 500
        answer = await self.maker.page(request, "error.html", code, key="not_found" if code == 404 else "bad_order")
        if isinstance(error, HTTPException) and error.headers:
            answer.headers.update(error.headers)
        return answer


def whereabouts(request: Request) -> tuple[str, str, bool]:
    """By which name the viewer came here, our address in the LAN, and whether that is one of a container's network."""
    return request.url.hostname or "", tcp.lan_address(), bool(look_around().masks)


async def static(request: Request) -> Response:
    """Three files by name, so no path can lead anywhere else."""
    name = request.path_params["name"]
    if name not in rendering.KINDS:
        raise HTTPException(404)
    age = "public, max-age=31536000, immutable" if request.url.query else "no-cache"
    return Response(rendering.file(name), media_type=rendering.KINDS[name], headers={"cache-control": age})
