"""What `relay import` makes of a Postfix set routes as that very Postfix does.

smtplib ──> a real Postfix with the set ──> three sinks        the same files ── relay import ──> routes: the same sink
"""

import smtplib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from relay import config
from relay.cli.main import main
from relay.mail.address import parse_path
from relay.mail.envelope import Origin
from relay.outbound.routing import chain_for
from tests.support.peers import Peer, postfix_client
from tests.support.sink import Sink, sink
from tests.support.waiting import eventually

SENDERS = ["a@plain.example", "me@office.example", "nas@office.example", "boss@office.example", "x@sub.office.example"]
RECIPIENTS = [
    "you@far.example",
    "you@host.example",
    "boss@host.example",
    "boss+box@host.example",
    "you@www.host.example",
    "you@a.b.host.example",
    "you@deep.host.example",
    "you@x.deep.host.example",
    "you@usual.host.example",
    "backup-7@pattern.example",
    "other@pattern.example",
    "you@nothost.example",
]


@dataclass
class Set:
    """The Postfix that runs, the sinks behind it, and the relay's configuration made of its files."""

    peer: Peer
    sinks: dict[int, Sink]
    settings: config.Config


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Set]:
    folder = tmp_path_factory.mktemp("set")
    with sink(folder / "a") as a, sink(folder / "b") as b, sink(folder / "c") as c:
        tables = {
            "transport": f"""
boss@host.example        smtp:[127.0.0.1]:{c.port}
host.example             smtp:[127.0.0.1]:{b.port}
.host.example            smtp:[127.0.0.1]:{b.port}
.deep.host.example       smtp:[127.0.0.1]:{c.port}
usual.host.example       :
""",
            "patterns": f"/^backup-.*@pattern\\.example$/  smtp:[127.0.0.1]:{c.port}\n",
            "senders": f"""
@office.example      [127.0.0.1]:{b.port}
boss@office.example  [127.0.0.1]:{c.port}
nas@office.example   DUNNO
""",
        }
        settings = {
            "smtp_tls_security_level": "none",
            "recipient_delimiter": "+",
            "transport_maps": "texthash:/srv/peer/transport, regexp:/srv/peer/patterns",
            "sender_dependent_relayhost_maps": "texthash:/srv/peer/senders",
        }
        with postfix_client(a.port, settings=settings) as peer:
            for name, text in tables.items():
                (folder / name).write_text(text)
                (peer.inside.share / name).write_text(text)
                (peer.inside.share / name).chmod(0o644)
            (folder / "main.cf").write_bytes((peer.inside.share / "main.cf").read_bytes())
            names = [str(folder / name) for name in ("main.cf", *tables)]
            assert main(["import", "postfix", *names, "--output", str(folder / "relay")]) == 0
            loaded = config.load(folder / "relay" / "config.yaml", {})
            assert loaded.config, loaded.mistakes
            yield Set(peer, {one.port: one for one in (a, b, c)}, loaded.config)


def test_every_pair_goes_where_postfix_sends_it(moved: Set) -> None:
    """Twelve recipients from five senders and the null sender, each to the sink that the real Postfix chose."""
    pairs = [(sender, recipient) for sender in [*SENDERS, ""] for recipient in RECIPIENTS]
    with smtplib.SMTP("127.0.0.1", moved.peer.port, timeout=30) as device:
        for number, (sender, recipient) in enumerate(pairs):
            device.sendmail(sender, [recipient], f"Subject: pair-{number}\r\n\r\nx\r\n".encode())
    arrived = lambda: sum(len(one.taken()) for one in moved.sinks.values())  # noqa: E731
    eventually(lambda: arrived() >= len(pairs), 60, lambda: f"{arrived()} of {len(pairs)}\n{moved.peer.log()[-2000:]}")
    by_postfix = {taken.header("Subject"): port for port, one in moved.sinks.items() for taken in one.taken()}
    assert len(by_postfix) == len(pairs), moved.peer.log()[-2000:]
    by_relay = {}
    for number, (sender, recipient) in enumerate(pairs):
        chosen = chain_for(moved.settings.routes, parse_path(f"<{sender}>"), parse_path(recipient), Origin("127.0.0.1"))
        by_relay[f"pair-{number}"] = moved.settings.upstreams[chosen.via[0]].smtp.port
    assert {pairs[int(name[5:])]: port for name, port in by_postfix.items()} == {
        pairs[int(name[5:])]: port for name, port in by_relay.items()
    }
    assert len(set(by_postfix.values())) == 3
