"""The settings on the page and by the API: what is in force, a draft checked, a draft saved, and no secret ever.

program or browser ──HTTP──> relay run ──> a process for each draft
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.control.client import Running
from relay.spool.contract import SpoolSettings
from tests.support.care import Forms
from tests.support.running import RelayProcess, running

PASSWORD = "page-pa55word"
SECRETS = {
    "isp": "isp-hunter2: #x",
    "push": "ntfys://push-hunter2.example/topic",
    "client": "client-hunter2",
    "webhook": "https://hook-hunter2.example/x",
    "nas": "nas-hunter2",
    "page": PASSWORD,
    "old": "old-hunter2",
    "file": "file-hunter2",
    "variable": "variable-hunter2",
}
TEXT = """\
# Our relay.  isp_password is on the router.
hostname: relay.test
listen:
  - {{address: "127.0.0.1:0", auth: required, plain_login: true, users: {{nas: {nas}, tv_file: tv.secret}}}}
upstreams:
  isp:
    host: 127.0.0.1
    port: 9
    tls: none   # in the LAN
    username: taro@isp.example
    password: "{isp}"   # before: {old}
  m365:
    host: 127.0.0.1
    username: me@company.example
    oauth: {{provider: microsoft, client_id: app, client_secret: {client}}}
  spare: {{host: 127.0.0.1, username: "<script>alert(1)</script>@isp.example", password: "${{SPARE}}"}}
#  gone: {{host: 127.0.0.1, password: {old}}}
routes:
  - {{via: [isp, spare, m365]}}
notices: {{to: me@isp.example, webhook: "{webhook}"}}
retry: {{delays: [1h], rest: [1h]}}
spool: {{url: "sqlite:{folder}/spool/spool.db", keep_free: 1MB}}
web: {{address: "127.0.0.1:0", password: "{page}"}}
log: {{format: json}}
"""


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    """Its file is written as people write it."""
    (tmp_path / "tv.secret").write_text(SECRETS["file"] + "\n")
    one = RelayProcess(tmp_path, {})
    one.config_file.write_text(TEXT.format(**SECRETS, folder=tmp_path), encoding="utf-8")
    one.config_file.chmod(0o640)
    try:
        yield one.start({"SPARE": SECRETS["variable"]})
    finally:
        if one.running:
            one.stop()


@pytest.fixture
def forms(relay: RelayProcess) -> Forms:
    return Forms(relay, PASSWORD)


def edited(forms: Forms, before: str, after: str) -> tuple[str, str]:
    """Text and stamp, something in it changed."""
    found = forms.api("GET", "/api/settings")[1]
    assert before in found["text"], found["text"]
    return found["text"].replace(before, after), found["stamp"]


def rows(forms: Forms) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["section"], row["key"]): row for row in forms.api("GET", "/api/settings")[1]["settings"]}


def test_what_is_in_force_is_told_with_its_line_and_no_secret(forms: Forms, relay: RelayProcess) -> None:
    """File and line, the variable, the default; all of it in force."""
    found = forms.api("GET", "/api/settings")[1]
    assert (found["read_only"], found["waiting"], found["mistakes"]) == ("", [], [])
    told = rows(forms)
    assert told["upstreams.isp", "port"] | {"value": "9", "line": 8, "from": "file"} == told["upstreams.isp", "port"]
    assert (told["upstreams.isp", "password"]["value"], told["upstreams.isp", "password"]["secret"]) == (None, True)
    assert told["upstreams.spare", "password"]["variables"] == ["SPARE"]
    assert told["retry", "warn_after"] | {"value": "4h", "from": "default"} == told["retry", "warn_after"]
    html = forms.page("/settings")
    assert "(hidden-1)" in html and "<script>alert" not in html and "&lt;script&gt;alert(1)" in html
    assert "非表示" in Forms(relay, PASSWORD, "ja").page("/settings")


def test_a_setting_is_mended_saved_and_in_force(forms: Forms, relay: RelayProcess, tmp_path: Path) -> None:
    """Mode stays, the old file stays beside, secrets and comments are as they were, and the relay has read it."""
    before = relay.config_file.read_text()
    text, stamp = edited(forms, "port: 9", "port: 10")
    assert forms.api("POST", "/api/settings/check", {"text": text})[1]["mistakes"] == []
    assert relay.config_file.read_text() == before, "a check changes nothing"
    code, said = forms.api("POST", "/api/settings", {"text": text, "stamp": stamp})
    assert (code, said["saved"], said["reload"]) == (200, True, {"reloaded": True, "mistakes": [], "not_applied": []})
    assert relay.config_file.read_text() == before.replace("port: 9", "port: 10")
    assert relay.config_file.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / said["kept_as"]).read_text() == before
    assert relay.wait_for("reloaded")
    upstreams = {one["name"]: one for one in forms.api("GET", "/api/upstreams")[1]["upstreams"]}
    assert upstreams["isp"]["port"] == 10
    assert said["kept_as"] in forms.page("/settings")


def test_the_form_saves_too_and_leads_back(forms: Forms, relay: RelayProcess) -> None:
    """Without JavaScript: check shows the mistakes with the draft as typed; save leads to a page that can be reloaded."""
    text, stamp = edited(forms, "port: 9", "prt: 9 <b>")
    code, _, html = forms.submit("/settings", text=text.replace("\n", "\r\n"), stamp=stamp, act="check")
    assert code == 200
    assert "line 8, column 5" in html and "did you mean" in html and "prt: 9 &lt;b&gt;" in html
    code, _, html = forms.submit("/settings", text=text, stamp=stamp, act="save")
    assert code == 409 and "Nothing was saved: there are mistakes." in html
    code, headers, _ = forms.submit("/settings", text=text.replace("prt: 9 <b>", "port: 11"), stamp=stamp, act="save")
    assert (code, headers["location"]) == (303, "/settings")
    assert "port: 11" in relay.config_file.read_text()


def test_what_cannot_be_taken_over_now_is_named(forms: Forms) -> None:
    """Saved, read, and told: some settings of the spool wait for the next start."""
    text, stamp = edited(forms, "keep_free: 1MB", "keep_free: 1MB, state_dir: elsewhere")
    said = forms.api("POST", "/api/settings", {"text": text, "stamp": stamp})[1]
    assert said["saved"] and said["reload"]["not_applied"][0]["setting"] == "spool.state_dir"
    assert forms.api("GET", "/api/settings")[1]["waiting"] == ["spool"]
    html = forms.page("/settings")
    assert "spool.state_dir" in html and "Not applied:" in html


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(forms: Forms, relay: RelayProcess) -> None:
    """The other's edit stays, and the page says so; the file says something else than what is in force."""
    text, stamp = edited(forms, "port: 9", "port: 10")
    other = relay.config_file.read_text().replace("hostname: relay.test", "hostname: other.test")
    relay.config_file.write_text(other)
    code, said = forms.api("POST", "/api/settings", {"text": text, "stamp": stamp})
    assert (code, said["saved"], said["refused"]) == (409, False, "changed")
    assert relay.config_file.read_text() == other
    assert "hostname" in forms.api("GET", "/api/settings")[1]["waiting"]
    assert "changed meanwhile" in forms.submit("/settings", text=text, stamp=stamp, act="save")[2]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("hostname: relay.test", "hostname: (hidden-2)"),
        ("# Our relay.", "# (hidden-2) "),
        ("via: [isp, spare, m365]", "via: [isp], reject: (hidden-2)"),
        ("tls: none", "tls: (hidden-2)"),
        ("password: (hidden-2)", "password: [(hidden-2)]\n    folder: (hidden-2)"),
    ],
)
def test_a_secret_cannot_be_moved_to_where_it_shows(forms: Forms, before: str, after: str) -> None:
    """Neither saved nor told in a mistake."""
    text, stamp = edited(forms, before, after)
    told = forms.api("POST", "/api/settings/check", {"text": text})[1]["mistakes"]
    assert told
    assert forms.api("POST", "/api/settings", {"text": text, "stamp": stamp})[0] == 409
    assert not any("hunter2" in answer for answer in forms.answers)


def test_no_secret_is_in_any_answer_or_line(forms: Forms, relay: RelayProcess) -> None:
    """Every page and every answer, drafts good and bad, a save: none of the secrets of file, file beside and variable."""
    for path in ("/", "/settings", "/doctor", "/test", "/sign-in", "/messages", "/devices"):
        forms.page(path)
    for path in ("/api/settings", "/api/doctor", "/api/oauth", "/api/relay", "/api/findings", "/api/upstreams"):
        forms.api("GET", path)
    text, stamp = edited(forms, "port: 9", "port: 10")
    drafts = [text, text[: len(text) // 2], text.replace("(hidden-", "hidden-"), text.replace(": (hidden-2)", "(hidden-2)")]
    drafts += [
        text.replace("password: (hidden-2)", word)
        for word in ("password (hidden-2)", "pasword: (hidden-2)", "password: !(hidden-2)")
    ]
    for draft in drafts:
        forms.api("POST", "/api/settings/check", {"text": draft})
        forms.submit("/settings", text=draft, stamp=stamp, act="check")
    forms.api("POST", "/api/settings", {"text": text, "stamp": stamp})
    forms.page("/settings")
    broken = relay.config_file.read_text().replace("  isp:\n", "  isp\n")
    relay.config_file.write_text(broken)
    forms.page("/settings")
    assert forms.api("GET", "/api/settings")[1]["read_only"] == "form"
    relay.config_file.write_text(broken.replace("  isp\n", "  isp:\n").replace("    username: taro", "    usrname: taro"))
    assert forms.api("GET", "/api/settings")[1]["mistakes"]
    forms.page("/settings")
    for name, secret in SECRETS.items():
        assert not any(secret in answer for answer in forms.answers), name
        assert not any(secret in line for line in relay.lines), name


def test_hostile_drafts_cost_little(forms: Forms) -> None:
    """A bomb of aliases, thousands of levels, too much, what is no text: each is a mistake, and no draft costs more."""
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"b{n}: &b{n} [*a,*a,*a,*a,*a,*a,*a,*a]\n" for n in range(200))
    for draft in (bomb, "[" * 5000, "x: " * 3000, "hostname: relay.test\0", "\ud800", "a" * 250_000):
        code, said = forms.api("POST", "/api/settings/check", {"text": draft})
        assert (code, bool(said["mistakes"])) == (200, True), draft[:30]
    assert forms.api("POST", "/api/settings/check", {"text": "a" * 1_100_000})[0] == 413
    assert forms.api("POST", "/api/settings/check", {"text": 5})[0] == 400
    assert forms.api("POST", "/api/settings/check", {"text": "[" * 100})[1]["mistakes"]


def test_a_draft_s_pipe_holds_up_nobody(forms: Forms, relay: RelayProcess) -> None:
    """What never ends is ended, and told as being away; the next draft is checked."""
    os.mkfifo(relay.config_file.with_name("endless"))
    code, _ = forms.api("POST", "/api/settings/check", {"text": "web: {password_file: endless, address: 127.0.0.1:0}\n"})
    assert code == 503
    assert forms.api("POST", "/api/settings/check", {"text": "x: y\n"})[0] == 200


def test_the_client_names_no_file(forms: Forms, relay: RelayProcess) -> None:
    """Whatever else is in the order, the relay's own file is meant."""
    text, stamp = edited(forms, "port: 9", "port: 12")
    order = {"text": text, "stamp": stamp, "path": "/tmp/evil", "source": "../evil", "file": "/etc/passwd"}
    assert forms.api("POST", "/api/settings", order)[1]["saved"]
    assert "port: 12" in relay.config_file.read_text()
    assert not Path("/tmp/evil").exists()


def test_without_a_password_it_can_be_looked_at_only(tmp_path: Path) -> None:
    """And the page says why; by the UNIX socket, which its owner alone may open, it can be edited."""
    isp = {"host": "127.0.0.1", "port": 9, "sender": "a@isp.example", "tls": "none"}
    with running(tmp_path, {"upstreams": {"isp": isp}, "web": {"address": "127.0.0.1:0"}}) as relay:
        forms = Forms(relay)
        found = forms.api("GET", "/api/settings")[1]
        assert (found["read_only"], found["text"], found["stamp"]) == ("password", None, "")
        assert found["settings"]
        html = forms.page("/settings")
        assert "web.password_file" in html and "<textarea" not in html
        for path in ("/api/settings", "/api/settings/check"):
            code, said = forms.api("POST", path, {"text": "x", "stamp": "y"})
            assert code == 403 and "web.password_file" in said["error"]
        assert forms.ask("POST", "/settings", b"x=y", Content_Type="application/x-www-form-urlencoded")[0] == 403
        unix = Running(SpoolSettings(f"sqlite:{relay.spool}"))
        code, found = unix.ask("GET", "/api/settings")
        assert (code, json.loads(found["text"])["upstreams"]["isp"]["port"]) == (200, 9)
        assert unix.ask("POST", "/api/settings/check", {"text": found["text"]})[1]["mistakes"] == []


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"RELAY_HOST": "127.0.0.1", "RELAY_USERNAME": "me@isp.example", "RELAY_PASSWORD": "env-hunter2"}, "variables"),
        (
            {"RELAY_CONFIG_YAML": "upstreams: {isp: {host: 127.0.0.1, username: me@isp.example, password: env-hunter2}}\n"
             "listen: {address: '127.0.0.1:0'}\nweb: {address: '127.0.0.1:0', password: page-hunter2}\nlog: {format: json}\n"
             "spool: {url: 'sqlite:SPOOL', keep_free: 1MB}\n"},
            "whole",
        ),
    ],
)  # fmt: skip
def test_what_comes_from_the_environment_is_read_only(tmp_path: Path, environment: dict[str, str], reason: str) -> None:
    """With the reason, and the variable that each setting has."""
    spool = f"{tmp_path}/spool/spool.db"
    if reason == "variables":
        environment = environment | {
            "RELAY_LISTEN": "127.0.0.1:0",
            "RELAY_WEB_ADDRESS": "127.0.0.1:0",
            "RELAY_LOG_FORMAT": "json",
        }
        environment |= {"RELAY_SPOOL": spool, "RELAY_WEB_PASSWORD": "page-hunter2", "RELAY_SPOOL_KEEP_FREE": "1MB"}
    else:
        environment = {name: value.replace("SPOOL", spool) for name, value in environment.items()}
    (tmp_path / "empty").mkdir()
    one = RelayProcess(tmp_path, {})
    one.config_file.unlink()
    one.config_file = tmp_path / "empty"
    one.wrapper = ["sh", "-c", 'exec "$1" -m relay run', "sh"]  # no --config
    try:
        one.start({**environment})
        forms = Forms(one, "page-hunter2")
        found = forms.api("GET", "/api/settings")[1]
        assert (found["read_only"], found["text"], found["waiting"]) == (reason, None, [])
        said = {(row["section"], row["key"]): row for row in found["settings"]}
        host = next(row for (section, key), row in said.items() if section.startswith("upstreams.") and key == "host")
        assert host["variables"] == ["RELAY_HOST"] if reason == "variables" else host["line"] == 1
        assert "<textarea" not in forms.page("/settings")
        code, said = forms.api("POST", "/api/settings", {"text": "x", "stamp": ""})
        assert (code, said["refused"]) == (409, "variables")
        assert not any("hunter2" in answer for answer in forms.answers)
    finally:
        if one.running:
            one.stop()
