"""Users who log in at another relay: names, and those passwords and hashes that the relay can check.  Pure.

Dovecot's passwd-file (`name:{SCHEME}password:...`), and `name:password,...` of boky/postfix.  scrypt is taken in the forms
that it is written in elsewhere: crypt(5) `$7$`, passlib's `$scrypt$ln=14,r=8,p=1$`, and Werkzeug's `scrypt:N:r:p$salt$hex`.
"""

import re
from base64 import b64decode
from collections.abc import Iterator

from relay.importers.plan import Plan, Source
from relay.password_hash import BadHash, Cost, PasswordHash, check_cost, is_hash, read_hash
from relay.secret import Secret

_CRYPT = re.compile(r"\$7\$([./0-9A-Za-z])([./0-9A-Za-z]{5})([./0-9A-Za-z]{5})([^$:\s]{8,64})\$([./0-9A-Za-z]{43})")
_PASSLIB = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,5}),p=(\d{1,5})\$([A-Za-z0-9./+]{11,86})\$([A-Za-z0-9./+]{22,86})")
_WERKZEUG = re.compile(r"scrypt:(\d{1,9}):(\d{1,5}):(\d{1,5})\$([^$:\s]{8,64})\$((?:[0-9a-f]{2}){16,64})")
_FIELD = re.compile(r"(?:\{([A-Za-z0-9.-]{1,30})\})?([^\s{}]{1,200})")
_NAME = re.compile(r"[^\s#{}\[\]]{1,64}")
_PLAIN = frozenset({"PLAIN", "CLEAR", "CLEARTEXT"})
_DIGITS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def is_users_file(source: Source) -> bool:
    """Whether every line is one of a passwd-file, with a scheme or a hash in it somewhere."""
    fields = [line.split(":", 2) for _, line in _lines(source)]
    whole = all(len(each) > 1 and _NAME.fullmatch(each[0]) and _FIELD.fullmatch(each[1]) for each in fields)
    return whole and any(each[1].startswith(("{", "$")) for each in fields)


def read_users(source: Source, plan: Plan) -> None:
    """The users of a passwd-file."""
    for number, line in _lines(source):
        name, stored, *_ = line.split(":", 2)
        if found := _FIELD.fullmatch(stored):
            _add(plan, source.at(number), name, (found[1] or "").upper(), found[2])


def read_pairs(text: str, plan: Plan) -> None:
    """`name:password,name:password`, or with blanks between."""
    for pair in re.split(r"[,\s]+", text.strip()):
        name, colon, password = pair.partition(":")
        if name and colon and password:
            plan.users[name] = Secret(password)


def _lines(source: Source) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(source.text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


def _add(plan: Plan, where: str, name: str, scheme: str, stored: str) -> None:
    if scheme in _PLAIN and stored:
        plan.users[name] = Secret(stored)
        return
    try:
        found = foreign_hash(stored) if scheme in ("", "CRYPT", "SCRYPT") else None
    except BadHash as bad:
        plan.drop(where, f"the hash of {name} cannot be checked here: expected {bad}")
        return
    if found is None:
        plan.drop(where, f"the hash of {name} is of another kind than scrypt; `relay hash` makes one of the password")
        return
    plan.users[name] = Secret(str(found))


def foreign_hash(text: str) -> PasswordHash | None:
    """scrypt as others write it; None if it is none.  Raises BadHash if it costs too much to check."""
    if found := _CRYPT.fullmatch(text):
        cost = Cost(1 << _DIGITS.index(found[1]), _number(found[2]), _number(found[3]))
        hashed = PasswordHash(cost, found[4].encode(), _octets(found[5]))
    elif found := _PASSLIB.fullmatch(text):
        cost = Cost(1 << int(found[1]), int(found[2]), int(found[3]))
        hashed = PasswordHash(cost, _base64(found[4]), _base64(found[5]))
    elif found := _WERKZEUG.fullmatch(text):
        cost = Cost(int(found[1]), int(found[2]), int(found[3]))
        hashed = PasswordHash(cost, found[4].encode(), bytes.fromhex(found[5]))
    else:
        return read_hash(text) if is_hash(text) else None
    check_cost(cost)
    return hashed


def _number(digits: str) -> int:
    return sum(_DIGITS.index(digit) << 6 * place for place, digit in enumerate(digits))


def _octets(digits: str) -> bytes:
    """crypt's own base64: groups of four digits, the lowest bits first."""
    groups = [digits[start : start + 4] for start in range(0, len(digits), 4)]
    return b"".join(_number(group).to_bytes(4, "little")[: len(group) * 6 // 8] for group in groups)


def _base64(text: str) -> bytes:
    """passlib's has a dot for the plus, and no padding."""
    try:
        return b64decode(text.replace(".", "+") + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise BadHash("a hash whose salt and key are base64") from None
