"""Set-up in the browser: from no configuration to the first delivered message, and every way of not getting there.

person ──HTTP──> relay run --setup ──> ScriptedUpstream (AUTH)
                                  └──> tests/support/oauth.py
"""

import base64
import json
import re
import smtplib
import stat
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from relay.control import translated
from relay.control.access import HEADERS
from relay.control.i18n import Texts
from relay.mail.reply import Answer, Reply, Stage
from relay.outbound.replies import judge
from relay.setup.code import HOUR, open_code
from tests.support.oauth import Stub, provider
from tests.support.setting_up import Person, SetupProcess, in_a_thread, setting_up
from tests.support.upstream import ScriptedUpstream
from tests.support.waiting import eventually

USER, SECRET, PAGE = "taro@isp.example", "hunter2 hunter2", "correct horse"


@pytest.fixture
def isp() -> Iterator[ScriptedUpstream]:
    """Takes no mail without the login."""
    with in_a_thread(ScriptedUpstream(users={USER: SECRET}, require_auth=True)) as server:
        yield server


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[SetupProcess]:
    with setting_up(tmp_path) as running:
        yield running


def account(isp: ScriptedUpstream, **other: str) -> dict[str, str]:
    usual = {"username": USER, "password": SECRET, "notices_to": USER, "web_password": PAGE, "host": "127.0.0.1"}
    return {**usual, "port": str(isp.port), "tls": "none", **other}


def answered(relay: SetupProcess, isp: ScriptedUpstream, language: str = "en", **other: str) -> Person:
    """A person who has come as far as the last page."""
    person = Person(relay.place, language)
    person.send("/code", code=relay.code)
    person.send("/server", host="127.0.0.1")
    assert Texts(language)("setup_try_title") in person.send("/account", **account(isp, **other))
    return person


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}


def submit(relay: SetupProcess, subject: str = "backup done") -> None:
    port = int(relay.wait_for("started")["listening"][0].rpartition(":")[2])
    with smtplib.SMTP("127.0.0.1", port, "nas", timeout=30) as device:
        device.sendmail("root@nas", ["hanako@far.example"], f"Subject: {subject}\r\n\r\nhi\r\n".encode())


def test_from_nothing_to_a_delivered_message(relay: SetupProcess, isp: ScriptedUpstream, tmp_path: Path) -> None:
    """Code, provider, account, doctor, test message; then the settings are written, and the same process relays mail."""
    person = Person(relay.place)
    assert "Is this relay yours?" in person.look()
    assert "By which provider" in person.send("/code", code=relay.code.lower().replace("-", " "))
    assert "User name" in person.send("/server", host="127.0.0.1")
    person.send("/account", **account(isp))
    assert "fine" in person.until("fine.")
    assert "isp has taken the message" in (person.send("/test", to="me@far.example") and person.until("has taken"))
    assert "250" in person.text
    assert [one.forward_paths for one in isp.messages] == [["me@far.example"]]
    assert b"set-up in the browser" in isp.messages[0].content
    assert relay.files() == {"state/setup.json"}, "something was written before the end"
    assert relay.events("started") == []

    pid, web = relay.process.pid, relay.place
    assert "Saved. The relay is starting" in person.send("/finish")
    assert "Log in" in person.until("Log in", "/")
    started = relay.wait_for("started")
    assert (started["pid"], started["web"]) == (pid, web)
    config, secrets = relay.state / "config.yaml", [relay.state / "isp.secret", relay.state / "web.secret"]
    assert [mode(one) for one in (config, *secrets)] == [0o600] * 3
    assert [one.read_text() for one in secrets] == [f"{SECRET}\n", f"{PAGE}\n"]
    assert not (relay.state / "setup.json").exists()
    assert started["config"] == str(config)

    assert person.ask("GET", "/", headers=basic("wrong")) == 401
    assert person.ask("GET", "/", headers=basic(PAGE)) == 200
    submit(relay)
    eventually(lambda: len(isp.messages) == 2)
    assert isp.messages[1].user == USER
    done = relay.command("check")
    assert (done.returncode, "not used" in done.stdout + done.stderr) == (0, False), done.stdout + done.stderr
    assert relay.command("health").returncode == 0
    assert SECRET not in relay.said()
    assert PAGE not in relay.said()


def test_where_devices_connect_is_an_address_to_type(tmp_path: Path, isp: ScriptedUpstream) -> None:
    """Not what the listener says of itself."""
    with setting_up(tmp_path, RELAY_LISTEN="0.0.0.0:0") as relay:
        finish = answered(relay, isp).page.partition('id="finish-title"')[2]
    assert "Devices connect to" in finish
    assert "0.0.0.0" not in finish


def test_what_the_environment_says_goes_into_the_file_by_name(relay: SetupProcess, isp: ScriptedUpstream) -> None:
    """A later change of a variable counts; after a restart the relay runs at once, and asks for nothing."""
    person = answered(relay, isp)
    person.send("/finish")
    relay.wait_for("started")
    settings = yaml.safe_load((relay.state / "config.yaml").read_text())
    assert settings["listen"] == [{"address": "${RELAY_LISTEN}"}]
    assert settings["web"] == {"password_file": "web.secret", "address": "${RELAY_WEB}"}
    assert settings["notices"] == {"to": USER}
    assert relay.stop() == 0
    relay.environ["RELAY_HOSTNAME"] = "other.example"
    relay.launch()
    relay.wait_for("started", 2)
    assert len(relay.opened) == 1


def test_who_stops_half_way_leaves_nothing(tmp_path: Path, isp: ScriptedUpstream) -> None:
    """Neither SIGTERM nor a kill leaves more than the code, which a second start asks for again; nobody is known any more."""
    relay = SetupProcess(tmp_path).start()
    person = answered(relay, isp)
    assert relay.stop() == 0
    assert relay.files() == {"state/setup.json"}
    assert mode(relay.state / "setup.json") == 0o600
    first = relay.code
    relay.start()
    assert relay.code == first
    person.place = relay.place
    assert "Is this relay yours?" in person.look("/try")
    answered(relay, isp)
    relay.process.kill()
    relay.process.wait(10)
    assert relay.files() == {"state/setup.json"}
    assert SECRET not in (relay.state / "setup.json").read_text() + relay.said()


@pytest.mark.parametrize("step", ["nothing", "code", "server", "account", "test", "wrong code"])
def test_sigterm_ends_it_at_any_step(tmp_path: Path, step: str) -> None:
    """Within seconds, with status 0, also while a server that says nothing is examined and waited for."""
    with in_a_thread(ScriptedUpstream(users={USER: SECRET}, delays={"CONNECT": 60.0})) as mute:
        relay = SetupProcess(tmp_path).start()
        person = Person(relay.place)
        if step == "wrong code":
            person.send("/code", code="nonsense")
        elif step != "nothing":
            person.send("/code", code=relay.code)
        if step in ("server", "account", "test"):
            person.send("/server", host="127.0.0.1")
        if step in ("account", "test"):
            person.send("/account", **account(mute))
        if step == "test":
            assert "is being spoken to" in person.send("/test", to=USER)
        assert relay.stop() == 0, relay.said()
        assert relay.files() == {"state/setup.json"}


def test_strangers_see_nothing(relay: SetupProcess) -> None:
    """Without the code every page leads to where it is asked for, and nothing that is sent counts."""
    stranger = Person(relay.place)
    for path in ("/account", "/try", "/messages", "/api/queue", "/metrics", "/finish"):
        assert "Is this relay yours?" in stranger.look(path) or stranger.code == 405, path
    for path in ("/server", "/account", "/test", "/finish", "/examine", "/sign-in"):
        assert "Is this relay yours?" in stranger.send(path, host="mail.isp.example"), path
    assert "This is not the code" in stranger.send("/code", code='0000-"><b>-0000')
    assert 'value="0000-&#34;&gt;&lt;b&gt;-0000"' in stranger.page, "what was typed stays, to be corrected"
    assert stranger.code == 403
    stranger.cookies["relay_setup"] = "x" * 32
    assert "Is this relay yours?" in stranger.look("/account")
    assert "code" not in str(relay.wait_for("refused").get("text", "")).replace("a wrong code", "")
    assert stranger.ask("GET", "/healthz") == 200


def test_codes_cannot_be_guessed(relay: SetupProcess) -> None:
    """After ten wrong ones each takes two seconds, and who does not wait is told to come back; the right one still fits."""
    stranger = Person(relay.place)
    stranger.look()
    for _ in range(10):
        stranger.send("/code", code="guess")

    def guess(_: int) -> int:
        one = Person(relay.place)
        one.cookies, one.page = dict(stranger.cookies), stranger.page
        one.send("/code", code="guess")
        return one.code

    begun = time.monotonic()
    with ThreadPoolExecutor(6) as many:
        codes = list(many.map(guess, range(6)))
    assert codes.count(429) >= 2, codes
    assert time.monotonic() - begun >= 2
    begun = time.monotonic()
    assert "By which provider" in stranger.send("/code", code=relay.code)
    assert time.monotonic() - begun < 2, "whoever has the code waits for nobody's guesses"
    assert "By which provider" not in stranger.send("/code", code="x" * 9000)
    assert stranger.code == 413


def test_foreign_pages_cannot_use_it(relay: SetupProcess) -> None:
    """A foreign Host (DNS rebinding), a foreign Origin, a form without its seal: refused, also with the cookie."""
    person = Person(relay.place)
    person.send("/code", code=relay.code)
    assert person.ask("GET", "/", headers={"Host": "evil.example"}) == 400
    assert person.ask("POST", "/server", "host=mail.evil.example", {"Origin": "http://evil.example"}) == 403
    assert person.ask("POST", "/server", "host=mail.evil.example") == 403
    assert person.ask("POST", "/finish", "form=" + "0" * 64) == 403
    person.look()
    assert {name: person.headers[name] for name in HEADERS} == HEADERS
    assert "mail.evil.example" not in person.look("/account")
    person.send("/server", host="<script>alert(1)</script>")
    assert [one.partition("?")[0] for one in re.findall("<script[^>]*", person.page)] == ['<script src="/static/page.js']
    assert "&lt;script&gt;" in person.page


def test_the_hour_ends(tmp_path: Path) -> None:
    """Then everything that was typed is forgotten, the log and the page say so, and a new start has a new code.

    The log has the code and the end whatever its level is.
    """
    relay = SetupProcess(tmp_path, RELAY_LOG_LEVEL="error")
    begun_long_ago = open_code(tmp_path, "127.0.0.1:1", datetime.now(UTC) - HOUR + timedelta(seconds=8))
    relay.state.mkdir()
    begun_long_ago.file.rename(relay.state / "setup.json")
    relay.start()
    assert relay.code == begun_long_ago.text
    first, person = relay.code, Person(relay.place)
    person.send("/code", code=first)
    person.send("/server", host="mail.isp.example")
    assert "start the relay again" in relay.wait_for("warned")["text"]
    for path in ("/", "/account", "/try"):
        assert "The time for the set-up is over." in person.look(path)
        assert person.code == 410
    assert "The time for the set-up is over." in person.send("/code", code=first)
    assert relay.files() == set()
    assert relay.stop() == 0
    relay.start()
    assert relay.code != first
    assert relay.stop() == 0


@pytest.mark.parametrize("where", ["option", "variable", "directory"])
def test_a_named_place_is_where_it_is_written(tmp_path: Path, isp: ScriptedUpstream, where: str) -> None:
    """--config, RELAY_CONFIG, a directory in it; RELAY_SETUP asks for set-up as --setup does."""
    (tmp_path / "etc").mkdir()
    target = tmp_path / "etc" / "config.yaml"
    named = {"variable": str(target), "directory": str(target.parent)}.get(where, "")
    words = ("--config", str(target), "--setup") if where == "option" else ("--config=",)
    with setting_up(tmp_path, *words, RELAY_CONFIG=named, RELAY_SETUP="yes") as relay:
        answered(relay, isp).send("/finish")
        assert relay.wait_for("started")["config"] == str(target)
        assert relay.files() >= {"etc/config.yaml", "etc/isp.secret", "etc/web.secret"}
        assert not (relay.state / "config.yaml").exists()


@pytest.mark.parametrize(
    ("text", "environ", "told"),
    [
        ("upstreams: {isp: {hots: mail.isp.example}}", {}, "config.yaml:1:19: upstreams.isp.hots"),
        ("", {}, "config.yaml"),
        (None, {"RELAY_PROVIDER": "gmial"}, "RELAY_PROVIDER"),
        (None, {"RELAY_CONFIG_YAML": "upstreams: {}"}, "RELAY_CONFIG_YAML"),
        (None, {"RELAY_LISTEN": "nowhere"}, "RELAY_LISTEN"),
        (None, {"RELAY_PROVIDR": "gmail"}, "RELAY_PROVIDER"),
        (None, {"RELAY_WEB": "off"}, "RELAY_WEB"),
        (None, {"RELAY_SETUP": "perhaps"}, "RELAY_SETUP"),
        (None, {"RELAY_SETUP": "no"}, "expected a configuration file"),
    ],
)
def test_what_is_broken_is_told_as_ever(tmp_path: Path, text: str | None, environ: dict[str, str], told: str) -> None:
    """A configuration that is there but wrong, and variables that are wrong, start no set-up: status 2, every mistake."""
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    relay = SetupProcess(tmp_path, "--config=", **{"RELAY_SETUP": "yes", **environ})
    done = relay.command("run")
    assert done.returncode == 2
    assert told in done.stderr
    assert '"opened"' not in done.stdout
    assert relay.files() <= {"config.yaml"}


def test_a_configuration_that_is_there_is_used(tmp_path: Path, isp: ScriptedUpstream) -> None:
    """--setup changes nothing for a relay that is set up."""
    (tmp_path / "config.yaml").write_text(
        f"upstreams: {{isp: {{host: 127.0.0.1, port: {isp.port}, tls: none, sender: {USER}}}}}\n"
        f'listen: {{address: "127.0.0.1:0"}}\nspool: {{url: "sqlite:{tmp_path}/spool.db"}}\nlog: {{format: json}}\n'
    )
    relay = SetupProcess(tmp_path)
    relay.launch()
    relay.wait_for("started")
    assert relay.opened == []
    assert relay.stop() == 0


def test_health_is_content_while_it_waits(relay: SetupProcess) -> None:
    """A container manager must not restart a relay that waits for a person; without the page it is ill."""
    assert relay.command("health").stdout == "healthy\n"
    assert relay.stop() == 0
    assert relay.command("health").returncode == 1


def test_wrong_answers_are_shown_where_they_stand(relay: SetupProcess, isp: ScriptedUpstream) -> None:
    """Each with its field, and what was right stays; a secret is never shown again."""
    person = Person(relay.place)
    person.send("/code", code=relay.code)
    assert "Choose a provider, or name a server below." in person.send("/server", host="", provider="")
    person.send("/server", host="127.0.0.1")
    person.send("/account", **account(isp, notices_to="owner", web_password="short", tls="maybe"))
    assert person.code == 422
    wrong = set(re.findall(r'id="wrong-(\w+)"', person.page))
    assert wrong == {"notices_to", "web_password"}
    assert "tls" in person.text and "maybe" in person.text
    assert SECRET not in person.page
    assert f'value="{USER}"' in person.page
    assert "Try it" in person.send("/account", **account(isp, password=""))
    person.send("/test", to=USER)
    assert "has taken" in person.until("has taken"), "the secret that was typed first is kept"
    assert "This does not fit" in person.send("/test", to="nobody")


def test_a_refusal_is_explained(relay: SetupProcess, isp: ScriptedUpstream) -> None:
    """The server's own words, what they mean and what to do; the doctor finds the same; then it is corrected."""
    person = answered(relay, isp, password="wrong wrong")
    person.send("/test", to=USER)
    assert "535 5.7.8 bad user name or password" in person.until("has not taken")
    assert "password" in person.text
    person.send("/account", **account(isp))
    person.send("/test", to=USER)
    assert "has taken" in person.until("has taken")


def test_the_server_is_shown_where_it_is_at_fault(relay: SetupProcess, isp: ScriptedUpstream) -> None:
    """Its name, port and encryption are unfolded where the mail did not get as far as the login, and only there."""
    folded, unfolded = '<details class="choice" id="server-part">', '<details class="choice" id="server-part" open>'
    person = answered(relay, isp, password="wrong wrong")
    person.send("/test", to=USER)
    person.until("has not taken")
    person.until("Look again")
    person.look("/account")
    assert folded in person.page
    person.send("/account", **account(isp, port="1"))
    person.send("/test", to=USER)
    person.until("has not taken")
    assert 'href="/account#server-part"' in person.page
    person.look("/account")
    assert unfolded in person.page


def test_a_bare_name_is_asked_about(relay: SetupProcess) -> None:
    """The second time it counts; a name with its port is taken apart."""
    person = Person(relay.place)
    person.send("/code", code=relay.code)
    assert "A mail server's name has dots" in person.send("/server", host="Kita-Net")
    sure = re.search(r'name="sure" value="([^"]*)"', person.page)
    assert sure
    assert "Your account: Kita-Net" in person.send("/server", host="Kita-Net", sure=sure[1])
    assert "Your account: mail.isp.example" in person.send("/server", host="mail.isp.example, port 2465")
    assert 'value="2465"' in person.page


def test_a_password_for_the_page_is_made_and_shown(relay: SetupProcess, isp: ScriptedUpstream) -> None:
    """Nobody needs to think of one; it is on the last page, in no log, and it fits."""
    person = answered(relay, isp, web_password="")
    made = re.search(r'<code class="big">([0-9a-f-]{19})</code>', person.page)
    assert made
    assert f'<code id="made-password">{made[1]}</code>' in person.page.partition('id="finish-title"')[2], "and where it ends"
    person.send("/finish")
    relay.wait_for("started")
    assert person.ask("GET", "/", headers=basic(made[1])) == 200
    assert made[1] not in relay.said()


def test_a_page_password_of_the_environment_is_used(tmp_path: Path, isp: ScriptedUpstream) -> None:
    """Then none is asked for, and the file names the variable."""
    with setting_up(tmp_path, RELAY_WEB_PASSWORD="from outside") as relay:
        person = Person(relay.place)
        person.send("/code", code=relay.code)
        person.send("/server", host="127.0.0.1")
        assert "Password for this page" not in person.text
        person.send("/account", **account(isp, web_password=""))
        person.send("/finish")
        relay.wait_for("started")
        assert person.ask("GET", "/", headers=basic("from outside")) == 200
        assert "from outside" not in (relay.state / "config.yaml").read_text()


class NewestToken(dict[str, str]):
    """The access token that was given out last is the one that the server takes."""

    def __init__(self, stub: Stub) -> None:
        super().__init__({USER: ""})
        self.stub = stub

    def get(self, user: str, default: str | None = None) -> str | None:  # type: ignore[override]
        return next(reversed(self.stub.access_tokens), "nothing") if user == USER else default


@pytest.fixture
def stub() -> Iterator[Stub]:
    with provider() as running:
        yield running


def test_sign_in_with_microsoft_by_device_code(relay: SetupProcess, stub: Stub) -> None:
    """The page shows what to type and where, goes on when it is done, sends with the token, and keeps it at the end only."""
    server = ScriptedUpstream(mechanisms=("XOAUTH2",), require_auth=True)
    server.users = NewestToken(stub)
    stub.pending = ["authorization_pending"] * 2
    with in_a_thread(server):
        person = Person(relay.place)
        person.send("/code", code=relay.code)
        assert "Application (client) ID" in person.send("/server", provider="outlook.com")
        oauth = {"client_id": "app", "token_url": stub.token_url, "password": ""}
        person.send("/account", **account(server, **oauth))
        person.until("GTHDDWXPL")
        assert "https://login.microsoft.com/device" in person.page
        assert "once you have signed in" in person.text
        person.until(f"{USER} has agreed.")
        person.send("/test", to=USER)
        person.until("has taken")
        assert relay.files() == {"state/setup.json"}
        person.send("/finish")
        relay.wait_for("started")
        kept = json.loads((relay.state / "oauth" / "outlook.com.json").read_text())
        assert kept["refresh_token"] in stub.refresh_tokens
        assert mode(relay.state / "oauth" / "outlook.com.json") == 0o600
        submit(relay)
        eventually(lambda: len(server.messages) == 2)
    for secret in ("device-1", *stub.access_tokens, *stub.refresh_tokens):
        assert secret not in relay.said()


def test_a_sign_in_that_is_declined_can_be_tried_by_link(relay: SetupProcess, stub: Stub) -> None:
    """The provider's words, and the other way: a link to open, whose last address is pasted."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    with in_a_thread(ScriptedUpstream(users={USER: "x"})) as server:
        stub.trouble = [(400, {"error": "authorization_declined", "error_description": "AADSTS65004: declined"})]
        person = Person(relay.place)
        person.send("/code", code=relay.code)
        person.send("/server", provider="outlook.com")
        person.send("/account", **account(server, client_id="app", token_url=stub.token_url))
        assert "AADSTS65004: declined" in person.until("AADSTS65004")
        person.send("/sign-in", by="browser")
        assert "Address of the last page" in person.text
        link = re.search(r'href="(http://127[^"]*/authorize[^"]*)"', person.page)
        assert link
        with pytest.raises(urllib.error.HTTPError) as moved:
            urllib.request.build_opener(Stay).open(link[1].replace("&amp;", "&"), timeout=10)
        moved.value.close()
        person.send("/sign-in", address="http://localhost/?state=other&code=1")
        assert "of another login" in person.text
        person.send("/sign-in", address=moved.value.headers["Location"])
        assert f"{USER} has agreed." in person.text


def test_in_japanese(relay: SetupProcess, isp: ScriptedUpstream) -> None:
    """The person's language from the first page on, to what a refusal and a finding mean."""
    person = Person(relay.place, "ja")
    assert "このリレーの管理者ですか" in person.look()
    assert "どのプロバイダーから" in person.send("/code", code=relay.code)
    assert "アプリパスワード" in person.text
    person = answered(relay, isp, "ja", password="wrong wrong")
    person.send("/test", to=USER)
    assert "535 5.7.8 bad user name or password" in person.until("bad user name")
    assert "ユーザー名とパスワードを受け付けません" in person.text
    assert judge(Answer(Stage.AUTH, Reply(535, "5.7.8", "no"))).advice.cause not in person.text
    person.until(Texts("ja")("setup_look_anew"))
    [told] = translated.finding("login", "ja")
    assert f"：{told}" in person.text


def test_where_nothing_can_be_kept(tmp_path: Path) -> None:
    """It says so at the start, not when everything is typed."""
    (tmp_path / "file").touch()
    done = SetupProcess(tmp_path, RELAY_SPOOL=f"sqlite:{tmp_path}/file/state/spool.db").command("run", "--setup")
    assert done.returncode == 2
    assert f"{tmp_path}/file/state" in done.stderr
    assert '"opened"' not in done.stdout


def test_a_port_that_is_taken(tmp_path: Path, relay: SetupProcess) -> None:
    """The page of set-up has nowhere else to go: status 2, with the reason."""
    other = SetupProcess(tmp_path / "state", RELAY_WEB=relay.place)
    done: subprocess.CompletedProcess[str] = other.command("run", "--setup")
    assert done.returncode == 2
    assert f"{relay.place}: the page of set-up cannot answer there" in done.stderr
