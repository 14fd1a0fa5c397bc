"""A reload that changes where and how devices connect: listeners come, go and change, and nobody's mail is lost by it."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from relay.inbound.admission import ClientLimits, ListenAuth, Listener, ListenTls, Recipients
from relay.inbound.listener import Inbound, NotApplied
from relay.inbound.server_session import ServerSession
from relay.secret import Secret
from tests.support.device import Device
from tests.support.inbound import HERE, receiving
from tests.support.peers import free_port

ENVELOPE: Sequence[tuple[bytes, str]] = (
    (b"MAIL FROM:<a@b.example>\r\n", "250"),
    (b"RCPT TO:<me@example.jp>\r\n", "250"),
    (b"DATA\r\n", "354"),
)


async def at(listener: Listener) -> Device:
    device = await Device.connect((listener.host, listener.port))
    assert (await device.reply()).startswith("220 ")
    return device


async def refused(listener: Listener) -> bool:
    try:
        await Device.connect((listener.host, listener.port))
    except ConnectionRefusedError:
        return True
    return False


async def test_listeners_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one takes mail at once; of one that is gone an idle session ends, and one inside DATA comes to its 250."""
    one, two = replace(HERE, port=free_port()), replace(HERE, port=free_port())
    async with receiving(tmp_path, monkeypatch, one) as relay:
        stays, idle, busy, slow = [await relay.device() for _ in range(4)]
        await busy.dialog(*ENVELOPE)
        await busy.say(b"half of ")
        await slow.dialog(*ENVELOPE[:2])
        assert await relay.reload(one, two) == []
        assert (await (await at(two)).submit(b"by the new one\r\n")).startswith("250")
        assert (await stays.submit(b"by the old one\r\n")).startswith("250")
        assert await relay.reload(two) == []
        assert relay.inbound.bound == [(two.host, two.port)]
        assert await refused(one)
        for device in (stays, idle):
            assert (await device.reply()).startswith("421 4.3.2")
        assert (await busy.ask(b"it\r\n.\r\n")).startswith("250")
        await slow.dialog(ENVELOPE[2], (b"slowly\r\n.\r\n", "250"))
        for device in (busy, slow):
            assert (await device.reply()).startswith("421 4.3.2")
        assert await relay.contents() == [b"by the new one\r\n", b"by the old one\r\n", b"half of it\r\n", b"slowly\r\n"]


async def test_a_session_inside_data_does_not_notice_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes, users of others and TLS change around it; it keeps the limits that it began with."""
    one = replace(HERE, port=free_port())
    async with receiving(tmp_path, monkeypatch, one) as relay:
        busy = await relay.device()
        await busy.dialog(*ENVELOPE)
        await busy.say(b"x" * 500 + b"\r\n")
        changed = replace(one, tls=ListenTls.STARTTLS, networks=(*HERE.networks, ip_network("10.0.0.0/8")))
        assert await relay.reload(changed, max_message=100) == []
        assert (await busy.ask(b"y\r\n.\r\n")).startswith("250")
        assert (await (await at(one)).ask(b"MAIL FROM:<a@b.example> SIZE=500\r\n")).startswith("552")


async def test_one_that_cannot_be_bound_is_named_and_none_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The port of the new one is taken: the old one, which it was to replace, goes on; the next reload tries again."""
    one = replace(HERE, port=free_port())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        two = replace(HERE, port=taken.getsockname()[1])
        async with receiving(tmp_path, monkeypatch, one) as relay:
            session = await relay.device()
            left = await relay.reload(two)
            assert [each.setting for each in left] == [f"listen {two.name}", f"listen {one.name}"]
            assert "in use by another program" in left[0].reason
            assert relay.inbound.listeners == (one,)
            assert (await session.submit(b"x\r\n")).startswith("250")
            assert (await (await at(one)).submit(b"y\r\n")).startswith("250")
            taken.close()
            assert await relay.reload(two) == []
            assert relay.inbound.listeners == (two,)
            assert await refused(one)


async def test_one_address_becomes_all_addresses_on_the_same_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 is in the way of 0.0.0.0: it is shut first.  And back again."""
    one = replace(HERE, port=free_port())
    every = replace(one, host="0.0.0.0")
    async with receiving(tmp_path, monkeypatch, one) as relay:
        busy = await relay.device()
        await busy.dialog(*ENVELOPE)
        assert await relay.reload(every) == []
        assert relay.inbound.listeners == (every,)
        assert (await busy.ask(b"x\r\n.\r\n")).startswith("250")
        assert (await (await at(one)).submit(b"y\r\n")).startswith("250")
        assert await relay.reload(one) == []
        assert relay.inbound.bound == [("127.0.0.1", one.port)]
        assert (await (await at(one)).submit(b"z\r\n")).startswith("250")


async def test_an_address_that_another_has_in_part_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 is ours, 127.0.0.2 is another program's: 0.0.0.0 cannot be had, and ours is opened again."""
    one = replace(HERE, port=free_port())
    with socket.create_server(("127.0.0.2", one.port)):
        async with receiving(tmp_path, monkeypatch, one) as relay:
            session = await relay.device()
            left = await relay.reload(replace(one, host="0.0.0.0"))
            assert [each.setting for each in left] == [f"listen 0.0.0.0:{one.port}", f"listen {one.name}"]
            assert (await session.submit(b"x\r\n")).startswith("250")
            assert (await (await at(one)).submit(b"y\r\n")).startswith("250")


async def test_a_certificate_that_cannot_be_used_keeps_the_listener_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its settings, not half of them: `auth: required` must not stand there without the TLS that came with it."""
    (tmp_path / "bad.pem").write_text("no certificate")
    one = replace(HERE, port=free_port())
    bad = str(tmp_path / "bad.pem")
    strict = replace(
        one, tls=ListenTls.REQUIRED, tls_cert=bad, tls_key=bad, auth=ListenAuth.REQUIRED, users={"nas": Secret("x")}
    )
    async with receiving(tmp_path, monkeypatch, one) as relay:
        [left] = await relay.reload(strict)
        assert left.setting == f"listen {one.name}"
        assert "cannot be used for TLS" in left.reason and one.name not in left.reason
        assert relay.inbound.listeners == (one,)
        assert (await (await at(one)).submit(b"x\r\n")).startswith("250")


async def test_users_and_tls_reach_the_sessions_that_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has not logged in yet is asked for the new password; who has no TLS where it is required now must come again."""
    one = replace(HERE, port=free_port(), auth=ListenAuth.REQUIRED, users={"nas": Secret("old")}, plain_login=True)
    async with receiving(tmp_path, monkeypatch, one) as relay:
        device = await relay.device()
        assert await relay.reload(replace(one, users={"nas": Secret("new")})) == []
        await device.dialog((b"AUTH PLAIN AG5hcwBvbGQ=\r\n", "535"), (b"AUTH PLAIN AG5hcwBuZXc=\r\n", "235"))
        assert await relay.reload(replace(one, users={"nas": Secret("new")}, tls=ListenTls.REQUIRED)) == []
        assert (await device.reply()).startswith("421 4.7.0 TLS")


async def test_the_next_message_of_an_open_session_goes_by_the_new_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that has begun comes to its end by the old ones."""
    async with receiving(tmp_path, monkeypatch, HERE, recipients=Recipients(default_domain="old.example")) as relay:
        device = await relay.device()
        await device.dialog(ENVELOPE[0])
        [here] = relay.inbound.listeners
        new = {"recipients": Recipients(default_domain="new.example"), "max_message": 1000}
        assert await relay.reload(here, **new) == []
        rest = ((b"RCPT TO:<root>\r\n", "250"), ENVELOPE[2], (b"x\r\n" * 500 + b".\r\n", "250"))
        await device.dialog(*rest)
        await device.dialog(ENVELOPE[0], *rest[:2], (rest[2][0], "552"))
        await device.dialog((b"MAIL FROM:<a@b.example> SIZE=1500\r\n", "552"))
        await device.dialog(ENVELOPE[0], *rest[:2], (b"x\r\n.\r\n", "250"))
        to = [str(path) for entry in await relay.entries() for path in entry.envelope.forward_paths]
        assert to == ["root@old.example", "root@new.example"]


@pytest.mark.parametrize(("before", "after"), [("starttls", "implicit"), ("implicit", "starttls"), ("off", "required")])
async def test_another_kind_of_tls_ends_sessions_without_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    """Also where the handshake of implicit TLS has not begun, since its client still waits for a slot."""
    one = replace(HERE, port=free_port(), tls=ListenTls(before))
    async with receiving(tmp_path, monkeypatch, one, limits=ClientLimits(per_client=1)) as relay:
        first = await Device.connect((one.host, one.port))
        if before == "implicit":
            await asyncio.sleep(0.1)
            second = await Device.connect((one.host, one.port))
            await asyncio.sleep(0.1)
            assert await relay.reload(replace(one, tls=ListenTls(after)), limits=ClientLimits(per_client=1)) == []
            await first.close()
            assert (await second.reply()).startswith("421 4.7.0")
            return
        assert (await first.reply()).startswith("220")
        assert await relay.reload(replace(one, tls=ListenTls(after))) == []
        assert (await first.reply()).startswith("421 4.7.0 TLS is needed")


@pytest.mark.parametrize("change", ["user", "network", "gone"])
async def test_a_client_that_is_just_being_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Its session was made by the settings before, and is known only after the reload: it goes by the new ones all the same."""
    one = replace(HERE, port=free_port(), auth=ListenAuth.REQUIRED, users={"nas": Secret("old")}, plain_login=True)
    other = replace(HERE, port=free_port())
    new = {
        "user": [replace(one, users={"tv": Secret("other")}), other],
        "network": [replace(one, networks=(ip_network("10.0.0.0/8"),)), other],
        "gone": [other],
    }[change]
    reloads: list[asyncio.Task[list[NotApplied]]] = []
    make = Inbound._session

    def accepted(self: Inbound, opened: Any) -> ServerSession:
        if not reloads and opened.listener.name == one.name:
            reloads.append(asyncio.create_task(relay.reload(*new)))
        return make(self, opened)

    monkeypatch.setattr(Inbound, "_session", accepted)
    async with receiving(tmp_path, monkeypatch, one, other) as relay:
        device = await Device.connect((one.host, one.port))
        said = await device.reply()
        if said.startswith("220"):
            said = await device.ask(b"AUTH PLAIN AG5hcwBvbGQ=\r\n")
        assert said.startswith({"user": "535", "network": "421 4.7.1", "gone": "421"}[change]), said
        assert await reloads[0] == []


async def test_many_reloads_while_devices_send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that stays loses nobody while others come and go beside it."""
    stays, other = replace(HERE, port=free_port()), replace(HERE, port=free_port())
    async with receiving(tmp_path, monkeypatch, stays) as relay:
        sent, over = 0, asyncio.Event()

        async def send() -> None:
            nonlocal sent
            while not over.is_set():
                async with await at(stays) as device:
                    assert (await device.submit(b"x\r\n")).startswith("250")
                    sent += 1

        sending = [asyncio.create_task(send()) for _ in range(4)]
        for _ in range(20):
            assert await relay.reload(other, stays) == []
            assert (await (await at(other)).submit(b"y\r\n")).startswith("250")
            assert await relay.reload(stays) == []
            await asyncio.sleep(0.02)
        over.set()
        await asyncio.gather(*sending)
        assert len(await relay.entries()) == sent + 20
        assert sent > 20
