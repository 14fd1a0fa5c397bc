"""Devices that insist on logging in, and those that must; STARTTLS, implicit TLS, and TLS where none is expected."""

import asyncio
import base64
import ssl
from dataclasses import replace

import pytest
import trustme

from relay.inbound import connection
from relay.inbound.admission import ListenAuth, ListenTls
from relay.secret import Secret
from tests.support.device import Device, untrusting
from tests.support.inbound import HERE, receiving

USER = base64.b64encode(b"nas")
PASSWORD = base64.b64encode(b"geheim")
PLAIN = base64.b64encode(b"\0nas\0geheim")
REQUIRED = replace(HERE, auth=ListenAuth.REQUIRED, users={"nas": Secret("geheim")})


@pytest.mark.parametrize(
    "steps",
    [
        [(b"AUTH LOGIN", "334 VXNlcm5hbWU6$"), (USER, "334 UGFzc3dvcmQ6$"), (PASSWORD, "235")],
        [(b"auth login " + USER, "334 UGFzc3dvcmQ6$"), (PASSWORD, "235")],
        [(b"AUTH LOGIN", "334"), (b"admin", "334"), (b"", "235")],
        [(b"AUTH PLAIN", "334 $"), (PLAIN, "235")],
        [(b"AUTH PLAIN AAA=", "235")],
        [(b"AUTH PLAIN =", "235")],
        [(b"AUTH LOGIN", "334"), (b"*", "501")],
        [(b"AUTH LOGIN", "334"), (USER, "334"), (b"*", "501")],
        [(b"AUTH PLAIN", "334"), (b"*", "501")],
        [(b"AUTH CRAM-MD5", "504 5.5.4"), (b"AUTH", "501"), (b"AUTH PLAIN " + PLAIN, "235")],
        [(b"AUTH PLAIN " + PLAIN, "235"), (b"AUTH PLAIN " + PLAIN, "235")],
    ],
)
async def test_any_login_will_do_where_none_is_needed(tmp_path, monkeypatch, steps):
    """Whatever a device sends, also after HELO, it may go on and its mail is taken."""
    async with receiving(tmp_path, monkeypatch) as relay:
        device = await relay.device(b"HELO camera\r\n")
        await device.dialog(*((line + b"\r\n", expected) for line, expected in steps))
        assert (await device.submit(b"x\r\n")).startswith("250")
        assert "geheim" not in str(relay.noted)


async def test_required_login_takes_the_right_password_only(tmp_path, monkeypatch):
    """530 at MAIL before, 535 for a wrong password or name, 235 and ESMTPA for the right ones."""
    async with receiving(tmp_path, monkeypatch, REQUIRED) as relay:
        device = await relay.device()
        await device.dialog(
            (b"MAIL FROM:<a@b.c>\r\n", "530 5.7.0"),
            (b"AUTH PLAIN " + base64.b64encode(b"\0nas\0wrong") + b"\r\n", "535 5.7.8"),
            (b"AUTH PLAIN " + base64.b64encode(b"\0\0geheim") + b"\r\n", "535 5.7.8"),
            (b"AUTH PLAIN AAA=\r\n", "535 5.7.8"),
            (b"AUTH LOGIN " + USER + b"\r\n", "334"),
            (PASSWORD.rstrip(b"=") + b"\r\n", "235"),
            (b"AUTH PLAIN " + PLAIN + b"\r\n", "503"),
        )
        await device.submit(b"x\r\n")
        [entry] = await relay.entries()
        assert (entry.origin.user, entry.origin.protocol) == ("nas", "ESMTPA")
        assert "geheim" not in str(relay.noted)
        assert "wrong user name or password" in relay.events("refused")[1]


async def test_guessing_passwords_ends_the_session(tmp_path, monkeypatch):
    """Five wrong ones, then 421."""
    async with receiving(tmp_path, monkeypatch, REQUIRED) as relay:
        device = await relay.device()
        for _ in range(5):
            await device.dialog((b"AUTH PLAIN AAA=\r\n", "535"))
        assert (await device.reply()).startswith("421 4.7.0")
        assert await device.reply() == ""


async def test_guesses_are_slowed_down_whatever_session_they_come_in(tmp_path, monkeypatch):
    """A fresh connection for each guess does not help, and a person is told once; the owner at another address gets in."""
    told: list[str] = []
    async with receiving(tmp_path, monkeypatch, REQUIRED, alarm=lambda _text, cause: told.append(cause)) as relay:
        guesses = 0

        async def guess() -> None:
            nonlocal guesses
            while True:
                async with await relay.device(source="127.0.0.66") as device:
                    while (await device.ask(b"AUTH PLAIN AAA=\r\n")).startswith("535"):
                        guesses += 1

        guessing = [asyncio.create_task(guess()) for _ in range(8)]
        await asyncio.sleep(3)
        began = asyncio.get_running_loop().time()
        owner = await relay.device(source="127.0.0.5")
        await owner.dialog((b"AUTH PLAIN " + PLAIN + b"\r\n", "235"))
        assert asyncio.get_running_loop().time() - began < 2
        for task in guessing:
            task.cancel()
        await asyncio.gather(*guessing, return_exceptions=True)
        assert guesses < 20
        assert told == ["logins from 127.0.0.66"]


async def test_who_comes_while_others_guess_is_not_taken_for_one_of_them(tmp_path, monkeypatch):
    """Too many strangers' passwords are to be looked at: 454, but nothing says that this device's were wrong."""
    told: list[str] = []
    async with receiving(tmp_path, monkeypatch, REQUIRED, alarm=lambda _text, cause: told.append(cause)) as relay:
        logins = relay.inbound._state.logins
        logins._strangers_at = asyncio.get_running_loop().time() + 1000  # as others left it who guess all the time
        for _ in range(4):
            device = await relay.device()
            for _ in range(4):
                assert (await device.ask(b"AUTH PLAIN " + PLAIN + b"\r\n")).startswith("454")
        assert told == []
        logins._strangers_at = 0.0
        device = await relay.device()
        await device.dialog((b"AUTH PLAIN " + PLAIN + b"\r\n", "235"))


async def test_a_password_is_not_asked_for_in_the_clear_where_tls_can_be_had(tmp_path, monkeypatch):
    """AUTH is offered behind STARTTLS only; before it 538 and 530 say what to set; `plain_login` asks for the opposite."""
    starttls = replace(REQUIRED, tls=ListenTls.STARTTLS)
    async with receiving(tmp_path, monkeypatch, starttls, replace(starttls, plain_login=True)) as relay:
        device = await relay.device(b"")
        assert "AUTH" not in await device.ask(b"EHLO x\r\n")
        await device.dialog(
            (b"AUTH PLAIN " + PLAIN + b"\r\n", "538 5.7.11"), (b"MAIL FROM:<a@b.c>\r\n", "530 5.7.0 .*STARTTLS")
        )
        await device.dialog((b"STARTTLS\r\n", "220"))
        await device.start_tls(untrusting())
        assert "AUTH LOGIN PLAIN" in await device.ask(b"EHLO x\r\n")
        await device.dialog((b"AUTH PLAIN " + PLAIN + b"\r\n", "235"))
        assert (await device.submit(b"x\r\n")).startswith("250")
        plain = await Device.connect(relay.inbound.bound[1])
        assert (await plain.reply()).startswith("220")
        assert "AUTH LOGIN PLAIN" in await plain.ask(b"EHLO x\r\n")
        await plain.dialog((b"AUTH PLAIN " + PLAIN + b"\r\n", "235"))


async def test_auth_off_neither_offers_nor_takes_a_login(tmp_path, monkeypatch):
    """502, and the device may go on without."""
    async with receiving(tmp_path, monkeypatch, replace(HERE, auth=ListenAuth.OFF)) as relay:
        device = await relay.device(b"")
        assert "AUTH" not in await device.ask(b"EHLO x\r\n")
        await device.dialog((b"AUTH LOGIN\r\n", "502 5.5.1"))
        assert (await device.submit(b"x\r\n")).startswith("250")


@pytest.mark.parametrize("tls", [ListenTls.STARTTLS, ListenTls.IMPLICIT])
@pytest.mark.parametrize("polite", [True, False])
async def test_a_tls_session_ends_without_a_trace(tmp_path, monkeypatch, tls, polite):
    """After QUIT, or a hang-up, nothing goes wrong behind our back, and nobody is left."""
    monkeypatch.setattr(connection, "_FLUSH", 0.1)
    troubles = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: troubles.append(context))
    async with receiving(tmp_path, monkeypatch, replace(HERE, tls=tls)) as relay:
        device = await Device.connect(relay.address, context=untrusting() if tls is ListenTls.IMPLICIT else None)
        assert (await device.reply()).startswith("220")
        if tls is ListenTls.STARTTLS:
            await device.dialog((b"STARTTLS\r\n", "220"))
            await device.start_tls(untrusting())
        await device.dialog((b"EHLO x\r\n", "250"))
        if polite:
            await device.dialog((b"QUIT\r\n", "221"))
        else:
            device.reset()
        await asyncio.sleep(0.5)
        assert relay.inbound.connections == 0
    assert troubles == []
    assert relay.events("broken") == []


async def test_starttls_drops_what_was_said_before(tmp_path, monkeypatch):
    """A certificate is made once beside the spool; plaintext piped in behind STARTTLS is never run (RFC 3207 s5)."""
    async with receiving(tmp_path, monkeypatch, replace(HERE, tls=ListenTls.STARTTLS)) as relay:
        device = await relay.device(b"")
        assert "STARTTLS" in await device.ask(b"EHLO x\r\n")
        await device.dialog((b"STARTTLS\r\n", "220"))
        await device.start_tls(untrusting())
        assert "STARTTLS" not in await device.ask(b"EHLO inside\r\n")
        await device.dialog((b"STARTTLS\r\n", "503"))
        await device.submit(b"x\r\n")
        [entry] = await relay.entries()
        assert (entry.origin.protocol, entry.origin.tls, entry.origin.helo) == ("ESMTPS", device.tls, "inside")
        key = tmp_path / "state" / "tls-key.pem"
        assert key.stat().st_mode & 0o777 == 0o600
        injected = await relay.device()
        await injected.say(b"STARTTLS\r\nMAIL FROM:<evil@x.y>\r\n")
        assert (await injected.reply()).startswith("220")
        await injected.start_tls(untrusting())
        await injected.dialog((b"RCPT TO:<me@example.jp>\r\n", "503"))


async def test_mail_without_a_second_ehlo_is_taken(tmp_path, monkeypatch):
    """Not what RFC 3207 wants, but what devices do."""
    async with receiving(tmp_path, monkeypatch, replace(HERE, tls=ListenTls.STARTTLS)) as relay:
        device = await relay.device()
        await device.dialog((b"STARTTLS\r\n", "220"))
        await device.start_tls(untrusting())
        assert (await device.submit(b"x\r\n")).startswith("250")
        [entry] = await relay.entries()
        assert entry.origin.protocol == "ESMTPS"


async def test_implicit_tls_is_seen_as_tls(tmp_path, monkeypatch):
    """With the certificate that is configured, trusted by the device."""
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    listener = replace(HERE, tls=ListenTls.IMPLICIT, tls_cert=str(tmp_path / "cert.pem"))
    async with receiving(tmp_path, monkeypatch, listener) as relay:
        device = await Device.connect(relay.address, context=context)
        assert (await device.reply()).startswith("220")
        assert "STARTTLS" not in await device.ask(b"EHLO x\r\n")
        await device.submit(b"x\r\n")
        [entry] = await relay.entries()
        assert (entry.origin.protocol, entry.origin.tls) == ("ESMTPS", "TLSv1.3")


@pytest.mark.parametrize("mode", [ListenTls.OFF, ListenTls.STARTTLS])
async def test_tls_in_the_clear_is_recognised(tmp_path, monkeypatch, mode):
    """A device set to SSL on a plain port is hung up on, and the log says what to set."""
    async with receiving(tmp_path, monkeypatch, replace(HERE, tls=mode)) as relay:
        with pytest.raises(ssl.SSLError):
            await Device.connect(relay.address, context=untrusting())
        assert "the device is set to SSL/TLS" in relay.events("refused")[0]


@pytest.mark.parametrize("hello", [b"EHLO x\r\n", b"GET / HTTP/1.0\r\n\r\n"])
async def test_plain_text_on_the_tls_port_is_named(tmp_path, monkeypatch, hello):
    """The handshake fails, and the log says that the device does not speak TLS."""
    async with receiving(tmp_path, monkeypatch, replace(HERE, tls=ListenTls.IMPLICIT)) as relay:
        device = await Device.connect(relay.address)
        await device.say(hello)
        while not relay.events("refused"):
            await asyncio.sleep(0.01)
        assert "does not speak TLS" in relay.events("refused")[0]
        async with asyncio.timeout(5):
            while relay.inbound._state.sessions:
                await asyncio.sleep(0.01)


async def test_old_tls_is_spoken_only_where_it_was_asked_for(tmp_path, monkeypatch):
    """TLS 1.0 works with `legacy_tls`; without, the log says which setting helps."""
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1
    modern = replace(HERE, tls=ListenTls.IMPLICIT)
    async with receiving(tmp_path, monkeypatch, modern, replace(modern, legacy_tls=True)) as relay:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await Device.connect(relay.address, context=old)
        async with asyncio.timeout(10):
            while not relay.events("refused"):
                await asyncio.sleep(0.01)
        assert "legacy_tls: true" in relay.events("refused")[0]
        device = await Device.connect(relay.inbound.bound[1], context=old)
        assert (await device.reply()).startswith("220")
        assert device.tls == "TLSv1"


async def test_without_openssl_starttls_is_not_offered_and_the_log_says_why(tmp_path, monkeypatch):
    """A missing program is no reason to refuse mail."""
    monkeypatch.setenv("PATH", str(tmp_path))
    async with receiving(tmp_path, monkeypatch, replace(HERE, tls=ListenTls.STARTTLS)) as relay:
        device = await relay.device(b"")
        assert "STARTTLS" not in await device.ask(b"EHLO x\r\n")
        assert "install openssl" in relay.events("warned")[0]


async def test_a_certificate_that_cannot_be_used_is_named_at_start(tmp_path, monkeypatch):
    """The error tells the listener and the file."""
    listener = replace(HERE, tls=ListenTls.STARTTLS, tls_cert=str(tmp_path / "no.pem"))
    with pytest.raises(OSError, match=r"127\.0\.0\.1:0: .*no\.pem .*No such file"):
        async with receiving(tmp_path, monkeypatch, listener):
            pass
