"""What explain says of upstreams that rest, as a function of what the running relay tells."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay import config
from relay.cli.explaining import Sample, explain
from relay.cli.main import main
from relay.mail.address import parse_address

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
NOON = datetime(2026, 11, 22, 12).astimezone()
SETTINGS = """
hostname: relay.test
upstreams:
  isp: {host: a.example, auth: none, sender: me@a.example, limits: {per_day: 2}}
  other: {host: b.example, auth: none, sender: me@b.example}
routes:
  - {to: "*@direct.example", via: [mx, isp]}
  - {to: "*@away.example", discard: true}
  - {via: [isp, other]}
"""


@pytest.fixture
def settings(tmp_path: Path):
    file = tmp_path / "config.yaml"
    file.write_text(SETTINGS)
    loaded = config.load(file, {})
    assert loaded.config, loaded.mistakes
    return loaded.config


def line(until: str = "", sent: int = 0) -> dict[str, object]:
    return {"resting_until": until or None, "why": "connect: 421 4.4.1 refused" if until else "", "sent_today": sent}


def asked(settings, to: str, standings):
    sample = Sample("127.0.0.1", parse_address("nas@lan.local"), (parse_address(to),))
    return explain(settings, sample, NOW, standings)["recipients"][0]


@pytest.mark.parametrize(
    ("to", "standings", "by", "at", "resting"),
    [
        ("x@far.example", {}, "isp", "2026-11-22T03:04:05Z", []),
        ("x@far.example", {"isp": line("2026-11-22T03:05:00+00:00")}, "other", "2026-11-22T03:04:05Z", ["isp"]),
        ("x@far.example", {"isp": line("2026-11-22T03:04:00+00:00")}, "isp", "2026-11-22T03:04:05Z", []),
        (
            "x@far.example",
            {"isp": line("2026-11-22T04:00:00+00:00"), "other": line("2026-11-22T03:30:00+00:00")},
            "other",
            "2026-11-22T03:30:00Z",
            ["isp", "other"],
        ),
        (
            "x@far.example",
            {"isp": line(sent=2), "other": line("2026-11-24T00:00:00+00:00")},
            "isp",
            "2026-11-23T00:00:00Z",
            ["isp", "other"],
        ),
        (
            "x@direct.example",
            {"mx direct.example": line("2026-11-22T03:30:00+00:00")},
            "isp",
            "2026-11-22T03:04:05Z",
            ["mx"],
        ),
        ("x@direct.example", {"mx other.example": line("2026-11-22T03:30:00+00:00")}, "mx", "2026-11-22T03:04:05Z", []),
    ],
)
def test_the_next_attempt_is_by_the_first_that_may_be_called(settings, to, standings, by, at, resting):
    """The first of the chain that does not rest, now; if all rest, the first to wake; a used-up day ends at midnight UTC."""
    told = asked(settings, to, standings)
    assert told["next_attempt"] == {"at": at, "by": by}
    assert [rest["upstream"] for rest in told["resting"]] == resting


def test_what_goes_nowhere_has_no_next_attempt(settings):
    """A rule that discards has nobody to call, and without a running relay nobody can tell."""
    assert asked(settings, "x@away.example", {})["next_attempt"] is None
    assert asked(settings, "x@far.example", None)["next_attempt"] is None


def test_repairs_are_told_for_direct_delivery_too(settings):
    """By `mx` the letter is mended as by any upstream, and goes under its own sender: both are shown."""
    letter = (b"From: nas@lan.local\nSubject: health\n\nfine\n",)
    sample = Sample("127.0.0.1", parse_address("nas@lan.local"), (parse_address("x@direct.example"),), letter)
    told = explain(settings, sample, NOW)
    direct, by_isp = told["recipients"][0]["sent"]
    assert direct["upstream"] == "mx" and direct["as"] == "nas@lan.local"
    assert direct["changes"] and any("Date" in each for each in direct["changes"])
    assert told["repairs"] and told["diff"]
    assert by_isp["as"] == "me@a.example"


def said(tmp_path: Path, capsys, *words: str) -> tuple[int, str, str]:
    (tmp_path / "config.yaml").write_text(SETTINGS + "recipients: {aliases: {}}\nspool: {url: 'sqlite:spool.db'}\n")
    status = main(["explain", "--config", str(tmp_path / "config.yaml"), "--from", "nas@lan.local", *words])
    return status, *capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "later"),
    [
        (("--to", "x@far.example"), True),
        (("--to", "x@far.example", "--to", "nobody"), True),
        (("--to", "x@far.example", "--client", "203.0.113.9"), False),
        (("--to", "nobody"), False),
        (("--to", "x@away.example"), False),
    ],
)
def test_what_is_refused_is_not_tried_again(tmp_path, capsys, words, later):
    """The line about later tries stands only where somebody is to take the mail."""
    _, out, _ = said(tmp_path, capsys, *words)
    assert ("If no upstream takes it" in out) is later
    assert ("the next attempt would be" in out or "no relay is running" in out) is later


def test_a_rule_that_refuses_is_named(tmp_path, capsys):
    """Not the refusal alone: whose address it is, and which rule it meets."""
    (tmp_path / "config.yaml").write_text(
        "upstreams: {isp: {host: mail.isp.example, sender: me@isp.example}}\nspool: {url: 'sqlite:spool.db'}\n"
        "recipients: {aliases: {root: it@office.example}}\n"
        "routes: [{to: '*@office.example', reject: not here}, {via: [isp]}]\n"
    )
    assert main(["explain", "--config", str(tmp_path / "config.yaml"), "--from", "nas@lan.local", "--to", "root"]) == 1
    assert "to it@office.example\n  rule 1: to *@office.example: refused: 550 5.7.1 not here\n" in capsys.readouterr().out


def test_a_file_that_is_missing_is_told_plainly(tmp_path, capsys):
    """No number of an error, but the file's name and what is with it; exit 2."""
    status, _, err = said(tmp_path, capsys, "--to", "x@far.example", "nowhere.eml")
    assert (status, err) == (2, "relay explain: there is no file nowhere.eml\n")
    status, _, err = said(tmp_path, capsys, "--to", "x@far.example", str(tmp_path))
    assert (status, err) == (2, f"relay explain: {tmp_path} cannot be read: Is a directory\n")


DEVICES = """
listen:
  - {address: "127.0.0.1:2525"}
  - {address: "127.0.0.1:2587", networks: [127.0.0.0/8], auth: required, users: {p: secret}}
devices:
  printer:
    helo: "BRN*"
    user: p
    name: Printer
    sender: printer@a.example
    subject_prefix: "[printer] "
    may_send_to: ["*@a.example"]
    copy_to: archive@b.example
    limits: {per_day: 200, message: 2kB}
    quiet: {hours: "22:00-07:00", except: ["*FAIL*"]}
  cam: {client: 10.0.0.9, to: me@a.example}
"""


def device_told(tmp_path: Path, to: str, helo: str = "BRN1", user: str = "p", client: str = "127.0.0.1", content: bytes = b""):
    file = tmp_path / "devices.yaml"
    file.write_text(
        SETTINGS.replace("  - {via: [isp, other]}", "  - {device: printer, via: [isp]}\n  - {via: [other]}") + DEVICES
    )
    loaded = config.load(file, {})
    assert loaded.config, loaded.mistakes
    sample = Sample(client, parse_address("nas@lan.local"), (parse_address(to),), (content,) if content else (), helo, user)
    return explain(loaded.config, sample, NOON)


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's zone, where NOW is noon."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("tokyo")
def test_it_tells_whose_mail_it_is_and_what_follows(tmp_path: Path) -> None:
    """Name, limits, the rule, the copy, what is changed for it; or that it is nobody's."""
    told = device_told(tmp_path, "you@a.example")
    assert (told["device"], told["admitted"]) == ("printer", True)
    by_any_clock = [one for one in told["follows"] if not one.startswith("quiet now")]
    assert by_any_clock == [
        "at most 200 messages a day",
        "at most 2000 octets in a message",
        "waits from 22:00-07:00, local time",
        "does not wait if the subject is *FAIL*",
    ]
    original, copy = told["recipients"]
    assert (original["address"], original["copy"], original["via"]) == ("you@a.example", False, ["isp"])
    assert (copy["address"], copy["copy"], copy["via"]) == ("archive@b.example", True, ["isp"])
    assert original["sent"][0]["as"] == "printer@a.example"
    assert "From shows the name Printer (devices.printer.name)" in original["sent"][0]["changes"]
    assert (told["listener"], told["user"]) == ("127.0.0.1:2587", "p")
    assert device_told(tmp_path, "you@a.example", user="")["device"] == ""
    nobody_checks = [
        device_told(tmp_path, "you@a.example", user="q"),
        device_told(tmp_path, "you@a.example", client="10.0.0.1"),
    ]
    assert [(one["listener"], one["user"], one["device"]) for one in nobody_checks] == [("127.0.0.1:2525", "", "")] * 2
    assert device_told(tmp_path, "you@a.example", user="")["recipients"][0]["via"] == ["other"]


def test_it_tells_what_a_device_may_not(tmp_path: Path) -> None:
    """An address that it may not send to, and a message that is too large."""
    told = device_told(tmp_path, "you@far.example")
    assert told["admitted"] is False
    assert len(told["recipients"]) == 1
    assert "devices.printer.may_send_to" in told["recipients"][0]["refused"]
    told = device_told(tmp_path, "you@a.example", content=b"Subject: x\r\n\r\n" + b"y" * 2000)
    assert "devices.printer.limits.message" in told["why"]


def test_it_tells_where_the_mail_of_a_device_goes(tmp_path: Path) -> None:
    """To whom it is meant, whoever was addressed."""
    told = device_told(tmp_path, "nobody", helo="", user="", client="10.0.0.9")
    assert [(one["address"], one["copy"]) for one in told["recipients"]] == [("me@a.example", False)]
    assert told["follows"] == ["all its mail goes to me@a.example"]


def test_the_command_takes_helo_and_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says who it is in words."""
    device_told(tmp_path, "you@a.example")
    words = ["--from", "nas@lan.local", "--to", "you@a.example", "--helo", "BRN1", "--user", "p"]
    assert main(["explain", "--config", str(tmp_path / "devices.yaml"), *words]) == 0
    told = capsys.readouterr().out
    assert "it is printer\n  at most 200 messages a day\n" in told
    assert "a copy to archive@b.example\n" in told


def test_who_has_to_log_in_and_does_not_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As at MAIL; and a login that nobody checks is said to count for nothing."""
    file = tmp_path / "config.yaml"
    file.write_text(SETTINGS + "listen: {address: '127.0.0.1:2525', auth: required, users: {p: secret}}\n")
    words = ["explain", "--config", str(file), "--from", "nas@lan.local", "--to", "you@a.example"]
    assert [main([*words, *more]) for more in ([], ["--user", "p"], ["--user", "q"])] == [1, 0, 1]
    told = capsys.readouterr().out
    assert told.count("127.0.0.1 comes in by 127.0.0.1:2525: refused: 530 5.7.0 log in first") == 2
    assert told.count("checks the login q, so it does not count") == 1


def test_one_recipient_that_is_refused_does_not_refuse_the_client(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status tells of it, the first line does not."""
    device_told(tmp_path, "you@a.example")
    words = ["--from", "nas@lan.local", "--to", "you@a.example", "--to", "you@far.example", "--helo", "BRN1", "--user", "p"]
    assert main(["explain", "--config", str(tmp_path / "devices.yaml"), *words]) == 1
    told = capsys.readouterr().out
    assert told.startswith("127.0.0.1 comes in by 127.0.0.1:2587: admitted\n")
    assert "to you@far.example\n  refused: 550 5.7.1 printer may not send to you@far.example" in told


def test_what_graph_makes_of_the_header_is_told(tmp_path: Path):
    """It has no envelope: who gets it stands in To, Cc and Bcc.  Recipients that go together are taken together."""
    file = tmp_path / "config.yaml"
    file.write_text(
        "upstreams:\n  m365: {api: graph, username: n@c.example, oauth: {client_id: a, tenant: c.example}}\n"
        "  isp: {host: a.example, rewrite: never}\n"
        'routes: [{to: "*@isp.example", via: isp}, {via: [m365, isp]}]\n'
    )
    settings = config.load(file, {}).config
    letter = b"From: n@c.example\r\nTo: a@far.example, b@isp.example\r\n\r\nx\r\n"
    names = tuple(map(parse_address, ("a@far.example", "b@isp.example", "c@far.example")))
    found = explain(settings, Sample("127.0.0.1", parse_address("n@c.example"), names, (letter,)), NOW)
    changes = [[note for way in one["sent"] for note in way["changes"] if "Graph" in note] for one in found["recipients"]]
    graph = [
        "took b@isp.example out of To: Graph would send it to them too, and this is not for them",
        "added c@far.example as Bcc: Graph sends only to those that are named",
    ]
    assert changes == [graph, [], graph]
    assert {"-To: a@far.example, b@isp.example", "+To: a@far.example", "+Bcc: c@far.example"} <= set(found["diff"].splitlines())


def test_a_folder_and_a_push_service_have_a_place_and_no_sender(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder as it would be for this message, of a push service its kind alone."""
    file = tmp_path / "config.yaml"
    file.write_text(
        f"upstreams:\n  scans: {{folder: '{tmp_path}/{{device}}/{{from}}'}}\n  phone: {{push: 'jsons://secret.example/token'}}\n"
        "routes: [{via: [scans, phone]}]\ndevices: {scanner: {client: 127.0.0.1}}\n"
    )
    assert main(["explain", "--config", str(file), "--from", "a/b@c.example", "--to", "you@a.example"]) == 0
    told = capsys.readouterr().out
    assert f"  by scans ({tmp_path}/scanner/a-b@c.example)\n  by phone (jsons)\n" in told


def test_the_next_attempt_is_after_the_quiet_hours(tmp_path: Path) -> None:
    """If the subject does not go at any hour; and spans are told as people write them."""
    begin, end = NOW.astimezone() - timedelta(hours=1), NOW.astimezone() + timedelta(hours=2)
    file = tmp_path / "config.yaml"
    quiet = f"{{hours: '{begin:%H:%M}-{end:%H:%M}', except: ['*FAIL*']}}"
    nas = f"{{client: 127.0.0.1, quiet: {quiet}, storm: {{same_within: 90s}}, expect_every: 26h}}"
    file.write_text(f"{SETTINGS}devices:\n  nas: {nas}\n")
    loaded = config.load(file, {})
    assert loaded.config, loaded.mistakes
    ends = []
    for content in ((), (b"Subject: good\r\n\r\n",), (b"Subject: disk FAIL\r\n\r\n",)):
        sample = Sample("127.0.0.1", parse_address("nas@lan.local"), (parse_address("you@a.example"),), content)
        told = explain(loaded.config, sample, NOW, {})
        ends.append(told["recipients"][0]["next_attempt"]["at"])
    assert ends == ["2026-11-22T05:04:00Z", "2026-11-22T05:04:00Z", "2026-11-22T03:04:05Z"]
    assert "more of the same within 90 s becomes a digest" in told["follows"]
    assert "one message is expected every 26 h" in told["follows"]
    assert f"quiet now, until {end:%H:%M}" in told["follows"]


def test_it_tells_who_signs(tmp_path: Path) -> None:
    """By the upstreams that get it signed, and only where From is in that domain; no key is made for an answer."""
    file = tmp_path / "config.yaml"
    file.write_text(SETTINGS + "dkim: [{domain: own.example, key_file: none.pem}, {domain: a.example, via: [isp]}]\n")
    loaded = config.load(file, {})
    assert loaded.config, loaded.mistakes
    sample = Sample("127.0.0.1", parse_address("nas@own.example"), (parse_address("x@direct.example"),))
    ways = {way["upstream"]: way["changes"] for way in explain(loaded.config, sample, NOW)["recipients"][0]["sent"]}
    assert ways["mx"][-1] == "signed as own.example (DKIM, selector relay)"
    assert ways["isp"][-1] == "signed as a.example (DKIM, selector relay)"
    assert not (tmp_path / "none.pem").exists()
    (tmp_path / "none.pem").write_text("junk")
    (first, *_) = explain(loaded.config, sample, NOW)["recipients"][0]["sent"]
    assert first["changes"][-1].startswith("cannot be signed as own.example (DKIM, selector relay), so it does not go by this")
