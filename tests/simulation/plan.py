"""What will happen in a world, from its seed: a list of events, which may be shortened.  Pure."""

import random
from dataclasses import dataclass
from typing import Any

from tests.simulation.devices import KINDS
from tests.simulation.upstreams import MOODS

DAY = 86_400.0
MINUTE = 60.0
CALM = 6.5 * DAY
"""After the last event all upstreams are well for so long: longer than `give_up_after` and all waits."""

POINTS = (
    *("accept-received", "accept-inside", "accept-durable", "accept-promised", "claim-leased", "send-prepared"),
    *("send-answered", "settle-inside", "settle-durable", "notice-composed", "notice-inside", "notice-durable"),
)


@dataclass(frozen=True, slots=True)
class Event:
    """`at`: seconds since the world began.

    mail DEVICE DOMAIN KINDS SIZE NUMBER; spell UPSTREAM MOOD SECONDS; dns MOOD SECONDS; disk SECONDS;
    crash STEPS|POINT POWER DOWN (after the next mail: so many callbacks later, or at a named point); stop DOWN; clock SECONDS;
    order ACTION VIA; reload VARIANT.
    """

    at: float
    kind: str
    words: tuple[Any, ...]

    def __str__(self) -> str:
        days, rest = divmod(self.at, DAY)
        return (
            f"day {int(days):2d} {int(rest // 3600):02d}:{rest % 3600 / 60:05.2f}  {self.kind} {' '.join(map(str, self.words))}"
        )


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    days: float
    stride: int
    events: tuple[Event, ...]


def plan(seed: int) -> Plan:
    """The world of a seed.  Some are calm, most have a trouble or two each day; those with jumps of the clock are apart."""
    dice = random.Random(f"plan {seed}")
    days = dice.choice((4, 8, 15, 30))
    stride = dice.choice((1, 20, 20, 20))
    days = min(days, 4) if stride == 1 else days
    events: list[Event] = []
    number = 0
    per_day = dice.choice((4, 8, 16))
    rough = dice.choice((0.2, 1.0, 3.0))
    jumps = dice.random() < 0.2
    clumsy = dice.random()
    for day in range(days):
        for _ in range(dice.randint(per_day // 2, per_day * 3 // 2)):
            at = (day + dice.betavariate(2, 2)) * DAY
            for _ in range(dice.choice((1, 1, 1, 1, 2, 6))):  # a motion detector sends some
                number += 1
                kind = dice.choice(KINDS)
                wishes = tuple(dice.choice(("ok",) * 12 + ("gone", "full")) for _ in range(dice.randint(1, kind.cc)))
                domain = dice.choice(("a.example", "a.example", "b.example", "c.example", "c.example"))
                size = dice.choice((10, 300, 2000)) if dice.random() < 0.97 else dice.choice((40_000, 400_000))
                events.append(Event(at, "mail", (kind.name, domain, wishes, size, number)))
                at += dice.expovariate(1 / 4)
        for _ in range(_times(dice, rough)):
            seconds = dice.choice((2, 10, 60, 60, 240, 600, 1500)) * MINUTE * dice.uniform(0.5, 1.5)
            events.append(Event(_when(dice, events, day), "spell", (dice.choice(("isp", "alt")), dice.choice(MOODS), seconds)))
        for _ in range(_times(dice, rough * clumsy)):
            events.append(_accident(dice, _when(dice, events, day), jumps=jumps))
    if dice.random() < 0.3:  # gone for longer than anybody waits
        at = dice.uniform(0, days) * DAY
        mood = dice.choice(("refuse", "silent", "auth535", "mail451", "rcpt451", "greet421", "dot451", "quota"))
        events += [Event(at, "spell", (name, mood, 5.6 * DAY)) for name in dice.choice((("isp",), ("alt",), ("isp", "alt")))]
    return Plan(seed, days, stride, tuple(sorted(events, key=lambda one: one.at)))


def _times(dice: random.Random, mean: float) -> int:
    return int(mean + dice.random())


def _when(dice: random.Random, events: list[Event], day: int) -> float:
    """Near some mail, or anywhere in the day."""
    mails = [one.at for one in events if one.kind == "mail" and one.at >= day * DAY]
    if mails and dice.random() < 0.6:
        return max(0.0, dice.choice(mails) - dice.choice((0.01, 1.0, 20.0, 300.0, -0.05, -1.0, -70.0)))
    return (day + dice.random()) * DAY


def _accident(dice: random.Random, at: float, *, jumps: bool) -> Event:
    kinds = ["crash"] * 4 + ["order"] * 4 + ["reload", "reload", "stop", "dns", "disk"] + ["clock"] * (3 if jumps else 0)
    match dice.choice(kinds):
        case "crash":
            where = dice.choice(POINTS) if dice.random() < 0.4 else dice.randint(1, 220)
            return Event(at, "crash", (where, dice.random() < 0.5, dice.choice((1.0, 5.0, 300.0, 7200.0))))
        case "order":
            action = dice.choice(("retry", "retry", "retry-one", "hold", "hold", "release", "release-via", "remove"))
            return Event(at, "order", (action, dice.random()))
        case "reload":
            return Event(at, "reload", (dice.randint(0, 2),))
        case "stop":
            return Event(at, "stop", (dice.choice((1.0, 600.0)),))
        case "dns":
            return Event(at, "dns", (dice.choice(("again", "noname", "slow")), dice.choice((60.0, 900.0, 7200.0))))
        case "disk":
            return Event(at, "disk", (dice.choice((60.0, 3600.0)),))
        case _:
            return Event(at, "clock", (dice.choice((-7200.0, -400.0, -30.0, 400.0, 7200.0, 40 * DAY, -40 * DAY)),))


def settings(directory: str, variant: int = 0) -> dict[str, Any]:
    """The configuration, as a file says it.  Variants: others come first, and limits change."""
    account = {"host": "mail.isp.example", "port": 587, "tls": "none", "username": "taro@isp.example", "password": "secret"}
    chain = ["isp", "alt"] if variant != 1 else ["alt", "isp"]
    return {
        "hostname": "relay.test",
        "listen": [{"address": "0.0.0.0:25", "networks": ["private"], "tls": "off", "auth": "any"}],
        "upstreams": {
            "isp": {**account, "timeout": "20s", "limits": {"connections": 2, "per_minute": PER_MINUTE, "per_day": PER_DAY}},
            "alt": {"host": "mail.alt.example", "port": 2626, "tls": "none", "sender": "home@alt.example", "timeout": "20s"},
        },
        "routes": [{"to": "*@a.example", "via": ["isp"]}, {"to": "*@b.example", "via": ["alt"]}, {"via": chain}],
        "recipients": {"default_domain": "home.example"},
        "notices": {"to": "owner@owner.example", "digest": "15m" if variant != 2 else "1m"},
        "spool": {"url": f"sqlite:{directory}/spool/spool.db", "keep_free": "1MB", "keep_history": "1000d"},
        "limits": {"messages_per_minute": 300},
        "log": {"format": "json", "level": "error"},
    }


PER_MINUTE = 3
PER_DAY = 40
CONNECTIONS = {"isp": 2, "alt": 4}
WARN_AFTER = 4 * 3600.0
PORTS = {"isp": 587, "alt": 2626}
