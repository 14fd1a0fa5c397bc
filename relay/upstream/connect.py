"""A TCP connection to the first address that answers: names through the system resolver.  RFC 8305."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest

from relay.detached import apart
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.networks import with_port

_HEAD_START = 0.25  # seconds between two addresses, RFC 8305 s5
_MOST_ADDRESSES = 10  # of one mail host; RFC 5321 s5.1 asks for at least two


class Failed(Exception):
    """No session came about; `answer` is for every forward-path, `peer` is the address that was reached ("" none).

    `banner` is the server's greeting, if it came; `again`: another mechanism may work in a fresh session.
    """

    again = False

    def __init__(self, answer: Answer, peer: str = "", banner: str = "") -> None:
        super().__init__(str(answer))
        self.answer = answer
        self.peer = peer
        self.banner = banner


def lost_at(stage: Stage, fault: Fault, words: str) -> Answer:
    """The answer where the connection ended."""
    return Answer(stage, Reply(421, "4.4.2", words), lost=True, fault=fault)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address to try: family, numeric host, port."""

    family: socket.AddressFamily
    host: str
    port: int

    def __str__(self) -> str:
        return with_port(self.host, self.port)


async def places(host: str, port: int, patience: float) -> list[Endpoint]:
    """The addresses of a host by the system resolver (hosts file, Docker's names), families alternating.

    Raises Failed (4.4.3) when there are none within `patience` seconds.
    """
    try:
        async with asyncio.timeout(patience):
            found = await apart(partial(socket.getaddrinfo, host.strip("[]"), port, type=socket.SOCK_STREAM))
    except TimeoutError:
        raise Failed(_unknown(host, "the resolver does not answer", Fault.DNS)) from None
    except (OSError, UnicodeError) as error:
        raise Failed(_unknown(host, getattr(error, "strerror", None) or str(error), fault_of(error))) from None
    unique = dict.fromkeys(Endpoint(family, str(address[0]), port) for family, _, _, _, address in found)
    return alternating(list(unique))


def alternating(found: list[Endpoint]) -> list[Endpoint]:
    """Families by turns, the resolver's first one first (RFC 8305 s4)."""
    first = [place for place in found if place.family == found[0].family]
    other = [place for place in found if place.family != found[0].family]
    return [place for pair in zip_longest(first, other) for place in pair if place]


def endpoints(addresses: Sequence[str], port: int) -> list[Endpoint]:
    """Where to connect to, families by turns; of very many addresses the first."""
    found = [Endpoint(socket.AF_INET6 if ":" in one else socket.AF_INET, one, port) for one in addresses]
    return alternating(found)[:_MOST_ADDRESSES]


def is_ours(address: str) -> bool:
    """Whether this machine has the address: the kernel would send from that same address.  Nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return False
        return str(probe.getsockname()[0]) == address


def _unknown(host: str, why: str, fault: Fault) -> Answer:
    return Answer(Stage.CONNECT, Reply(451, "4.4.3", f"the name {host} cannot be looked up: {why}"), lost=True, fault=fault)


async def reach(candidates: Sequence[Endpoint], patience: float) -> tuple[socket.socket, Endpoint]:
    """A connected socket and its address; the next address is tried when one fails or is slow.

    Raises Failed (4.4.1) naming every address when none answers within `patience` seconds.
    """
    refusals: dict[Endpoint, str] = {}
    faults: set[Fault] = set()
    waiting = list(candidates)
    running: dict[asyncio.Task[socket.socket], Endpoint] = {}
    try:
        async with asyncio.timeout(patience):
            while waiting or running:
                if waiting:
                    place = waiting.pop(0)
                    running[asyncio.create_task(_dial(place))] = place
                done, _ = await asyncio.wait(
                    running, timeout=_HEAD_START if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    place = running.pop(task)
                    if error := task.exception():
                        refusals[place] = _words(error)
                        faults.add(fault_of(error))
                    else:
                        return task.result(), place
    except TimeoutError:
        refusals.update(dict.fromkeys([*running.values(), *waiting], f"no answer within {patience:g} s"))
        faults.add(Fault.TIMED_OUT)
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_discard)
    told = "; ".join(f"{place}: {why}" for place, why in refusals.items())
    # of several addresses, the one that answered tells most, then the one that cost time
    fault = next((one for one in (Fault.REFUSED, Fault.TIMED_OUT) if one in faults), Fault.UNREACHABLE)
    raise Failed(Answer(Stage.CONNECT, Reply(421, "4.4.1", f"cannot connect: {told}"), lost=True, fault=fault))


async def _dial(place: Endpoint) -> socket.socket:
    sock = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (place.host, place.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _discard(task: "asyncio.Task[socket.socket]") -> None:
    """Closes a second socket that connected in the same turn as the first."""
    if not task.cancelled() and not task.exception():
        task.result().close()


def fault_of(error: BaseException) -> Fault:
    """Why there is no connection."""
    if isinstance(error, socket.gaierror | UnicodeError):
        return Fault.DNS if getattr(error, "errno", None) == socket.EAI_AGAIN else Fault.NO_HOST
    if isinstance(error, ConnectionRefusedError | ConnectionResetError):
        return Fault.REFUSED
    return Fault.TIMED_OUT if isinstance(error, TimeoutError) else Fault.UNREACHABLE


def _words(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
