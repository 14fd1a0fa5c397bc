"""What an import will write: servers, rules and settings as values.  Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from relay.networks import with_port
from relay.secret import Secret
from relay.upstream.settings import DIRECT


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was read; `name` is its name in sentences."""

    name: str
    text: str

    def at(self, line: int) -> str:
        return f"{self.name}:{line}"


Find = Callable[[str], Source | None]
"""Finds a file by the path in another file."""


class NothingToMove(Exception):
    """The files do not say where mail goes.  The text says what was expected."""


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """One future upstream.  "" and None: not set.  Equal ones become one upstream.

    `client_id`, `client_secret`, `refresh_token` and `token_url` are for OAuth 2.0.
    """

    host: str
    port: int
    tls: str = "starttls"
    verify: bool = True
    fingerprint: str = ""
    ca: str = ""
    tls_min: str = ""
    auth: str = ""
    username: str = ""
    password: Secret | None = None
    client_id: str = ""
    client_secret: Secret | None = None
    refresh_token: Secret | None = None
    token_url: str = ""
    sender: str = ""
    sender_domains: tuple[str, ...] = ()
    rewrite: str = ""

    @property
    def shown(self) -> str:
        """Host and port, and the user name if there is one."""
        place = with_port(self.host, self.port)
        return f"{place} as {self.username}" if self.username else place


Hop = ServerPlan | None
"""A member of a chain; None is the recipient's own MX."""


@dataclass(frozen=True, slots=True)
class RulePlan:
    """One future routing rule with exactly one of `via`, `reject`, `discard`; `origin` is the file and line it comes from."""

    to: tuple[str, ...] = ()
    sender: tuple[str, ...] = ()
    client: tuple[str, ...] = ()
    via: tuple[Hop, ...] = ()
    reject: str = ""
    discard: bool = False
    origin: str = ""

    @property
    def outcome(self) -> tuple[object, ...]:
        """What happens to the mail, without the conditions."""
        return self.via, self.reject, self.discard

    @property
    def catches_all(self) -> bool:
        return not (self.to or self.sender or self.client)


@dataclass(slots=True)
class Plan:
    """The future configuration, and sentences about it.  `copy_to`, `subject_prefix` and `header` are for all mail.

    `users` are those who logged in there, with passwords or hashes.  `done`: what was imported.  `look`: what
    works differently now and should be checked.  `left`: what could not be imported.  Each sentence begins with file and line.
    """

    command: str
    hostname: str = ""
    listen: tuple[str, ...] = ()
    networks: list[str] = field(default_factory=list)
    default_domain: str = ""
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    everything_to: str = ""
    copy_to: str = ""
    subject_prefix: str = ""
    header: dict[str, str] = field(default_factory=dict)
    users: dict[str, Secret] = field(default_factory=dict)
    rules: list[RulePlan] = field(default_factory=list)
    max_message: int = 0
    give_up_after: str = ""
    warn_after: str = ""
    notices_to: str = ""
    log_format: str = ""
    read: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    look: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def say(self, where: str, text: str) -> None:
        _add(self.done, where, text)

    def warn(self, where: str, text: str) -> None:
        _add(self.look, where, text)

    def drop(self, where: str, text: str) -> None:
        _add(self.left, where, text)


def _add(where_to: list[str], where: str, text: str) -> None:
    sentence = f"{where}: {text}" if where else text
    if sentence not in where_to:
        where_to.append(sentence)


def reachable(rules: Sequence[RulePlan]) -> list[RulePlan]:
    """The rules up to the first catch-all; neighbours with the same outcome are joined where one list can say both."""
    found: list[RulePlan] = []
    for rule in rules:
        last = found[-1] if found else None
        if last and last.outcome == rule.outcome and _alike(last, rule):
            found[-1] = replace(
                last,
                to=tuple(dict.fromkeys((*last.to, *rule.to))),
                sender=tuple(dict.fromkeys((*last.sender, *rule.sender))),
                origin=", ".join(dict.fromkeys([*last.origin.split(", "), *rule.origin.split(", ")])),
            )
        else:
            found.append(rule)
        if found[-1].catches_all:
            break
    return found


def _alike(one: RulePlan, other: RulePlan) -> bool:
    """Whether the two rules differ in one condition only, so that a list there covers both."""
    if one.client or other.client or one.catches_all or other.catches_all:
        return False
    same_to, same_sender = one.to == other.to, one.sender == other.sender
    return (same_to and bool(one.sender and other.sender)) or (same_sender and bool(one.to and other.to))


def chain_names(via: Sequence[Hop], names: dict[ServerPlan, str]) -> list[str]:
    return list(dict.fromkeys(names[hop] if hop else DIRECT for hop in via))
