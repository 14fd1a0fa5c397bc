"""Other relays' files become a configuration that passes `check`, tells no password, and takes the same ways.

tests/corpus/moving/* ── relay import ──> config.yaml, *.secret ── config.load ──> routes: the ways of ways.tsv
"""

import json
import stat
from pathlib import Path

import pytest

from relay import config
from relay.cli.main import main
from relay.config.config_values import Config
from relay.importers.maincf import MainCf
from relay.importers.plan import Source
from relay.importers.tables import expression_as_globs
from relay.inbound.admission import expand
from relay.mail.address import parse_path
from relay.mail.envelope import Origin
from relay.mail.reply import Reply
from relay.outbound.routing import chain_for

SETS = Path(__file__).parents[1] / "corpus" / "moving"
MOVED = {
    "postfix-home": ("postfix", ""),
    "postfix-office": ("postfix", ""),
    "qmail-home": ("qmail", ""),
    "qmail-accounts": ("qmail", ""),
    "docker-env": ("postfix", "postfix.env"),
    "docker-compose": ("postfix", "compose.yaml"),
}
PASSWORD = "pa55"


def rows(name: str) -> list[tuple[str, str, str]]:
    lines = (SETS / name / "ways.tsv").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines if line and not line.startswith("#")]


WAYS = [(name, *row) for name in MOVED for row in rows(name)]


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, list[str]]]]:
    """Each set moved over: its new folder, and what was told."""
    found = {}
    for name, (system, file) in MOVED.items():
        folder = tmp_path_factory.mktemp("moved") / name
        capture = pytest.MonkeyPatch()
        said: list[str] = []
        capture.setattr("builtins.print", lambda *words, said=said, **_kwargs: said.append(" ".join(map(str, words))))
        try:
            status = main(["import", system, str(SETS / name / file), "--output", str(folder), "--json"])
        finally:
            capture.undo()
        assert status == 0, said
        found[name] = folder, json.loads(said[0])
    return found


def way(settings: Config, sender: str, recipient: str) -> str:
    """Which way the relay takes, in the words of ways.tsv; of an address that means several, the way of all of them."""
    path = parse_path(recipient)
    assert path
    targets = expand(path, settings.recipients)
    if isinstance(targets, Reply):
        return "reject"
    found = {_one(settings, sender, target) for target in targets}
    assert len(found) == 1
    return found.pop()


def _one(settings: Config, sender, recipient) -> str:
    chosen = chain_for(settings.routes, parse_path(sender), recipient, Origin("192.168.0.20"))
    if chosen.reject or chosen.discard:
        return "reject" if chosen.reject else "discard"
    return " > ".join(_hop(settings, name) for name in chosen.via)


def _hop(settings: Config, name: str) -> str:
    if name == "mx":
        return "mx"
    upstream = settings.upstreams[name]
    user = upstream.login.username
    return upstream.transport.place + (f" as {user}" if user else "")


@pytest.mark.parametrize("name", MOVED)
def test_the_configuration_passes_check(moved, name: str) -> None:
    """No mistake in it, and the files of its secrets are there."""
    loaded = config.load(moved[name][0] / "config.yaml", {})
    assert loaded.mistakes == ()


@pytest.mark.parametrize(("name", "sender", "recipient", "expected"), WAYS)
def test_mail_takes_the_same_way(moved, name: str, sender: str, recipient: str, expected: str) -> None:
    """The relay's own routing chooses what the other program's documented precedence chooses."""
    loaded = config.load(moved[name][0] / "config.yaml", {})
    assert loaded.config
    assert way(loaded.config, sender, recipient) == expected


@pytest.mark.parametrize("name", MOVED)
def test_passwords_go_into_files_of_their_own(moved, name: str) -> None:
    """Not into the configuration, not to the terminal; readable for the owner only, and whole."""
    folder, told = moved[name]
    assert PASSWORD not in (folder / "config.yaml").read_text(encoding="utf-8")
    assert PASSWORD not in json.dumps(told)
    secrets = [Path(one) for one in told["secrets"]]
    assert secrets
    for one in (*secrets, folder / "config.yaml"):
        assert stat.S_IMODE(one.stat().st_mode) == 0o600
    assert all(PASSWORD in one.read_text(encoding="utf-8") for one in secrets)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", MOVED)
def test_what_cannot_be_carried_over_is_told_with_its_place(moved, name: str) -> None:
    """Each line of told.txt, and no sentence without a place."""
    told = moved[name][1]["not_carried_over"]
    expected = (SETS / name / "told.txt").read_text(encoding="utf-8").split()
    assert [place for place in expected if not any(one.startswith(f"{place}: ") for one in told)] == []
    assert [one for one in told if ": " not in one] == []


def test_details_of_the_sets(moved) -> None:
    """TLS, identity, limits, listeners: what ways.tsv does not show."""
    home, office, qmail, env, compose = (
        config.load(moved[name][0] / "config.yaml", {}).config
        for name in ("postfix-home", "postfix-office", "qmail-home", "docker-env", "docker-compose")
    )
    assert home and office and qmail and env and compose
    assert (home.hostname, home.spool.max_message, home.retry.give_up_after.days) == ("nas.home.example", 30720000, 3)
    assert str(home.notices.to) == "taro@isp.example"
    assert home.upstreams["gmail"].login.password.reveal() == "pa55 of gmail"
    assert home.upstreams["office"].login.password.reveal() == "pa55$HOME${x}\"'\\"
    assert home.upstreams["office"].smtp.tls.mode.value == "implicit"
    ups = chain_for(home.routes, parse_path("ups@nas.home.example"), parse_path("a@far.example"), Origin("192.168.0.2")).via
    assert str(home.upstreams[ups[0]].identity.sender) == "ups@isp.example"
    camera = chain_for(home.routes, None, parse_path("a@far.example"), Origin("192.168.1.66"))
    assert "may not send" in camera.reject
    tls = {upstream.smtp.host: upstream.smtp.tls for upstream in office.upstreams.values()}
    assert tls["mail1.isp.example"].fingerprint == "0f0e0d0c0b0a09080706050403020100" * 2
    assert (tls["mail2.isp.example"].mode.value, tls["mail2.isp.example"].verify) == ("starttls", True)
    assert office.upstreams[office.routes[-1].via[-1]].smtp.tls.mode.value == "none"
    assert tls["news.isp.example"].mode.value == "implicit"
    assert [one.name for one in office.listeners] == ["10.1.0.5:25", "127.0.0.1:25"]
    assert [str(network) for network in office.listeners[0].networks] == ["10.1.0.0/16"]
    assert [str(network) for network in qmail.listeners[0].networks] == ["127.0.0.0/8", "192.168.0.0/24"]
    assert (qmail.recipients.default_domain, qmail.retry.give_up_after.days) == ("home.example", 3)
    assert (env.listeners[0].port, env.log.format, env.upstreams["sendgrid"].provider) == (587, "json", "sendgrid")
    assert compose.upstreams["isp"].login.password.reveal() == "pa55compose"


def test_nothing_is_written_over_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration that is there stays, down to the last secret; --force says otherwise."""
    words = ["import", "qmail", str(SETS / "qmail-home"), "--output", str(tmp_path)]
    (tmp_path / "config.yaml").write_text("mine\n")
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml"]
    assert (tmp_path / "config.yaml").read_text() == "mine\n"
    assert main([*words, "--force"]) == 0
    told = capsys.readouterr().out
    assert PASSWORD not in told
    assert "Next: " in told


@pytest.mark.parametrize("name", ["postfix-home", "qmail-home", "docker-env", "docker-compose"])
def test_who_is_told_of_failures_is_asked_where_the_files_do_not_say_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal by a question, else by an option; left open, it is named among what to look at."""
    system, file = MOVED[name]
    words = ["import", system, str(SETS / name / file), "--force", "--output", str(tmp_path)]

    def notices() -> str:
        settings = config.load(tmp_path / "config.yaml", {}).config
        assert settings
        return str(settings.notices.to or "")

    assert main([*words, "--notices-to", "me@isp.example"]) == 0
    assert notices() == "me@isp.example"
    assert main([*words, "--notices-to", "me"]) == 2
    assert "--notices-to: expected an address" in capsys.readouterr().err
    assert main(words) == 0
    told = capsys.readouterr().out
    known = name == "postfix-home"
    assert (notices() == "taro@isp.example", "nobody is told when mail fails" in told) == (known, not known)
    answers = ["nobody", "boss@isp.example"]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _question: answers.pop(0))
    assert main(words) == 0
    assert (notices(), len(answers)) == (("taro@isp.example", 2) if known else ("boss@isp.example", 0))
    answers[:] = [""]
    assert main(words) == 0
    assert notices() == ("taro@isp.example" if known else "")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"main.cf": "biff = no\nrelayhost =\nmynetworks = 10.0.0.0/8\n"}, ""),
        ({"sasl_passwd.db": "\0\1\2"}, "database"),
        ({"letter.txt": "Dear all\n"}, "expected main.cf"),
        ({}, "no such file"),
    ],
)
def test_what_leads_nowhere_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, str], says: str
) -> None:
    """No relayhost is direct delivery; a database, a letter and a missing file end with 2 and a sentence."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    names = [str(tmp_path / name) for name in files or ["missing.cf"]]
    status = main(["import", "postfix", *names, "--output", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert status == (2 if says else 0)
    assert says in said.err
    assert (tmp_path / "out").exists() is (not says)


def test_tables_come_without_main_cf(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the names that they usually have; the absence is told."""
    (tmp_path / "transport").write_text("* smtp:[mail.isp.example]:587\n")
    (tmp_path / "sasl_passwd").write_text("[mail.isp.example]:587 taro:pa55\n")
    names = [str(tmp_path / "transport"), str(tmp_path / "sasl_passwd")]
    assert main(["import", "postfix", *names, "--output", str(tmp_path / "out")]) == 0
    assert "no main.cf" in capsys.readouterr().out
    settings = config.load(tmp_path / "out" / "config.yaml", {}).config
    assert settings
    assert way(settings, "a@b.example", "you@far.example") == "mail.isp.example:587 as taro"


GENERIC = """\
root@mail.office.example  it@office.example
nas@mail.office.example   nas@office.example
@mail.office.example      office@office.example
printer                   scan@office.example
@home.example             office@office.example
ups@lab.example           office@office.example
"""


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("root@mail.office.example", "it@office.example"),  # generic(5): the address before its domain
        ("nas@mail.office.example", "nas@office.example"),
        ("ups@mail.office.example", "office@office.example"),
        ("printer", "scan@office.example"),
        ("printer@home.example", "scan@office.example"),
        ("camera@home.example", "office@office.example"),
        ("ups@lab.example", "office@office.example"),
        ("boss@office.example", "boss@office.example"),
    ],
)
@pytest.mark.parametrize("lines", [GENERIC, "".join(reversed(GENERIC.splitlines(keepends=True)))])
def test_senders_go_out_as_the_generic_table_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: str, sender: str, expected: str
) -> None:
    """In whatever order its lines stand; the one account has one password file."""
    texts = {
        "main.cf": "myorigin = home.example\nmydestination =\nrelayhost = [mail.isp.example]:587\nmynetworks = 10.0.0.0/8\n"
        "smtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = hash:/x/sasl_passwd\nsmtp_generic_maps = hash:/x/generic\n",
        "sasl_passwd": "[mail.isp.example]:587 office@office.example:pa55\n",
        "generic": lines,
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert main(["import", "postfix", str(tmp_path), "--output", str(tmp_path / "new")]) == 0
    assert [one.name for one in (tmp_path / "new").glob("*.secret")] == ["isp.secret"]
    capsys.readouterr()
    words = ["--from", sender, "--to", "you@far.example", "--client", "10.0.0.2", "--json"]
    assert main(["explain", "--config", str(tmp_path / "new"), *words]) == 0
    [recipient] = json.loads(capsys.readouterr().out)["recipients"]
    assert [one["as"] for one in recipient["sent"]] == [expected]


def test_what_postfix_does_to_all_mail_comes_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A copy of everything, one recipient for everybody, a word before every Subject, a field; the rest is told."""
    texts = {
        "main.cf": "relayhost = [mail.isp.example]:587\nmynetworks = 10.0.0.0/8\nalways_bcc = archive@office.example\n"
        "recipient_canonical_maps = regexp:/x/canonical\nheader_checks = pcre:/x/header_checks\n",
        "canonical": "/^root@/ it@office.example\n/./ me@office.example\n",
        "header_checks": "/^Subject:(.*)$/ REPLACE Subject: [nas]$1\n/^From:/ PREPEND X-Location: cellar\n"
        "/^Received:/ IGNORE\n/^Subject: spam/ REPLACE Subject: [spam] $1\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert main(["import", "postfix", str(tmp_path), "--output", str(tmp_path / "new")]) == 0
    told = capsys.readouterr().out
    assert "header_checks:3: header_checks: only what puts a word before every Subject" in told
    assert "header_checks:4: header_checks: only what puts a word before every Subject" in told
    settings = config.load(tmp_path / "new" / "config.yaml", {}).config
    assert settings
    assert [str(one) for one in settings.recipients.everything_to] == ["me@office.example"]
    assert [list(map(str, rule.copy_to)) for rule in settings.routes if rule.via] == [["archive@office.example"]]
    [everybody] = settings.devices
    assert (everybody.subject_prefix, everybody.header) == ("[nas] ", (("X-Location", "cellar"),))
    assert everybody.sent("10.0.0.9", "", "")


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("a = b\n  c,\n# no\n  d\n", "a", "b c, d"),
        ("x = 1\ny = $x ${x} $(x) $$x\n", "y", "1 1 1 $x"),
        ("x = 1\ny = ${x?yes}${x:no} ${z?{yes}:{no}}\n", "y", "yes no"),
        ("a = 1\na = 2\n", "a", "2"),
        ("a = $b\nb = $a\n", "a", "$a"),
        ("myhostname = nas.home.example\n", "mydestination", "nas.home.example, localhost.home.example, localhost"),
    ],
)
def test_main_cf_is_read_as_postconf_reads_it(text: str, name: str, expected: str) -> None:
    """Continuation lines, comments between them, names in values, the last line wins, no endless circle."""
    assert MainCf(Source("main.cf", text)).get(name) == expected


@pytest.mark.parametrize(
    ("expression", "globs"),
    [
        (r"^(.*)@example\.com$", ("*@example.com",)),
        (r"@example\.com$", ("*@example.com",)),
        (r"^root@", ("root@*",)),
        (r"^(a|b)@x[.]example$", ("a@x.example", "b@x.example")),
        (r".*", ("*",)),
        (r"^[^@]+@example\.com$", ("?*@example.com",)),
        (r"@x{2}\.example$", ()),
        (r"^a?b@c\.example$", ()),
        (r"^[a-z]+@c\.example$", ()),
    ],
)
def test_an_expression_is_a_glob_or_nothing(expression: str, globs: tuple[str, ...]) -> None:
    """What a glob cannot say is not guessed at."""
    assert expression_as_globs(expression) == globs
