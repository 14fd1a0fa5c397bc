"""`relay init`: from a few answers, or options, to a configuration that passes `check` and sends.

relay init ── test mail ──> ScriptedUpstream
"""

import asyncio
import os
import pty
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from relay.config import load
from relay.upstream.provider import SenderRule, UserForm
from relay.upstream.providers import PRESETS
from tests.support.upstream import ScriptedUpstream

ROOT = Path(__file__).parents[2]
USERS = {UserForm.ANY: "AKIA0123"}


def command(directory, *words):
    return [sys.executable, "-m", "relay", "init", "--config", str(directory / "config.yaml"), *words]


def init(directory, *words, typed=""):
    """Runs it without a terminal."""
    return subprocess.run(
        command(directory, *words), cwd=ROOT, input=typed, capture_output=True, text=True, timeout=60, check=False, env=quiet()
    )


def quiet():
    return {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}


def converse(directory, *answers, words=()):
    """Answers its questions on a terminal; (exit status, what stood on the screen)."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(directory, *words), cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=quiet()
    )
    os.close(theirs)
    screen, left, asked = "", list(answers), 0
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            try:
                screen += os.read(ours, 10_000).decode(errors="replace")
            except OSError:  # EIO: the other side has closed
                break
            if screen.endswith((": ", "] ")) and len(screen) > asked:
                assert left, f"an unexpected question:\n{screen}"
                os.write(ours, f"{left.pop(0)}\n".encode())
                asked = len(screen)
    finally:
        os.close(ours)
        if process.poll() is None and time.monotonic() >= deadline:
            process.kill()
    assert left == [], f"not asked for {left}:\n{screen}"
    return process.wait(30), screen


def written(directory):
    return yaml.safe_load((directory / "config.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.key)
def test_every_provider_by_options(tmp_path, preset):
    """Provider, user name and password file are enough for a script; the file passes `check` and is for its owner only."""
    from relay.cli.main import main

    (tmp_path / "pw").write_text("geheim\n")
    user = preset.fixed_user or USERS.get(preset.user, "nas@company.example")
    words = ["--provider", preset.key, "--username", user, "--no-input"]
    words += ["--sender", "nas@company.example"] if preset.sender is SenderRule.VERIFIED else []
    words += ["--client-id", "app"] if not preset.password else ["--password-file", str(tmp_path / "pw")]
    words += [] if preset.host else ["--host", "s1.example.jp"]
    assert main([*command(tmp_path)[3:], *words]) == 0
    loaded = load(tmp_path / "config.yaml", {})
    assert loaded.config
    assert loaded.config.upstreams[preset.key].provider == preset.key
    assert (tmp_path / "config.yaml").stat().st_mode & 0o777 == 0o600


def test_a_conversation(tmp_path):
    """Five answers on a terminal; the password is not shown, lies in a file of its own, and both are private."""
    status, screen = converse(tmp_path, "gmail", "me@gmail.com", "n", "app pass word", "owner@example.jp", "n", "")
    assert status == 0, screen
    assert "app pass word" not in screen
    assert "https://myaccount.google.com/apppasswords" in screen
    settings = written(tmp_path)
    assert settings["upstreams"] == {
        "gmail": {"provider": "gmail", "username": "me@gmail.com", "password_file": "gmail.secret"}
    }
    assert settings["notices"] == {"to": "owner@example.jp"}
    assert (tmp_path / "gmail.secret").read_text() == "app pass word\n"
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("config.yaml", "gmail.secret")] == [0o600, 0o600]
    loaded = load(tmp_path / "config.yaml", {})
    assert loaded.config
    assert loaded.config.upstreams["gmail"].login.password.reveal() == "app pass word"


def test_a_wrong_answer_is_asked_again(tmp_path):
    """What would not pass is told with the setting's name, and only that is asked once more."""
    status, screen = converse(tmp_path, "gmail", "taro", "n", "secret", "owner@example.jp", "taro@gmail.com", "n", "")
    assert status == 0, screen
    assert "expected the full address (Gmail wants it)" in screen
    assert written(tmp_path)["upstreams"]["gmail"]["username"] == "taro@gmail.com"


def test_every_question_is_asked_again(tmp_path):
    """A typo costs one answer, not all of them; an unclear yes or no is no answer."""
    answers = [
        "gmial",
        "gmail",
        "me@gmail.com",
        "maybe",
        "n",
        "",
        "secret",
        "owner",
        "owner@example.jp",
        "what?",
        "n",
        "me",
        "",
    ]
    status, screen = converse(tmp_path, *answers)
    assert status == 0, screen
    assert "no provider is called 'gmial'; did you mean 'gmail'?" in screen
    assert "expected y or n, found 'maybe'" in screen and "expected y or n, found 'what?'" in screen
    assert screen.count("expected an address such as me@example.jp") == 2
    assert written(tmp_path)["upstreams"]["gmail"]["username"] == "me@gmail.com"
    assert written(tmp_path)["notices"] == {"to": "owner@example.jp"}


def test_an_empty_password_is_asked_for_three_times(tmp_path):
    """Whoever has none at hand gets back to the prompt, and reads how to say it otherwise; nothing is left behind."""
    status, screen = converse(tmp_path, "gmail", "me@gmail.com", "n", "", "", "")
    assert status == 2
    assert screen.count("Password (it is not shown)") == 3
    assert "a password is needed: --password-file FILE" in screen
    assert list(tmp_path.iterdir()) == []


def test_a_remark_names_the_file_that_was_written(tmp_path, monkeypatch, capsys):
    """Not the one in which it was tried: variables that do not count beside it, a password that all can read."""
    from relay.cli.main import main

    monkeypatch.setenv("RELAY_CONFIG_YAML", "upstreams: {}")
    monkeypatch.setenv("RELAY_HOST", "other.example")
    (tmp_path / "pw").write_text("geheim \n")
    (tmp_path / "pw").chmod(0o644)
    words = ["--host", "a.example", "--username", "a@b.example", "--password-file", str(tmp_path / "pw"), "--no-input"]
    assert main([*command(tmp_path)[3:], *words]) == 0
    said = capsys.readouterr().out
    target = tmp_path / "config.yaml"
    for name in ("RELAY_CONFIG_YAML", "RELAY_HOST"):
        assert f"remark: {name}: not used, since the settings come from {target}\n" in said
    assert "every user of this machine can read the secret; chmod 600 pw" in said
    assert "begins or ends with a blank" in said
    assert ".init-" not in said


def test_a_server_of_ones_own_is_asked_for_port_and_tls(tmp_path):
    """Each is asked until it fits; a port in the place of the user name is doubted; the port is written as a number."""
    answers = ["generic", "smtp://mail", "mail.isp.example", "99999", "5587", "startls", "starttls", "5587", "taro@isp.example"]
    status, screen = converse(tmp_path, *answers, "secret", "", "n", "")
    assert status == 0, screen
    assert "5587 looks like a port, not like a user name" in screen
    assert written(tmp_path)["upstreams"]["isp"] == {
        "provider": "generic",
        "host": "mail.isp.example",
        "port": 5587,
        "tls": "starttls",
        "username": "taro@isp.example",
        "password_file": "isp.secret",
    }


def test_a_user_name_of_digits_is_believed_the_second_time(tmp_path):
    """Some providers do number their customers."""
    status, screen = converse(
        tmp_path,
        "mail.isp.example",
        "465",
        "",
        "5587",
        "5587",
        "taro@isp.example",
        "secret",
        "",
        "n",
        "",
        words=["--provider", "generic"],
    )
    assert status == 0, screen
    assert written(tmp_path)["upstreams"]["isp"]["username"] == "5587"
    assert written(tmp_path)["upstreams"]["isp"]["tls"] == "implicit"


def test_the_next_step_is_named_as_this_one_was_called(tmp_path):
    """Who has only a clone is told a command that is there."""
    words = ["--host", "mail.isp.example", "--username", "a@isp.example", "--password-file", "-"]
    done = init(tmp_path, *words, typed="x\n")
    (start,) = [line for line in done.stdout.splitlines() if line.startswith("Start it: ")]
    command = shlex.split(start.removeprefix("Start it: "))
    assert command[1:] == ["-m", "relay", "run", "--config", str(tmp_path / "config.yaml")]
    assert Path(ROOT, shutil.which(command[0], path=f"{ROOT}:{os.environ['PATH']}") or command[0]).samefile(sys.executable)


AS_BOTH = """
import os, sys
from relay.cli.main import main

def init(folder):
    words = ["--host", "mail.isp.example", "--username", "a", "--sender", "a@isp.example", "--password-file"]
    assert main(["init", "--no-input", "--config", f"{folder}/config.yaml", *words, sys.argv[3]]) == 0

init(sys.argv[1])  # and everything is imported: the ordinary user may not read where Python lies
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
init(sys.argv[2])
"""


def test_port_and_spool_are_such_as_the_user_can_have():
    """Root gets the defaults; whoever may not use port 25 and /var/lib gets 2525 and a folder beside the file."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - another user has to get into it
        first, second, secret = Path(folder, "first"), Path(folder, "second"), Path(folder, "secret")
        first.mkdir()
        second.mkdir()
        secret.write_text("x\n")
        if root:
            os.chown(second, 65534, 65534)
        words = [sys.executable, "-c", AS_BOTH, first, second, secret]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env=quiet())
        assert done.returncode == 0, done.stderr
        by_first, by_ordinary = written(first), written(second)
    free = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 25
    assert by_ordinary.get("listen") == (None if free else [{"address": "0.0.0.0:2525"}])
    assert by_ordinary["spool"] == {"url": f"sqlite:{second}/spool/spool.db"}
    if root:
        assert "listen" not in by_first and "spool" not in by_first


def test_a_test_mail_that_finds_nobody_is_not_said_to_be_kept(tmp_path, unused_tcp_port):
    """What was met is told, and what to do; nothing is promised, for nothing keeps it."""
    words = ["--host", "127.0.0.1", "--port", str(unused_tcp_port), "--tls", "none", "--sender", "taro@isp.example"]
    done = init(tmp_path, *words, "--test-to", "owner@example.jp", "--spool", str(tmp_path / "spool.db"))
    assert done.returncode == 1
    assert "The test mail was not sent: " in done.stdout
    assert "refused" in done.stdout
    assert "kept" not in done.stdout and "tried again" not in done.stdout


def test_oauth_by_options(tmp_path):
    """A client id means tokens; the login that is still to come is named."""
    words = ["--provider", "outlook", "--username", "nas@company.example", "--client-id", "app", "--tenant", "company.example"]
    done = init(tmp_path, *words, "--notices-to", "owner@example.jp")
    assert done.returncode == 0, done.stderr
    assert "relay oauth login outlook" in done.stdout
    assert written(tmp_path)["upstreams"]["outlook"]["oauth"] == {"client_id": "app", "tenant": "company.example"}


def test_odd_answers_stay_what_they_are(tmp_path):
    """Quotes, variables and line noise in answers become neither YAML nor references."""
    password = "a'\"${HOME}#: \\ "
    words = ["--host", "mail.isp.example", "--username", 'ta"r${o}: #', "--sender", "taro@isp.example"]
    done = init(tmp_path, *words, "--password-file", "-", "--notices-to", "taro@isp.example", typed=f"{password}\n")
    assert done.returncode == 0, done.stderr
    login = load(tmp_path / "config.yaml", {}).config.upstreams["isp"].login
    assert (login.username, login.password.reveal()) == ('ta"r${o}: #', password)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--provider", "gmial", "--username", "a@b.c"], "no provider is called 'gmial'"),
        (["--provider", "gmail"], "--username is needed"),
        (["--provider", "sakura", "--username", "a@b.c"], "--host is needed"),
        (["--provider", "gmail", "--username", "a@b.c"], "--password-file FILE"),
        (["--provider", "outlook.com", "--username", "a@b.c"], "--client-id is needed"),
        (["--provider", "gmail", "--username", "taro", "--password-file", "-"], "expected the full address"),
        (["--provider", "gmail", "--username", "a@b.c", "--password-file", "-", "--notices-to", "me"], "notices.to"),
        (["--provider", "gmail", "--username", "a@b.c", "--password-file", "/nowhere"], "No such file"),
    ],
)
def test_what_is_missing_or_wrong_leaves_nothing_behind(tmp_path, words, said):
    """Without a terminal nothing is asked: exit 2, the option's name, and no half-written file."""
    done = init(tmp_path, *words, typed="secret\n")
    assert done.returncode == 2
    assert said in done.stderr
    assert "this is no terminal" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_is_there_stays(tmp_path):
    """Only --force writes over it."""
    (tmp_path / "config.yaml").write_text("mine")
    words = ["--host", "mail.isp.example", "--username", "a@isp.example", "--password-file", "-"]
    assert init(tmp_path, *words, typed="x\n").returncode == 2
    assert (tmp_path / "config.yaml").read_text() == "mine"
    assert init(tmp_path, *words, "--force", typed="x\n").returncode == 0
    assert "mail.isp.example" in (tmp_path / "config.yaml").read_text()


async def finished(directory, *words, typed="secret\n"):
    process = await asyncio.create_subprocess_exec(
        *command(directory, *words), cwd=ROOT, env=quiet(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(typed.encode())
    return process.returncode, out.decode()


def test_a_file_of_the_command_line_is_the_shell_s(tmp_path):
    """Beside the configuration first; else as the shell means it."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "app.secret").write_text("the-secret\n")
    named = os.path.relpath(tmp_path / "app.secret", ROOT)
    words = ["--provider", "outlook", "--api", "graph", "--username", "nas@company.example", "--client-id", "an-id"]
    done = init(tmp_path / "elsewhere", "--no-input", *words, "--tenant", "c.example", "--client-secret-file", named)
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((tmp_path / "elsewhere" / "config.yaml").read_text())["upstreams"]["outlook"]["oauth"]
    assert os.path.samefile(written["client_secret_file"], tmp_path / "app.secret")


@pytest.mark.parametrize(("password", "status"), [("secret", 0), ("wrong", 1)])
async def test_a_test_mail_through_the_new_upstream(tmp_path, password, status):
    """It arrives, or the server's words and the advice are shown and the exit status tells."""
    async with ScriptedUpstream(users={"taro": "secret"}, require_auth=True) as server:
        words = ["--host", "127.0.0.1", "--port", str(server.port), "--tls", "none", "--username", "taro"]
        words += ["--sender", "taro@isp.example", "--password-file", "-", "--test-to", "owner@example.jp"]
        words += ["--spool", str(tmp_path / "state" / "spool.db")]
        found, out = await finished(tmp_path, *words, typed=f"{password}\n")
    assert found == status, out
    assert len(server.messages) == (1 if status == 0 else 0)
    if status == 0:
        [message] = server.messages
        assert (message.reverse_path, message.forward_paths) == ("taro@isp.example", ["owner@example.jp"])
        assert "took the test mail" in out
    else:
        assert "535" in out
        assert "the password in `password_file`" in " ".join(out.split())
    assert len(server.auths) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), {"client_id": "an-id", "tenant": "company.example"}),
        (
            ("--client-secret-file", "graph.secret"),
            {
                "client_id": "an-id",
                "tenant": "company.example",
                "client_secret_file": "graph.secret",
                "grant": "client-credentials",
            },
        ),
    ],
)
def test_microsoft_graph_by_options(tmp_path, words, expected):
    """A person's consent, or the application's own right where it has a secret."""
    (tmp_path / "graph.secret").write_text("the-secret\n")
    named = ("--api", "graph", "--client-id", "an-id", "--tenant", "company.example", "--notices-to", "me@company.example")
    done = init(tmp_path, "--no-input", "--provider", "outlook", "--username", "nas@company.example", *named, *words)
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())["upstreams"]["outlook"]
    assert (written["api"], written["oauth"]) == ("graph", expected)
    assert ("oauth login" in done.stdout) == ("grant" not in expected)
