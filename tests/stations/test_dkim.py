"""A running relay signs: what was sent is read by dkimpy; keys are made; what cannot be signed does not go unsigned."""

import os
import smtplib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.dkim import verdicts
from tests.support.letters import recent_date
from tests.support.running import RelayProcess, running
from tests.support.sink import Sink, sink
from tests.support.waiting import eventually

BIG = 50_000_000


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Sink]:
    with sink(tmp_path / "own") as behind:
        yield behind


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Sink]:
    with sink(tmp_path / "other") as behind:
        yield behind


def smtp(port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "tls": "none", "auth": "none", "rewrite": "never"}


def settings(own: Sink, other: Sink | None = None, **more: Any) -> dict[str, Any]:
    ups = {"own": smtp(own.port), **({"other": smtp(other.port)} if other else {})}
    routes = [{"to": "*@other.example", "via": ["other"]}] if other else []
    return {"upstreams": ups, "routes": [*routes, {"via": list(ups)}], "dkim": {"domain": "own.example", "via": "own"}, **more}


def letter(sender: str = "nas@own.example", body: bytes = b"Backup done.\r\n.\r\n\r\n", more: str = "") -> bytes:
    head = f"From: NAS <{sender}>\nTo: b@far.example\nSubject: ok\nDate: {recent_date()}\nMessage-ID: <1@own.example>\n{more}\n"
    return head.replace("\n", "\r\n").encode() + body


def send(relay: RelayProcess, octets: bytes, to: str = "b@far.example", sender: str = "nas@own.example") -> None:
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=60) as device:
        device.sendmail(sender, [to], octets)


def dns(relay: RelayProcess) -> dict[str, str]:
    """What `relay dkim` tells to publish."""
    import json

    done = relay.command("dkim", "--json")
    assert done.returncode == 0, done.stderr
    return {key["name"]: key["record"] for key in json.loads(done.stdout)["keys"]}


def test_it_signs_on_the_way_to_the_upstreams_that_are_named(tmp_path: Path, own: Sink, other: Sink) -> None:
    """The key is there before any mail, for the relay's user alone; the other upstream and other senders get nothing."""
    with running(tmp_path, settings(own, other)) as relay:
        file = relay.spool.parent / "dkim-relay.own.example.pem"
        eventually(file.exists, 20, "no key was made")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        send(relay, letter())
        send(relay, letter("someone@else.example"), sender="someone@else.example")
        send(relay, letter(), to="b@other.example")
        relay.wait_for("relayed", 3)
        signed = [one for one in own.taken() if b"nas@own.example" in one.octets]
        assert [verdicts(one.octets, dns(relay)) for one in signed] == [{("own.example", "relay"): True}]
        assert not any(b"DKIM-Signature" in one.octets for one in (*own.taken(), *other.taken()) if one not in signed)
        stories = [relay.show(event["queue_id"]) for event in relay.events("relayed")]
        lines = [line for story in stories for line in story["trail"] if line["event"] == "relayed"]
        assert [line["notes"] for line in lines if "notes" in line] == [["signed as own.example (DKIM, selector relay)"]]


def test_never_over_a_signature_of_the_same_domain(tmp_path: Path, own: Sink) -> None:
    """A device that signs itself is left alone; the signature of another domain is joined by ours."""
    theirs = (
        "DKIM-Signature: v=1; a=rsa-sha256; d={};\n s=x; h=From;\n bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\n"
    )
    with running(tmp_path, settings(own)) as relay:
        send(relay, letter(more=theirs.format("OWN.example")))
        send(relay, letter(more=theirs.format("list.example")))
        relay.wait_for("relayed", 2)
        first, second = sorted((one.octets for one in own.taken()), key=lambda octets: b"list.example" in octets)
        assert first.count(b"DKIM-Signature") == 1
        assert verdicts(second, dns(relay))["own.example", "relay"]


def test_two_keys_of_a_domain_both_sign(tmp_path: Path, own: Sink) -> None:
    """RSA for everybody, Ed25519 for those who know it; and a second domain beside them."""
    keys = [
        {"domain": "own.example", "via": "own"},
        {"domain": "own.example", "selector": "new", "algorithm": "ed25519", "via": "own", "key_file": "new.key"},
        {"domain": "second.example", "via": "own"},
    ]
    with running(tmp_path, settings(own, dkim=keys)) as relay:
        send(relay, letter())
        send(relay, letter("cam@second.example"))
        relay.wait_for("relayed", 2)
        published = dns(relay)
        found = [verdicts(one.octets, published) for one in own.taken()]
        assert {("own.example", "relay"): True, ("own.example", "new"): True} in found
        assert {("second.example", "relay"): True} in found
        assert "k=ed25519" in published["new._domainkey.own.example"]
        assert stat.S_IMODE((tmp_path / "new.key").stat().st_mode) == 0o600


def test_what_cannot_be_signed_takes_the_next_upstream_or_waits(tmp_path: Path, own: Sink, other: Sink) -> None:
    """A key that is broken: no mail goes unsigned where it must be signed; once it is mended, what waited goes signed."""
    file = tmp_path / "dkim.key"
    file.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    config = settings(own, other, dkim={"domain": "own.example", "via": "own", "key_file": "dkim.key"})
    config["routes"] = [{"to": "*@far.example", "via": ["own", "other"]}, {"via": ["own"]}]
    with running(tmp_path, config) as relay:
        relay._until(lambda: any("cannot be signed" in line["text"] for line in relay.events("warned")), 20, "nobody was told")
        send(relay, letter())
        send(relay, letter(), to="b@alone.example")
        relay.wait_for("relayed")
        relay.wait_for("deferred")
        assert not own.taken()
        assert len(other.taken()) == 1
        (waiting,) = relay.queue()
        (recipient,) = waiting["recipients"]
        assert (recipient["code"], recipient["status"]) == (451, "4.3.5")
        assert "dkim.key" in recipient["said"]
        file.unlink()
        (sent,) = own.wait_for(1)
        assert verdicts(sent.octets, dns(relay)) == {("own.example", "relay"): True}


def peak(pid: int) -> int:
    """The most memory that a process ever had, in kB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def test_a_message_of_50_mb_takes_no_more_memory_than_unsigned(tmp_path: Path, own: Sink, other: Sink) -> None:
    """The body is hashed in a stream: the peak is that of the same message unsigned, and 8 MB at most above it."""
    body = (b"x" * 75 + b"\r\n") * (BIG // 78)
    peaks = {}
    for name, to in (("unsigned", "b@other.example"), ("signed", "b@far.example")):
        home = tmp_path / name
        home.mkdir()
        config = settings(own, other)
        config["spool"] = {"url": f"sqlite:{home}/spool/spool.db", "keep_free": "1MB", "max_message": "60MB"}
        with running(home, config) as relay:
            send(relay, letter(body=body), to=to)
            relay.wait_for("relayed", seconds=60)
            peaks[name] = peak(relay.pid)
            published = dns(relay)
    assert peaks["signed"] < peaks["unsigned"] + 8_000, peaks
    (signed,) = own.taken()
    assert signed.octets.count(b"DKIM-Signature") == 1
    assert verdicts(signed.octets, published) == {("own.example", "relay"): True}


DKIM = ("relay.mail.dkim", "relay.mail.dkim_record", "relay.outbound.signing", "relay.outbound.dkim_keys", "relay.config.dkim")


@pytest.mark.parametrize("on", [False, True], ids=["without dkim", "with dkim"])
def test_nothing_is_loaded_without_the_setting(tmp_path: Path, own: Sink, on: bool) -> None:
    """A relay that signs nothing has none of these modules, however much mail it sends."""
    config = settings(own)
    if not on:
        del config["dkim"]
    relay = RelayProcess(tmp_path, config)
    relay.start({"PYTHONPROFILEIMPORTTIME": "1"})
    try:
        send(relay, letter())
        relay.wait_for("relayed")
        loaded = {line.rpartition("|")[2].strip() for line in relay.lines if line.startswith("import time:")}
    finally:
        relay.stop()
    assert "relay.outbound.prepare" in loaded
    assert {name for name in DKIM if name in loaded} == (set(DKIM) if on else set())


def test_relay_dkim_prints_what_panels_take(tmp_path: Path, own: Sink) -> None:
    """It makes the key once; the same record as one string, in strings of 255, and as a zone file has it."""
    relay = RelayProcess(tmp_path, settings(own))
    first, again = relay.command("dkim", "own.example"), relay.command("dkim", "OWN.example.")
    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert "(made just now)" in first.stdout and "(made just now)" not in again.stdout
    record = next(line for line in first.stdout.splitlines() if line.startswith("v=DKIM1"))
    strings = [line.strip('"') for line in first.stdout.splitlines() if line.startswith('"')]
    assert record in again.stdout
    assert "".join(strings) == record and max(map(len, strings)) <= 255 and len(strings) == 2
    assert f'relay._domainkey.own.example. TXT "{strings[0]}" "{strings[1]}"' in first.stdout
    stranger = relay.command("dkim", "stranger.example")
    assert stranger.returncode == 2 and "own.example" in stranger.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_a_key_that_root_makes_belongs_to_the_relays_user(tmp_path: Path, own: Sink) -> None:
    """`sudo relay dkim` before the first start: the daemon's user must be able to read it."""
    relay = RelayProcess(tmp_path, settings(own))
    os.chown(relay.spool.parent, 65534, 65534)
    assert relay.command("dkim").returncode == 0
    made = (relay.spool.parent / "dkim-relay.own.example.pem").stat()
    assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (65534, 65534, 0o600)
    assert list(relay.spool.parent.glob(".dkim-*")) == []
