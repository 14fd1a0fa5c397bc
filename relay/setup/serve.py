"""Set-up in the browser from start to end: the page alone on its socket, no listener, nothing written before the end."""

import asyncio
import signal
import socket
from collections.abc import Mapping
from datetime import UTC, datetime

from relay import events
from relay.container import in_container
from relay.control import tcp
from relay.control.access import own_names
from relay.control.server import Server
from relay.networks import with_port
from relay.setup.code import OneTimeCode, open_code
from relay.setup.flow import SetupFlow, SubjectOf
from relay.setup.pages import SetupPages
from relay.setup.place import CannotSetUp, SetupBroken, SetupPlace


def set_up(place: SetupPlace, subject_of: SubjectOf, environ: Mapping[str, str]) -> socket.socket | None:
    """The page's socket, still listening, once everything is written; None if an order to stop came first.

    Blocks.  Raises CannotSetUp and SetupBroken.
    """
    events.configure(place.base.log.format)  # at the level `info`: who cannot see the code cannot set up anything
    address = place.base.web.address
    try:
        sock = tcp.listen(address)
    except OSError as error:
        raise CannotSetUp(f"{address}: the page of set-up cannot answer there: {error.strerror or error}") from error
    try:
        code = open_code(place.state_dir, with_port(*sock.getsockname()[:2]), datetime.now(UTC))
        goes_on = asyncio.run(_served(SetupFlow(place, subject_of, environ), code, sock))
    except OSError as error:
        sock.close()
        raise CannotSetUp(f"{place.state_dir}: {error.strerror or error}") from error
    except SetupBroken:
        sock.close()
        raise
    if goes_on:
        return sock
    sock.close()
    return None


async def _served(flow: SetupFlow, code: OneTimeCode, sock: socket.socket) -> bool:
    """Whether everything was written, and the relay is to start.  Raises SetupBroken."""
    loop = asyncio.get_running_loop()
    stopping, ordered = asyncio.Event(), list[int]()
    pages = SetupPages(flow, code, stopping.set)
    names = own_names(flow.place.base.hostname, socket.gethostname())
    hosts = frozenset(name.lower() for name in flow.place.base.web.hosts)
    # a copy: uvicorn closes what it serves, and who comes meanwhile waits for the relay
    server = Server(pages.application(names | hosts), sock.dup())
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def order(number: int) -> None:
        ordered.append(number)
        stopping.set()

    for number in before:
        loop.add_signal_handler(number, order, number)
    serving = loop.create_task(server.serve())
    over = loop.call_later((code.until - datetime.now(UTC)).total_seconds(), _end, flow, pages, code)
    _tell(code, sock)
    try:
        await asyncio.wait({serving, loop.create_task(stopping.wait())}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        over.cancel()
        server.stop()
        flow.close()
        await asyncio.wait({serving})
        if flow.writing:  # else secrets would be left without a configuration
            await asyncio.wait({flow.writing})
        if flow.finished:
            code.void()
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
    if not stopping.is_set() and not flow.finished:
        raise SetupBroken("the page of set-up ended by itself; start the relay again") from serving.exception()
    return flow.finished and not ordered


def _tell(code: OneTimeCode, sock: socket.socket) -> None:
    host, port = sock.getsockname()[:2]
    everywhere, inside = host in ("0.0.0.0", "::"), in_container()  # noqa: S104
    # a container knows only the address that it has in its own network
    seen = "ADDRESS" if everywhere and inside else with_port(tcp.lan_address() if everywhere else host, port).rpartition(":")[0]
    place = f"http://{seen}:{port}/{' (ADDRESS: that of this machine)' if seen == 'ADDRESS' else ''}"
    until = code.until.astimezone().strftime("%H:%M")
    text = f"nothing is configured yet: open {place} in a browser and type the one-time code {code.text} (until {until})"
    events.note("opened", text, web=with_port(host, port), code=code.text, until=code.until.isoformat(timespec="seconds"))


def _end(flow: SetupFlow, pages: SetupPages, code: OneTimeCode) -> None:
    """The hour is over.  What is being written is waited for."""
    if flow.finished:
        return
    if flow.writing:
        flow.writing.add_done_callback(lambda _: _end(flow, pages, code))
        return
    pages.end()
    code.void()
    events.note("warned", "the time for set-up is over, and nothing was written; start the relay again for a new code")
