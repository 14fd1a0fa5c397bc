"""POP before SMTP: some hosts take mail from an address only after a POP3 login.  RFC 1939, RFC 2595, RFC 8314."""

import asyncio
import poplib
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial

from relay.detached import apart
from relay.mail.reply import Answer, Fault, Reply, Stage, readable
from relay.secret import unsaid
from relay.upstream import tls
from relay.upstream.connect import Endpoint, Failed, fault_of, places, reach
from relay.upstream.settings import Pop, SmtpServer, Tls, TlsMode, Upstream

_STAMP = re.compile(rb"<[^<>@\s]+@[^<>\s]+>")
_SHUT = re.compile(
    r"allowed rcpthosts|don'?t authenticate|relay\w{0,9} (?:access )?(?:not permitted|denied)|permitted to relay"
    r"|\bpop3?\b.{0,40}\b(?:before|first)\b|\bturn on smtp authentication\b"
    r"|\b(?:receive|check|read|get|retrieve|fetch|pick up) (?:for )?(?:your |new ){0,2}(?:e-?)?mails? (?:first|before)\b"
    r"|\b(?:authenticate|authentication|log ?in|login)\b.{0,40}\b(?:via|by|with|through|using|to) pop3?\b",
    re.I,
)
_STRANGER = frozenset({"5.7.0", "5.7.1", "5.7.3", "5.7.8", "5.7.57"})
_EARLY = 0.9  # of the window: a message must not start inside it and end outside
_PASSING_CODE = re.compile(r"\[(?:IN-USE|SYS/TEMP|LOGIN-DELAY)\]", re.I)  # RFC 2449 s8.1, RFC 3206
_LASTING_CODE = re.compile(r"\[(?:AUTH|SYS/PERM)\]", re.I)
_PASSING_WORDS = re.compile(
    r"\block (?:busy|by|held)|\b(?:already|is|currently) (?:locked|in use|being used|busy)\b|\btry (?:it )?(?:again )?later\b"
    r"|\btemporar|\btoo many (?:connections|sessions|logins)\b|\bminimum (?:interval|time)\b",
    re.I,
)
_WHOLE = 3  # times the patience with one reply: so long a login may take in all, whatever comes meanwhile
_MOST_LINES = 100  # in one login
_QUIT_WAIT = 3.0  # seconds to wait for the answer to QUIT


def window_closed(answers: Iterable[Answer]) -> bool:
    """Whether the host does not know us any more: its window was shorter than ours, or it forgot the login."""
    said = list(answers)
    return not any(answer.reply.positive for answer in said) and any(
        not answer.lost and answer.stage in (Stage.MAIL, Stage.RCPT) and _as_stranger(answer.reply) for answer in said
    )


def _as_stranger(reply: Reply) -> bool:
    refused = reply.permanent and (reply.code in (530, 534, 535, 538) or reply.status in _STRANGER)
    return refused or bool(_SHUT.search(reply.text))


class PopWindows:
    """Remembers at which upstreams we are logged in by POP, until when, and at which of their addresses."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._open_until: dict[str, float] = {}
        self._opened: dict[str, float] = {}
        self._addresses: dict[str, Sequence[Endpoint]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def addresses(self, name: str) -> Sequence[Endpoint]:
        """The upstream's addresses of the family by which we logged in; none if we did not."""
        return self._addresses.get(name, ())

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
        """Logs in unless the window is still open; None when it is open, else the Answer that says why not."""
        pop = upstream.login.pop
        if pop is None:
            return _ours(Fault.POP, 530, "5.7.4", "`auth: pop` needs a `pop` section that says where to log in")
        async with self._locks.setdefault(upstream.name, asyncio.Lock()):
            if self.is_open(upstream.name):
                return None
            asked = self._monotonic()
            try:
                found = await _addresses_of(upstream)
            except Failed as failed:
                return failed.answer
            refusal = await _in_time(upstream, pop, found[0].family)
            if refusal is None:
                self._addresses[upstream.name] = found
                self._opened[upstream.name] = asked
                self._open_until[upstream.name] = asked + pop.window.total_seconds() * _EARLY
            return refusal


async def _addresses_of(upstream: Upstream) -> Sequence[Endpoint]:
    """The addresses of one family that SMTP will go to: the login counts for the address that the host sees.

    If the host has both families, connecting shows which one answers.  Raises Failed.
    """
    patience = upstream.timeout.total_seconds()
    found = await places(upstream.smtp.host, upstream.smtp.port, patience)
    family = found[0].family
    if any(place.family != family for place in found):
        sock, place = await reach(found, patience)
        sock.close()
        family = place.family
    return [place for place in found if place.family == family]


class _Cut:
    """Ends a login from outside: a server that sends an octet now and then would keep the reading thread for ever."""

    def __init__(self) -> None:
        self._sock: socket.socket | None = None
        self._over = False

    def holds(self, sock: socket.socket) -> None:
        self._sock = sock
        if self._over:
            self.now()

    def now(self) -> None:
        self._over = True
        if self._sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)  # below TLS, whose state is the thread's


async def _in_time(upstream: Upstream, pop: Pop, family: socket.AddressFamily) -> Answer | None:
    whole, cut = _WHOLE * upstream.timeout.total_seconds(), _Cut()
    try:
        async with asyncio.timeout(whole):
            return await apart(partial(_log_in, upstream, pop, family, cut))
    except TimeoutError:
        words = f"POP at {pop.host}:{pop.port} came to no end of the login within {whole:g} seconds"
        return _ours(Fault.TIMED_OUT, 421, "4.4.2", words, lost=True)
    finally:
        cut.now()


class _NoTls(Exception):
    """The server knows no STLS."""


class _ApopRefused(Exception):
    """The server may know the password by a hash only, which says nothing of the password."""


def _log_in(upstream: Upstream, pop: Pop, family: socket.AddressFamily, cut: _Cut) -> Answer | None:
    """One login and QUIT, by that family if the host has it.  Blocks.

    After a refused APOP it tries USER and PASS once; that is in clear only where `tls: none` is set.
    """
    try:
        return _log_in_once(upstream, pop, family, cut, apop=True)
    except _ApopRefused:
        return _log_in_once(upstream, pop, family, cut, apop=False)


def _log_in_once(upstream: Upstream, pop: Pop, family: socket.AddressFamily, cut: _Cut, *, apop: bool) -> Answer | None:
    where = f"POP at {pop.host}:{pop.port}"
    policy = replace(upstream.smtp.tls, mode=pop.tls)
    with ExitStack() as stack:
        try:
            session = _connect(pop, policy, upstream.timeout.total_seconds(), stack, family, cut)
            if problem := _pin_problem(session, policy):
                return _ours(Fault.TLS_PIN, 454, "4.7.5", f"{where}: {problem}", lost=True)
            try:
                _authenticate(session, upstream, apop=apop)
            except poplib.error_proto as error:
                said = _said(error)
                if not said.startswith("-ERR") or _ended(error):
                    raise
                code, status = (454, "4.7.0") if _passing(said) else (535, "5.7.8")
                password = upstream.login.password.reveal() if upstream.login.password else ""
                return _ours(Fault.POP, code, status, f"{where} refuses the login: {unsaid(said, password)}")
            _leave(session)
        except ssl.SSLError as error:
            fault, words = tls.explain(error, SmtpServer(pop.host, pop.port, policy))
            return _ours(fault, 454, "4.7.5", f"{where}: {words}", lost=True)
        except _NoTls as error:
            words = f"{where} offers no STLS ({error}); try port 995 with `tls: implicit`"
            return _ours(Fault.NO_STARTTLS, 454, "4.7.4", words)
        except poplib.error_proto as error:
            fault = Fault.HUNG_UP if _ended(error) else Fault.GARBAGE
            return _ours(fault, 421, "4.4.2", f"{where} ended the session: {_said(error)}", lost=True)
        except OSError as error:
            return _ours(fault_of(error), 421, "4.4.1", f"{where} cannot be reached: {error.strerror or error}", lost=True)
    return None


def _passing(said: str) -> bool:
    """Whether a refused login may work later unchanged; the code counts more than the text (RFC 2449 s8)."""
    if _LASTING_CODE.search(said):
        return False
    return bool(_PASSING_CODE.search(said) or _PASSING_WORDS.search(said))


def _leave(session: poplib.POP3) -> None:
    """Says QUIT; the window is open even if that fails."""
    with suppress(OSError, poplib.error_proto):
        session.sock.settimeout(_QUIT_WAIT)
        session.quit()


class _Plain(poplib.POP3):
    """A session with one address; TLS checks the certificate against the name of the host."""

    def __init__(self, pop: Pop, patience: float, family: socket.AddressFamily, cut: _Cut) -> None:
        self._family, self._cut, self._lines = family, cut, 0
        try:
            super().__init__(pop.host, pop.port, timeout=patience)
        except BaseException:
            if sock := getattr(self, "sock", None):  # the library leaves it open when the greeting does not come
                sock.close()
            raise

    def _create_socket(self, timeout: float) -> socket.socket:
        """The method that the library's own TLS class overrides too."""
        found = socket.getaddrinfo(self.host.strip("[]"), self.port, type=socket.SOCK_STREAM)
        alike = [each for each in found if each[0] == self._family] or found
        trouble: OSError | None = None
        for *_, address in alike:
            try:
                sock = socket.create_connection(address[:2], timeout)  # type: ignore[arg-type]
            except OSError as error:
                trouble = error
            else:
                self._cut.holds(sock)
                return sock
        raise trouble or OSError("the host has no address")

    def _getline(self) -> tuple[bytes, int]:
        """The library limits the length of a line; this limits how many there are."""
        self._lines += 1
        if self._lines > _MOST_LINES:
            raise poplib.error_proto("the server sends too many lines")
        return super()._getline()  # type: ignore[misc,no-any-return]

    def encrypt(self, context: ssl.SSLContext) -> None:
        """STLS, without asking for the capabilities first: who does not know it refuses it (RFC 2595 s4).  Raises _NoTls."""
        try:
            self._shortcmd("STLS")  # type: ignore[attr-defined]
        except poplib.error_proto as error:
            raise error if _ended(error) else _NoTls(_said(error)) from None
        self.sock = self._encrypted(self.sock, context)
        self.file = self.sock.makefile("rb")

    def _encrypted(self, sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        """The handshake comes last, so that it can be cut."""
        wrapped = context.wrap_socket(sock, server_hostname=self.host.strip("[]"), do_handshake_on_connect=False)
        self._cut.holds(wrapped)
        try:
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped


class _Encrypted(_Plain):
    """TLS from the first octet."""

    def __init__(self, pop: Pop, patience: float, family: socket.AddressFamily, cut: _Cut, context: ssl.SSLContext) -> None:
        self._tls = context
        super().__init__(pop, patience, family, cut)

    def _create_socket(self, timeout: float) -> socket.socket:
        return self._encrypted(super()._create_socket(timeout), self._tls)


def _connect(pop: Pop, policy: Tls, patience: float, stack: ExitStack, family: socket.AddressFamily, cut: _Cut) -> poplib.POP3:
    if pop.tls is TlsMode.IMPLICIT:
        session: _Plain = _Encrypted(pop, patience, family, cut, tls.context_for(policy))
    else:
        session = _Plain(pop, patience, family, cut)
    stack.callback(_close, session)
    if pop.tls is TlsMode.STARTTLS:
        session.encrypt(tls.context_for(policy))
    return session


def _close(session: poplib.POP3) -> None:
    with suppress(OSError):
        session.close()


def _pin_problem(session: poplib.POP3, policy: Tls) -> str:
    """A pinned fingerprint switches the usual verification off, so it must be asked for here too."""
    if not isinstance(session.sock, ssl.SSLSocket):
        return ""
    return tls.pin_problem(policy, session.sock.getpeercert(binary_form=True))


def _authenticate(session: poplib.POP3, upstream: Upstream, *, apop: bool) -> None:
    """APOP where the banner has a time stamp, since it hides the password; else USER and PASS.  Raises _ApopRefused."""
    user = upstream.login.username
    password = upstream.login.password.reveal() if upstream.login.password else ""
    if apop and _STAMP.search(session.getwelcome()):
        try:
            session.apop(user, password)
        except poplib.error_proto as error:
            if not _ended(error) and not _passing(_said(error)):
                raise _ApopRefused from None
            raise
    else:
        session.user(user)
        session.pass_(password)


def _ended(error: poplib.error_proto) -> bool:
    """Whether the server hung up: the library says so in words of its own."""
    return _said(error) == "-ERR EOF"


def _said(error: poplib.error_proto) -> str:
    words = error.args[0] if error.args else b""
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    return " ".join(readable(text).split())


def _ours(fault: Fault, code: int, status: str, words: str, *, lost: bool = False) -> Answer:
    return Answer(Stage.AUTH, Reply(code, status, words), lost=lost, fault=fault)
