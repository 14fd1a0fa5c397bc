"""What Postfix does to all mail, to its recipients and its header, becomes settings of the relay, or is told.

main.cf, tables ── relay import postfix ──> config.yaml ── config.load ──> recipients, routes, devices
"""

import json
from pathlib import Path

import pytest

from relay import config
from relay.cli.main import main
from relay.config.config_values import Config
from relay.inbound.admission import expand
from relay.mail.address import parse_path
from relay.mail.reply import Reply

HOME = "myhostname = nas.home.example\nrelayhost = [mail.isp.example]:587\nmynetworks = 10.0.0.0/8\n"


def brought(folder: Path, lines: str, **tables: str) -> tuple[Config, dict[str, list[str]]]:
    """The configuration made of a main.cf with these lines and of tables beside it, and what was told."""
    for name, text in {"main.cf": HOME + lines, **tables}.items():
        (folder / name).write_text(text, encoding="utf-8")
    said: list[str] = []
    with pytest.MonkeyPatch.context() as capture:
        capture.setattr("builtins.print", lambda *words, **_: said.append(" ".join(map(str, words))))
        assert main(["import", "postfix", str(folder), "--output", str(folder / "new"), "--json"]) == 0, said
    loaded = config.load(folder / "new" / "config.yaml", {})
    assert loaded.config, loaded.mistakes
    return loaded.config, json.loads(said[0])


CANONICAL = """\
root me@office.example
taro@old.example taro@isp.example
@old.example boss@office.example
bin root
two a@b.example, c@d.example
@x.example @y.example
"""


@pytest.mark.parametrize(
    ("recipient", "targets"),
    [
        ("root", ["me@office.example"]),
        ("ROOT@nas.home.example", ["me@office.example"]),
        ("root@localhost", ["me@office.example"]),
        ("root@my.example", ["me@office.example"]),
        ("root@far.example", ["root@far.example"]),
        ("taro@old.example", ["taro@isp.example"]),
        ("anyone@old.example", ["boss@office.example"]),
        ("bin", ["me@office.example"]),
        ("two", ["a@b.example", "c@d.example"]),
        ("u@x.example", ["u@x.example"]),
    ],
)
def test_a_canonical_table_becomes_aliases(tmp_path: Path, recipient: str, targets: list[str]) -> None:
    """canonical(5): a bare name stands for it at all of this machine's domains; the address comes before its domain."""
    settings, told = brought(
        tmp_path, "myorigin = my.example\nrecipient_canonical_maps = hash:/x/canonical\n", canonical=CANONICAL
    )
    path = parse_path(recipient)
    assert path
    found = expand(path, settings.recipients)
    assert not isinstance(found, Reply)
    assert list(map(str, found)) == targets
    [left] = told["not_carried_over"]
    assert left.startswith("canonical:6: recipient_canonical_maps: @x.example does not lead")


@pytest.mark.parametrize(
    ("lines", "everything", "left"),
    [
        ("recipient_canonical_maps = static:me@office.example\n", ["me@office.example"], ""),
        ("recipient_canonical_maps = static:taro\n", ["taro@nas.home.example"], ""),
        ("recipient_canonical_maps = static:@office.example\n", [], "main.cf:4: recipient_canonical_maps: this pattern does"),
        (
            "recipient_canonical_maps = static:taro\nvirtual_alias_maps = inline:{taro=me@office.example}\n",
            ["me@office.example"],
            "",
        ),
        (
            "recipient_canonical_maps = static:me@office.example\nrecipient_canonical_classes = header_recipient\n",
            [],
            "main.cf:4: recipient_canonical_maps: it is for the header alone",
        ),
        (
            "recipient_canonical_maps = static:me@office.example\n"
            "recipient_canonical_classes = envelope_recipient, header_recipient\n",
            ["me@office.example"],
            "",
        ),
    ],
)
def test_one_recipient_for_everybody(tmp_path: Path, lines: str, everything: list[str], left: str) -> None:
    """Completed as Postfix does it, led on by its aliases; what was for the header alone changes no recipient."""
    settings, told = brought(tmp_path, lines)
    assert list(map(str, settings.recipients.everything_to)) == everything
    assert [one.startswith(left) for one in told["not_carried_over"]] == ([True] if left else [])


@pytest.mark.parametrize(
    ("said", "copy"),
    [
        ("archive@office.example", "archive@office.example"),
        ("Archive@Office.example.", "Archive@Office.example"),
        ('"old mail"@office.example', '"old mail"@office.example'),
        ("archive", "keep@office.example"),
        ("archive@nas.home.example", "keep@office.example"),
        ("several", ""),
        ("nobody", ""),
        ("Archive <archive@office.example>", ""),
        ("a@b.example, c@d.example", ""),
        ("@office.example", ""),
        ("$nothing", ""),
        ("a@-x.example", ""),
    ],
)
def test_a_copy_of_everything_to_an_odd_address(tmp_path: Path, said: str, copy: str) -> None:
    """Taken where it is one address, at once or by an alias; told with its place where it is none; never a broken file."""
    aliases = "archive keep@office.example\nseveral a@b.example, c@d.example\n"
    settings, told = brought(tmp_path, f"always_bcc = {said}\nvirtual_alias_maps = hash:/x/virtual\n", virtual=aliases)
    assert [list(map(str, rule.copy_to)) for rule in settings.routes if rule.via] == [[copy] if copy else []]
    left = [one for one in told["not_carried_over"] if "always_bcc" in one]
    assert [one.startswith("main.cf:4: always_bcc: ") for one in left] == ([] if copy else [True])


@pytest.mark.parametrize(
    ("checks", "smtp_checks", "prefix", "header", "left"),
    [
        ("", "/^Subject: (.*)$/ REPLACE Subject: [nas] $1\n", "[nas] ", {}, []),
        ("", "/^From:/\n   PREPEND X-Room: cellar\n", "", {"X-Room": "cellar"}, []),
        ("/^Subject:(.*)/ REPLACE Subject: [a]$1\n", "/^subject: (.*)$/ REPLACE Subject: [b] $1\n", "[b] [a] ", {}, []),
        ("/^From:/ PREPEND X-Room: a\n", "/^Date:/ PREPEND x-room: b\n", "", {"X-Room": "a"}, ["smtp_checks:1"]),
        # only the first line that matches counts
        (
            "/^Subject: (.*)$/ REPLACE Subject: [a] $1\n/^Subject: (.*)$/ REPLACE Subject: [b] $1\n"
            "/^subject:/ PREPEND X-A: b\n",
            "",
            "[a] ",
            {},
            ["checks:2", "checks:3"],
        ),
        ("/^Subject:/ WARN\n/^Subject: (.*)$/ REPLACE Subject: [a] $1\n", "", "", {}, ["checks:1", "checks:2"]),
        ("/^/ DUNNO\n/^From:/ PREPEND X-A: b\n", "", "", {}, ["checks:1", "checks:2"]),
        ("/^Received:/ IGNORE\n/^From:/ PREPEND X-A: b\n", "", "", {"X-A": "b"}, ["checks:1"]),
        # a delimiter that is escaped ends nothing, and what cannot be read decides nothing
        (
            "/^X-Path: a\\/b/ IGNORE\nnonsense\n/^Never\n/^From:/ PREPEND X-A: b/c\n"
            "|^Subject: (.*)$| REPLACE Subject: [a/b] $1\n",
            "",
            "[a/b] ",
            {"X-A": "b/c"},
            ["checks:1", "checks:2", "checks:3"],
        ),
        # all but what the expression says
        ("!/^From:/ DUNNO\n/^Date:/ PREPEND X-A: b\n/^From:/ PREPEND X-C: d\n", "", "", {"X-C": "d"}, ["checks:1", "checks:2"]),
        ("!/^/ DUNNO\n/^Date:/ PREPEND X-A: b\n", "", "", {"X-A": "b"}, ["checks:1"]),
        # not for all mail
        (
            "if /cam/\n/^Subject: (.*)$/ REPLACE Subject: [a] $1\nIf!/x/\n/^From:/ PREPEND X-A: b\nendif\nendif\n"
            "/^From:/ PREPEND X-C: d\n",
            "",
            "",
            {"X-C": "d"},
            ["checks:1", "checks:3"],
        ),
        ("!/^Subject: (.*)$/ REPLACE Subject: [a] $1\n", "", "", {}, ["checks:1"]),
        ("/^Subject: (.*backup.*)$/ REPLACE Subject: [a] $1\n", "", "", {}, ["checks:1"]),
        # not as the relay can say it
        ("/^Subject: (.*)$/ REPLACE Subject: " + "x" * 101 + " $1\n", "", "", {}, ["checks:1"]),
        ("/^Subject: (.*)$/ REPLACE Subject: a\tb $1\n", "", "", {}, ["checks:1"]),
        ("/^From:/ PREPEND X-Original-To: a\n/^Date:/ PREPEND X-A: \u200bb\n", "", "", {}, ["checks:1", "checks:2"]),
        ("/^Subject: (.*)$/ REPLACE Subject: [\u3042\"'#{] $1\n", "", "[\u3042\"'#{] ", {}, []),
    ],
)
def test_header_checks_of_both_kinds(
    tmp_path: Path, checks: str, smtp_checks: str, prefix: str, header: dict[str, str], left: list[str]
) -> None:
    """What holds for all mail comes along; all else is told with its line; the configuration is sound whatever they say."""
    lines = ("header_checks = pcre:/x/checks\n" if checks else "") + "smtp_header_checks = regexp:/x/smtp_checks\n"
    settings, told = brought(tmp_path, lines, checks=checks, smtp_checks=smtp_checks)
    assert {(one.subject_prefix, tuple(sorted(dict(one.header).items()))) for one in settings.devices} == (
        {(prefix, tuple(sorted(header.items())))} if prefix or header else set()
    )
    assert [one.partition(": ")[0] for one in told["not_carried_over"]] == left


@pytest.mark.parametrize(
    "key", ["a b", "@[192.0.2.1]", "user@[192.0.2.1]", "@x..example", "a@-b.example", '"x', "ä", "root+box", "-", "a@b@c"]
)
def test_an_odd_name_in_a_table_breaks_nothing(tmp_path: Path, key: str) -> None:
    """It becomes an alias, or is told."""
    table = f"{key} me@office.example\n"
    lines = "recipient_canonical_maps = hash:/x/one\nalias_maps = hash:/x/two\n"
    settings, told = brought(tmp_path, lines, one=table, two=f"{key}: me@b.example\n")
    assert settings.recipients.aliases or told["not_carried_over"]
