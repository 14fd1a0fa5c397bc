"""The pages: stories and numbers to HTML by the templates of rendering.py."""

import asyncio
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from relay import __version__
from relay.control import graph, rendering, timeline
from relay.control.access import FORM_COOKIE, FormSeal
from relay.control.api import TooLong, body_of
from relay.control.i18n import TEXTS, Texts, language_of
from relay.control.queue_admin import BadOrder
from relay.control.status import RelayStatus
from relay.control.summary import Sentence, glance
from relay.networks import with_port
from relay.spool.entry import State

LATEST = 12
PER_PAGE = 25
_BACK = re.compile(r"/(?:messages(?:/[0-9A-Za-z]{8,32})?(?:\?[a-z0-9=&]{0,60})?)?\Z")


def page_routes(pages: "Pages") -> list[Route]:
    return [
        Route("/", pages.home),
        Route("/messages", pages.messages),
        Route("/messages/{queue_id}", pages.message),
        Route("/devices", pages.devices),
        Route("/devices/{name:path}", pages.device),
        Route("/orders", pages.order, methods=["POST"]),
        Route("/static/{name}", _static),
    ]


class Pages:
    """One method for each page; all are complete without JavaScript."""

    def __init__(self, watch: RelayStatus, hostname: Callable[[], str]) -> None:
        self._watch, self._desk, self._hostname, self._seal = watch, watch.desk, hostname, FormSeal()

    async def home(self, request: Request) -> Response:
        status, tally = await self._watch.status(), await self._desk.tally()
        hours, findings = (await self._desk.history())["hours"], self._watch.findings()
        relayed_day = sum(hour["relayed"] for hour in hours[-24:])
        return await self._page(
            request,
            "home.html",
            status=status,
            tally=tally,
            relayed_day=relayed_day,
            glance=glance(status, tally, relayed_day, findings),
            graph=graph.draw(hours, None),
            stories=await self._desk.stories(None, LATEST),
            findings=findings,
        )

    async def messages(self, request: Request) -> Response:
        wanted, skip = request.query_params.get("state", ""), request.query_params.get("skip", "0")
        known = {state.value for state in State}
        states = frozenset({State(wanted)}) if wanted in known else None
        first = min(int(skip), 10**9) if skip.isascii() and skip.isdigit() and len(skip) < 12 else 0
        unheard = wanted == "attention"
        found = await (self._desk.unheard() if unheard else self._desk.stories(states, PER_PAGE + 1, first))
        return await self._page(
            request,
            "messages.html",
            stories=found if unheard else found[:PER_PAGE],
            more=len(found) > PER_PAGE and not unheard,
            skip=first,
            per_page=PER_PAGE,
            state=wanted if states or unheard else "",
            states=[state.value for state in State],
            tally=await self._desk.tally(),
            upstreams=self._desk.upstreams,
        )

    async def message(self, request: Request) -> Response:
        try:
            story = await self._desk.message(request.path_params["queue_id"])
        except BadOrder:  # the beginning of several ids
            story = None
        if story is None:
            return await self._page(request, "error.html", 404, key="gone")
        states = {recipient["state"] for recipient in story["recipients"]}
        return await self._page(
            request,
            "message.html",
            story=story,
            states=states,
            repairs=timeline.repairs_of(story["trail"]),
            upstreams=self._desk.upstreams,
        )

    async def devices(self, request: Request) -> Response:
        return await self._page(request, "devices.html", **await self._watch.known_devices())

    async def device(self, request: Request) -> Response:
        found = await self._watch.device(request.path_params["name"])
        if found is None:
            return await self._page(request, "error.html", 404, key="not_found")
        return await self._page(request, "device.html", device=found)

    async def order(self, request: Request) -> Response:
        """Carries an order out, then sends the browser back to where it was: reloading orders nothing twice."""
        try:
            asked = parse_qs((await body_of(request)).decode("utf-8", "replace"), max_num_fields=1000)
        except (TooLong, ValueError):
            return await self._page(request, "error.html", 413, key="bad_order")
        if not self._seal.fits(request.cookies.get(FORM_COOKIE), _one(asked, "form")):
            return await self._page(request, "error.html", 403, key="stale_form")
        action, ids = _one(asked, "action"), asked.get("id", [])
        everything = not ids and _one(asked, "all") == "yes" and action == "retry"
        if not ids and not everything:
            return self._back(asked, "unticked", 0)
        try:
            done = await self._desk.order(
                action, None if everything else ids, _one(asked, "via") if action == "release" else ""
            )
        except BadOrder:
            return await self._page(request, "error.html", 400, key="bad_order")
        return self._back(asked, action if done["applied"] else "none", done["applied"], risk="risks" in done)

    @staticmethod
    def _back(asked: Mapping[str, list[str]], done: str, number: int, *, risk: bool = False) -> Response:
        back = _one(asked, "back")
        back = back if _BACK.match(back) else "/"
        if done == "remove" and back.startswith("/messages/"):
            back = "/messages"
        return RedirectResponse(f"{back}{'&' if '?' in back else '?'}done={done}&n={number}{'&risk=1' if risk else ''}", 303)

    async def unavailable(self, request: Request) -> Response:
        """The spool cannot be read."""
        return await self._page(request, "error.html", 503, key="spool_away")

    async def missing(self, request: Request, error: Exception) -> Response:
        code = error.status_code if isinstance(error, HTTPException) else 500
        answer = await self._page(request, "error.html", code, key="not_found" if code == 404 else "bad_order")
        if isinstance(error, HTTPException) and error.headers:
            answer.headers.update(error.headers)
        return answer

    async def _page(self, request: Request, template: str, code: int = 200, **values: Any) -> Response:
        cookie, t = request.cookies.get(FORM_COOKIE), Texts(language_of(request.headers.get("accept-language", "")))
        fresh = cookie or self._seal.new_cookie()
        values |= {
            "t": t,
            "show": Show(t, self._watch.now()),
            "path": request.url.path,
            "hostname": self._hostname(),
            "version": __version__,
            "form": self._seal.token(fresh),
            "done": self._done(request, t),
        }
        html = await asyncio.to_thread(rendering.printed, template, values)  # a device that is talking must not wait for a page
        answer = HTMLResponse(
            html.encode("utf-8", "replace"), code, {"vary": "Accept-Language", "content-language": t.language}
        )
        if not cookie:
            answer.set_cookie(FORM_COOKIE, fresh, path="/", httponly=True, samesite="strict")
        return answer

    @staticmethod
    def _done(request: Request, t: Texts) -> str:
        done, number = request.query_params.get("done", ""), request.query_params.get("n", "")
        if f"done_{done}" not in TEXTS or not (number.isascii() and number.isdigit() and len(number) < 7):
            return ""
        risk = f" {t('risk')}" if done == "release" and "risk" in request.query_params else ""
        return t(f"done_{done}", n=int(number)) + risk


class Show:
    """Values as people read them, in the language of `t` and the zone of this machine."""

    def __init__(self, t: Texts, now: datetime) -> None:
        self._t, self._now = t, now
        self.way_of, self.worst, self.advice, self.repairs = (
            timeline.way_of,
            timeline.worst_state,
            timeline.advice_of,
            timeline.repairs_of,
        )

    def ago(self, stamp: str) -> str:
        return self._t.ago(datetime.fromisoformat(stamp), self._now)

    @staticmethod
    def clock(stamp: str) -> str:
        return datetime.fromisoformat(stamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")

    @staticmethod
    def hour(stamp: str) -> str:
        return datetime.fromisoformat(stamp).astimezone().strftime("%H:%M:%S")

    @staticmethod
    def place(host: str, port: int) -> str:
        return with_port(host, port)

    def days_left(self, stamp: str) -> int:
        return (datetime.fromisoformat(stamp) - self._now).days

    def bad_certificate(self, one: Mapping[str, Any]) -> bool:
        """Whether a listener's or an upstream's is not the one in the files, or has ended."""
        expires = one.get("certificate_expires")
        return bool(one.get("certificate_trouble")) or (expires is not None and self.days_left(expires) < 0)

    @staticmethod
    def digest_at(story: Mapping[str, Any], recipient: Mapping[str, Any]) -> str:
        """When the digest that it waits for is due at the latest: its trail has that, what is due now is another look."""
        return timeline.digest_at(story["trail"]) or str(recipient["due_at"])

    def last_said(self, recipient: Mapping[str, Any]) -> str:
        return timeline.last_said(recipient, self._now)

    def span(self, seconds: float) -> str:
        return self._t.span(timedelta(seconds=seconds))

    @staticmethod
    def size(octets: int) -> str:
        for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
            if octets >= scale:
                return f"{octets / scale:.1f} {unit}"
        return f"{max(octets, 0)} B"

    @staticmethod
    def prose(text: str) -> list[tuple[bool, str]]:
        """The text in pieces; True for those that stand between backticks: settings and commands."""
        pieces = text.split("`")
        if len(pieces) % 2 == 0:
            return [(False, text)]
        return [(bool(number % 2), piece) for number, piece in enumerate(pieces) if piece]

    def said(self, sentence: Sentence) -> str:
        if not sentence.key:
            return sentence.words
        moments = {name: self.ago(value) for name, value in sentence.values.items() if name == "since"}
        moments |= {name: self.hour(value)[:5] for name, value in sentence.values.items() if name == "until"}
        return self._t(sentence.key, **{**sentence.values, **moments})


def _one(asked: Mapping[str, list[str]], name: str) -> str:
    return asked.get(name, [""])[0]


async def _static(request: Request) -> Response:
    """Three files by name, so no path can lead anywhere else."""
    name = request.path_params["name"]
    if name not in rendering.KINDS:
        raise HTTPException(404)
    age = "public, max-age=31536000, immutable" if request.url.query else "no-cache"
    return Response(rendering.file(name), media_type=rendering.KINDS[name], headers={"cache-control": age})
