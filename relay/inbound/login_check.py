"""Checks the passwords of devices.  A hash is computed beside the event loop, one at a time: whoever guesses takes one
processor and the memory of one check, never more.

Right passwords are remembered, sealed with a key of this process, so that a device that logs in for each message waits for
no hash and for nobody's guesses.
"""

import asyncio
import hashlib
import hmac
import itertools
import secrets
from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from relay.detached import apart
from relay.inbound.server_sasl import Credentials, known
from relay.password_hash import PasswordHash, is_hash, nobody, read_hash
from relay.secret import Secret

WAITING = 8
"""Logins that may wait for their turn; of more, those of the clients with the most wrong passwords come again later."""
_REMEMBERED = 1000


class TooMany(Exception):
    """Too many logins wait: this one should come again later."""


@dataclass(order=True, slots=True)
class _Waiting:
    wrong: int
    number: int
    turn: asyncio.Future[bool] = field(compare=False)


class LoginCheck:
    """One for the whole relay."""

    def __init__(self) -> None:
        self._seal = secrets.token_bytes(32)
        self._right: dict[str, bytes] = {}
        self._busy = False
        self._waiting: list[_Waiting] = []
        self._numbers = itertools.count()

    async def user(self, said: Credentials, users: Mapping[str, Secret], wrong: int) -> str:
        """The user's name if the password is right, else "".

        `wrong` is how many wrong passwords the client has sent lately: who has sent fewer comes first.  An unknown name,
        a wrong password and a name with a plain password take the same work.  Raises TooMany.
        """
        name = said.user.decode("utf-8", "replace")
        stored = users[name].reveal() if name in users else ""
        hashes = {one: read_hash(text) for one, secret in users.items() if is_hash(text := secret.reveal())}
        plain = "" if name in hashes else known(said, users)
        if plain or not hashes:
            return plain
        proof = hmac.digest(self._seal, said.password, hashlib.sha256)
        if hmac.compare_digest(self._right.get(stored, b""), proof):
            return name
        await self._turn(wrong)
        work = asyncio.create_task(apart(partial(_fits, said.password, hashes.get(name), list(hashes.values()))))
        work.add_done_callback(self._next)  # also if this session ends meanwhile: its check goes on to its end
        if not await asyncio.shield(work):
            return ""
        self._right[stored] = proof
        if len(self._right) > _REMEMBERED:
            del self._right[next(iter(self._right))]
        return name

    async def _turn(self, wrong: int) -> None:
        if not self._busy:
            self._busy = True
            return
        own = _Waiting(wrong, next(self._numbers), asyncio.get_running_loop().create_future())
        insort(self._waiting, own)
        if len(self._waiting) > WAITING:
            self._waiting.pop().turn.set_result(False)
        try:
            granted = await own.turn
        except asyncio.CancelledError:
            if own in self._waiting:
                self._waiting.remove(own)
            elif own.turn.done() and not own.turn.cancelled() and own.turn.result():
                self._next()
            raise
        if not granted:
            raise TooMany

    def _next(self, _done: object = None) -> None:
        """Gives the turn to the first that waits."""
        self._busy = bool(self._waiting)
        if self._waiting:
            self._waiting.pop(0).turn.set_result(True)


def _fits(password: bytes, own: PasswordHash | None, every: list[PasswordHash]) -> bool:
    """One check for each cost that a hash of the listener has, whoever asks: so the time tells nothing."""
    fits = False
    for cost in dict.fromkeys(one.cost for one in every):
        if own is not None and own.cost == cost:
            fits = own.fits(password)
        else:
            nobody(cost).fits(password)
    return fits
