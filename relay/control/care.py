"""What a person does for the relay's health: have it examined, send a test, sign in, change settings.

The daemon fills in who does the work; pages and API ask here.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, Protocol

from relay import events
from relay.control.handing_in import BY_HAND, NoAddress, address_of, handed_in
from relay.control.queue_admin import BadOrder, QueueAdmin
from relay.inbound.admission import Recipients, Throttle
from relay.inbound.device_rules import recipients_of
from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.mail.reply import Reply
from relay.spool.queue_id import new_queue_id
from relay.upstream.settings import Upstream

if TYPE_CHECKING:
    from relay.upstream.oauth.logins import Logins

TESTS_A_MINUTE = 10
_LONGEST_ADDRESS = 1000
SUBJECT = "A test from the relay"


class Examiner(Protocol):
    """relay/doctor/on_demand.py."""

    def start(self) -> bool: ...
    def standing(self) -> dict[str, Any]: ...


class SettingsText(Protocol):
    """relay/config/editor.py."""

    last: dict[str, Any] | None

    async def look(self) -> dict[str, Any]: ...
    async def check(self, text: str) -> dict[str, Any]: ...
    async def save(self, text: str, stamp: str) -> dict[str, Any]: ...


class TooManyTests(Exception):
    """No more tests in this minute."""


@dataclass(frozen=True, slots=True)
class TodaysRouting:
    """Who is meant by an address, whether a rule takes it, and who gets notices: of today's configuration."""

    recipients: Recipients
    may_route: Callable[[Address | None, Address, Origin], Reply | None]
    notices_to: Address | None
    hostname: str


class Tests:
    """Sends test messages, a few a minute: a page is no way to send mail."""

    def __init__(self, desk: QueueAdmin, now: Callable[[], datetime], routing: Callable[[], TodaysRouting]) -> None:
        self._desk, self._now, self._routing, self._throttle = desk, now, routing, Throttle()

    @property
    def usual(self) -> str:
        """Who gets a test if nobody is named."""
        return str(self._routing().notices_to or "")

    async def send(self, to: str, via: str = "") -> str:
        """The queue id.  Raises BadOrder, TooManyTests, SpoolFull, SpoolBroken."""
        routing, now = self._routing(), self._now()
        if via and via not in self._desk.upstreams:
            raise BadOrder(f"no upstream is named {via[:80]!r}; there are {', '.join(self._desk.upstreams)}")
        named = to.strip() or self.usual
        if not named or len(named) > _LONGEST_ADDRESS:
            raise NoAddress("to: an address is needed")
        recipient = address_of("to", named)
        sender = routing.notices_to or recipient
        recipients = (recipient,) if via else _by_rules(recipient, sender, routing)
        if self._throttle.admit("page", now, TESTS_A_MINUTE):
            raise TooManyTests
        self._throttle.count("page", now)
        envelope = Envelope(sender, recipients)
        entry, line = handed_in(envelope, via, _letter(sender, recipient, routing.hostname), now, new_queue_id)
        await self._desk.submit(entry, line)
        events.note("accepted", queue_id=entry.queue_id, client=entry.origin.client, upstream=via, size=entry.size)
        return entry.queue_id


def _by_rules(recipient: Address, sender: Address, routing: TodaysRouting) -> tuple[Address, ...]:
    """Who gets it, as if a device on this machine had sent it.  Raises BadOrder with the reply that it would get."""
    meant = recipients_of(recipient, None, routing.recipients)
    if isinstance(meant, Reply):
        raise BadOrder(f"to: {meant}")
    for one in meant:
        if refusal := routing.may_route(sender, one, BY_HAND):
            raise BadOrder(f"to: {refusal}")
    return meant


def _letter(sender: Address, recipient: Address, hostname: str) -> bytes:
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = str(sender), str(recipient), SUBJECT
    letter.set_content(f"A test message, sent from the page of the relay on {hostname}.\n")
    return letter.as_bytes(policy=letter.policy.clone(linesep="\r\n"))


@dataclass(frozen=True, slots=True)
class Care:
    """`accounts` are the upstreams that log in by OAuth, `consents` how old and good each consent is."""

    examination: Examiner
    tests: Tests
    logins: "Logins"
    editor: SettingsText
    accounts: Callable[[], Mapping[str, Upstream]]
    consents: Callable[[], Awaitable[list[dict[str, Any]]]]

    async def sign_ins(self) -> list[dict[str, Any]]:
        """Each consent, with the login that was begun last (None: none was)."""
        accounts = self.accounts()
        found = []
        for one in await self.consents():
            account = accounts[one["upstream"]]
            oauth = account.login.oauth
            needed = oauth is not None and oauth.grant.value != "client-credentials"
            found.append({**one, "username": account.login.username, "needed": needed, "login": self.logins.standing(account)})
        return found

    async def settings(self, *, may_edit: bool) -> dict[str, Any]:
        """What is in force; with the text to edit for whoever `may_edit`, else with the reason why not."""
        found = await self.editor.look()
        if not may_edit and not found["read_only"]:
            return {**found, "text": None, "stamp": "", "read_only": "password"}
        return found
