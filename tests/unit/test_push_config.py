"""Push services in the settings: URLs from the file or from one of their own, and each mistake with its place."""

import sys
from pathlib import Path

import pytest

from relay.config import Loaded, load
from relay.config.schema import SECTIONS
from relay.upstream.settings import PushService
from tests.support.push_services import NEEDS_APPRISE

pytestmark = NEEDS_APPRISE

NTFY, GOTIFY = "ntfys://ntfy.example/alarms", "gotify://gotify.example/AbCdEfGhIjKlMn0"


def loaded(tmp_path: Path, text: str, **environ: str) -> Loaded:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    return load(tmp_path / "config.yaml", environ, machine_name="nas")


def mistakes(tmp_path: Path, text: str) -> list[str]:
    return [str(one).removeprefix(f"{tmp_path}/") for one in loaded(tmp_path, text).mistakes]


def service(found: Loaded) -> PushService:
    assert found.config, found.mistakes
    transport = found.config.upstreams["phone"].transport
    assert isinstance(transport, PushService)
    return transport


@pytest.mark.parametrize("push", ["${PHONE}", "[ '${PHONE}' ]"])
def test_one_url(tmp_path: Path, push: str) -> None:
    """The defaults: the subject as the title, pictures too, one at a time; only the kind of service is shown."""
    found = loaded(tmp_path, f"upstreams:\n  phone:\n    push: {push}\n", PHONE=NTFY)
    phone = service(found)
    assert [url.reveal() for url in phone.urls] == [NTFY]
    assert (phone.title, phone.attachments, phone.place) == ("{subject}", True, "ntfys")
    assert found.config
    assert found.config.upstreams["phone"].limits.connections == 1
    assert "alarms" not in repr(found.config)


def test_a_file_with_several(tmp_path: Path) -> None:
    """One a line; empty lines and comments are none."""
    (tmp_path / "phone.urls").write_text(f"# mine\n{NTFY}\n\n  {GOTIFY}  \r\n", encoding="utf-8")
    phone = service(loaded(tmp_path, 'upstreams: {phone: {push_file: phone.urls, title: "{device}", attachments: no}}'))
    assert [url.reveal() for url in phone.urls] == [NTFY, GOTIFY]
    assert (phone.title, phone.attachments, phone.place) == ("{device}", False, "ntfys, gotify")


def test_a_line_that_nobody_understands(tmp_path: Path) -> None:
    """It is told by its number, and what is in it is not."""
    lines = [NTFY, "", "noservice://topsecret/x", "mqtt://broker.example/topsecret"]
    (tmp_path / "phone.urls").write_text("\n".join(lines), encoding="utf-8")
    assert mistakes(tmp_path, "upstreams: {phone: {push_file: phone.urls}}") == [
        "config.yaml:1:32: upstreams.phone.push_file: expected a notification URL that Apprise understands "
        "(https://appriseit.com/services/), found another in line 3 of the file",
        "config.yaml:1:32: upstreams.phone.push_file: expected a service whose own Python package is installed, "
        "found another in line 4 of the file",
    ]


def test_an_item_of_a_list(tmp_path: Path) -> None:
    """It has a place of its own."""
    text = f"upstreams:\n  phone:\n    push:\n      - {NTFY}\n      - nonsense\n"
    assert mistakes(tmp_path, text) == [
        "config.yaml:5:9: upstreams.phone.push: expected a notification URL that Apprise understands "
        "(https://appriseit.com/services/), found another"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("push: ", "expected notification URLs, found nothing"),
        ("push: []", "expected notification URLs, found nothing"),
        ("push_file: nowhere", "(No such file or directory)"),
        ("push_file: empty", "(empty)"),
        (f"push: '{NTFY}', push_file: x", "expected push or push_file, found both"),
        (f"push: '{NTFY}', title: '{{topic}}'", "expected a title with no other names than {device}, {subject}, {sender}"),
        (f"push: '{NTFY}', host: mail.isp.example", "expected a mail server or a mailbox beside host, found push"),
        (f"push: '{NTFY}', attachments: some", "expected true or false"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, said: str) -> None:
    """Each says what was expected."""
    (tmp_path / "empty").write_text("\n# nothing\n", encoding="utf-8")
    found = mistakes(tmp_path, f"upstreams: {{phone: {{{text}}}}}")
    assert any(said in one for one in found), found


@pytest.mark.parametrize("kind", ["push: 'json://localhost'", "folder: /srv/scans"])
def test_what_belongs_to_another_kind_of_upstream_is_no_unknown_word(tmp_path: Path, kind: str) -> None:
    """Each setting that the page names is known beside it: as its own, or as one that needs another kind."""
    for setting in next(section for section in SECTIONS if section.path == "upstreams.*").settings:
        if setting.key not in kind:
            found = mistakes(tmp_path, f"upstreams: {{phone: {{{kind}, {setting.key}: x}}}}")
            assert not any("no such setting" in one for one in found), found


def test_that_notices_become_files_is_remarked_on(tmp_path: Path) -> None:
    """They count as delivered then; a push service and a mail server are no matter for a remark."""
    file = tmp_path / "config.yaml"
    said = []
    for via in ("[isp]", "[isp, scans]"):
        file.write_text(
            "upstreams: {isp: {host: mail.isp.example, sender: me@isp.example}, scans: {folder: /srv/scans}}\n"
            f"routes: [{{via: [scans, isp]}}]\nnotices: {{to: me@isp.example, via: {via}}}\n"
        )
        said.append([one for one in load(file, {}).remarks if "notices.via" in one])
    assert said[0] == []
    assert len(said[1]) == 1 and "a notice that becomes a file" in said[1][0]


def test_notices_may_go_by_it(tmp_path: Path) -> None:
    """`notices.via` names upstreams."""
    text = f"upstreams: {{phone: {{push: '{NTFY}'}}, isp: {{host: a.example, rewrite: never}}}}\n"
    text += "routes: [{to: a@b.example, via: phone}, {via: isp}]\n"
    found = loaded(tmp_path, text + "notices: {to: me@isp.example, via: phone}")
    assert found.config, found.mistakes
    assert found.config.notices.via == ("phone",)
    (one,) = mistakes(tmp_path, text + "notices: {to: me@isp.example, via: [fone]}")
    assert "expected the name of an upstream, found 'fone'; did you mean 'phone'?" in one


def test_the_settings_do_not_load_the_library(tmp_path: Path) -> None:
    """The URLs are looked at in another process."""
    service(loaded(tmp_path, f"upstreams: {{phone: {{push: '{NTFY}'}}}}"))
    assert "apprise" not in sys.modules
