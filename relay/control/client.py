"""The command line's way to the spool: through the running daemon, or by opening the spool if nobody runs."""

import http.client
import json
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote, urlencode

from relay.control import unix
from relay.control.paths import control_socket
from relay.other_user import as_other_user
from relay.spool.contract import SpoolBroken, SpoolSettings
from relay.spool.entry import BEGINNING

if TYPE_CHECKING:
    from relay.control.queue_admin import QueueAdmin

T = TypeVar("T")


class Refused(Exception):
    """The desk refused what was asked; the text says why."""


class NotForUs(Refused):
    """The daemon takes no orders from this user."""

    def __init__(self, place: str | Path) -> None:
        whose = as_other_user(Path(place)) or "; call this as the relay's user"
        super().__init__(f"{place}: not for this user{whose}")


class QueueAccess(Protocol):
    """What the commands need; `running` tells whether a daemon answers.  `queue` gives the list as JSON, as it came."""

    running: bool

    def queue(self, states: tuple[str, ...], search: str = "") -> bytes: ...
    def message(self, queue_id: str) -> dict[str, Any] | None: ...
    def tally(self) -> dict[str, Any]: ...
    def upstreams(self) -> list[dict[str, Any]]: ...
    def order(self, action: str, queue_ids: list[str] | None, via: str) -> dict[str, Any]: ...


class _Connection(http.client.HTTPConnection):
    def __init__(self, settings: SpoolSettings, timeout: float) -> None:
        super().__init__("relay", timeout=timeout)
        self._path, self._seconds = control_socket(settings), timeout

    def connect(self) -> None:
        self.sock = unix.connect(self._path, self._seconds)


class Running:
    """The desk of a running daemon.  Raises OSError if none listens, NotForUs if it does not listen to this user."""

    running = True

    def __init__(self, settings: SpoolSettings, timeout: float = 30.0) -> None:
        self._settings, self._timeout = settings, timeout

    def ask(self, method: str, target: str, order: object = None) -> tuple[int, Any]:
        code, answer = self._asked(method, target, order)
        try:
            return code, json.loads(answer)
        except ValueError as error:
            raise OSError(f"the daemon gave no proper answer: {error!r}") from error

    def _asked(self, method: str, target: str, order: object = None) -> tuple[int, bytes]:
        connection = _Connection(self._settings, self._timeout)
        try:
            body = None if order is None else json.dumps(order)
            connection.request(method, target, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except PermissionError as error:
            raise NotForUs(error.filename or control_socket(self._settings)) from error
        except (http.client.HTTPException, BrokenPipeError) as error:
            raise OSError(f"the daemon gave no proper answer: {error!r}") from error
        finally:
            connection.close()

    def relay(self) -> dict[str, Any]:
        return self._fine(*self.ask("GET", "/api/relay"))

    def tally(self) -> dict[str, Any]:
        return dict(self.relay()["tally"])

    def upstreams(self) -> list[dict[str, Any]]:
        """How each upstream stands with the daemon."""
        return list(self.relay()["upstreams"])

    def queue(self, states: tuple[str, ...], search: str = "") -> bytes:
        asked = [*(("state", one) for one in states), *([("q", search)] if search else [])]
        code, answer = self._asked("GET", f"/api/queue?{urlencode(asked)}")
        if code != 200:
            self._fine(code, json.loads(answer))
        return answer

    def message(self, queue_id: str) -> dict[str, Any] | None:
        if not BEGINNING.match(queue_id):
            return None
        code, answer = self.ask("GET", "/api/queue/" + quote(queue_id, safe=""))
        return None if code == 404 else self._fine(code, answer)

    def order(self, action: str, queue_ids: list[str] | None, via: str) -> dict[str, Any]:
        return self._fine(*self.ask("POST", "/api/orders", {"action": action, "ids": queue_ids, "via": via}))

    def submit(self, sender: str, to: str, via: str, content: str) -> str:
        """Hands a message in for one upstream; its queue id."""
        asked = {"from": sender, "to": to, "via": via, "content": content}
        return str(self._fine(*self.ask("POST", "/api/messages", asked))["id"])

    def reload(self) -> dict[str, Any]:
        """Has the daemon read its configuration again; what came of it."""
        return self._fine(*self.ask("POST", "/api/reload", {}))

    @staticmethod
    def _fine(code: int, answer: Any) -> dict[str, Any]:
        if code != 200 or not isinstance(answer, dict):
            raise Refused(answer.get("error", f"the daemon answered {code}") if isinstance(answer, dict) else str(code))
        return answer


class Alone:
    """The desk when no daemon runs: opens the spool for each request, under its lock."""

    running = False

    def __init__(self, settings: SpoolSettings, upstreams: frozenset[str]) -> None:
        self._settings, self._upstreams = settings, upstreams

    def queue(self, states: tuple[str, ...], search: str = "") -> bytes:
        from relay.control.queue_admin import listing
        from relay.spool.entry import State
        from relay.spool.search import Search

        wanted = frozenset(State(word) for word in states) or None

        async def whole(desk: "QueueAdmin") -> bytes:
            return b"".join([piece async for piece in listing(desk, wanted, search=Search(search))])

        return self._at_the_desk(whole)

    def message(self, queue_id: str) -> dict[str, Any] | None:
        return self._at_the_desk(lambda desk: desk.message(queue_id))

    def tally(self) -> dict[str, Any]:
        return self._at_the_desk(lambda desk: desk.tally())

    def upstreams(self) -> list[dict[str, Any]]:
        """Without a daemon nobody knows which upstream is paused."""
        return []

    def order(self, action: str, queue_ids: list[str] | None, via: str) -> dict[str, Any]:
        return self._at_the_desk(lambda desk: desk.order(action, queue_ids, via))

    def _at_the_desk(self, work: Callable[["QueueAdmin"], Awaitable[T]]) -> T:
        import asyncio  # here: a health check every three minutes never comes so far

        from relay import events
        from relay.control.queue_admin import BadOrder, QueueAdmin
        from relay.spool import open_spool

        async def visit() -> T:
            events.configure(level="error")  # what a person ordered is answered, not logged, where no daemon runs
            spool = await open_spool(self._settings, now=_now)
            try:
                return await work(QueueAdmin(spool, _now, lambda: self._upstreams, lambda _: None))
            except BadOrder as error:
                raise Refused(str(error)) from error
            finally:
                await spool.close()

        return asyncio.run(visit())


def _now() -> datetime:
    return datetime.now(UTC)


def reach(settings: SpoolSettings, upstreams: frozenset[str]) -> QueueAccess:
    """The running daemon if one answers, else the spool itself.

    Raises Refused in plain words if there is neither (wrong user, no spool yet).
    """
    running = Running(settings)
    try:
        running.relay()
    except OSError:
        if settings.file and not os.path.exists(settings.file):
            raise Refused(
                f"there is no spool at {settings.file} yet, and no relay is running; start it with `relay run`"
            ) from None
        return Alone(settings, upstreams)
    return running


__all__ = ["Alone", "NotForUs", "QueueAccess", "Refused", "Running", "SpoolBroken", "reach"]
