"""kill -9 while an access token is on its way to the server: the refresh token that is worth something is on disk.

device ──> relay run ── AUTH XOAUTH2 ──> a server that lets it hang      (killed here)
               └── POST /token ──> a token server whose old refresh tokens are void at once
"""

import asyncio
import json
import smtplib

import pytest

from tests.support.oauth import provider
from tests.support.running import RelayProcess
from tests.support.upstream import DROP, HANG, ScriptedUpstream

USER = "taro@isp.example"
LIVES = 4


@pytest.fixture
def stub():
    with provider(expires_in=1) as running:
        yield running


class Live(dict):
    """The newest access token is the right one."""

    def __init__(self, stub):
        super().__init__({USER: ""})
        self.stub = stub

    def get(self, user, default=None):
        return next(reversed(self.stub.access_tokens), "nothing") if user == USER else default


def settings(tmp_path, stub, port):
    (tmp_path / "given.token").write_text(f"{stub.consent()}\n")
    oauth = {"provider": "microsoft", "client_id": "app", "refresh_token_file": str(tmp_path / "given.token"), **stub.urls}
    isp = {"host": "127.0.0.1", "port": port, "tls": "none", "username": USER, "oauth": oauth, "timeout": "30s"}
    # the hang-up at AUTH may be recorded before the kill: the next life must not wait for it
    return {"upstreams": {"isp": isp}, "retry": {"delays": ["1s"], "rest": ["1s"], "rest_login": "1s"}}


def submit(relay):
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=30) as device:
        device.sendmail(USER, ["b@far.example"], f"From: {USER}\r\nSubject: kept\r\n\r\nhello\r\n")


@pytest.mark.parametrize("at", [HANG, DROP], ids=["hanging", "dropped"])
async def test_killed_at_auth_again_and_again(tmp_path, stub, at):
    """Four lives end between renewal and use; each next one renews with the token that the one before got, and one delivers."""
    async with ScriptedUpstream(mechanisms=("XOAUTH2",), users={USER: ""}, require_auth=True, script={"AUTH": at}) as server:
        server.users = Live(stub)
        relay = RelayProcess(tmp_path, settings(tmp_path, stub, server.port))
        await asyncio.to_thread(relay.start)
        try:
            await asyncio.to_thread(submit, relay)
            for life in range(1, LIVES + 1):
                async with asyncio.timeout(30):
                    while len(server.auths) < life:
                        await asyncio.sleep(0.02)
                await asyncio.to_thread(relay.kill9)
                kept = json.loads((relay.spool.parent / "oauth" / "isp.json").read_text())
                assert {kept["refresh_token"]} == stub.refresh_tokens
                if life == LIVES:
                    server.script.clear()
                await asyncio.to_thread(relay.start)
            await server.arrived(1, timeout=30)
        finally:
            await asyncio.to_thread(relay.stop)
    assert len(server.messages) == 1
    assert len(stub.asked("refresh_token")) >= LIVES
    assert server.auths[-1] == ("XOAUTH2", USER, True)
