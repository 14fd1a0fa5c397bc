"""The certificates of listeners while the relay runs: renewed by others, broken, half written, our own before it ends."""

import asyncio
import shutil
import ssl
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from relay.inbound import listener_tls
from relay.inbound.admission import Listener, ListenTls
from relay.inbound.server_certificate import NoCertificate, load, server_context
from relay.upstream.certificate_files import certificate_in
from tests.support.device import Device, untrusting
from tests.support.inbound import HERE, Receiving, receiving

CA = trustme.CA()


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


def pair(folder: Path, **how: datetime) -> tuple[Path, Path]:
    """A new certificate for localhost and its key, in a folder."""
    folder.mkdir(exist_ok=True)
    issued = CA.issue_cert("localhost", **how)
    cert, key = folder / "cert.pem", folder / "key.pem"
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    return cert, key


def at(folder: Path) -> Listener:
    names = {"tls_cert": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}
    return replace(HERE, tls=ListenTls.STARTTLS, **names)


async def covered(relay: Receiving, context: ssl.SSLContext) -> Device:
    device = await relay.device()
    await device.dialog((b"STARTTLS\r\n", "220"))
    await device.start_tls(context)
    return device


async def shown(relay: Receiving) -> bytes:
    async with await covered(relay, untrusting()) as device:
        return device.certificate


def der(folder: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert((folder / "cert.pem").read_text())


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_tls, "_SETTLE", 0.05)


async def test_a_certificate_renewed_under_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that verify send by STARTTLS all the time, one session stays open: none fails, and the new one is shown."""
    tls = tmp_path / "tls"
    pair(tls)
    async with receiving(tmp_path, monkeypatch, at(tls)) as relay:
        staying = await covered(relay, trusting())
        sent, over, seen = 0, asyncio.Event(), set()

        async def send() -> None:
            nonlocal sent
            while not over.is_set():
                async with await covered(relay, trusting()) as device:
                    seen.add(device.certificate)
                    assert (await device.submit(b"x\r\n")).startswith("250")
                    sent += 1

        sending = [asyncio.create_task(send()) for _ in range(4)]
        every = {der(tls)}
        for number in range(5):
            await asyncio.sleep(0.1)
            for new, old in zip(pair(tmp_path / f"new{number}"), (tls / "cert.pem", tls / "key.pem"), strict=True):
                new.replace(old)
            every.add(der(tls))
            await relay.inbound.look_at_certificates()
            assert await shown(relay) == der(tls)
        over.set()
        await asyncio.gather(*sending)
        assert (await staying.submit(b"still here\r\n")).startswith("250")
        assert len(await relay.entries()) == sent + 1
        assert len(every) == 6
        assert der(tls) in every
        assert seen <= every
        assert len(seen) > 2
        assert relay.events("warned") == []
        assert len(relay.events("reloaded")) == 5


@pytest.mark.parametrize("kind", ["no certificate", "another key", "missing", "empty", "expired", "passphrase"])
async def test_what_cannot_be_used_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """It is told once, in the log, to a person and in the status; a reload names it; the next good pair is taken."""
    told: list[tuple[str, str]] = []
    tls = tmp_path / "tls"
    pair(tls)
    before = der(tls)
    async with receiving(tmp_path, monkeypatch, at(tls), alarm=lambda text, cause: told.append((text, cause))) as relay:
        cert, key = tls / "cert.pem", tls / "key.pem"
        match kind:
            case "no certificate":
                cert.write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
            case "another key":
                pair(tmp_path / "other")[1].replace(key)
            case "missing":
                key.unlink()
            case "empty":
                cert.write_text("")
            case "expired":
                now = relay.clock()
                pair(tls, not_before=now - timedelta(90), not_after=now - timedelta(1))
            case "passphrase":
                command = ["openssl", "pkcs8", "-topk8", "-passout", "pass:x", "-in", str(key)]
                key.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
        for _ in range(3):
            await relay.inbound.look_at_certificates()
        assert await shown(relay) == before
        assert len(relay.events("warned")) == 1
        assert [cause for _, cause in told] == [f"certificate of {at(tls).name}"]
        assert "The old certificate is still used (until " in told[0][0]
        [status] = relay.inbound.listening()
        left = await relay.reload(at(tls))
        assert [one.setting for one in left] == [f"tls_cert of {at(tls).name}"]
        assert status["certificate_trouble"] == left[0].reason and at(tls).name not in left[0].reason  # it stands before that
        assert told[0][0].startswith(f"{at(tls).name}: {left[0].reason}.")
        pair(tls)
        await relay.inbound.look_at_certificates()
        assert await shown(relay) == der(tls) != before
        assert relay.inbound.listening()[0]["certificate_trouble"] == ""
        assert len(told) == 1


@pytest.mark.parametrize("kind", ["a clock that was ahead", "a disk that did not answer"])
async def test_what_could_not_be_used_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Nobody touches the files; it is told once."""
    tls = tmp_path / "tls"
    pair(tls)
    ahead, told = [timedelta(0)], list[str]()
    today = datetime.now(UTC)
    also = {"alarm": lambda text, _cause: told.append(text), "now": lambda: today + ahead[0]}
    async with receiving(tmp_path, monkeypatch, at(tls), **also) as relay:
        pair(tls, not_before=today - timedelta(1), not_after=today + timedelta(30))
        with monkeypatch.context() as trouble:
            if kind == "a clock that was ahead":
                ahead[0] = timedelta(60)
            else:
                trouble.setattr(listener_tls, "load", fails)
            for _ in range(3):
                await relay.inbound.look_at_certificates()
        assert await shown(relay) != der(tls)
        ahead[0] = timedelta(0)
        await relay.inbound.look_at_certificates()
        assert await shown(relay) == der(tls)
        assert relay.inbound.listening()[0]["certificate_trouble"] == ""
        assert len(told) == 1


def fails(*_: object) -> ssl.SSLContext:
    raise NoCertificate("Input/output error")


async def test_a_pair_that_is_just_being_written_is_not_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate came, its key follows a moment later."""
    monkeypatch.setattr(listener_tls, "_SETTLE", 0.5)
    tls = tmp_path / "tls"
    pair(tls)
    async with receiving(tmp_path, monkeypatch, at(tls), alarm=lambda *_: pytest.fail("nothing is wrong")) as relay:
        cert, key = pair(tmp_path / "new")
        cert.replace(tls / "cert.pem")
        looking = asyncio.create_task(relay.inbound.look_at_certificates())
        await asyncio.sleep(0.1)
        key.replace(tls / "key.pem")
        await looking
        assert await shown(relay) == der(tls)
        assert relay.events("warned") == []


@pytest.mark.parametrize("kind", ["certbot", "kubernetes"])
async def test_links_that_lead_elsewhere_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """certbot's `live/` changes one link for each file, a Kubernetes secret one link to a folder; times may be equal."""
    archive, live = tmp_path / "archive", tmp_path / "live"
    archive.mkdir()
    live.mkdir()
    for number in (1, 2):
        for file in pair(archive / str(number)):
            file.touch()
            shutil.copystat(tmp_path / "archive", file)
    swap = tmp_path / "swap"
    if kind == "kubernetes":
        (live / "..data").symlink_to(archive / "1")
        for name in ("cert.pem", "key.pem"):
            (live / name).symlink_to(Path("..data") / name)
    else:
        for name in ("cert.pem", "key.pem"):
            (live / name).symlink_to(archive / "1" / name)
    async with receiving(tmp_path, monkeypatch, at(live)) as relay:
        assert await shown(relay) == der(archive / "1")
        for name in ("..data",) if kind == "kubernetes" else ("cert.pem", "key.pem"):
            swap.symlink_to(archive / "2" if name == "..data" else archive / "2" / name)
            swap.replace(live / name)
        await relay.inbound.look_at_certificates()
        assert await shown(relay) == der(archive / "2")


async def own(folder: Path, days: int) -> None:
    """A certificate as the relay makes it, which has so many days left."""
    folder.mkdir(exist_ok=True)
    await server_context(replace(HERE, tls=ListenTls.STARTTLS), folder, "relay.test")
    command = ["openssl", "req", "-x509", "-new", "-key", "tls-key.pem", "-days", str(days), "-subj", "/CN=relay.test"]
    subprocess.run([*command, "-out", "tls-cert.pem"], cwd=folder, check=True, capture_output=True)


async def test_our_own_is_made_anew_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for all listeners, for the same key, for years; one with time left stays."""
    state = tmp_path / "state"
    await own(state, 20)
    key = (state / "tls-key.pem").read_bytes()
    starttls = replace(HERE, tls=ListenTls.STARTTLS)
    two = replace(starttls, host="127.0.0.2")

    def today() -> datetime:
        return datetime.now(UTC)

    async with receiving(tmp_path, monkeypatch, starttls, two, now=today) as relay:
        before = await shown(relay)
        await relay.inbound.look_at_certificates()
        after = await shown(relay)
        assert after != before
        assert (state / "tls-key.pem").read_bytes() == key
        made = certificate_in(state / "tls-cert.pem")
        assert made is not None
        assert made.expires is not None
        assert made.expires - today() > timedelta(days=3000)
        assert {one["certificate_expires"] for one in relay.inbound.listening()} == {made.expires.isoformat()}
        await relay.inbound.look_at_certificates()
        assert await shown(relay) == after
        assert (state / "tls-cert.pem").stat().st_mode & 0o777 == 0o600


async def test_one_that_somebody_else_issued_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put beside the spool by hand: the relay does not overwrite it, however soon it ends."""
    state = tmp_path / "state"
    state.mkdir()
    cert, key = pair(tmp_path / "theirs", not_after=datetime.now(UTC) + timedelta(3))
    cert.replace(state / "tls-cert.pem")
    key.replace(state / "tls-key.pem")
    octets = (state / "tls-cert.pem").read_bytes()
    starttls = replace(HERE, tls=ListenTls.STARTTLS)
    async with receiving(tmp_path, monkeypatch, starttls, now=lambda: datetime.now(UTC)) as relay:
        await relay.inbound.look_at_certificates()
        assert (state / "tls-cert.pem").read_bytes() == octets
        assert relay.events("warned") == []


async def test_our_own_that_cannot_be_made_anew_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """openssl is gone: a person hears of it while there is time, once; the old one is shown."""
    told: list[str] = []
    await own(tmp_path / "state", 20)
    starttls = replace(HERE, tls=ListenTls.STARTTLS)
    alarm = {"alarm": lambda text, _cause: told.append(text), "now": lambda: datetime.now(UTC)}
    async with receiving(tmp_path, monkeypatch, starttls, **alarm) as relay:
        monkeypatch.setenv("PATH", str(tmp_path))
        for _ in range(3):
            await relay.inbound.look_at_certificates()
        assert len(told) == 1
        assert "cannot be made anew" in told[0]
        assert (await (await covered(relay, untrusting())).submit(b"x\r\n")).startswith("250")


async def test_what_a_power_cut_left_of_our_own_is_made_again(tmp_path: Path) -> None:
    """Empty files, or one without the other."""
    starttls = replace(HERE, tls=ListenTls.STARTTLS)
    for name in ("tls-cert.pem", "tls-key.pem"):
        await server_context(starttls, tmp_path, "relay.test")
        (tmp_path / name).write_bytes(b"")
        await server_context(starttls, tmp_path, "relay.test")
        (tmp_path / name).unlink()
        await server_context(starttls, tmp_path, "relay.test")


async def test_a_start_with_a_passphrase_asks_nobody(tmp_path: Path) -> None:
    """OpenSSL would ask on the terminal, and the relay would wait there for ever."""
    cert, key = pair(tmp_path)
    command = ["openssl", "pkcs8", "-topk8", "-passout", "pass:x", "-in", str(key)]
    made = subprocess.run(command, capture_output=True, check=True)
    key.write_bytes(made.stdout)
    with pytest.raises(NoCertificate, match="the key has a passphrase"):
        load(replace(HERE, tls_cert=str(cert), tls_key=str(key)), tmp_path)
