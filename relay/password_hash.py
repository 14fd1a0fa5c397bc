"""Hashed passwords: `scrypt:N:R:P:SALT:KEY`, cost in numbers, salt and key in base64 (RFC 7914).  Pure."""

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field

PREFIX = "scrypt:"
MOST_MEMORY = 64 << 20
"""Octets that one check may use: a relay must fit into a small board, and anybody on the LAN may make it check."""
MOST_WORK = 1 << 21
"""N times R times P: two seconds on a PC."""

_FORM = re.compile(r"scrypt:([0-9]{1,9}):([0-9]{1,5}):([0-9]{1,5}):([\w-]{11,86}):([\w-]{22,86})", re.ASCII)


class BadHash(ValueError):
    """The text is no hash that can be checked here.  Its words say why, and nothing of the hash."""


@dataclass(frozen=True, slots=True)
class Cost:
    """scrypt's parameters (RFC 7914 s2): `n` a power of two, `r` the block size, `p` how often."""

    n: int
    r: int
    p: int

    @property
    def memory(self) -> int:
        return 128 * self.r * (self.n + self.p + 2)


USUAL = Cost(n=1 << 14, r=8, p=5)
"""16 MiB and a third of a second on a PC; what OWASP asks for, with the least memory of its choices."""


@dataclass(frozen=True, slots=True)
class PasswordHash:
    cost: Cost
    salt: bytes = field(repr=False)
    key: bytes = field(repr=False)

    def __str__(self) -> str:
        cost = self.cost
        return f"{PREFIX}{cost.n}:{cost.r}:{cost.p}:{_as_text(self.salt)}:{_as_text(self.key)}"

    def fits(self, password: bytes) -> bool:
        """Whether it is this password's; takes the same time either way."""
        return hmac.compare_digest(_key(password, self.salt, self.cost, len(self.key)), self.key)


def hash_of(password: bytes, salt: bytes, cost: Cost = USUAL) -> PasswordHash:
    """`salt` must be random: 16 octets."""
    return PasswordHash(cost, salt, _key(password, salt, cost, 32))


def nobody(cost: Cost) -> PasswordHash:
    """No password has this hash; checking it takes as long as checking a real one."""
    return PasswordHash(cost, bytes(16), bytes(32))


def is_hash(stored: str) -> bool:
    """Whether a stored password is meant as a hash."""
    return stored.startswith(PREFIX)


def read_hash(text: str) -> PasswordHash:
    """Raises BadHash."""
    found = _FORM.fullmatch(text)
    if not found:
        raise BadHash("a hash as `relay hash` prints it: scrypt:N:R:P:SALT:KEY")
    cost = Cost(int(found[1]), int(found[2]), int(found[3]))
    check_cost(cost)
    return PasswordHash(cost, _octets(found[4]), _octets(found[5]))


def check_cost(cost: Cost) -> None:
    """Raises BadHash for what scrypt does not allow, and for what would take too much of a small board."""
    if cost.n < 1024 or cost.n & (cost.n - 1) or not cost.r or not cost.p:
        raise BadHash("a hash whose N is a power of two from 1024 up, with R and P from 1 up")
    if 128 * cost.r * cost.n > MOST_MEMORY or cost.n * cost.r * cost.p > MOST_WORK:
        raise BadHash(f"a hash that takes at most {MOST_MEMORY >> 20} MiB and N*R*P = {MOST_WORK} to check")


def _key(password: bytes, salt: bytes, cost: Cost, length: int) -> bytes:
    spare = 1 << 20
    return hashlib.scrypt(password, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=cost.memory + spare, dklen=length)


def _as_text(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode("ascii").rstrip("=")


def _octets(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise BadHash("a hash whose salt and key are base64") from None
