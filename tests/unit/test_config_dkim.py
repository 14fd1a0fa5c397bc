"""Keys of DKIM that sign less than a person may think are remarked on."""

import json
from pathlib import Path

import pytest

from relay.cli.main import main
from relay.config import load

BASE = "upstreams: {isp: {host: mail.isp.example, sender: taro@isp.example}}\n"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages name the file as it was given."""
    monkeypatch.chdir(tmp_path)


def remarks(source: str) -> str:
    """All that is remarked on in settings without a mistake."""
    Path("config.yaml").write_text(source, encoding="utf-8")
    loaded = load(Path("config.yaml"), {}, machine_name="nas")
    assert loaded.mistakes == ()
    return "\n".join(loaded.remarks)


def test_a_key_whose_upstreams_no_rule_uses() -> None:
    """The usual mistake: all mail goes by the provider, and `via` was left at `mx`."""
    for keys in ("{domain: own.example}", "{domain: own.example, via: [mx]}"):
        assert "no rule uses mx, so nothing is signed" in remarks(f"{BASE}dkim: {keys}\n")
    assert "signed" not in remarks(f"{BASE}routes: [{{via: [mx, isp]}}]\ndkim: {{domain: own.example}}\n")


@pytest.mark.parametrize(
    ("account", "domain", "remarked"),
    [
        ("", "own.example", True),
        ("", "isp.example", False),
        ("", "sub.isp.example", True),
        (", sender_domains: [own.example]", "own.example", False),
        (", sender_domains: [日本.example]", "日本.example", False),
        (", sender_domains: [日本.example]", "xn--wgv71a.example", False),
        (", sender_domains: [own.example], rewrite: always", "own.example", True),
        (", rewrite: never", "own.example", False),
        (", rewrite_from: false", "own.example", False),
    ],
)
def test_a_key_whose_domain_no_from_keeps(account: str, domain: str, *, remarked: bool) -> None:
    """The account's own address stands in the From then, and there is nothing of the key's domain to sign."""
    isp = f"upstreams: {{isp: {{host: mail.isp.example, sender: taro@isp.example{account}}}}}\n"
    said = remarks(f"{isp}dkim: {{domain: {domain}, via: [isp]}}\n")
    assert ("dkim.via: isp sends as taro@isp.example only" in said) == remarked, said


@pytest.mark.parametrize("written", ["straße.example", "Straße.Example.", "xn--strae-oqa.example"])
def test_relay_dkim_knows_a_domain_as_people_write_it(written: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With A-labels or without, as in the settings."""
    key = "dkim: {domain: straße.example, algorithm: ed25519, key_file: own.pem, via: [isp]}"
    Path("config.yaml").write_text(f"{BASE}spool: {{state_dir: '{tmp_path}'}}\n{key}\n", encoding="utf-8")
    assert main(["dkim", written, "--json", "--config", "config.yaml"]) == 0
    [found] = json.loads(capsys.readouterr().out)["keys"]
    assert found["name"] == "relay._domainkey.xn--strae-oqa.example"


@pytest.mark.parametrize("sender", ["root@nas", "root@[192.0.2.1]"])
def test_a_sender_without_a_domain(sender: str) -> None:
    """It is no key's."""
    isp = f"upstreams: {{isp: {{host: a.example, sender: '{sender}'}}}}\n"
    assert f"isp sends as {sender} only" in remarks(f"{isp}dkim: {{domain: own.example, via: [isp]}}\n")


def test_a_key_whose_folder_is_not_there(tmp_path: Path) -> None:
    """It would be made at the start, and cannot be."""
    for folder, remarked in ((tmp_path, False), (tmp_path / "none", True)):
        said = remarks(f"{BASE}dkim: {{domain: isp.example, via: [isp], key_file: '{folder}/own.pem'}}\n")
        assert (f"dkim.key_file: there is no folder {folder}" in said) == remarked, said


@pytest.mark.parametrize(("mode", "remarked"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
@pytest.mark.parametrize("named", [False, True])
def test_a_key_that_every_user_can_read(tmp_path: Path, mode: int, *, remarked: bool, named: bool) -> None:
    """Who reads it can sign mail as the domain; it does not matter whether its place is said."""
    name = "own.key" if named else "dkim-relay.isp.example.pem"
    (tmp_path / name).touch()
    (tmp_path / name).chmod(mode)
    said = remarks(
        f"{BASE}spool: {{state_dir: '{tmp_path}'}}\ndkim: {{domain: isp.example, via: [isp]{', key_file: own.key' * named}}}\n"
    )
    place = "key_file" if named else "domain"
    assert (f"dkim.{place}: every user of this machine can read the secret; chmod 600 {name}" in said) == remarked, said


def test_a_key_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    """One that is there is not made anew."""
    (tmp_path / "own.key").mkdir()
    Path("config.yaml").write_text(f"{BASE}dkim: {{domain: isp.example, via: [isp], key_file: own.key}}\n", encoding="utf-8")
    (mistake,) = map(str, load(Path("config.yaml"), {}, machine_name="nas").mistakes)
    assert "dkim.key_file: expected a readable file, found 'own.key' (Is a directory)" in mistake


@pytest.mark.parametrize("domain", ["own", "192.0.2.1", "'[192.0.2.1]'", "'[2001:db8::1]'"])
def test_a_domain_that_nobody_outside_can_look_up(domain: str) -> None:
    """It has no place for a record."""
    Path("config.yaml").write_text(f"{BASE}dkim: {{domain: {domain}, via: [isp]}}\n", encoding="utf-8")
    (said,) = map(str, load(Path("config.yaml"), {}, machine_name="nas").mistakes)
    assert "dkim.domain: expected a domain such as" in said
