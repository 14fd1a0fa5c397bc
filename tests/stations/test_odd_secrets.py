"""Secrets and user names with odd characters come through the settings to the server as they are."""

import json

import pytest

from relay.config import load
from relay.upstream.pool import Pools
from tests.support.sending import letter
from tests.support.upstream import ScriptedUpstream

SECRETS = [
    " blanks at the ends ",
    "100%s %(x)s",
    "$HOME ${HOME} $${HOME}",
    "#hash # and more",
    "\"double\" 'single' `back`",
    "back\\slash \\n",
    "pässwörd パスワード",
    "tab\there",
    "colon: comma, {brace} [bracket] & * ! | >",
    "yes",
    "0123",
]


@pytest.mark.parametrize("auth", ["plain", "login", "cram-md5"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", ""], ids=["newline", "crlf", "nothing"])
async def test_secrets_in_files_come_through(tmp_path, auth, ending):
    """Each odd secret logs in by each mechanism; only the trailing newline of its file is no part of it."""
    users = {f"user-{number}": secret for number, secret in enumerate(SECRETS)}
    async with ScriptedUpstream(users=users, require_auth=True) as server:
        upstreams = {}
        for user, secret in users.items():
            (tmp_path / user).write_bytes(f"{secret}{ending}".encode())
            common = {"host": "127.0.0.1", "port": server.port, "tls": "none", "auth": auth, "sender": "a@b.example"}
            upstreams[user] = {**common, "username": user, "password_file": user}
        (tmp_path / "config.yaml").write_text(json.dumps({"upstreams": upstreams, "routes": [{"via": ["user-0"]}]}))
        loaded = load(tmp_path / "config.yaml", {})
        assert loaded.config, loaded.mistakes
        pools = Pools(hostname="relay.test")
        for upstream in loaded.config.upstreams.values():
            [answer] = (await pools.submit(upstream, letter())).answers.values()
            assert answer.reply.code == 250, upstream.name
        await pools.close()
    assert server.auths == [(auth.upper(), user, True) for user in users]


@pytest.mark.parametrize("auth", ["plain", "login", "cram-md5"])
async def test_secrets_from_the_environment_come_through(tmp_path, auth):
    """What a variable holds is not looked into again, and user names may be in any script."""
    secret, user = "a${b}$#%'\" ", "太郎@例え.example"
    async with ScriptedUpstream(users={user: secret}, require_auth=True) as server:
        text = (
            f"upstreams: {{isp: {{host: 127.0.0.1, port: {server.port}, tls: none, auth: {auth}, username: '{user}', "
            "password: '${SECRET}', sender: a@b.example}}"
        )
        (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
        loaded = load(tmp_path / "config.yaml", {"SECRET": secret})
        assert loaded.config, loaded.mistakes
        pools = Pools(hostname="relay.test")
        [answer] = (await pools.submit(loaded.config.upstreams["isp"], letter())).answers.values()
        await pools.close()
    assert answer.reply.code == 250
    assert server.auths == [(auth.upper(), user, True)]
