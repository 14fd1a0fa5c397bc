"""The certificate that is shown to an upstream while the relay runs: renewed, broken, mended; and who is told.

device -> relay -> upstream that takes nobody without a certificate
"""

import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from relay.daemon import Relay, services
from tests.stations.test_device_pages import asked
from tests.stations.test_device_rules import ME, isp, queue_id, submit
from tests.stations.test_submission_tls_policy import wanting
from tests.support.inprocess import ended, relay_at_home
from tests.support.upstream import ScriptedUpstream
from tests.support.waiting import until

CA = trustme.CA()


def issue(folder: Path, days: int) -> bytes:
    """A new certificate in client.pem and client.key; its octets."""
    issued = CA.issue_cert("nas@company.example", not_after=datetime.now(UTC) + timedelta(days=days, hours=1))
    for name, blob in (("client.key", issued.private_key_pem), ("client.pem", issued.cert_chain_pems[0])):
        blob.write_to_path(folder / f"{name}.new")
        (folder / f"{name}.new").replace(folder / name)
    return ssl.PEM_cert_to_DER_cert((folder / "client.pem").read_text())


async def card(relay: Relay, language: str = "en") -> str:
    """What the page says of the upstream."""
    html = await asked(relay, "/", language)
    found = re.search(r'<li class="card upstream">\s*<h3>.{0,400}<bdi>isp</bdi>.*?</li>', html, re.DOTALL)
    assert found, html
    return found[0]


async def test_a_client_certificate_is_renewed_broken_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next session shows the new one; while a new one cannot be used, mail goes by the old, and page, reload and a
    person are told, once."""
    monkeypatch.setattr(services, "CERTIFICATES_EVERY", timedelta(seconds=0.1))
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    first = issue(tmp_path, 90)
    names = {"ca_file": "ca.pem", "client_cert": "client.pem", "client_key": "client.key"}
    async with ScriptedUpstream(tls=wanting(CA)) as server, ScriptedUpstream() as plain:
        settings = {
            "upstreams": {
                "isp": isp(server.port, host="localhost", tls="starttls", **names),
                "other": isp(plain.port),
            },
            "routes": [{"to": "boss@isp.example", "via": ["other"]}, {"via": ["isp"]}],
            "web": {"address": "127.0.0.1:0"},
            "notices": {"to": "boss@isp.example", "digest": "1s"},
        }
        async with relay_at_home(tmp_path, settings) as relay:

            async def shown() -> bytes:
                """The one of the next session, by which a message goes."""
                await server.hang_up()
                await ended(relay, queue_id(await submit(relay, ME)), "relayed")
                return server.connections[-1].certificate

            assert await shown() == first
            await until(lambda: card(relay), lambda said: "certificate: 90 days left" in said)
            assert "証明書：残り90日" in await card(relay, "ja")

            second = issue(tmp_path, 60)
            await until(lambda: card(relay), lambda said: "certificate: 60 days left" in said)
            assert await shown() == second

            (tmp_path / "client.key").write_text("half of a k")
            await until(lambda: card(relay), lambda said: "cannot be used" in said)
            said = await card(relay)
            assert "certificate: 60 days left" in said and "mark-look" in said  # of the one that is used
            assert "The certificate of isp in the files cannot be used; the old one is still shown." in await asked(relay, "/")
            assert await shown() == second
            outcome = await relay.reload()
            [left] = outcome["not_applied"]
            assert left["setting"] == "upstreams.isp.client_cert" and "client.pem" in left["reason"]
            [notice] = await plain.arrived(1)
            assert b"The certificate for isp cannot be used" in notice.content

            third = issue(tmp_path, 0)
            assert (await relay.reload())["not_applied"] == []
            assert await shown() == third
            said = await card(relay)
            assert "certificate: 0 days left" in said and "cannot be used" not in said and "mark-look" not in said
            assert len(plain.messages) == 1


async def test_a_relay_that_starts_with_a_broken_one_says_that_nothing_can_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no old one to go on with; the mail waits, and goes once the certificate is right."""
    monkeypatch.setattr(services, "CERTIFICATES_EVERY", timedelta(seconds=0.1))
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    issue(tmp_path, 90)
    (tmp_path / "client.key").write_text("half of a k")
    names = {"ca_file": "ca.pem", "client_cert": "client.pem", "client_key": "client.key"}
    async with ScriptedUpstream(tls=wanting(CA)) as server:
        upstream = isp(server.port, host="localhost", tls="starttls", **names)
        async with relay_at_home(tmp_path, {"upstreams": {"isp": upstream}, "web": {"address": "127.0.0.1:0"}}) as relay:
            waiting = queue_id(await submit(relay, ME))
            page = "The certificate for isp cannot be used, so nothing can be sent there."
            await until(lambda: asked(relay, "/"), lambda said: page in said)
            assert "isp 用の証明書を使用できないため" in await asked(relay, "/", "ja")
            assert "days left" not in await asked(relay, "/")
            new = issue(tmp_path, 90)
            await ended(relay, waiting, "relayed")
            assert server.connections[-1].certificate == new
            await until(lambda: asked(relay, "/"), lambda said: page not in said)
