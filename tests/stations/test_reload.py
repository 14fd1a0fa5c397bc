"""What a reload changes of the whole relay: page, spool, log, listeners; and what it says of the rest."""

import asyncio
import base64
import http.client
import json
import re
import socket
import ssl
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from relay.config import Loaded
from relay.daemon import Relay, services
from relay.inbound import listener_tls
from tests.support.device import Device
from tests.support.inprocess import relay_at_home
from tests.support.peers import free_port

CA = trustme.CA()
UPSTREAMS = {"isp": {"host": "127.0.0.1", "port": 9, "tls": "none"}}


def configure(tmp_path: Path, **changes: Any) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


async def get(address: tuple[str, int], password: str = "", path: str = "/") -> int:
    """The status of one request; 0 where nobody answers."""

    def ask() -> int:
        connection = http.client.HTTPConnection(*address, timeout=20)
        login = base64.b64encode(f"me:{password}".encode()).decode()
        try:
            connection.request("GET", path, headers={"Authorization": f"Basic {login}"} if password else {})
            return connection.getresponse().status
        except ConnectionRefusedError:
            return 0
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


def place(relay: Relay) -> tuple[str, int]:
    assert relay.web_address is not None
    return relay.web_address


@pytest.mark.parametrize("looked", [True, False], ids=["loaded", "nobody has looked"])
async def test_the_page_s_password_changes(tmp_path: Path, looked: bool) -> None:
    """The old one is refused from the reload on, also on a connection that is open; the address stays."""
    web = {"address": f"127.0.0.1:{free_port()}", "password": "old one"}
    async with relay_at_home(tmp_path, {"upstreams": UPSTREAMS, "web": web}) as relay:
        page = place(relay)
        if looked:
            assert await get(page) == 401
            assert await get(page, "old one") == 200
        configure(tmp_path, web={**web, "password": "new one"})
        assert await relay.reload() == {"reloaded": True, "mistakes": [], "not_applied": []}
        assert place(relay) == page
        assert await get(page, "old one") == 401
        assert await get(page, "new one") == 200


async def test_the_page_moves_goes_and_comes(tmp_path: Path) -> None:
    """To another port, to all addresses on the same one, away, and back."""
    first, second = free_port(), free_port()
    secret = {"password": "pass word"}
    web = {"address": f"127.0.0.1:{first}", **secret}
    async with relay_at_home(tmp_path, {"upstreams": UPSTREAMS, "web": web}) as relay:
        assert await get(("127.0.0.1", first), "pass word") == 200
        for address, where in ((f"127.0.0.1:{second}", second), (f"0.0.0.0:{second}", second), (f"127.0.0.1:{first}", first)):
            configure(tmp_path, web={"address": address, **secret})
            assert (await relay.reload())["not_applied"] == []
            assert await get(("127.0.0.1", where), "pass word") == 200
            assert await get(("127.0.0.1", first + second - where)) == 0
        configure(tmp_path, web={})
        assert (await relay.reload())["not_applied"] == []
        assert await get(("127.0.0.1", first)) == 0
        assert relay.web_address is None
        configure(tmp_path, web=web)
        assert (await relay.reload())["not_applied"] == []
        assert await get(("127.0.0.1", first), "pass word") == 200


async def post_reload(address: tuple[str, int], password: str) -> tuple[int, Any]:
    """Orders a reload over the page."""

    def ask() -> tuple[int, Any]:
        with closing(http.client.HTTPConnection(*address, timeout=20)) as connection:
            login = base64.b64encode(f"me:{password}".encode()).decode()
            head = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
            connection.request("POST", "/api/reload", "{}", head)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    return await asyncio.to_thread(ask)


@pytest.mark.parametrize("move", ["another port", "all addresses", "away"])
async def test_an_order_over_the_page_that_moves_the_page(tmp_path: Path, move: str) -> None:
    """It is answered where it was given, at once, and the page answers at its new address."""
    port, secret = free_port(), {"password": "pass word"}
    async with relay_at_home(tmp_path, {"upstreams": UPSTREAMS, "web": {"address": f"127.0.0.1:{port}", **secret}}) as relay:
        old = place(relay)
        assert await get(old, "pass word") == 200
        new = {"another port": f"127.0.0.1:{free_port()}", "all addresses": f"0.0.0.0:{port}", "away": ""}[move]
        configure(tmp_path, web={"address": new, **secret} if new else {})
        began = asyncio.get_running_loop().time()
        assert await post_reload(old, "pass word") == (200, {"reloaded": True, "mistakes": [], "not_applied": []})
        assert asyncio.get_running_loop().time() - began < 1.5  # the old server cancels its answers after two seconds
        if not new:
            assert await get(old) == 0
            return
        assert place(relay)[1] == int(new.partition(":")[2])
        assert await get(("127.0.0.1", place(relay)[1]), "pass word") == 200


async def test_a_page_that_cannot_move_stays_with_its_password(tmp_path: Path) -> None:
    """The new address is taken and has no password: the old address must not be open to everybody meanwhile."""
    web = {"address": f"127.0.0.1:{free_port()}", "password": "old one"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with relay_at_home(tmp_path, {"upstreams": UPSTREAMS, "web": web}) as relay:
            page = place(relay)
            assert await get(page, "old one") == 200
            configure(tmp_path, web={"address": f"127.0.0.1:{taken.getsockname()[1]}"})
            outcome = await relay.reload()
            assert [one["setting"] for one in outcome["not_applied"]] == ["web"]
            assert await get(page) == 401
            assert await get(page, "old one") == 200


async def test_the_same_port_is_had_by_another_in_part(tmp_path: Path) -> None:
    """127.0.0.2 has the port: the page cannot answer on all addresses, and comes back on its own."""
    port = free_port()
    web = {"address": f"127.0.0.1:{port}", "password": "pass word"}
    with socket.create_server(("127.0.0.2", port)):
        async with relay_at_home(tmp_path, {"upstreams": UPSTREAMS, "web": web}) as relay:
            configure(tmp_path, web={**web, "address": f"0.0.0.0:{port}"})
            assert len((await relay.reload())["not_applied"]) == 1
            assert await get(("127.0.0.1", port), "pass word") == 200


async def test_limits_of_the_spool_and_what_waits_for_a_start(tmp_path: Path) -> None:
    """`keep_free` beyond the disk refuses mail at once, and takes it again; another `url` is named and not followed."""
    async with relay_at_home(tmp_path, {"upstreams": UPSTREAMS}) as relay:
        spool = json.loads((tmp_path / "config.yaml").read_text())["spool"]

        async def mail() -> str:
            async with await Device.connect(relay.inbound.bound[0]) as device:
                await device.reply()
                await device.dialog((b"EHLO nas\r\n", "250"))
                return await device.ask(b"MAIL FROM:<a@b.example> SIZE=1000\r\n")

        assert (await mail()).startswith("250")
        configure(tmp_path, spool={**spool, "keep_free": "100000GB", "max_message": "10kB"})
        assert (await relay.reload())["not_applied"] == []
        assert (await mail()).startswith("452 4.3.1")
        configure(tmp_path, spool={**spool, "url": f"sqlite:{tmp_path}/other.db", "max_message": 1000, "keep_history": "3d"})
        outcome = await relay.reload()
        assert outcome["not_applied"] == [{"setting": "spool.url", "reason": "it takes effect at the next start"}]
        assert (await mail()).startswith("250")
        assert not (tmp_path / "other.db").exists()


async def test_a_mistake_applies_nothing(tmp_path: Path) -> None:
    """The answer has what `relay check` says; the next good configuration is taken."""
    async with relay_at_home(tmp_path, {"upstreams": UPSTREAMS}) as relay:
        listen = [{"address": f"127.0.0.1:{free_port()}", "networks": ["private"]}]
        configure(tmp_path, listen=listen, routes=[{"via": ["nobody"]}])
        outcome = await relay.reload()
        assert not outcome["reloaded"]
        assert "nobody" in outcome["mistakes"][0]
        before = relay.inbound.bound
        configure(tmp_path, routes=[{"via": ["isp"]}])
        assert (await relay.reload())["reloaded"]
        assert relay.inbound.bound != before
        assert [f"{host}:{port}" for host, port in relay.inbound.bound] == [listen[0]["address"]]


async def test_reloads_that_come_together_and_a_stop_among_them(tmp_path: Path) -> None:
    """One after the other; a stop does not wait for them, and no listener is left open."""
    ports = [free_port() for _ in range(6)]
    async with relay_at_home(tmp_path, {"upstreams": UPSTREAMS}) as relay:
        asked = []
        for port in ports:
            configure(tmp_path, listen=[{"address": f"127.0.0.1:{port}", "networks": ["private"]}])
            asked.append(relay.reload())
            await asyncio.sleep(0)
        await asyncio.gather(*asked)
        assert relay.inbound.bound == [("127.0.0.1", ports[-1])]
        configure(tmp_path, listen=[{"address": f"127.0.0.1:{ports[0]}", "networks": ["private"]}])
        relay.reload()
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            await Device.connect(("127.0.0.1", port))


async def test_an_order_while_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration was read before the order came, so it is read once more."""
    port = free_port()
    make = Relay._make_services

    def ordered(relay: Relay) -> services.Services:
        configure(tmp_path, listen=[{"address": f"127.0.0.1:{port}", "networks": ["private"]}])
        relay.reload()
        return make(relay)

    monkeypatch.setattr(Relay, "_make_services", ordered)
    async with relay_at_home(tmp_path, {"upstreams": UPSTREAMS}) as relay, asyncio.timeout(10):
        while relay.inbound.bound != [("127.0.0.1", port)]:
            await asyncio.sleep(0.02)


async def test_mail_is_taken_while_the_configuration_is_read(tmp_path: Path) -> None:
    """A library may need seconds to look at new URLs of a push service; it holds up nobody."""
    async with relay_at_home(tmp_path, {"upstreams": UPSTREAMS}) as relay:
        reading, over, read = threading.Event(), threading.Event(), relay._read_again
        assert read is not None

        def slowly() -> Loaded:
            reading.set()
            assert over.wait(20)
            return read()

        relay._read_again = slowly
        outcome = relay.reload()
        assert await asyncio.to_thread(reading.wait, 20)
        async with asyncio.timeout(10):
            await Device.connect(relay.inbound.bound[0])
        assert not outcome.done()
        over.set()
        assert (await outcome)["reloaded"]


def issue(folder: Path) -> bytes:
    """A new certificate for localhost in cert.pem and key.pem; its octets."""
    issued = CA.issue_cert("localhost")
    for name, blob in (("key.pem", issued.private_key_pem), ("cert.pem", issued.cert_chain_pems[0])):
        blob.write_to_path(folder / f"{name}.new")
        (folder / f"{name}.new").replace(folder / name)
    return ssl.PEM_cert_to_DER_cert((folder / "cert.pem").read_text())


async def shown(relay: Relay) -> bytes:
    async with await Device.connect(relay.inbound.bound[0]) as device:
        await device.reply()
        await device.dialog((b"EHLO nas\r\n", "250"), (b"STARTTLS\r\n", "220"))
        context = ssl.create_default_context()
        CA.configure_trust(context)
        await device.start_tls(context)
        return device.certificate


async def test_a_renewed_certificate_is_found_and_the_page_tells_how_long_it_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody calls the relay; a broken one afterwards is told on the page and to a person, and by the answer of a reload."""
    monkeypatch.setattr(services, "CERTIFICATES_EVERY", timedelta(seconds=0.1))
    monkeypatch.setattr(listener_tls, "_SETTLE", 0.05)
    issue(tmp_path)
    listen = {"address": "127.0.0.1:0", "networks": ["private"], "tls_cert": "cert.pem", "tls_key": "key.pem"}
    settings = {"upstreams": UPSTREAMS, "listen": listen, "web": {"address": f"127.0.0.1:{free_port()}"}}
    settings["notices"] = {"to": "boss@isp.example"}

    async def page() -> str:
        def ask() -> str:
            with closing(http.client.HTTPConnection(*place(relay), timeout=20)) as connection:
                connection.request("GET", "/")
                return connection.getresponse().read().decode()

        return await asyncio.to_thread(ask)

    async with relay_at_home(tmp_path, settings) as relay:
        new = issue(tmp_path)
        async with asyncio.timeout(10):
            while await shown(relay) != new:
                await asyncio.sleep(0.05)
        assert re.search(r"certificate: \d+ days left", await page())
        assert "cannot be used" not in await page()
        (tmp_path / "key.pem").write_text("half")
        async with asyncio.timeout(10):
            while "The certificate of 127.0.0.1:" not in await page():
                await asyncio.sleep(0.05)
        [left] = (await relay.reload())["not_applied"]
        assert left["setting"] == "tls_cert of 127.0.0.1:0"
        assert await shown(relay) == new
        async with asyncio.timeout(10):
            while not any("boss@isp.example" in str(one) for one in (await relay.desk.queue(None))["messages"]):
                await asyncio.sleep(0.05)
        newest = issue(tmp_path)
        assert (await relay.reload())["not_applied"] == []
        assert await shown(relay) == newest
        assert "cannot be used" not in await page()
