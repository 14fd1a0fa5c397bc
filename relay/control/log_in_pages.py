"""The log-in page, and logging out.  HTTP Basic is beside it, for programs."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from relay.control.access import KNOWN, LOGIN, LOGOUT, PasswordCheck, is_own_path
from relay.control.api import TooLong
from relay.control.page_maker import PageMaker, StaleForm, first_of

_LONGEST_FORM = 8000  # octets; anybody may send it


def log_in_routes(check: PasswordCheck, maker: PageMaker) -> list[Route]:
    pages = _LogInPages(check, maker)
    return [
        Route(LOGIN, pages.asked),
        Route(LOGIN, pages.log_in, methods=["POST"]),
        Route(LOGOUT, pages.log_out, methods=["POST"]),
    ]


class _LogInPages:
    def __init__(self, check: PasswordCheck, maker: PageMaker) -> None:
        self._check, self._maker = check, maker

    async def asked(self, request: Request) -> Response:
        """The empty form, or where it leads to if there is nothing to ask."""
        after = _wanted(request.query_params.get("next", ""))
        if KNOWN in request.scope or not self._check.wanted or self._check.in_session(request.headers):
            return RedirectResponse(after, 303)
        return await self._form(request, after, "" if "out" not in request.query_params else "logged_out")

    async def log_in(self, request: Request) -> Response:
        try:
            said = await self._maker.form(request, _LONGEST_FORM)
        except (TooLong, ValueError):
            return await self._form(request, "/", "log_in_again", 413)
        except StaleForm:
            return await self._form(request, "/", "log_in_again", 403)
        after, password = _wanted(first_of(said, "next")), first_of(said, "password")
        if not self._check.wanted:
            return RedirectResponse(after, 303)
        if not password:
            return await self._form(request, after, "no_password")
        refusal = await self._check.refusal(request.scope, password.encode("utf-8", "replace"))
        if refusal is not None:
            why = "password_wrong" if refusal.status_code == 401 else "too_many_tries"
            answer = await self._form(request, after, why, 403 if refusal.status_code == 401 else refusal.status_code)
            if "retry-after" in refusal.headers:
                answer.headers["retry-after"] = refusal.headers["retry-after"]
            return answer
        answer = RedirectResponse(after, 303)
        answer.headers.append("set-cookie", self._check.begin_session(request.headers))
        if not self._check.known_browser(request.headers):
            answer.headers.append("set-cookie", self._check.mark_of_known())
        return answer

    async def log_out(self, request: Request) -> Response:
        try:
            await self._maker.form(request, _LONGEST_FORM)
        except (TooLong, ValueError):
            return await self._maker.page(request, "error.html", 413, key="bad_order")
        except StaleForm:
            return await self._maker.page(request, "error.html", 403, key="stale_form")
        answer = RedirectResponse(f"{LOGIN}?out=1", 303)
        answer.headers.append("set-cookie", self._check.end_session(request.headers))
        return answer

    async def _form(self, request: Request, after: str, why: str, code: int = 200) -> Response:
        return await self._maker.page(request, "login.html", code, after=after, why=why)


def _wanted(after: str) -> str:
    """Where to go after the log-in: a path of our own, else the overview."""
    return after if is_own_path(after) and not after.startswith((LOGIN, LOGOUT)) else "/"
