"""What all pages have in common: the frame, the language, the form's seal, and values as people read them."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from relay import __version__
from relay.control import rendering, timeline
from relay.control.access import FORM_COOKIE, FormSeal
from relay.control.api import body_of
from relay.control.i18n import Texts, language_of
from relay.control.summary import Sentence
from relay.control.texts import TEXTS
from relay.networks import with_port


class StaleForm(Exception):
    """The form came with a seal that is not this browser's, or from before a restart."""


class PageMaker:
    """Makes a page of a template, and reads what its forms send.  `now` gives the time of the relay."""

    def __init__(self, hostname: Callable[[], str], now: Callable[[], datetime]) -> None:
        self._hostname, self._now, self._seal = hostname, now, FormSeal()

    async def page(self, request: Request, template: str, code: int = 200, **values: Any) -> Response:
        cookie, t = request.cookies.get(FORM_COOKIE), Texts(language_of(request.headers.get("accept-language", "")))
        fresh = cookie or self._seal.new_cookie()
        values |= {
            "t": t,
            "show": Show(t, self._now()),
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

    async def form(self, request: Request) -> dict[str, list[str]]:
        """What a form of ours says.  Raises TooLong, ValueError for too many fields, and StaleForm."""
        asked = parse_qs((await body_of(request)).decode("utf-8", "replace"), max_num_fields=1000)
        if not self._seal.fits(request.cookies.get(FORM_COOKIE), first_of(asked, "form")):
            raise StaleForm
        return asked

    @staticmethod
    def _done(request: Request, t: Texts) -> str:
        done, number = request.query_params.get("done", ""), request.query_params.get("n", "")
        if f"done_{done}" not in TEXTS or not (number.isascii() and number.isdigit() and len(number) < 7):
            return ""
        risk = f" {t('risk')}" if done == "release" and "risk" in request.query_params else ""
        return t(f"done_{done}", n=int(number)) + risk


def first_of(asked: Mapping[str, list[str]], name: str) -> str:
    """The first value of a form's field; "" if it has none."""
    return asked.get(name, [""])[0]


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
