"""The pages of care.py: doctor, test, sign-in and settings.  All work without JavaScript."""

from collections.abc import Awaitable, Callable
from itertools import groupby
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from relay.control.api import TooLong
from relay.control.care import Care, TooManyTests
from relay.control.care_api import may_edit
from relay.control.handing_in import NoAddress
from relay.control.page_maker import PageMaker, StaleForm, first_of
from relay.control.queue_admin import BadOrder
from relay.control.status import RelayStatus
from relay.spool.contract import SpoolFull
from relay.upstream.settings import NotByConsent

Form = dict[str, list[str]]


def care_page_routes(watch: RelayStatus, hostname: Callable[[], str]) -> list[Route]:
    pages = CarePages(watch, hostname)

    def both(path: str, look: Callable[[Request], Awaitable[Response]], act: Callable[..., Awaitable[Response]]) -> Route:
        async def answer(request: Request) -> Response:
            return await (pages.posted(request, act) if request.method == "POST" else look(request))

        return Route(path, answer, methods=["GET", "POST"])

    return [
        both("/doctor", pages.doctor, pages.examine),
        both("/test", pages.test, pages.send_test),
        both("/sign-in", pages.sign_in, pages.start_sign_in),
        both("/settings", pages.settings, pages.edit),
    ]


class CarePages:
    """One method for each page, and one for what its form orders."""

    def __init__(self, watch: RelayStatus, hostname: Callable[[], str]) -> None:
        self._watch, self._maker = watch, PageMaker(hostname, watch.now)

    async def _care(self) -> Care:
        if self._watch.care is None:
            raise RuntimeError("this relay has no daemon around it")
        return await self._watch.care()

    async def posted(self, request: Request, act: Callable[[Request, Form], Awaitable[Response]]) -> Response:
        """What the form orders, if it is one of ours."""
        try:
            asked = await self._maker.form(request)
        except (TooLong, ValueError):
            return await self._maker.page(request, "error.html", 413, key="bad_order")
        except StaleForm:
            return await self._maker.page(request, "error.html", 403, key="stale_form")
        return await act(request, asked)

    # --- doctor

    async def doctor(self, request: Request) -> Response:
        run = (await self._care()).examination.standing()
        return await self._maker.page(request, "doctor.html", run=run, daily=self._watch.findings())

    async def examine(self, _request: Request, _asked: Form) -> Response:
        (await self._care()).examination.start()
        return RedirectResponse("/doctor", 303)

    # --- test

    async def test(
        self, request: Request, *, code: int = 200, fault: str = "", to: str | None = None, via: str = ""
    ) -> Response:
        tests, names = (await self._care()).tests, self._watch.desk.offered
        meant = tests.usual if to is None else to
        via = via if via in names else request.query_params.get("via", "")
        return await self._maker.page(request, "test.html", code, to=meant, via=via, upstreams=names, fault=fault)

    async def send_test(self, request: Request, asked: Form) -> Response:
        to, via = first_of(asked, "to"), first_of(asked, "via")
        tests = (await self._care()).tests
        try:
            queue_id = await tests.send(to, via)
        except NoAddress:
            return await self.test(request, code=400, fault="no_address", to=to, via=via)
        except BadOrder as error:
            return await self.test(request, code=400, fault=str(error), to=to, via=via)
        except TooManyTests:
            return await self.test(request, code=429, fault="too_many", to=to, via=via)
        except SpoolFull:
            return await self.test(request, code=503, fault="spool_full", to=to, via=via)
        return RedirectResponse(f"/messages/{queue_id}", 303)

    # --- sign-in

    async def sign_in(self, request: Request) -> Response:
        return await self._maker.page(request, "sign_in.html", accounts=await (await self._care()).sign_ins())

    async def start_sign_in(self, request: Request, asked: Form) -> Response:
        care = await self._care()
        account, how = care.accounts().get(first_of(asked, "upstream")), first_of(asked, "how")
        try:
            if account is None:
                raise NotByConsent
            if how == "finish":
                await care.logins.finish(account, first_of(asked, "pasted"))
            else:
                care.logins.start(account, paste=how == "paste")
        except NotByConsent:
            return await self._maker.page(request, "error.html", 409, key="bad_order")
        return RedirectResponse(f"/sign-in#account-{quote(account.name)}", 303)

    # --- settings

    async def settings(self, request: Request) -> Response:
        return await self._settings(request, None)

    async def edit(self, request: Request, asked: Form) -> Response:
        """Checks the draft, or saves it; with a mistake in it the page comes again, the draft as it was typed."""
        if not may_edit(request):
            return await self._maker.page(request, "error.html", 403, key="bad_order")
        draft = {"text": first_of(asked, "text"), "stamp": first_of(asked, "stamp")}
        editor = (await self._care()).editor
        try:
            if first_of(asked, "act") == "save":
                said = await editor.save(draft["text"], draft["stamp"])
                if said["saved"]:
                    return RedirectResponse("/settings", 303)
                return await self._settings(request, {**said, **draft}, 409)
            return await self._settings(request, {**await editor.check(draft["text"]), **draft, "refused": ""})
        except Exception:  # the words of the error might repeat what was read
            return await self._settings(request, {**draft, "mistakes": [], "remarks": [], "refused": "busy"}, 503)

    async def _settings(self, request: Request, draft: dict[str, Any] | None, code: int = 200) -> Response:
        """`draft`: what was typed, and what is said of it."""
        care = await self._care()
        try:
            found = await care.settings(may_edit=may_edit(request))
        except Exception:
            return await self._maker.page(request, "error.html", 503, key="settings_away")
        sections = [(name, list(rows)) for name, rows in groupby(found["settings"], lambda row: row["section"])]
        saved, care.editor.last = None if draft else care.editor.last, None  # once, and not above what was not saved
        return await self._maker.page(request, "settings.html", code, found=found, sections=sections, draft=draft, last=saved)
