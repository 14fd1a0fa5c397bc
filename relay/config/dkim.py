"""Which domains' mail is signed (DKIM), with which key, on the way to which upstreams."""

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from relay.config import hosts
from relay.config.fields import Fields, show
from relay.config.scalars import Convert, Wrong, choice, listing, near
from relay.mail.address import BadAddress, parse_address, with_a_labels
from relay.mail.rewrite import Identity, Rewrite
from relay.outbound.dkim_keys import is_there
from relay.upstream.settings import DIRECT, DkimAlgorithm, DkimKey, SmtpServer, Upstream

_SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")


def read_dkim(
    at: Fields, upstreams: Mapping[str, Upstream], home: Path, used: Collection[str], *, readable: bool
) -> tuple[DkimKey, ...]:
    """`dkim` is one mapping or a list of them.  Keys that no file is named for are kept in `home`.

    `used` are the upstreams that rules name: the others get no mail to sign.  Not `readable`: the upstreams could not be
    read, so that no name can be called wrong.
    """
    found: list[DkimKey] = []
    for node in at.each("dkim"):
        with at.reading.fields(node, node.path, node.place) as one:
            key = _key(one, _via(upstreams, readable=readable), home)
            same = any((key.domain, key.selector) == (other.domain, other.selector) for other in found)
            if same and key.domain and key.selector:
                one.mistake("selector", f"expected another selector for each key of a domain, found {show(key.selector)} again")
            if key.via and used and not any(name in used for name in key.via):
                text = f"no rule uses {listing(key.via)}, so nothing is signed; name in via the upstreams that mail goes by"
                one.remark("via" if one.said("via") else "domain", text)
            for name in key.via:
                account = upstreams[name].identity if name in upstreams else Identity()
                if _never_from(key.domain, account):
                    text = f"{name} sends as {account.sender} only, so nothing from {key.domain} is signed there"
                    one.remark("via", f"{text}; add {key.domain} to its sender_domains if the account may send so")
            found.append(key)
    return tuple(found)


def _key(at: Fields, via: Convert[str], home: Path) -> DkimKey:
    if not at.said("domain"):
        at.mistake("domain", "expected the domain of your senders, such as own.example, found nothing")
    domain = at.get("domain", _domain, "")
    selector = at.get("selector", _selector, "") if at.said("selector") else "relay"
    said = at.file("key_file", must_exist=False)
    file = Path(said) if said else home / f"dkim-{selector}.{domain}.pem"
    if said and is_there(file):
        at.file("key_file")  # one that cannot be read is a mistake
    elif said and not os.path.isdir(file.parent):
        at.remark("key_file", f"there is no folder {file.parent}, so no key can be made there")
    at.remark_if_exposed("key_file" if said else "domain", file)
    return DkimKey(
        domain,
        selector,
        str(file),
        at.many("via", via, (DIRECT,)),
        at.get("algorithm", choice(DkimAlgorithm), DkimAlgorithm.RSA),
    )


def _never_from(domain: str, identity: Identity) -> bool:
    """Whether no message from a domain keeps that From on the way by an upstream, since its account is another one."""
    if identity.sender is None or identity.rewrite is Rewrite.NEVER or not identity.rewrite_from:
        return False
    may_stay = identity.domains if identity.rewrite is not Rewrite.ALWAYS else frozenset()
    return all(domain != in_ascii(one) for one in (identity.sender.domain, *may_stay))


def in_ascii(name: str) -> str:
    """A domain as the DNS has it, in lower case; what it cannot have stays."""
    try:
        return with_a_labels(parse_address(f"x@{name}")).domain.lower()
    except (UnicodeError, BadAddress):
        return name.lower()


def _domain(value: str) -> str:
    found = in_ascii(hosts.domain(value))
    # nobody outside can look up a bare name, or an address
    if not found.isascii() or "." not in found or found.rpartition(".")[2].isdigit():
        raise Wrong("a domain such as own.example")
    return found


def _selector(value: str) -> str:
    if not _SELECTOR.fullmatch(value.strip()):
        raise Wrong("a name for the key in the DNS, such as relay")
    return value.strip().lower()


def _via(upstreams: Mapping[str, Upstream], *, readable: bool) -> Convert[str]:
    """Only what goes by SMTP keeps the octets that were signed."""
    names = [DIRECT, *(name for name, one in upstreams.items() if isinstance(one.transport, SmtpServer))]

    def convert(value: str) -> str:
        if value in names or not readable:
            return value
        if value in upstreams:
            raise Wrong("an upstream that gets mail by SMTP", f"{value} changes what was signed, or sends nothing on")
        raise Wrong("the name of an upstream", near(value, names) or f"there are {listing(names)}")

    return convert
