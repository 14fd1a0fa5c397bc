"""The pages of set-up in the browser: the code, the provider, the account, the page on which it is tried and finished.

Once the settings are written, each request is answered by one page alone, which leads to the relay's log-in: a browser may
still have a connection to us while the relay starts on the same port.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from relay import events
from relay.config import Config
from relay.control.access import KNOWN, AccessRules, Guard
from relay.control.api import MAX_ORDER, TooLong
from relay.control.first_steps import DevicePlace, place_for_devices
from relay.control.guesses import Guesses
from relay.control.page_maker import PageMaker, StaleForm, first_of
from relay.control.pages import static, whereabouts
from relay.doctor.finding import Grade
from relay.networks import group_of
from relay.setup import form
from relay.setup.code import OneTimeCode
from relay.setup.flow import SetupFlow
from relay.upstream.provider_rows import PRESETS

COOKIE = "relay_setup"
_LONGEST_CODE = 8000  # octets of the form, since anybody may send it

Handler = Callable[[Request], Awaitable[Response]]
Said = Mapping[str, str]


class SetupPages:
    """`finished` is called when all is written and the last answer is out."""

    def __init__(self, flow: SetupFlow, code: OneTimeCode, finished: Callable[[], None]) -> None:
        self._flow, self._code, self._finished = flow, code, finished
        self._maker = PageMaker(lambda: flow.place.base.hostname, partial(datetime.now, UTC))
        self._guesses, self._known = Guesses(), secrets.token_urlsafe(24)
        self.ended = False

    def application(self, names: frozenset[str]) -> ASGIApp:
        """Behind the guard that checks Host and Origin; `names` are host names of ours."""
        routes = [
            Route("/", self._open(self._start)),
            Route("/code", self._open(self._try_code), methods=["POST"]),
            Route("/server", self._form(self._server), methods=["POST"]),
            Route("/account", self._page(self._account)),
            Route("/account", self._form(self._answers), methods=["POST"]),
            Route("/try", self._page(self._try)),
            Route("/sign-in", self._form(self._sign_in), methods=["POST"]),
            Route("/examine", self._form(self._examine), methods=["POST"]),
            Route("/test", self._form(self._test), methods=["POST"]),
            Route("/finish", self._form(self._finish), methods=["POST"]),
            Route("/static/{name}", static),
            Route("/healthz", _healthz),
        ]
        rules = AccessRules(names=names, proxies=self._flow.place.base.web.proxies)
        return Guard(Starlette(routes=routes, exception_handlers={HTTPException: self._elsewhere}), rules)

    def end(self) -> None:
        """The hour is over: what was typed is forgotten, and nothing is taken any more."""
        self.ended = True
        self._flow.close()

    # who may see what

    def _open(self, handler: Handler) -> Handler:
        """For everybody, until all is written or the hour is over."""

        async def answer(request: Request) -> Response:
            if self._flow.written:
                return await self._written(request)
            return await self._message(request, "setup_over", 410) if self.ended else await handler(request)

        return answer

    def _page(self, handler: Handler) -> Handler:
        """For whoever gave the code; others are sent to where it is asked for."""

        async def answer(request: Request) -> Response:
            return await handler(request) if self._knows(request) else RedirectResponse("/", 303)

        return self._open(answer)

    def _form(self, handler: Callable[[Request, Said], Awaitable[Response]]) -> Handler:
        async def answer(request: Request) -> Response:
            said = await self._said(request)
            return said if isinstance(said, Response) else await handler(request, said)

        return self._page(answer)

    async def _said(self, request: Request, most: int = MAX_ORDER) -> Said | Response:
        try:
            asked = await self._maker.form(request, most)
        except (TooLong, ValueError):
            return await self._message(request, "bad_order", 413)
        except StaleForm:
            return await self._message(request, "stale_form", 403)
        return {name: first_of(asked, name) for name in asked}

    def _knows(self, request: Request) -> bool:
        shown = request.cookies.get(COOKIE, "").encode("utf-8", "replace")
        if not secrets.compare_digest(shown, self._known.encode()):
            return False
        request.scope[KNOWN] = "code"  # its connection goes last where places are short
        return True

    async def _message(self, request: Request, key: str, code: int, **values: Any) -> Response:
        return await self._maker.page(request, "setup_message.html", code, key=key, values=values)

    # the pages

    async def _start(self, request: Request) -> Response:
        if not self._knows(request):
            return await self._maker.page(request, "setup_code.html", wrong=False, typed="")
        return await self._server_page(request, {})

    async def _try_code(self, request: Request) -> Response:
        said = await self._said(request, _LONGEST_CODE)
        if isinstance(said, Response):
            return said
        client = request.client.host.removeprefix("::ffff:") if request.client else ""
        # nobody guesses 100 random bits; so the right code never waits for those who send wrong ones from the same address
        if self.ended or not self._code.fits(said.get("code", "")):
            return await self._wrong_code(request, client, said.get("code", ""))
        events.note("opened", "set-up goes on, with the right code", client=client)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, self._known, path="/", httponly=True, samesite="strict")
        return answer

    async def _wrong_code(self, request: Request, client: str, typed: str) -> Response:
        group = group_of(client)
        if wait := await self._guesses.turn(group):
            answer = await self._message(request, "setup_too_many", 429, n=wait)
            answer.headers["retry-after"] = str(wait)
            return answer
        self._guesses.wrong(group)
        events.note("refused", "a wrong code for set-up", client=client, code=403)
        return await self._maker.page(request, "setup_code.html", 403, wrong=True, typed=typed[:200])

    async def _server_page(self, request: Request, wrong: form.Wrongs, said: Said | None = None) -> Response:
        draft = self._flow.draft
        return await self._maker.page(
            request,
            "setup_server.html",
            422 if wrong else 200,
            presets=sorted(PRESETS, key=lambda one: one.name.lower()),
            wants=form.wants,
            typed=said or {"provider": draft.provider if draft.preset else "", "host": draft.host},
            form_of=draft.preset.host_form if draft.preset else "",
            wrong=wrong,
        )

    async def _server(self, request: Request, said: Said) -> Response:
        wrong = self._flow.choose(said)
        return await self._server_page(request, wrong, said) if wrong else RedirectResponse("/account", 303)

    async def _account(self, request: Request) -> Response:
        if not self._flow.draft.provider:
            return RedirectResponse("/", 303)
        return await self._account_page(request, {}, [])

    async def _account_page(self, request: Request, wrong: form.Wrongs, other: list[str]) -> Response:
        flow = self._flow
        fields = form.fields_of(flow.draft, own_password=flow.place.own_password)
        return await self._maker.page(
            request,
            "setup_account.html",
            422 if wrong or other else 200,
            draft=flow.draft,
            preset=flow.draft.preset,
            fields=fields,
            kept={name for name in ("password", "client_secret", "web_password") if getattr(flow.secrets, name)},
            oauth=flow.draft.oauth or bool(flow.draft.preset and flow.draft.preset.oauth_first and not flow.draft.username),
            wrong=wrong,
            other=other,
            shortest=form.SHORTEST,
            modes=form.tls_modes(),
            server_open=flow.server_at_fault or bool({"host", "port", "tls"} & wrong.keys()),
        )

    async def _answers(self, request: Request, said: Said) -> Response:
        if not self._flow.draft.provider:
            return RedirectResponse("/", 303)
        wrong, other = self._flow.answer(said)
        return await self._account_page(request, wrong, other) if wrong or other else RedirectResponse("/try", 303)

    async def _try(self, request: Request) -> Response:
        flow = self._flow
        if flow.upstream is None or flow.loaded is None or flow.loaded.config is None:
            return RedirectResponse("/account" if flow.draft.provider else "/", 303)
        look, test, consent = flow.examination, flow.test, flow.consent
        under_way = (look and not look.task.done()) or (test and not test.task.done())
        waits = consent and not consent.granted and not consent.trouble and not consent.browser
        return await self._maker.page(
            request,
            "setup_try.html",
            flow=flow,
            devices=_place_for_devices(request, flow.loaded.config),
            findings=[one for one in (look.findings or [] if look else []) if one.grade is not Grade.OK],
            fine=sum(one.grade is Grade.OK for one in (look.findings or [] if look else [])),
            refresh=bool(under_way or waits),
        )

    async def _sign_in(self, _request: Request, said: Said) -> Response:
        if said.get("address"):
            await self._flow.paste(said["address"])
        else:
            self._flow.sign_in(by_device=said.get("by") == "device")
        return RedirectResponse("/try", 303)

    async def _examine(self, _request: Request, _said: Said) -> Response:
        self._flow.examine()
        return RedirectResponse("/try#doctor", 303)

    async def _test(self, _request: Request, said: Said) -> Response:
        self._flow.send(said.get("to", ""))
        return RedirectResponse("/try#test", 303)

    async def _finish(self, request: Request, _said: Said) -> Response:
        """Writes the configuration.  The answer is no redirect: that would come back to us, as a rule, not to the relay."""
        if trouble := await self._flow.finish():
            return await self._message(request, "setup_not_written", 500, trouble=trouble)
        answer = await self._written(request)
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        answer.background = BackgroundTask(self._end_now)
        return answer

    async def _end_now(self) -> None:
        """No plain function: that would be called in a thread, and the loop would not hear of it."""
        self._finished()

    async def _written(self, request: Request) -> Response:
        config = self._flow.written
        devices = _place_for_devices(request, config) if config else None
        answer = await self._maker.page(request, "setup_written.html", devices=devices)
        answer.headers["connection"] = "close"  # the next request is to reach the relay
        return answer

    async def _elsewhere(self, request: Request, error: Exception) -> Response:
        """Whoever looks for another page is sent to the first one; what is no page says so."""
        if self._flow.written:
            return await self._written(request)
        code = error.status_code if isinstance(error, HTTPException) else 500
        return RedirectResponse("/", 303) if code == 404 else Response(status_code=code)


def _place_for_devices(request: Request, config: Config) -> DevicePlace | None:
    listening = [{"host": one.host, "port": one.port, "tls": one.tls.value, "auth": one.auth.value} for one in config.listeners]
    return place_for_devices(listening, *whereabouts(request))


async def _healthz(_: Request) -> Response:
    return JSONResponse({"ok": True})
