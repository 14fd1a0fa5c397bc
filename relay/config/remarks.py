"""Settings that make sense and still mean less than a person may think: told at every start, never silently ignored.

One row for each such thing.  Pure.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from relay.config.config_values import Config
from relay.config.located import segment
from relay.inbound.admission import ListenAuth
from relay.mail.address import Address
from relay.mail.glob import matching
from relay.outbound.routing import Route
from relay.upstream.settings import DIRECT, Folder

_LOCAL = re.compile(r"postgres(ql)?://([^/@]*@)?(/|localhost\b|127\.|\[::1\])")


@dataclass(frozen=True, slots=True)
class Remark:
    """`asked` gives the paths of the settings that it is about, none if it does not apply."""

    asked: Callable[[Config], Iterable[str]]
    text: str


def _unguarded(config: Config) -> list[str]:
    url = config.spool.url
    remote = not config.spool.file and not _LOCAL.match(url) and "sslmode=verify-" not in url
    return ["spool.url"] if remote else []


def _unsendable(config: Config) -> list[str]:
    """Senders of devices that no upstream would send as."""
    direct = any(DIRECT in route.via for route in config.routes)
    accounts = [one.identity for one in config.upstreams.values()]
    return [
        f"devices.{segment(device.name)}.sender"
        for device in config.devices
        if (sender := device.sender) and not direct and not any(one.sender is None or one.may_say(sender) for one in accounts)
    ]


def _unrouted(config: Config) -> list[str]:
    """Settings that send mail to an address that no rule can take."""
    named = [("recipients.everything_to", config.recipients.everything_to)]
    for device in config.devices:
        path = f"devices.{segment(device.name)}"
        named += [(f"{path}.to", device.to), (f"{path}.copy_to", device.copy_to)]
    named += [(f"routes[{number}].copy_to", route.copy_to) for number, route in enumerate(config.routes)]
    taking = [route for route in config.routes if not route.reject]
    return [path for path, addresses in named if not all(any(_takes(route, one) for route in taking) for one in addresses)]


def _takes(route: Route, address: Address) -> bool:
    return not route.to or matching(route.to, str(address)) is not None


def _nobody(config: Config) -> list[str]:
    """Conditions that ask for a login that no listener takes."""
    known = {name for one in config.listeners if one.auth is ListenAuth.REQUIRED for name in one.users}
    named = [(f"devices.{segment(device.name)}.user", device.user) for device in config.devices]
    named += [(f"routes[{number}].user", route.user) for number, route in enumerate(config.routes)]
    return [path for path, users in named if not known.issuperset(users)]


def _unread(config: Config) -> list[str]:
    """Whether notices are to become files first."""
    folders = {name for name, one in config.upstreams.items() if isinstance(one.transport, Folder)}
    return ["notices.via"] if folders.intersection(config.notices.via) else []


REMARKS: tuple[Remark, ...] = (
    Remark(
        _unguarded,
        "nothing proves that it is your database that answers, and mail may cross the network in the clear;"
        " add ?sslmode=verify-full&sslrootcert=FILE",
    ),
    Remark(_unsendable, "no upstream may send as this address (see sender_domains): mail goes as the upstream's own sender"),
    Remark(
        _nobody, "nobody can log in by a name that stands here: only names in `users` of a listener with `auth: required` count"
    ),
    Remark(_unrouted, "no rule of routes takes mail for this address"),
    Remark(_unread, "a notice that becomes a file counts as delivered, whether or not somebody reads it"),
)


def remarked(config: Config) -> Iterator[tuple[str, str]]:
    """(path, text) of everything that a person should know."""
    for row in REMARKS:
        for path in row.asked(config):
            yield path, row.text
