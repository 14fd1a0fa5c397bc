"""Whatever is in the file: no crash, and every mistake has a line."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.config import load
from relay.config.located import LARGEST, Items, Node, Table, Text, parse
from relay.config.references import BadReference, expand

CORPUS = Path(__file__).parents[1] / "corpus" / "config" / "mistakes.txt"
EXAMPLE = (Path(__file__).parents[2] / "config.example.yaml").read_text(encoding="utf-8")
CASES = [case.split("-----\n")[0] for case in CORPUS.read_text(encoding="utf-8").split("=====\n") if case] + [EXAMPLE]

WORDS = [
    "upstreams",
    "isp",
    "host",
    "listen",
    "routes",
    "via",
    "password",
    "- ",
    ": ",
    "\n",
    "\n  ",
    "[",
    "]",
    "{",
    "}",
    "*",
    "&",
]
WORDS += [
    "!",
    "'",
    '"',
    "|",
    ">",
    "#",
    "? ",
    "%",
    "@",
    "${X}",
    "$${",
    "${",
    "~",
    "\\U",
    "---\n",
    "\t",
    "é",
    "件",
    ",",
    "0",
    "25",
]


def nodes(node: Node | None) -> list[Node]:
    """A node and everything in it."""
    if isinstance(node, Table):
        return [node, *(inner for value in node.entries.values() for inner in nodes(value))]
    if isinstance(node, Items):
        return [node, *(inner for value in node.items for inner in nodes(value))]
    return [node] if node else []


def check(octets: bytes) -> None:
    root, mistakes = parse(octets, "f")
    lines = octets.decode("utf-8", "replace").splitlines() or [""]
    for mistake in mistakes:
        assert str(mistake).startswith("f:")
        assert len(str(mistake).splitlines()) == 1
    for place in [mistake.place for mistake in mistakes] + [node.place for node in nodes(root)]:
        assert 1 <= place.line <= len(lines) + 1
        assert place.column >= 1
    for node in nodes(root):
        assert not isinstance(node, Text) or node.text.encode() is not None


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_octets(octets: bytes) -> None:
    """Octets that are no text and no YAML are mistakes with a place, never an exception."""
    check(octets)


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=6), max_size=40).map("".join))
@settings(max_examples=300, deadline=None)
def test_any_text_with_yaml_in_it(text: str) -> None:
    """The marks of YAML in any order are read or refused, with a place."""
    check(text.encode("utf-8", "surrogatepass"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Settings that nearly are right: a piece cut out, doubled, or replaced by a mark of YAML."""
    text = draw(st.sampled_from(CASES))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 30)))
    between = draw(st.sampled_from(["", text[start:end] * 2, *WORDS]))
    return text[:start] + between + text[end:]


@given(damaged(), st.dictionaries(st.sampled_from(["X", "LEVEL", "RELAY_PORT", "RELAY_HOST"]), st.text(max_size=8)))
@settings(max_examples=200, deadline=None)
def test_damaged_settings(folder: Path, text: str, environ: dict[str, str]) -> None:
    """A file of settings with anything wrong in it loads, or every mistake names the file and a line; sorted, none twice."""
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    loaded = load(path, environ, machine_name="nas")
    assert (loaded.config is None) == bool(loaded.mistakes)
    assert list(loaded.mistakes) == sorted(set(loaded.mistakes), key=lambda m: (m.place, m.path, m.text))
    for mistake in loaded.mistakes:
        assert str(mistake).startswith(f"{path}:{mistake.place.line}:{mistake.place.column}: ")
        assert mistake.place.line >= 1
        assert len(str(mistake).splitlines()) == 1


@given(st.text(max_size=20), st.text(alphabet="ABC_", min_size=1, max_size=3), st.text(max_size=20), st.text(max_size=20))
def test_references(before: str, name: str, value: str, after: str) -> None:
    """A variable's text is put in as it is, even if it looks like a reference; the text around stays."""
    before, after = before.replace("$", ""), after.replace("$", "")
    assert expand(before + "${" + name + "}" + after, {name: value}) == (before + value + after, (name,))
    assert expand(before + "$${" + name + "}" + after, {})[0] == before + "${" + name + "}" + after
    try:
        expand("${" + name + "}", {})
    except BadReference as missing:
        assert name in missing.expected
    else:
        raise AssertionError("a variable that is not set was read")


def test_the_largest_file_is_read_in_time() -> None:
    """A megabyte of comments is fine; nothing in the reader grows with the square of it."""
    check(b"#" * (LARGEST - 1) + b"\n")
