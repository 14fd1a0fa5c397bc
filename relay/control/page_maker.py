"""What all pages have in common: the frame, the language, the form's seal, and values as people read them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from relay import __version__
from relay.control import rendering, timeline, translated
from relay.control.access import FORM_COOKIE, KNOWN, FormSeal, session_of
from relay.control.api import MAX_ORDER, body_of
from relay.control.i18n import Texts, language_of
from relay.control.summary import Sentence
from relay.control.texts import TEXTS
from relay.control.views import retold
from relay.control.zones import offset_of, viewers_zone
from relay.networks import with_port

_SEAL = FormSeal()
"""One for all pages: the form that logs out stands on each of them."""


class StaleForm(Exception):
    """The form came with a seal that is not this browser's or this session's, or from before a restart."""


class PageMaker:
    """Makes a page of a template, and reads what its forms send.  `now` gives the time of the relay."""

    def __init__(self, hostname: Callable[[], str], now: Callable[[], datetime]) -> None:
        self._hostname, self._now = hostname, now

    async def page(self, request: Request, template: str, code: int = 200, **values: Any) -> Response:
        cookie, t = request.cookies.get(FORM_COOKIE), Texts(language_of(request.headers.get("accept-language", "")))
        fresh = cookie or FormSeal.new_cookie()
        values |= {
            "t": t,
            "show": Show(t, self._now(), viewers_zone(request)),
            "path": request.url.path,
            "hostname": self._hostname(),
            "version": __version__,
            "form": _SEAL.token(_sealed(request, fresh)),
            "in_session": request.scope.get(KNOWN) == "session",
            "done": self._done(request, t),
            "in_vain": request.query_params.get("done") in ("none", "unticked"),
        }
        html = await asyncio.to_thread(rendering.printed, template, values)  # a device that is talking must not wait for a page
        answer = HTMLResponse(
            html.encode("utf-8", "replace"), code, {"vary": "Accept-Language", "content-language": t.language}
        )
        if not cookie:
            answer.set_cookie(FORM_COOKIE, fresh, path="/", httponly=True, samesite="strict")
        return answer

    async def form(self, request: Request, most: int = MAX_ORDER) -> dict[str, list[str]]:
        """What a form of ours says.  Raises TooLong, ValueError for too many fields, and StaleForm."""
        asked = parse_qs((await body_of(request, most)).decode("utf-8", "replace"), max_num_fields=1000)
        cookie = request.cookies.get(FORM_COOKIE)
        if not cookie or not _SEAL.fits(_sealed(request, cookie), first_of(asked, "form")):
            raise StaleForm
        return asked

    @staticmethod
    def _done(request: Request, t: Texts) -> str:
        done, number = request.query_params.get("done", ""), request.query_params.get("n", "")
        if f"done_{done}" not in TEXTS or not (number.isascii() and number.isdigit() and len(number) < 7):
            return ""
        risk = f" {t('risk')}" if done == "release" and "risk" in request.query_params else ""
        return t(f"done_{done}", n=int(number)) + risk


def _sealed(request: Request, cookie: str) -> str:
    """What the seal of a form is made over.  What vouches for it too: a stranger can have a form of the log-in page, and its
    cookie."""
    known = request.scope.get(KNOWN)
    return cookie if known is None else f"{cookie} {known} {session_of(request.headers) if known == 'session' else ''}"


def first_of(asked: Mapping[str, list[str]], name: str) -> str:
    """The first value of a form's field; "" if it has none."""
    return asked.get(name, [""])[0]


class Show:
    """Values as people read them, in the language of `t` and in `zone`; None is that of this machine."""

    def __init__(self, t: Texts, now: datetime, zone: tzinfo | None = None) -> None:
        self._t, self._now, self._zone = t, now, zone
        self.way_of, self.worst, self.repairs = timeline.way_of, timeline.worst_state, timeline.repairs_of

    def heading(self, story: Mapping[str, Any]) -> str:
        """What a message is called."""
        return str(story["subject"] or self._t("notice_title" if story["notice"] else "no_subject"))

    def ago(self, stamp: str) -> str:
        return self._t.ago(datetime.fromisoformat(stamp), self._now)

    def clock(self, stamp: str) -> str:
        return f"{datetime.fromisoformat(stamp).astimezone(self._zone):%Y-%m-%d %H:%M:%S}"

    def hour(self, stamp: str) -> str:
        return f"{datetime.fromisoformat(stamp).astimezone(self._zone):%H:%M:%S}"

    @property
    def zone(self) -> str:
        """A sentence that says whose time it is."""
        offset = offset_of(self._now.astimezone(self._zone))
        return self._t("zone_of", zone=self._zone, offset=offset) if self._zone else self._t("zone_here", offset=offset)

    @property
    def minutes_east(self) -> int:
        """Of Greenwich."""
        return int((self._now.astimezone(self._zone).utcoffset() or timedelta()) / timedelta(minutes=1))

    def advice(self, trail: Sequence[Mapping[str, Any]]) -> str:
        """What is to be done now; "" for nothing."""
        line = timeline.advice_of(trail)
        return self.advised(line) if line else ""

    def advised(self, line: Mapping[str, Any]) -> str:
        """A line of the trail that advises, in words."""
        return translated.advice(line, self._t.language)

    def finding(self, name: str) -> tuple[str, ...]:
        """A finding of this name in general, in the language of the page; empty where its own words are enough."""
        return translated.finding(name, self._t.language)

    def rule(self, name: str) -> tuple[str, ...]:
        """Cause and remedy of this rule for replies, in the language of the page; empty where its own words are enough."""
        return translated.rule(name, self._t.language)

    def told(self, line: Mapping[str, Any]) -> str:
        """A line of the trail in words."""
        return retold(line, self._zone)

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
