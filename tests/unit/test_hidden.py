"""What of a configuration's text is shown, and that an edited text gets its secrets back, at their places only."""

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from relay.config import load
from relay.config.fields import Fields
from relay.config.hidden import Misplaced, general, masked, place_at, restored, spans
from relay.config.located import Table, Text, parse
from relay.config.origins import origins
from relay.config.schema import SECTIONS
from tests.unit.test_config_secrets import CASES, ISP, SECRET
from tests.unit.test_example_config import TEXT, UNCOMMENTED, VARIABLES

FILES = {"web.secret", "here.secret"}


def exists(name: str) -> bool:
    return name in FILES


def shown(text: str) -> str:
    return masked(text, exists)[0]


def again(draft: str, source: str) -> str:
    return restored(draft, source, spans(source, exists), exists).text


def meaning(text: str) -> object:
    return yaml.load(text, yaml.BaseLoader)  # noqa: S506 - texts only


@pytest.mark.parametrize("source", CASES)
def test_what_may_be_a_secret_is_not_shown(source: str) -> None:
    """Wrong types, wrong places, wrong names, half a URL: a text of sound form is shown without it."""
    text = source.replace("ISP", ISP).replace("SECRET", SECRET)
    root, mistakes = parse(text.encode(), "config.yaml")
    if mistakes:
        return  # such a text is not shown at all
    assert SECRET[1:] not in shown(text)
    assert meaning(again(shown(text), text)) == meaning(text)
    assert root is None or SECRET[1:] not in json.dumps([row["value"] for row in origins(root, exists)])


@pytest.mark.parametrize(
    "text",
    [
        "upstreams:\n  isp:\n    host: a\n    password: hunter2\n",
        "upstreams: {isp: {host: a, password: hunter2, port: 5}}\n",
        'upstreams: {isp: {host: a, password: "hun\\"ter, {2}", port: 5}}\n',
        "upstreams:\n  isp:\n    password: hunter2: no, {x} # more of it\n".replace(": no", ":no"),
        "upstreams:\n  isp:\n    password: >-\n      hunter2\n\n    port: 5\n",
        "upstreams:\n  isp:\n    password: |\n      hunter2\n    port: 5\n",
        "upstreams:\n  isp:\n    password: 'hunter2'\r\n    port: 5\r\n",
        "upstreams:\n  phone:\n    push:\n      - ntfy://hunter2/x\n      - tgram://hunter2\n",
        "listen: {users: {nas: hunter2, tv: 'hunter2', ups_file: here.secret}}\n",
        "# password: hunter2\nnotices: {webhook: https://hunter2.example/}\n",
        "#  nas: hunter2\n#  - {password: hunter2}\n#  - ntfy://hunter2/\nweb: {password: hunter2 # hunter2\n}\n",
        "spool: {url: 'postgresql://u:hunter2@h/db'}\n",
        "spool: {url: 'postgresql://h/db?password=hunter2'}\n",
        "upstreams: {isp: {oauth: {token_url: 'https://x/?key=hunter2'}}}\n",
        "web: {port: 5,#password: hunter2\n}\n",
        "upstreams: {isp: {password: 'hunter2\u2028hunter2'}}\n",
        "upstreams: {isp: {pasword: hunter2, passwort: hunter2}}\n",
        "upstreams: {isp: {password_file: hunter2}}\nweb: {password_file: web.secret}\n",
    ],
)
def test_a_text_that_nobody_changed_means_the_same_again(text: str) -> None:
    """Whatever the way of writing it, in whatever place: hidden, on lines that stay, and there again."""
    assert "hunter2" not in shown(text)
    back = again(shown(text), text)
    assert meaning(back) == meaning(text)
    assert back.count("\n") == shown(text).count("\n")
    assert back.count("hunter2") == text.count("hunter2") or "\u2028" in text


def test_what_is_no_secret_stays_as_it_was() -> None:
    """The example: nothing of it is hidden, since its secrets are in files and variables that are named."""
    names = set(re.findall(r"[\w./-]+\.secret|/run/secrets/\w+", TEXT))
    found, hidden = masked(TEXT, names.__contains__)
    assert [TEXT[one.start : one.end] for one in hidden if one.kind != "comment"] == []
    assert meaning(found) == meaning(TEXT)


def test_names_of_files_and_variables_are_shown() -> None:
    """`password_file` and `${NAME}` tell where a secret is, not what it is; a file that is not there may be the secret."""
    text = "web: {password_file: web.secret}\nupstreams: {isp: {password: '${ISP_PASSWORD}'}}\n"
    assert shown(text) == text
    assert shown("web: {password_file: hunter2}\n") == "web: {password_file: (hidden-1)}\n"
    assert shown("web: {password: 'x${ISP_PASSWORD}'}\n") == "web: {password: (hidden-1)}\n"


SOURCE = "hostname: relay.example\nupstreams:\n  isp: {host: a, password: hunter2} # password: old\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("relay.example", "(hidden-1)"),
        ("host: a", "host: (hidden-1)"),
        ("host: a", "host: x(hidden-1)"),
        ("password: (hidden-1)", "password: x(hidden-1)"),
        ("password: (hidden-1)", "password: (hidden-7)"),
        ("password: (hidden-1)", "password: (hidden-0)"),
        ("password: (hidden-1)", "password: (hidden-2)"),  # a comment's
        ("password: (hidden-2)", "password: (hidden-1)"),  # into the comment
        ("# password: (hidden-2)", "# (hidden-2)"),
        ("hostname:", "# (hidden-1)\nhostname:"),
        ("hostname:", "(hidden-1):"),
        ("host: a", "host: [(hidden-1)]"),
        ("host: a", "host: '(hidden-1)'"),
    ],
)
def test_a_secret_cannot_be_moved_to_where_it_shows(before: str, after: str) -> None:
    """Its placeholder counts as the whole value of a secret setting, and nowhere else."""
    draft = shown(SOURCE)
    assert draft == "hostname: relay.example\nupstreams:\n  isp: {host: a, password: (hidden-1)} # password: (hidden-2)\n"
    assert before in draft
    with pytest.raises(Misplaced) as wrong:
        again(draft.replace(before, after), SOURCE)
    line, column = place_at(draft.replace(before, after), wrong.value.at)
    assert draft.replace(before, after).splitlines()[line - 1][column - 1 :].startswith("(hidden-")
    assert "hunter2" not in str(wrong.value)


def test_a_secret_may_go_along_where_its_upstream_is_renamed() -> None:
    """And a new value may be typed, and one be left out."""
    draft = shown(SOURCE).replace("isp:", "gmail:").replace("# password: (hidden-2)", "")
    assert meaning(again(draft, SOURCE)) == {
        "hostname": "relay.example",
        "upstreams": {"gmail": {"host": "a", "password": "hunter2"}},
    }
    assert "password: new" in again(shown(SOURCE).replace("(hidden-1)", "new"), SOURCE)


def test_mistakes_are_told_by_the_draft_s_columns() -> None:
    """What stands behind a placeholder on its line is found where the person sees it."""
    draft = shown(SOURCE).replace("}", ", prt: 5}")
    meant = restored(draft, SOURCE, spans(SOURCE, exists), exists)
    there = meant.text.splitlines()[2].index("prt") + 1
    assert draft.splitlines()[2][meant.column(3, there) - 1 :].startswith("prt")
    assert meant.column(2, 1) == 1


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30), st.sampled_from(["'", '"', ">", "|"]))
def test_any_value_in_any_quotes_comes_back(value: str, style: str) -> None:
    """As YAML itself writes it."""
    text = yaml.dump({"upstreams": {"isp": {"password": value, "port": "5"}}}, default_style=style, allow_unicode=True)
    root, mistakes = parse(text.encode(), "x")
    assert root is not None and not mistakes
    draft = shown(text)
    assert "(hidden-1)" in draft
    assert meaning(again(draft, text)) == meaning(text)


def test_the_secrets_of_the_description_are_those_that_the_code_reads_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new secret cannot be forgotten in schema.py: reading it as one without saying so there is found here."""
    asked: set[str] = set()
    twins: set[str] = set()

    def noting(name: str) -> None:
        original = getattr(Fields, name)

        def read(self: Fields, key: str, *words: object, **named: object) -> object:
            if name != "get" or named.get("secret"):
                where = general([part for part in self.path.split(".") if part] + [key])
                asked.add(re.sub(r"\[\d+\]", "", where))
                twins.add(re.sub(r"\[\d+\]", "", f"{where}_file"))
            return original(self, key, *words, **named)

        monkeypatch.setattr(Fields, name, read)

    for name in ("secret", "secrets", "get"):
        noting(name)
    for name in re.findall(r"\b[\w-]+\.(?:pem|secret)\b", UNCOMMENTED):
        (tmp_path / name).write_text("x\n", encoding="utf-8")
    (tmp_path / "config.yaml").write_text(UNCOMMENTED, encoding="utf-8")
    assert load(tmp_path / "config.yaml", VARIABLES, machine_name="nas").config
    paths = {".".join(filter(None, (one.path, each.key))): each for one in SECTIONS for each in one.settings}
    users = {path for path in asked if path.startswith("listen.users.")}
    assert asked - users == {path for path, each in paths.items() if each.secret} - {"listen.users"}
    assert users and paths["listen.users"].secret
    named = {path for path, each in paths.items() if each.names_secret} - {"upstreams.*.oauth.refresh_token_file"}
    assert named == {path for path in twins if path in paths}


def test_the_origin_of_each_setting_is_told() -> None:
    """File and line, the variable in it, or the default; a secret without its value."""
    text = "hostname: ${HOST}.example\nupstreams:\n  isp:\n    host: a\n    password: hunter2\n    limits: {per_day: 5}\n"
    root, _ = parse(text.encode(), "config.yaml")
    rows = {(row["section"], row["key"]): row for row in origins(root, exists)}
    assert rows["", "hostname"] | {"otherwise": ""} == {
        "section": "",
        "key": "hostname",
        "value": "${HOST}.example",
        "secret": False,
        "from": "file",
        "line": 1,
        "variables": ["HOST"],
        "otherwise": "",
    }
    password = rows["upstreams.isp", "password"]
    assert (password["value"], password["secret"], password["line"]) == (None, True, 5)
    assert rows["upstreams.isp.limits", "per_day"]["value"] == "5"
    assert rows["retry", "warn_after"] | {"value": "4h", "from": "default"} == rows["retry", "warn_after"]
    assert rows["upstreams.isp", "port"]["otherwise"]
    assert ("upstreams.isp.pop", "host") not in rows


def test_what_the_environment_says_is_told_with_its_variable() -> None:
    """A secret there is one too, even if it looks like a reference."""
    nowhere = parse(b"x: y", "x")[0]
    assert isinstance(nowhere, Table)
    place = nowhere.place
    password = Text(place, "RELAY_PASSWORD", "${hunter2}", literal=True)
    host = Text(place, "RELAY_HOST", "a.example", literal=True)
    isp = Table(place, "upstreams.isp", {"host": host, "password": password})
    root = Table(place, "", {"upstreams": Table(place, "upstreams", {"isp": isp})})
    rows = {row["key"]: row for row in origins(root, exists) if row["section"] == "upstreams.isp"}
    assert (rows["host"]["value"], rows["host"]["from"], rows["host"]["variables"]) == (
        "a.example",
        "environment",
        ["RELAY_HOST"],
    )
    assert (rows["password"]["value"], rows["password"]["secret"]) == (None, True)
