"""Where the libraries that this relay stands on are in real use: what they do, done by them."""

import inspect
import tomllib
from pathlib import Path

import aiosmtpd.controller
import aiosmtpd.smtp
import aiosmtplib
import dns.asyncresolver
import dns.resolver
import pytest
import structlog
import structlog.testing
import yaml

from relay import config, events
from relay.cli import demo_isp
from relay.inbound.command_tables import tables
from relay.inbound.server_session import ServerSession
from relay.inbound.server_state import Transaction
from relay.upstream import dns as lookups
from relay.upstream.pool import Pools
from tests.support.device import Device
from tests.support.inbound import receiving
from tests.support.sending import letter, upstream_at
from tests.support.upstream import ScriptedUpstream
from tests.unit.test_walls import graph

ROOT = Path(__file__).parents[2]

USED = {
    "aiosmtpd": {
        "relay.inbound.command_tables",
        "relay.inbound.connection",
        "relay.inbound.server_session",
        "relay.inbound.server_state",
        "relay.cli.demo_isp",
    },
    "aiosmtplib": {"relay.upstream.client_session"},
    "dns": {"relay.upstream.dns"},
    "yaml": {"relay.config.hidden", "relay.config.located", "relay.importers.docker_postfix"},
    "structlog": {"relay.events"},
}
"""The files that import each of them."""


@pytest.mark.parametrize("library", USED)
def test_it_is_imported_where_this_says(library: str) -> None:
    assert {module for module, wanted in graph().items() if library in {name.split(".")[0] for name in wanted}} == USED[library]


def test_they_are_runtime_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {one.split("=")[0].split(">")[0] for one in project["dependencies"]}
    assert {"aiosmtpd", "aiosmtplib", "dnspython", "pyyaml", "structlog"} <= names


def test_the_listener_is_aiosmtpd_s() -> None:
    """What is not overridden is done there; what is overridden says why."""
    assert issubclass(ServerSession, aiosmtpd.smtp.SMTP)
    assert issubclass(Transaction, aiosmtpd.smtp.Envelope)
    for name in ("smtp_NOOP", "auth_PLAIN", "auth_LOGIN", "_authenticate", "_call_handler_hook", "_set_rset_state"):
        assert getattr(ServerSession, name) is getattr(aiosmtpd.smtp.SMTP, name)
    for kind in ServerSession.__mro__[: ServerSession.__mro__.index(aiosmtpd.smtp.SMTP)]:
        for name, found in vars(kind).items():
            if inspect.isfunction(found) and hasattr(aiosmtpd.smtp.SMTP, name) and name not in _PLAIN:
                assert found.__doc__, f"{kind.__name__}.{name} overrides aiosmtpd's and does not say why"


_PLAIN = {"__init__", "_create_session", "_create_envelope"}
"""Those are made to be overridden."""


def watching(monkeypatch: pytest.MonkeyPatch, kind: type, *names: str) -> set[str]:
    """The names of those methods that were called; they do what they do."""
    called: set[str] = set()

    def watch(name: str) -> None:
        plain = getattr(kind, name)

        def watched(self: object, *args: object, **more: object) -> object:
            called.add(name)
            return plain(self, *args, **more)

        monkeypatch.setattr(kind, name, watched)

    for name in names:
        watch(name)
    return called


async def test_a_dialog_goes_through_aiosmtpd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands, its hooks, its AUTH: each is called for what a device says."""
    names = ("connection_made", "smtp_EHLO", "smtp_NOOP", "smtp_RSET", "smtp_AUTH", "auth_PLAIN", "smtp_QUIT")
    called = watching(monkeypatch, aiosmtpd.smtp.SMTP, *names, "_set_rset_state", "_call_handler_hook")
    tables.cache_clear()  # of what other tests found in the class as it is
    async with receiving(tmp_path, monkeypatch) as relay:
        device = await relay.device()
        await device.dialog((b"NOOP\r\n", "250"), (b"RSET\r\n", "250"), (b"AUTH PLAIN AAA=\r\n", "235"), (b"QUIT\r\n", "221"))
    tables.cache_clear()
    assert called == {*names, "_set_rset_state", "_call_handler_hook"}


async def test_upstreams_are_talked_to_by_aiosmtplib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connection and EHLO; its AUTH and STARTTLS are in tests/stations/test_submission_*.py."""
    called = watching(monkeypatch, aiosmtplib.SMTP, "connect", "ehlo")
    async with ScriptedUpstream() as server:
        pools = Pools(hostname="relay.test")
        report = await pools.submit(upstream_at(server.port), letter())
        await pools.close()
    assert called == {"connect", "ehlo"}
    assert [answer.reply.code for answer in report.answers.values()] == [250]


async def test_names_are_looked_up_by_dnspython(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Its answer that there is no such domain becomes ours."""
    asked = []

    async def resolve(_self: object, name: str, kind: str, **_more: object) -> None:
        asked.append((name, kind))
        raise dns.resolver.NXDOMAIN

    monkeypatch.setattr(dns.asyncresolver.Resolver, "resolve", resolve)
    with pytest.raises(lookups.NoSuchName):
        await lookups.Resolver(["127.0.0.1"]).mx("nowhere.example")
    assert asked == [("nowhere.example.", "MX")]


def test_settings_are_read_by_pyyaml(monkeypatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Its reader tells where the mistake stands."""
    file = tmp_path / "config.yaml"
    file.write_text("upstreams: {isp: {host: mail.isp.example}}\nhostname: [\n", encoding="utf-8")
    [mistake] = config.load(file, {}, machine_name="nas").mistakes
    assert mistake.place.line == 3
    monkeypatch.setattr(yaml, "SafeLoader", None)
    with pytest.raises(TypeError):
        config.load(file, {}, machine_name="nas")


def test_the_log_is_structlog_s() -> None:
    """Each event goes through its processors."""
    structlog.reset_defaults()
    try:
        with structlog.testing.capture_logs() as seen:
            monkey = events._log
            events._log = None
            events.note("warned", "a sentence", client="192.0.2.1")
            events._log = monkey
    finally:
        structlog.reset_defaults()
    assert seen == [{"event": "warned", "text": "a sentence", "client": "192.0.2.1", "log_level": "warning"}]


async def test_the_demo_s_isp_is_aiosmtpd_s() -> None:
    """Its Controller serves what the demo sends to."""
    assert issubclass(demo_isp._OnAnyPort, aiosmtpd.controller.Controller)
    isp = demo_isp.Isp("mail.isp.example", "taro", "demo-only", frozenset({"isp.example"}))
    await isp.start()
    try:
        device = await Device.connect(("127.0.0.1", isp.port))
        assert "aiosmtpd" not in await device.reply()
        assert "STARTTLS" in await device.ask(b"EHLO relay\r\n")
        await device.dialog(
            (b"MAIL FROM:<a@isp.example>\r\n", "530 5.7.0"), (b"AUTH PLAIN AAA=\r\n", "538"), (b"QUIT\r\n", "221")
        )
        await device.close()
    finally:
        await isp.stop()
