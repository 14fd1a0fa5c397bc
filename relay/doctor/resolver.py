"""The DNS as the doctor asks it: records as text, each question once a run, at most a few seconds long."""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from relay.doctor.spf_check import LookupFailed
from relay.upstream.dns import NoAnswer, NoSuchName, Resolver

PATIENCE = 4.0  # seconds for one question: a home router that takes longer is a finding by itself


class DnsLookup:
    """A look-up for spf.py and dmarc.py.  What was asked is kept: the same record is wanted for every address of an ISP."""

    def __init__(self, nameservers: Sequence[str] = (), *, trusted: Sequence[str] = (), patience: float = PATIENCE) -> None:
        self._resolver = Resolver(nameservers, trusted=trusted, patience=patience)
        self._known: dict[tuple[str, str], asyncio.Task[tuple[bool, list[str]]]] = {}

    async def __call__(self, name: str, kind: str) -> Sequence[str]:
        """The records of one type as text; [] if there are none.  Raises LookupFailed."""
        return (await self._asked(name, kind))[1]

    async def exists(self, name: str) -> bool:
        """Whether there is such a name at all.  Raises LookupFailed."""
        return (await self._asked(name, "MX"))[0]

    async def validates(self) -> bool:
        """Whether a nameserver whose word counts says that it has validated the root, which is signed."""
        try:
            return (await self._resolver.look(".", "SOA")).secure
        except (NoSuchName, NoAnswer):
            return False

    async def _asked(self, name: str, kind: str) -> tuple[bool, list[str]]:
        key = name.lower().rstrip("."), kind
        if key not in self._known:
            self._known[key] = asyncio.create_task(self._ask(*key))
        return await asyncio.shield(self._known[key])

    async def _ask(self, name: str, kind: str) -> tuple[bool, list[str]]:
        try:
            records = await self._resolver.ask(name, kind)
        except NoSuchName:
            return False, []
        except NoAnswer as error:
            raise LookupFailed(str(error)) from None
        if kind == "MX":
            records = sorted(records, key=lambda record: int(record.preference))
        return True, [_text(record, kind) for record in records]

    async def close(self) -> None:
        """Ends the questions nobody waits for any more."""
        for task in self._known.values():
            task.cancel()
        await asyncio.gather(*self._known.values(), return_exceptions=True)


async def knows_nothing(look: DnsLookup, own: Iterable[tuple[str, str]], real: Iterable[tuple[str, str]]) -> str:
    """Why no real name can be resolved, "" if one can: our own names first, then such as surely exist.

    Not the root: many home routers refuse that question and answer every other.
    """
    said = []
    for questions in (own, real):
        answers = await asyncio.gather(*(look(*question) for question in questions), return_exceptions=True)
        if any(answer and not isinstance(answer, BaseException) for answer in answers):
            return ""
        said = answers
    failed = next((str(one) for one in said if isinstance(one, LookupFailed)), "")
    return failed or f"it says that {' and '.join(name for name, _ in real)} do not exist"


async def invented(look: DnsLookup, below: str) -> str:
    """The address that the resolver makes up for a name that does not exist, "" if it is honest about that."""
    try:
        return next(iter(await look(f"no-such-name-{secrets.token_hex(4)}.{below}", "A")), "")
    except LookupFailed:
        return ""


def _text(record: Any, kind: str) -> str:
    """TXT strings are joined without a blank (RFC 7208 s3.3); "" is the root as mail host (null MX, RFC 7505)."""
    if kind == "TXT":
        return b"".join(record.strings).decode("utf-8", "replace")
    if kind == "MX":
        return str(record.exchange.to_text(omit_final_dot=True)).rstrip(".")
    if kind in ("PTR", "NS"):
        return str(record.target.to_text(omit_final_dot=True)).rstrip(".")
    return str(record.to_text())
