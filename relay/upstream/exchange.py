"""One message to one server, over a kept session or a fresh one; how it went; and how sessions are ended."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from relay.mail.address import Address
from relay.mail.outgoing import Outgoing
from relay.mail.reply import Answer
from relay.upstream import submission
from relay.upstream.client_session import ClientSession
from relay.upstream.connect import Failed
from relay.upstream.report import Conversation, Report
from relay.upstream.smtp_wire import WireLost

_QUIT_WAIT = 3.0  # seconds to wait for the answer to QUIT


async def exchange(
    kept: ClientSession | None,
    fresh: Callable[[], Awaitable[ClientSession]],
    part: Callable[[ClientSession], None],
    outgoing: Outgoing,
    monotonic: Callable[[], float],
) -> Report:
    """One transaction; what was refused because of the session alone is sent again at once, in a `fresh` session.

    `part` takes each session back.
    """
    started, answers, notes, again = monotonic(), dict[Address, Answer](), list[str](), False
    wanted = outgoing.forward_paths
    while True:
        try:
            session = kept or await fresh()
        except Failed as failed:
            answers |= dict.fromkeys(outgoing.forward_paths, failed.answer)
            conversation = Conversation(peer=failed.peer, took=monotonic() - started, notes=tuple(notes))
            return Report(answers, conversation, _left(wanted, answers))
        notes += [] if session.used else session.notes  # not `kept`: one that was unsuited for its first message is kept
        outcome = await submission.submit(session, outgoing, notes)
        part(session)
        if again or not outcome.again:
            conversation = Conversation(
                peer=session.peer,
                tls=session.tls,
                mechanism=session.mechanism,
                took=monotonic() - started,
                max_size=session.max_size,
                eight_bit=session.offers("8bitmime"),
                notes=tuple(dict.fromkeys(notes)),
            )
            answers |= outcome.answers
            return Report(answers, conversation, _left(wanted, answers), outcome.unsuited)
        if session.spent:
            said = outcome.answers[outcome.again[0]].reply
            notes.append(f"sent again in a fresh session, since the server wanted no more in the first: {said}")
        answers |= {path: answer for path, answer in outcome.answers.items() if path not in outcome.again}
        outgoing, kept, again = replace(outgoing, forward_paths=tuple(outcome.again)), None, True


def _left(wanted: Sequence[Address], answers: Mapping[Address, Answer]) -> tuple[Address, ...]:
    return tuple(path for path in dict.fromkeys(wanted) if path not in answers)


class Quits:
    """Ends sessions with QUIT; nothing waits for the answer."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def part(self, session: ClientSession) -> None:
        if not session.wire.alive:
            session.wire.close()
            return
        quitting = asyncio.get_running_loop().create_task(_quit(session))
        self._tasks.add(quitting)
        quitting.add_done_callback(self._tasks.discard)

    async def done(self) -> None:
        """Waits until the last one is ended."""
        while ended := set(self._tasks):
            await asyncio.gather(*ended)
            self._tasks -= ended  # what is done calls back only in a later turn of the loop, and 3.12 does not wait for one


async def _quit(session: ClientSession) -> None:
    try:
        session.wire.write(b"QUIT\r\n")
        await session.wire.reply(_QUIT_WAIT)
    except WireLost:
        pass  # it is over anyway
    finally:
        session.wire.close()


def greeting_name(hostname: str) -> str:
    """Our name as EHLO takes it: ASCII without blanks; an address literal where that cannot be had (RFC 5321 s4.1.3)."""
    try:
        name = hostname if hostname.isascii() else hostname.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    return name if re.fullmatch(r"[!-~]+", name) else "[127.0.0.1]"
