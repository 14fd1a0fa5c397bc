"""A bit of what was stored turns over: the message is held and told, and never relayed as anything but what was accepted.

NAS ──> relay ──> spool, where bits flip while it is down ──> relay ──> sink
"""

import random
import smtplib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.chaos.ledger import Ledger
from tests.support.peers import free_port
from tests.support.running import RelayProcess
from tests.support.sink import sink
from tests.support.waiting import eventually

HEAD = "From: <nas@isp.example>\r\nTo: <b@far.example>\r\nSubject: {}\r\nMessage-ID: <{}@nas>\r\nDate: {}\r\n\r\n"
DATE = "Mon, 30 Nov 2026 02:00:00 +0000"
CHANCE = random.Random(17)


def noise(octets: int) -> str:
    """Lines that no compression makes shorter by much."""
    return "\r\n".join(CHANCE.randbytes(37).hex() for _ in range(octets // 76)) + "\r\n"


BODIES = {"tiny": "x\r\n", "log": "one line of a log\r\n" * 400, "noise": noise(20_000), "photo": noise(200_000)}
BODIES["scan"] = noise(400_000)  # in the file's spool a file of its own
FLIPS = [(kind, where) for kind in BODIES for where in ("first", "middle", "last")]
FLIPS += [(kind, where) for kind in ("photo", "scan") for where in ("gap", "end")]


def flipped(octets: bytes, where: str) -> bytes:
    place = {"first": 8, "middle": len(octets) // 2, "last": len(octets) - 3}[where]
    changed = bytearray(octets)
    changed[place] ^= 1 << CHANCE.randrange(6)
    return bytes(changed)


def flip_in_file(spool: Path, queue_id: str, where: str) -> None:
    with closing(sqlite3.connect(spool, isolation_level=None)) as db:
        rows = db.execute(
            "SELECT rowid, data FROM content WHERE message = (SELECT id FROM message WHERE queue_id = ?) ORDER BY seq",
            (queue_id,),
        ).fetchall()
        if not rows:
            (message,) = db.execute("SELECT id FROM message WHERE queue_id = ?", (queue_id,)).fetchone()
            flip_in_content(Path(f"{spool}-content") / f"{message}.eml", where)
            return
        if where in ("gap", "end"):
            db.execute("DELETE FROM content WHERE rowid = ?", (rows[-1 if where == "end" else 1][0],))
            return
        row, data = rows[{"first": 0, "middle": len(rows) // 2, "last": -1}[where]]
        db.execute("UPDATE content SET data = ? WHERE rowid = ?", (flipped(data, where), row))


def flip_in_content(file: Path, where: str) -> None:
    octets = file.read_bytes()
    if where == "end":
        file.unlink()
    else:
        file.write_bytes(octets[:4096] + octets[8192:] if where == "gap" else flipped(octets, where))


def flip_in_rows(url: str, queue_id: str, where: str) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        rows = db.execute(
            "SELECT seq, data, message FROM content WHERE message = (SELECT id FROM message WHERE queue_id = %s) ORDER BY seq",
            (queue_id,),
        ).fetchall()
        if where in ("gap", "end"):
            seq, _, message = rows[-1 if where == "end" else 1]
            db.execute("DELETE FROM content WHERE message = %s AND seq = %s", (message, seq))
            return
        seq, data, message = rows[{"first": 0, "middle": len(rows) // 2, "last": -1}[where]]
        db.execute("UPDATE content SET data = %s WHERE message = %s AND seq = %s", (flipped(data, where), message, seq))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("backend", ["file", "postgres"])
def test_no_message_is_relayed_altered(tmp_path: Path, backend: str, request: pytest.FixtureRequest, ledger: Ledger) -> None:
    """Nineteen flips, in short and long, packed and plain content, rows or files that are gone: each is held, none goes out."""
    url = request.getfixturevalue("postgres_server").database() if backend == "postgres" else ""
    port = free_port()
    smarthost = {"host": "127.0.0.1", "port": port, "tls": "none", "sender": "nas@isp.example"}
    config: dict[str, Any] = {"upstreams": {"sink": smarthost}, "notices": {"to": "admin@isp.example", "digest": "1s"}}
    if url:
        config["spool"] = {"url": url, "state_dir": str(tmp_path / "state")}
    relay = RelayProcess(tmp_path, config).start()
    sent: dict[str, str] = {}
    with smtplib.SMTP("127.0.0.1", relay.port, "nas", timeout=20) as line:
        for number, (kind, _) in enumerate([*FLIPS, *((kind, "whole") for kind in BODIES)]):
            line.mail("nas@isp.example")
            line.rcpt("b@far.example")
            text = HEAD.format(f"{kind} {number}", number, DATE) + BODIES[kind]
            sent[line.data(text)[1].decode().split()[-1]] = text
    relay.stop()
    ids = list(sent)
    for queue_id, (_, where) in zip(ids, FLIPS, strict=False):
        flip_in_rows(url, queue_id, where) if url else flip_in_file(relay.spool, queue_id, where)
    with sink(tmp_path / "sink", port=port) as upstream:
        relay.start()
        try:
            relay.command("queue", "retry", "--all")
            relay.wait_for("held", len(FLIPS), 40)
            eventually(lambda: all(each.encode() in _told(upstream) for each in ids[: len(FLIPS)]), 30, relay.said)
            eventually(lambda: len(_of_devices(upstream)) >= len(BODIES), 30, relay.said)
            held = {line["queue_id"] for line in relay.events("held")}
            said = {line["said"].partition(":")[0] for line in relay.events("held")}
        finally:
            relay.stop()
        relayed = [one.octets.partition(b"\r\n\r\n")[2] for one in _of_devices(upstream)]
    ledger.enter(f"bit flips, {backend}", times=len(FLIPS), promised=len(sent), lost=0, words=f"{len(held)} held and told")
    assert held == set(ids[: len(FLIPS)])
    assert said == {"the stored content is damaged"}
    assert sorted(relayed) == sorted(body.encode() for body in BODIES.values())


def _of_devices(upstream: Any) -> list[Any]:
    return [one for one in upstream.taken() if one.forward_paths == ["b@far.example"]]


def _told(upstream: Any) -> bytes:
    return b"".join(one.octets for one in upstream.taken() if one.forward_paths == ["admin@isp.example"])
