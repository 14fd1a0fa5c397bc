"""MTA-STS policies of recipients' domains: found in the DNS, fetched over HTTPS, kept over restarts.  RFC 8461 s3, s5."""

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from relay import events
from relay.detached import apart
from relay.upstream.connect import Failed, endpoints, is_ours
from relay.upstream.dns import NoAnswer, NoSuchName, Resolver
from relay.upstream.mta_sts import LARGEST, BadPolicy, KnownPolicy, StsPolicy, known_from_json, parse_policy, record_id
from relay.upstream.mx_order import allowed
from relay.upstream.settings import Tls
from relay.upstream.state_file import replace_file
from relay.upstream.tls import context_for

_WHOLE = 20.0  # seconds for a fetch, from the DNS to the last octet: mail waits for it
_PAUSE = 300.0  # seconds after a failure in which the same is not tried again (RFC 8461 s3.3)
_MOST = 1000  # domains of which something is remembered
_LARGEST_FILE = 4_000_000  # octets; a long policy has 64 KiB, and what is not read whole is not read at all

Fetch = Callable[[str, bool], Awaitable[StsPolicy]]
"""Gets the policy of a domain from its web server, which may be in the LAN if the second value says so.  Raises NoPolicy."""


class NoPolicy(Exception):
    """The policy cannot be had; the text says why."""


class StsPolicies:
    """`file`: where policies are kept; without one a restart forgets them."""

    def __init__(
        self,
        resolver: Resolver,
        file: Path | None = None,
        fetch: Fetch | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resolver, self._file, self._now, self._monotonic = resolver, file, now, monotonic
        self._fetch = fetch or PolicyFetch(resolver)
        self._known: dict[str, KnownPolicy] | None = None
        self._paused: dict[tuple[str, str], float] = {}
        self._looking: dict[str, asyncio.Task[StsPolicy | None]] = {}
        self._waiting = Counter[str]()
        self._writing = asyncio.Lock()

    async def of(self, domain: str, *, private: bool) -> StsPolicy | None:
        """The policy that mail to a domain (A-labels) is bound to now; None if there is none.

        Many that ask at once cause one look-up.
        """
        name = domain.lower().rstrip(".")
        task = self._looking.get(name)
        if task is None:
            task = self._looking[name] = asyncio.create_task(self._look(name, private))
            task.add_done_callback(lambda _: self._looking.pop(name, None))
        self._waiting[name] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name]

    async def close(self) -> None:
        """Ends look-ups that nobody waits for; after a reload, mail that is under way goes on with its own."""
        tasks = [task for name, task in self._looking.items() if not self._waiting[name]]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, domain: str, private: bool) -> StsPolicy | None:
        kept = await self._load()
        known = kept.get(domain)
        if known and not known.holds(self._now()):
            known = None
        found = await self._published(domain)
        current = known is not None and found in ("", known.id) and not known.stale(self._now())
        if current or not (found or known) or self._is_paused(domain, found):
            return known.policy if known else None
        try:
            policy = await self._fetch(domain, private)
        except NoPolicy as error:
            self._pause(domain, found)
            held = "; the one from before still holds" if known else "; its mail goes without"
            events.note("warned", f"the MTA-STS policy of {domain} cannot be fetched: {error}{held}", domain=domain)
            return known.policy if known else None
        await self._keep(domain, KnownPolicy(found or (known.id if known else ""), policy, self._now()))
        return policy

    async def _published(self, domain: str) -> str:
        """The id in the DNS; "" if there is none, or no answer: that takes no policy away which is known (RFC 8461 s3.1)."""
        if self._is_paused(domain, "?"):
            return ""
        try:
            records = await self._resolver.ask(f"_mta-sts.{domain}", "TXT")
        except NoSuchName:
            return ""
        except NoAnswer:
            self._pause(domain, "?")
            return ""
        return record_id([b"".join(record.strings) for record in records])

    def _is_paused(self, domain: str, what: str) -> bool:
        return self._monotonic() < self._paused.get((domain, what), 0.0)

    def _pause(self, domain: str, what: str) -> None:
        self._paused.pop((domain, what), None)
        self._paused[domain, what] = self._monotonic() + _PAUSE
        if len(self._paused) > _MOST:
            del self._paused[next(iter(self._paused))]

    async def _load(self) -> dict[str, KnownPolicy]:
        if self._known is None:
            found = await apart(partial(_read, self._file)) if self._file else {}
            self._known = self._known or found  # another domain's look-up may have been first
        return self._known

    async def _keep(self, domain: str, one: KnownPolicy) -> None:
        known = await self._load()
        known[domain] = one
        if len(known) > _MOST:
            del known[min(known, key=lambda each: known[each].fetched)]
        while len(octets := _written(known)) > _LARGEST_FILE:
            del known[max(known, key=lambda each: sum(map(len, known[each].policy.mx)))]
        if self._file is None:
            return
        try:
            async with self._writing:
                await apart(partial(replace_file, self._file, self._file.parent, octets))
        except OSError as error:
            events.note("warned", f"{self._file} cannot be written: {error}; a restart forgets MTA-STS policies")


def _written(known: Mapping[str, KnownPolicy]) -> bytes:
    return json.dumps({name: each.as_json() for name, each in known.items()}, indent=1).encode()


def _read(file: Path) -> dict[str, KnownPolicy]:
    try:
        with file.open("rb") as opened:
            kept = json.loads(opened.read(_LARGEST_FILE))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        events.note("warned", f"{file} cannot be read: {error}; MTA-STS policies are fetched anew")
        return {}
    found = {str(name): known_from_json(value) for name, value in kept.items()} if isinstance(kept, dict) else {}
    return {name: one for name, one in found.items() if one}


class PolicyFetch:
    """Fetches policies by HTTPS with a verified certificate, and follows no redirect (RFC 8461 s3.3).

    `port` is 443, and `tls` trusts the system's authorities, but in tests.
    """

    def __init__(self, resolver: Resolver, *, port: int = 443, tls: Tls | None = None) -> None:
        self._resolver, self._port, self._tls = resolver, port, tls or Tls()

    async def __call__(self, domain: str, private: bool) -> StsPolicy:
        host = f"mta-sts.{domain}"
        try:
            async with asyncio.timeout(_WHOLE):
                return await self._policy(host, private)
        except TimeoutError:
            raise NoPolicy(f"{host} gave no whole answer within {_WHOLE:g} seconds") from None
        except ssl.SSLCertVerificationError as error:
            raise NoPolicy(f"the certificate of {host} is not trusted: {error.verify_message}") from None
        except OSError as error:
            raise NoPolicy(f"{host}: {error.strerror or error}") from None

    async def _policy(self, host: str, private: bool) -> StsPolicy:
        from relay.upstream.http_session import HttpLost, HttpOrigin, HttpRequest, open_http

        try:
            addresses = (await self._resolver.addresses(host)).addresses
        except (NoSuchName, NoAnswer) as error:
            raise NoPolicy(str(error)) from None
        candidates = endpoints(allowed(addresses, private=private, ours=is_ours), self._port)
        if not candidates:
            raise NoPolicy(f"{host} has no address on the Internet")
        context = await asyncio.to_thread(context_for, self._tls)
        request = HttpRequest("GET", "/.well-known/mta-sts.txt", [("Accept", "text/plain")], most=LARGEST)
        try:
            session = await open_http(HttpOrigin(host, self._port, True), context, _WHOLE, candidates)
            try:
                answer = await session.ask(request, _WHOLE)
            finally:
                session.abort()
        except Failed as failed:
            raise NoPolicy(f"{host}: {failed.answer.reply.text}") from None
        except HttpLost as lost:
            raise NoPolicy(str(lost)) from None
        if answer.status != 200:
            raise NoPolicy(f"{host} answers {answer.status} {answer.reason}".rstrip())
        if answer.headers.get("content-type", "").partition(";")[0].strip().lower() != "text/plain":
            raise NoPolicy(f"{host} answers with what is not text/plain")
        try:
            return parse_policy(answer.body)
        except BadPolicy as bad:
            raise NoPolicy(f"what {host} answers is no policy: {bad}") from None
