"""Whatever octets a server answers with, at whatever stage: page, API, health, list, log and notices go on working."""

import asyncio
import email
import email.policy
import json
import re
import smtplib
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.support.peers import free_port
from tests.support.running import RelayProcess, running
from tests.support.upstream import ScriptedUpstream

OCTETS = {
    "GBK": "用户名或密码错误".encode("gbk"),
    "Latin-1": "Anmeldung zurückgewiesen, Schlüssel ungültig".encode("latin-1"),
    "Shift_JIS": "認証に失敗しました、表示ソ".encode("shift_jis"),
    "NUL": b"no\0 \x07\x1b[31m \x08such \x9b user",
    "surrogates": b"\xed\xa0\x80 \xed\xb0\x80 \xff\xfe \xc3",
    "a line of 100 KB": b"x\xe9" * 50_000,
    "many lines": b"\r\n".join([b"%s-\xa4\xa2" % b"CODE"] * 200 + [b"CODE \xa4\xa2"]),
    "right to left": "\u202egnihton\u2028\u0000".encode(),
}
STAGES = {"CONNECT": b"554", "EHLO": b"550", "AUTH": b"535", "MAIL": b"550", "RCPT": b"550", "DATA": b"554", "DOT": b"554"}
STAGES["STARTTLS"] = b"454"

pytestmark = pytest.mark.timeout(240)


class Rude:
    """A server that answers by the book, but for one step."""

    def __init__(self, step: str, octets: bytes) -> None:
        code = STAGES[step]
        reply = octets.replace(b"CODE", code)
        self.step, self.reply = step, (reply if octets.startswith(b"CODE") else code + b" " + reply) + b"\r\n"

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(step: str, usual: bytes) -> None:
            writer.write(self.reply if step == self.step else usual)

        say("CONNECT", b"220 rude\r\n")
        while line := await reader.readline():
            verb = (line.split() or [b""])[0].upper().decode("ascii", "replace")
            if verb == "DATA":
                say("DATA", b"354 go\r\n")
                if self.step != "DATA":
                    await reader.readuntil(b"\r\n.\r\n")
                    say("DOT", b"250 ok\r\n")
            elif verb == "QUIT":
                return
            else:
                usual = {"EHLO": b"250-rude\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n", "AUTH": b"235 ok\r\n"}
                say(verb, usual.get(verb, b"250 ok\r\n"))
            await writer.drain()


@asynccontextmanager
async def relaying(tmp_path: Path, rude: dict[str, Rude]) -> AsyncIterator[tuple[RelayProcess, ScriptedUpstream, int]]:
    async with AsyncExitStack() as stack:
        good = await stack.enter_async_context(ScriptedUpstream())
        upstreams = {"good": {"host": "127.0.0.1", "port": good.port, "tls": "none", "rewrite": "never"}}
        for name, handler in rude.items():
            server = await asyncio.start_server(handler, "127.0.0.1", 0)
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
            upstreams[name] = {
                "host": "127.0.0.1",
                "port": server.sockets[0].getsockname()[1],
                "tls": "starttls" if handler.step == "STARTTLS" else "none",
                "auth": "plain",
                "username": "taro@example.jp",
                "password": "secret",
                "timeout": "10s",
            }
        page = free_port()
        config = {
            "upstreams": upstreams,
            "routes": [*({"to": f"*@{name}.example", "via": [name]} for name in rude), {"via": ["good"]}],
            "notices": {"to": "boss@example.jp", "digest": "1s"},
            "retry": {"delays": ["5m"], "rest": ["5m"]},
            "web": {"address": f"127.0.0.1:{page}"},
        }
        starting = running(tmp_path, config)
        relay = await asyncio.to_thread(starting.__enter__)
        try:
            yield relay, good, page
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)


def send(port: int, names: list[str]) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as device:
        for name in names:
            device.sendmail("nas@lan.local", [f"x@{name}.example"], "Subject: hi\r\n\r\nhello\r\n")


def got(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own page
        assert answer.status == 200
        return bytes(answer.read())


async def test_nobody_is_blinded(tmp_path: Path) -> None:
    """Every kind of octets at every stage, one upstream for each, all looked at together."""
    kinds = [(step, octets) for step in STAGES for octets in OCTETS.values()]
    rude = {f"u{number}": Rude(*kind) for number, kind in enumerate(kinds)}
    async with relaying(tmp_path, rude) as (relay, good, page):
        await asyncio.to_thread(send, relay.port, list(rude))

        def settled() -> set[str]:
            lines = [line for event in ("deferred", "failed") for line in relay.events(event)]
            return {str(line["queue_id"]) for line in lines}

        async with asyncio.timeout(90):
            while len(settled()) < len(rude):
                await asyncio.sleep(0.1)
        await good.arrived(1, timeout=30)

        messages = await asyncio.to_thread(relay.queue, "--all")
        theirs = [one for one in messages if not one["notice"]]
        assert len(theirs) == len(rude)
        for one in theirs:
            (row,) = one["recipients"]
            assert row["said"] and len(row["said"]) <= 4000, row
            assert row["said"].encode("utf-8") and not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u202e]", row["said"]), row
        assert (await asyncio.to_thread(relay.command, "queue", "list", "--all")).returncode == 0
        assert (await asyncio.to_thread(relay.command, "health")).returncode == 0
        for one in theirs:
            for path in (f"/messages/{one['id']}", f"/api/queue/{one['id']}"):
                (await asyncio.to_thread(got, f"http://127.0.0.1:{page}{path}")).decode("utf-8")
        for path in ("/", "/messages", "/metrics"):
            (await asyncio.to_thread(got, f"http://127.0.0.1:{page}{path}")).decode("utf-8")
        for path in ("/api/relay", "/api/queue", "/api/upstreams", "/readyz"):
            json.loads((await asyncio.to_thread(got, f"http://127.0.0.1:{page}{path}")).decode("utf-8"))
        doctor = await asyncio.to_thread(relay.command, "doctor", "u16", "u24", "u32", "--json")
        assert doctor.returncode in (0, 1), doctor.stderr
        json.loads(doctor.stdout)
        lines = [line for line in relay.lines if line.startswith("{")]
        assert all(json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8") for line in lines)
        for mail in good.messages:
            assert mail.content.isascii()
            email.message_from_bytes(mail.content, policy=email.policy.default).as_string()
