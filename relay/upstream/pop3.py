"""POP before SMTP: a POP3 login opens the SMTP door of some hosts for a while.  RFC 1939, RFC 2595, RFC 8314."""

import asyncio
import poplib
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial

from relay.apart import apart
from relay.mail.reply import Answer, Reply, Stage
from relay.secret import unsaid
from relay.upstream import tls
from relay.upstream.connect import Failed, Place, places, reach
from relay.upstream.settings import Pop, Tls, TlsMode, Upstream

_STAMP = re.compile(rb"<[^<>@\s]+@[^<>\s]+>")
_SHUT = re.compile(
    r"allowed rcpthosts|don'?t authenticate|relay\w{0,9} (access )?(not permitted|denied)|pop\W+before\W+smtp", re.I
)
_STRANGER = frozenset({"5.7.0", "5.7.1", "5.7.3", "5.7.8", "5.7.57"})
_EARLY = 0.9  # of the window: a message must not start inside it and end outside


def shut(answers: Iterable[Answer]) -> bool:
    """Whether the host treats us as a stranger: its window was shorter than ours, or it has forgotten us."""
    said = list(answers)
    return not any(answer.reply.positive for answer in said) and any(
        not answer.lost and answer.stage in (Stage.MAIL, Stage.RCPT) and _as_stranger(answer.reply) for answer in said
    )


def _as_stranger(reply: Reply) -> bool:
    refused = reply.permanent and (reply.code in (530, 534, 535, 538) or reply.status in _STRANGER)
    return refused or bool(_SHUT.search(reply.text))


class Doors:
    """Remembers which upstreams' doors are open, until when, and by which way: they open for the address we log in from."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._open_until: dict[str, float] = {}
        self._opened: dict[str, float] = {}
        self._ways: dict[str, Sequence[Place]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def way(self, name: str) -> Sequence[Place]:
        """The upstream's addresses of the family by which we logged in; none if we did not."""
        return self._ways.get(name, ())

    def forget(self, name: str) -> None:
        """The next message logs in again, whatever is left of the window."""
        self._open_until.pop(name, None)

    def opened_before(self, name: str, moment: float) -> bool:
        """Whether the last login was before that moment of the monotonic clock."""
        return self._opened.get(name, float("-inf")) <= moment

    def is_open(self, name: str) -> bool:
        """Whether the next message needs no login."""
        return self._monotonic() < self._open_until.get(name, float("-inf"))

    async def open(self, upstream: Upstream) -> Answer | None:
        """Logs in unless the door is open still; None when it is open, else the Answer that says why not."""
        pop = upstream.login.pop
        if pop is None:
            return _ours(530, "5.7.4", "`auth: pop` needs a `pop` section that says where to log in")
        async with self._locks.setdefault(upstream.name, asyncio.Lock()):
            if self.is_open(upstream.name):
                return None
            asked = self._monotonic()
            try:
                way = await _way(upstream)
            except Failed as failed:
                return failed.answer
            refusal = await apart(partial(_log_in, upstream, pop, way[0].family))
            if refusal is None:
                self._ways[upstream.name] = way
                self._opened[upstream.name] = asked
                self._open_until[upstream.name] = asked + pop.window.total_seconds() * _EARLY
            return refusal


async def _way(upstream: Upstream) -> Sequence[Place]:
    """The addresses of one family that SMTP will go to: the host opens its door for the address it sees the login from.

    With both families only a call tells which one answers.  Raises Failed.
    """
    patience = upstream.timeout.total_seconds()
    found = await places(upstream.host, upstream.port, patience)
    family = found[0].family
    if any(place.family != family for place in found):
        sock, place = await reach(found, patience)
        sock.close()
        family = place.family
    return [place for place in found if place.family == family]


def _log_in(upstream: Upstream, pop: Pop, family: socket.AddressFamily) -> Answer | None:
    """One login and QUIT, by that family if the host has it.  Blocks; never more than one try with a password."""
    where = f"POP at {pop.host}:{pop.port}"
    policy = replace(upstream.tls, mode=pop.tls)
    with ExitStack() as stack:
        try:
            session = _connect(pop, policy, upstream.timeout.total_seconds(), stack, family)
            if problem := _pin_problem(session, policy):
                return _ours(454, "4.7.5", f"{where}: {problem}", lost=True)
            try:
                _authenticate(session, upstream)
                session.quit()
            except poplib.error_proto as error:
                if "EOF" not in _said(error):
                    password = upstream.login.password.reveal() if upstream.login.password else ""
                    return _ours(535, "5.7.8", f"{where} refuses the login: {unsaid(_said(error), password)}")
                raise
        except ssl.SSLError as error:
            words = tls.explain(error, replace(upstream, host=pop.host, port=pop.port, tls=policy))
            return _ours(454, "4.7.5", f"{where}: {words}", lost=True)
        except poplib.error_proto as error:
            return _ours(421, "4.4.2", f"{where} ended the session: {_said(error)}", lost=True)
        except OSError as error:
            return _ours(421, "4.4.1", f"{where} cannot be reached: {error.strerror or error}", lost=True)
    return None


class _Plain(poplib.POP3):
    """A session with one address, under the name of its host: for that the certificate is."""

    def __init__(self, pop: Pop, patience: float, family: socket.AddressFamily) -> None:
        self._family = family
        try:
            super().__init__(pop.host, pop.port, timeout=patience)
        except BaseException:
            if sock := getattr(self, "sock", None):  # the library leaves it open when the greeting does not come
                sock.close()
            raise

    def _create_socket(self, timeout: float) -> socket.socket:
        """The seam that the library's own TLS class uses."""
        found = socket.getaddrinfo(self.host.strip("[]"), self.port, type=socket.SOCK_STREAM)
        alike = [each for each in found if each[0] == self._family] or found
        trouble: OSError | None = None
        for *_, address in alike:
            try:
                return socket.create_connection(address[:2], timeout)  # type: ignore[arg-type]
            except OSError as error:
                trouble = error
        raise trouble or OSError("the host has no address")


class _Encrypted(_Plain):
    """TLS from the first octet."""

    def __init__(self, pop: Pop, patience: float, family: socket.AddressFamily, context: ssl.SSLContext) -> None:
        self._tls = context
        super().__init__(pop, patience, family)

    def _create_socket(self, timeout: float) -> socket.socket:
        return self._tls.wrap_socket(super()._create_socket(timeout), server_hostname=self.host)


def _connect(pop: Pop, policy: Tls, patience: float, stack: ExitStack, family: socket.AddressFamily) -> poplib.POP3:
    session: poplib.POP3
    if pop.tls is TlsMode.IMPLICIT:
        session = _Encrypted(pop, patience, family, tls.context_for(policy))
    else:
        session = _Plain(pop, patience, family)
    stack.callback(_close, session)
    if pop.tls is TlsMode.STARTTLS:
        session.stls(tls.context_for(policy))
    return session


def _close(session: poplib.POP3) -> None:
    with suppress(OSError):
        session.close()


def _pin_problem(session: poplib.POP3, policy: Tls) -> str:
    """A pinned fingerprint switches the usual verification off, so it must be asked for here too."""
    if not isinstance(session.sock, ssl.SSLSocket):
        return ""
    return tls.pin_problem(policy, session.sock.getpeercert(binary_form=True))


def _authenticate(session: poplib.POP3, upstream: Upstream) -> None:
    """APOP where the banner has a time stamp, since it hides the password; else USER and PASS."""
    user = upstream.login.username
    password = upstream.login.password.reveal() if upstream.login.password else ""
    if _STAMP.search(session.getwelcome()):
        session.apop(user, password)
    else:
        session.user(user)
        session.pass_(password)


def _said(error: poplib.error_proto) -> str:
    words = error.args[0] if error.args else b""
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    return " ".join(text.split())


def _ours(code: int, status: str, words: str, *, lost: bool = False) -> Answer:
    return Answer(Stage.AUTH, Reply(code, status, words), lost=lost)
