"""The API of care.py: doctor, test, sign-in and settings, for programs and for page.js."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay.control.access import KNOWN
from relay.control.api import Json, posted, wrong
from relay.control.care import Care, TooManyTests
from relay.control.queue_admin import BadOrder
from relay.control.status import RelayStatus
from relay.spool.contract import SpoolFull
from relay.upstream.settings import NotByConsent

NOT_HERE = "settings can be changed only where the page asks for a password: set web.password_file"
_BUSY = {"retry-after": "5"}

Work = Callable[[Care, dict[str, Any]], Awaitable[Response]]
Look = Callable[[Care, Request], Awaitable[Response]]


def may_edit(request: Request) -> bool:
    """Whether it came with the password, or a proxy vouches for it: settings decide where mail and passwords go."""
    return KNOWN in request.scope


def care_routes(watch: RelayStatus, *, trusted: bool) -> list[Route]:
    """`trusted`: on the UNIX socket, where whoever may open it may do anything."""

    async def care() -> Care:
        if watch.care is None:
            raise RuntimeError("this relay has no daemon around it")
        return await watch.care()

    async def settings(care: Care, request: Request) -> Response:
        try:
            return Json(await care.settings(may_edit=trusted or may_edit(request)))
        except Exception as error:
            return _busy(error)

    def route(path: str, work: Work, look: Look | None = None, *, editing: bool = False) -> Route:
        async def answer(request: Request) -> Response:
            if request.method != "POST" and look is not None:
                return await look(await care(), request)
            if isinstance(asked := await posted(request), Response):
                return asked
            if not isinstance(asked, dict):
                return wrong("an order is an object")
            if editing and not trusted and not may_edit(request):
                return wrong(NOT_HERE, 403)
            return await work(await care(), asked)

        return Route(path, answer, methods=["GET", "POST"] if look else ["POST"])

    return [
        route("/api/doctor", _examine, _examination),
        route("/api/tests", _test),
        route("/api/oauth", _sign_in, _sign_ins),
        route("/api/settings", _save, settings, editing=True),
        route("/api/settings/check", _check, editing=True),
    ]


async def _examination(care: Care, _: Request) -> Response:
    return Json(care.examination.standing())


async def _examine(care: Care, _asked: dict[str, Any]) -> Response:
    """Begins one, or joins the one that is under way."""
    care.examination.start()
    return Json(care.examination.standing())


async def _test(care: Care, asked: dict[str, Any]) -> Response:
    to, via = asked.get("to", ""), asked.get("via") or ""
    if not isinstance(to, str) or not isinstance(via, str):
        return wrong('a test is an object: {"to": ..., "via": ...}')
    try:
        return Json({"id": await care.tests.send(to, via)})
    except BadOrder as error:
        return wrong(str(error), 409)
    except TooManyTests:
        return wrong("too many tests within a minute", 429)
    except SpoolFull:
        return wrong("the spool is full", 503)


async def _sign_ins(care: Care, _: Request) -> Response:
    return Json({"oauth": await care.sign_ins()})


async def _sign_in(care: Care, asked: dict[str, Any]) -> Response:
    name, pasted, paste = asked.get("upstream"), asked.get("pasted"), asked.get("paste", False)
    if not isinstance(name, str) or not isinstance(pasted, str | None) or not isinstance(paste, bool):
        return wrong('a sign-in is an object: {"upstream": ..., "paste": false} or {"upstream": ..., "pasted": ...}')
    account = care.accounts().get(name)
    if account is None:
        return wrong("no upstream of this name logs in by OAuth", 404)
    try:
        if pasted is None:
            care.logins.start(account, paste=paste)
        else:
            await care.logins.finish(account, pasted)
    except NotByConsent as error:
        return wrong(str(error), 409)
    return Json({"oauth": await care.sign_ins()})


async def _check(care: Care, asked: dict[str, Any]) -> Response:
    if not isinstance(text := asked.get("text"), str):
        return wrong('a draft is an object: {"text": ...}')
    try:
        return Json(await care.editor.check(text))
    except Exception as error:
        return _busy(error)


async def _save(care: Care, asked: dict[str, Any]) -> Response:
    text, stamp = asked.get("text"), asked.get("stamp")
    if not isinstance(text, str) or not isinstance(stamp, str):
        return wrong('a draft is an object: {"text": ..., "stamp": ...}')
    try:
        said = await care.editor.save(text, stamp)
    except Exception as error:
        return _busy(error)
    return Json(said, 200 if said["saved"] else 409)


def _busy(_: Exception) -> Response:
    """Never the error's words: they might repeat what was read."""
    answer = wrong("the settings cannot be looked at now; try again in a moment", 503)
    answer.headers.update(_BUSY)
    return answer
