"""python -m tests.simulation.mutations [NAME ...]: each fault put into the product at run time must be found; prints the table.

--years 50: how many household-years each may take; --first 1: the first seed.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from multiprocessing import Pool
from typing import Any
from unittest.mock import patch

import relay.outbound.chain
import relay.outbound.runner
import relay.spool.sqlite.sqlite_spool
import relay.spool.sqlite.writer
import relay.upstream.transports
from relay.outbound.attempt import Attempt
from relay.outbound.in_hand import Mark
from relay.outbound.notifier import Notifier
from relay.outbound.rate_limit import RateLimit
from relay.outbound.retry import RetrySchedule
from relay.outbound.runner import Runner
from relay.outbound.upstream_state import UpstreamRests
from relay.spool.entry import Action, Order
from relay.spool.sqlite.commit import SqliteCommit
from relay.spool.sqlite.leases import LocalLeases
from relay.spool.sqlite.sqlite_spool import SqliteSpool
from tests.simulation.__main__ import steady
from tests.simulation.plan import plan
from tests.simulation.play import play

Change = tuple[Any, str, Callable[[Any], Any]]
"""Where, which name, and what it becomes, made from what it was."""


def _no_sync(real: Any) -> Any:
    def writer(path: Any) -> Any:
        db = real(path)
        db.execute("PRAGMA synchronous = OFF")
        return db

    return writer


def _said_too_soon(real: Any) -> Any:
    async def store(self: Any, entry: Any, trail: Any, also: Any = None) -> None:
        self._hasty = {*getattr(self, "_hasty", ()), asyncio.ensure_future(real(self, entry, trail, also))}

    return store


def _settled_late(real: Any) -> Any:
    async def settle(self: Any, claim: Any, attempt: Any) -> None:
        if attempt.over:
            await asyncio.sleep(1.0)
            await real(self, claim, attempt)

    return settle


def _forgotten_settlement(real: Any) -> Any:
    """Once for each relayed message whose id ends in a digit."""

    async def settle(self: Any, claim: Any, settlement: Any) -> None:
        known = self.__dict__.setdefault("_forgot", set())
        if not settlement.sent or claim.entry.queue_id in known or not claim.entry.queue_id[-1].isdigit():
            await real(self, claim, settlement)
        known.add(claim.entry.queue_id)

    return settle


def _dropped(real: Any) -> Any:
    async def notify(self: Any, notice: Any, told: Any, trail: Any = (), *, attention: bool = False) -> None:
        some = notice is not None and told and notice.queue_id[-1].isdigit()
        await real(self, None if some else notice, told, trail, attention=attention)

    return notify


def _told_again(real: Any) -> Any:
    async def notify(self: Any, notice: Any, told: Any, trail: Any = (), *, attention: bool = False) -> None:
        known = self.__dict__.setdefault("_told_once", set())
        again = tuple(number for number in told if number in known)
        known.update(told)
        await real(self, notice, again if notice is not None else told, trail, attention=attention)

    return notify


def _one_more(name: str) -> Callable[[Any], Any]:
    def make(real: Any) -> Any:
        def when(self: Any, upstream: Any, limits: Any, *more: Any, **named: Any) -> Any:
            limit = getattr(limits, name)
            return real(self, upstream, replace(limits, **{name: limit and limit + 1}), *more, **named)

        return when

    return make


def _no_login_rest(real: Any) -> Any:
    return lambda self, failures, *, login=False: real(self, failures, login=False)


def _hurried(real: Any) -> Any:
    return lambda self, *words, **named: real(self, *words, **named) and timedelta(seconds=10)


def _early(real: Any) -> Any:
    return lambda self, attempts, age, *, waited=timedelta(0): age >= timedelta(days=1) and attempts >= 3


def _wide(real: Any) -> Any:
    return lambda connections: real(connections + 3)


def _unwoken(real: Any) -> Any:
    def stored(self: Any, *words: Any) -> None:
        was = self._work.is_set()
        real(self, *words)
        if not was:
            self._work.clear()

    return stored


def _not_held(real: Any) -> Any:
    async def order(self: Any, order: Order, now: Any) -> int:
        return 1 if order.action is Action.HOLD else int(await real(self, order, now))

    return order


MUTATIONS: dict[str, Change] = {
    "no fsync before 250": (relay.spool.sqlite.writer, "writer", _no_sync),
    "250 before the commit": (SqliteCommit, "store", _said_too_soon),
    "settled after the next step": (Runner, "_settle", _settled_late),
    "settlement forgotten now and then": (SqliteSpool, "settle", _forgotten_settlement),
    "rest forgotten": (UpstreamRests, "resting_until", lambda real: lambda self, name, now: None),
    "lease lost": (LocalLeases, "messages", lambda real: lambda self: set()),
    "notice dropped now and then": (SqliteSpool, "notify", _dropped),
    "notice told twice": (SqliteSpool, "notify", _told_again),
    "day's quota off by one": (RateLimit, "when", _one_more("per_day")),
    "minute's limit off by one": (RateLimit, "when", _one_more("per_minute")),
    "maybe_at cleared": (relay.outbound.chain.ChainProgress, "doubt", lambda real: lambda self, name, now: None),
    "mark of the final dot forgotten": (Mark, "sent_to", lambda real: lambda self, upstream: None),
    "refused login rests a minute": (RetrySchedule, "rest_for", _no_login_rest),
    "waits do not grow": (RetrySchedule, "next", _hurried),
    "given up after a day": (RetrySchedule, "expired", _early),
    "never given up": (RetrySchedule, "expired", lambda real: lambda self, *_, **__: False),
    "connections not bounded": (relay.upstream.transports, "_Places", _wide),
    "wake-up lost": (SqliteSpool, "_stored", _unwoken),
    "hold does nothing": (SqliteSpool, "order", _not_held),
    "nobody in charge is told": (Notifier, "notify_whom", lambda real: lambda self, entry: None),
    "given up still waits": (Attempt, "waits", lambda real: property(lambda self: not self.relayed)),
}


@contextmanager
def mutated(name: str) -> Iterator[None]:
    where, attribute, make = MUTATIONS[name]
    with patch.object(where, attribute, make(getattr(where, attribute))):
        yield


def hunt(asked: tuple[str, int, float]) -> tuple[str, float, int, str]:
    """Household-years until it was found, the seed and what was broken ("" if it was not found)."""
    name, first, most = asked
    days, seed = 0.0, first
    while days < most * 365:
        with mutated(name):
            played = play(plan(seed))
        days += played.days
        if played.broken:
            return name, days / 365, seed, played.broken[0]
        seed += 1
    return name, days / 365, 0, ""


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutations")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--years", type=float, default=50.0)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args(words)
    names = asked.names or list(MUTATIONS)
    missed = 0
    with Pool(asked.workers, maxtasksperchild=1) as pool:
        for name, years, seed, broken in pool.imap_unordered(hunt, [(name, asked.first, asked.years) for name in names]):
            missed += not seed
            found = f"seed {seed:<4d} {broken[:90]}" if seed else "NOT FOUND"
            print(f"{name:36s} {years:6.2f} years  {found}", flush=True)
    print(f"{len(names) - missed} of {len(names)} found")
    return 1 if missed else 0


if __name__ == "__main__":
    steady("tests.simulation.mutations")
    sys.exit(main(sys.argv[1:]))
