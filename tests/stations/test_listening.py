"""What keeps a listener from its work, and what its words tell a person to do: ports, addresses, its own certificate."""

import asyncio
import errno
import os
import shutil
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from relay.inbound import listener, message_buffer, server_certificate
from relay.inbound.admission import ListenTls
from relay.inbound.server_certificate import NoCertificate, handshake_advice, server_context
from tests.support.device import Device, untrusting
from tests.support.inbound import HERE, receiving

STARTTLS = replace(HERE, tls=ListenTls.STARTTLS)


@pytest.mark.parametrize(
    ("code", "port", "words"),
    [
        (errno.EADDRINUSE, 25, "port 25 is in use by another program"),
        (errno.EACCES, 25, "no permission for port 25; ports under 1024 need the capability NET_BIND_SERVICE"),
        (errno.EPERM, 465, "choose a port from 1024 up"),
        (errno.EACCES, 2525, "Permission denied"),
        (errno.EADDRNOTAVAIL, 25, "this machine has no address 127.0.0.1; use 0.0.0.0"),
        (errno.EAFNOSUPPORT, 25, "this machine has no IPv6; use 0.0.0.0"),
        (errno.EMFILE, 25, "Too many open files"),
    ],
)
def test_the_words_name_the_cure(code: int, port: int, words: str) -> None:
    """Whatever the system says of a port, the person hears what to do."""
    assert words in listener._cure(OSError(code, os.strerror(code)), replace(HERE, port=port))


async def test_an_address_that_is_not_ours_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """192.0.2.1 belongs to nobody; the relay does not start, and says so."""
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:2525: this machine has no address 192\.0\.2\.1"):
        async with receiving(tmp_path, monkeypatch, replace(HERE, host="192.0.2.1", port=2525)):
            pass


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("UNSUPPORTED_PROTOCOL", "legacy_tls: true"),
        ("NO_SHARED_CIPHER", "legacy_tls: true"),
        ("WRONG_VERSION_NUMBER", "does not speak TLS here"),
        ("SSL handshake is taking longer than 60 seconds", "does not speak TLS here"),
        ("TLSV1_ALERT_UNKNOWN_CA", "does not trust our certificate"),
        ("CERTIFICATE_EXPIRED", "does not trust our certificate"),
        ("UNEXPECTED_EOF", "the device gave up"),
    ],
)
def test_a_failed_handshake_is_explained(reason: str, words: str) -> None:
    """OpenSSL's word, and what to change in the device or here."""
    assert words in handshake_advice(reason)


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """Puts another `openssl` in front of the real one."""
    folder.mkdir()
    (folder / "openssl").write_text(f"#!{sys.executable}\n{words}\n")
    (folder / "openssl").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


async def test_without_openssl_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install it, or set a certificate of your own."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoCertificate, match="install openssl, or set tls_cert and tls_key"):
        await server_context(STARTTLS, tmp_path, "relay.test")


async def test_an_openssl_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last words reach the person; nothing half made stays."""
    program(tmp_path / "bin", monkeypatch, "import sys; sys.exit('first\\nno entropy')")
    state = tmp_path / "state"
    state.mkdir()
    with pytest.raises(NoCertificate, match=r"openssl cannot make a certificate \(no entropy\)"):
        await server_context(STARTTLS, state, "relay.test")
    assert [place for place in state.rglob("*") if place.suffix == ".pem"] == []


async def test_an_openssl_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without entropy must not keep the relay from saying what is wrong."""
    program(tmp_path / "bin", monkeypatch, "import time; time.sleep(600)")
    monkeypatch.setattr(server_certificate, "_PATIENCE", 0.5)
    async with asyncio.timeout(20):
        with pytest.raises(NoCertificate, match="took more than"):
            await server_context(STARTTLS, tmp_path, "relay.test")


async def test_the_made_certificate_is_for_its_owner_only(tmp_path: Path) -> None:
    """Made once, kept, 0600."""
    await server_context(STARTTLS, tmp_path, "relay.test")
    made = sorted(tmp_path.glob("*.pem"))
    before = [place.read_bytes() for place in made]
    assert [place.name for place in made] == ["tls-cert.pem", "tls-key.pem"]
    assert [stat.S_IMODE(place.stat().st_mode) for place in made] == [0o600, 0o600]
    await server_context(STARTTLS, tmp_path, "relay.test")
    assert [place.read_bytes() for place in made] == before


def slow_openssl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str) -> Path:
    """An `openssl` that waits for a file before it does what `then` says; the file."""
    go = tmp_path / "go"
    real = shutil.which("openssl")
    words = f"import os, sys, time\nreal = {real!r}\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)\n{then}"
    program(tmp_path / "bin", monkeypatch, words)
    return go


async def test_a_first_start_does_not_wait_for_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RSA takes a small board ten seconds: mail is taken meanwhile, and who wants TLS waits for it; one key for all."""
    go = slow_openssl(tmp_path, monkeypatch, "os.execv(real, sys.argv)")
    async with receiving(tmp_path, monkeypatch, STARTTLS, replace(STARTTLS, host="127.0.0.2")) as relay:
        plain, careful = await relay.device(), await relay.device(b"")
        assert (await plain.submit(b"x\r\n")).startswith("250")
        assert "STARTTLS" in await careful.ask(b"EHLO x\r\n")
        other = await Device.connect(relay.inbound.bound[1])
        assert (await other.reply()).startswith("220")
        for device in (careful, other):
            await device.say(b"STARTTLS\r\n")
            with pytest.raises(TimeoutError):
                await device.reply(0.3)
        go.touch()
        for device in (careful, other):
            assert (await device.reply()).startswith("220")
            await device.start_tls(untrusting())
            assert (await device.submit(b"x\r\n")).startswith("250")
        later = await relay.device()
        await later.dialog((b"STARTTLS\r\n", "220"))
        await later.start_tls(untrusting())
        assert len({device.certificate for device in (careful, other, later)}) == 1


async def test_a_key_that_cannot_be_made_after_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for TLS is told to go on without; the next is not offered any, and the log says why."""
    go = slow_openssl(tmp_path, monkeypatch, "sys.exit('no entropy')")
    async with receiving(tmp_path, monkeypatch, STARTTLS) as relay:
        device = await relay.device()
        await device.say(b"STARTTLS\r\n")
        go.touch()
        assert (await device.reply()).startswith("502 5.5.1")
        assert (await device.submit(b"x\r\n")).startswith("250")
        later = await relay.device(b"")
        assert "STARTTLS" not in await later.ask(b"EHLO x\r\n")
        assert "does not offer STARTTLS: openssl cannot make a certificate (no entropy)" in relay.events("warned")[0]


async def test_a_stop_does_not_wait_for_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the program nor anything half made is left; who waits for TLS is dismissed."""
    words = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    slow_openssl(tmp_path, monkeypatch, words).touch()
    async with receiving(tmp_path, monkeypatch, STARTTLS) as relay:
        device = await relay.device()
        await device.say(b"STARTTLS\r\n")
        while not ((file := tmp_path / "pid").exists() and file.read_text()):
            await asyncio.sleep(0.02)
        async with asyncio.timeout(8):
            await relay.inbound.stop()
        assert (await device.reply()).startswith(("502", "421"))
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)
    assert list((tmp_path / "state").iterdir()) == []


async def test_a_message_that_cannot_be_kept_while_it_comes_is_put_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder for what comes in has no room: 452, the session goes on, and so does the next message."""

    def full(_self: object, _piece: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with receiving(tmp_path, monkeypatch, HERE) as relay:
        device = await relay.device()
        with monkeypatch.context() as patched:
            patched.setattr(message_buffer.MessageBuffer, "write", full)
            assert (await device.submit(b"x\r\n")).startswith("452 4.3.1")
        assert any("No space left" in words for words in relay.events("warned"))
        assert (await device.submit(b"y\r\n")).startswith("250")
        assert len(await relay.entries()) == 1
