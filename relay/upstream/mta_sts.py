"""MTA-STS: what a domain says of its mail hosts and of TLS with them, read and applied.  RFC 8461.  Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

LARGEST = 65_536
"""Octets of a policy; RFC 8461 s3.3 suggests such a limit."""

_VERSION = "STSv1"
_MAIL_HOST = "mx"  # the only field that comes more than once
_LONGEST_LIFE = 31_557_600  # seconds, RFC 8461 s3.2
_FRESH = timedelta(days=1)  # RFC 8461 s3.3 advises to look once a day whether the policy has changed
_MOST_HOSTS = 500
_FIELD = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31})=([\x21-\x3a\x3c\x3e-\x7e]+)")
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_MX = re.compile(r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")
_DIGITS = re.compile(r"[0-9]{1,10}")
_LINE_END = re.compile(r"\r?\n")


class StsMode(Enum):
    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


class BadPolicy(ValueError):
    """The text is no policy; it counts as if it could not be fetched."""


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """`mx` are names in lower case, `*.` stands for one label; `max_age` in seconds."""

    mode: StsMode
    mx: tuple[str, ...]
    max_age: int

    def permits(self, host: str) -> bool:
        """Whether mail for the domain may go to this host."""
        return any(name_fits(pattern, host) for pattern in self.mx)


def name_fits(pattern: str, name: str) -> bool:
    """Whether a host has this name; `*` is exactly one label, the first (RFC 8461 s4.1, RFC 6125 s6.4.3)."""
    pattern, name = pattern.lower().rstrip("."), name.lower().rstrip(".")
    if not pattern.startswith("*."):
        return bool(name) and pattern == name
    first, _, rest = name.partition(".")
    return bool(first) and rest == pattern[2:]


def record_id(texts: Sequence[bytes]) -> str:
    """The id in the TXT records of `_mta-sts.DOMAIN`; "" unless exactly one of them is an MTA-STS record, and a sound one."""
    found = [fields for fields in map(_fields, texts) if fields and fields[0] == f"v={_VERSION}" and len(fields) > 1]
    if len(found) != 1:
        return ""
    _, *fields = found[0]
    if fields[-1] == "":
        fields.pop()
    parts = [_FIELD.fullmatch(field) for field in fields]
    said = next((part[2] for part in parts if part and part[1] == "id"), "")
    return said if all(parts) and _ID.fullmatch(said) else ""


def _fields(text: bytes) -> list[str]:
    """The parts between semicolons; none if it is not ASCII."""
    try:
        return [field.strip(" \t") for field in text.decode("ascii").split(";")]
    except UnicodeDecodeError:
        return []


def parse_policy(octets: bytes) -> StsPolicy:
    """Reads a policy; fields that nobody knows are skipped, of a field that comes twice (but `mx`) the first counts.

    Raises BadPolicy.
    """
    if len(octets) > LARGEST:
        raise BadPolicy(f"it has more than {LARGEST} octets")
    try:
        lines = _LINE_END.split(octets.decode())
    except UnicodeDecodeError:
        raise BadPolicy("it is not in UTF-8") from None
    fields, mx = dict[str, str](), list[str]()
    for line in lines:
        name, colon, value = line.partition(":")
        value = value.strip(" \t")
        if not colon and line.strip(" \t"):
            raise BadPolicy("a line has no colon")
        if name == _MAIL_HOST:
            mx.append(value)
        else:
            fields.setdefault(name, value)
    return _policy(fields, mx)


def _policy(fields: dict[str, str], mx: list[str]) -> StsPolicy:
    if fields.get("version") != _VERSION:
        raise BadPolicy(f"it does not say version: {_VERSION}")
    try:
        mode = StsMode(fields.get("mode", ""))
    except ValueError:
        raise BadPolicy("its mode is not enforce, testing or none") from None
    if not _DIGITS.fullmatch(fields.get("max_age", "")):
        raise BadPolicy("it does not say for how many seconds it holds (max_age)")
    if len(mx) > _MOST_HOSTS or not all(_MX.fullmatch(pattern) for pattern in mx):
        raise BadPolicy("one of its mx lines has no host name")
    if mode is not StsMode.NONE and not mx:
        raise BadPolicy("it names no mx")
    names = tuple(dict.fromkeys(pattern.lower().rstrip(".") for pattern in mx))
    return StsPolicy(mode, names, min(int(fields["max_age"]), _LONGEST_LIFE))


@dataclass(frozen=True, slots=True)
class KnownPolicy:
    """A policy that was fetched, under the id that the DNS had then."""

    id: str
    policy: StsPolicy
    fetched: datetime

    def holds(self, now: datetime) -> bool:
        """Whether it still binds us, whatever the DNS says by now.  A clock that went back makes nothing older."""
        return now - self.fetched < timedelta(seconds=self.policy.max_age)

    def stale(self, now: datetime) -> bool:
        """Whether to look for a newer one, though the id is the same: it must not run out because the DNS is silent."""
        return abs(now - self.fetched) >= min(_FRESH, timedelta(seconds=self.policy.max_age) / 2)

    def as_json(self) -> dict[str, object]:
        policy = self.policy
        kept = {"mode": policy.mode.value, "mx": list(policy.mx), "max_age": policy.max_age}
        return {"id": self.id, "fetched": self.fetched.isoformat(), **kept}


def known_from_json(value: object) -> KnownPolicy | None:
    """What `as_json` wrote; None for anything else."""
    if not isinstance(value, dict):
        return None
    try:
        fetched = datetime.fromisoformat(value["fetched"])
        fields = {"version": _VERSION, "mode": value["mode"], "max_age": str(value["max_age"])}
        if fetched.tzinfo is None or not isinstance(value["id"], str):
            return None
        return KnownPolicy(value["id"], _policy(fields, [str(name) for name in value["mx"]]), fetched)
    except (KeyError, TypeError, ValueError):
        return None
