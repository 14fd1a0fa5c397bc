"""YAML with places: PyYAML's surprises stay outside, and every mistake knows its line."""

import pytest
import yaml

from relay.config.located import Items, Mistake, Node, Place, Table, Text, located, parse


def entries(source: str) -> dict[str, Node]:
    """The top mapping of a text that has nothing wrong with it."""
    root, mistakes = parse(source.encode(), "f")
    assert mistakes == []
    assert isinstance(root, Table)
    return dict(root.entries)


def complaints(octets: bytes) -> list[str]:
    return [str(mistake) for mistake in parse(octets, "f")[1]]


@pytest.mark.parametrize(
    "written",
    [
        "no", "on", "off", "yes", "true", "22:22", "2525:25", "0123", "0x1F", "1_000", "1.10", "1e3", "12345678", ".inf", "=",
        "2026-11-22", "00:11:22:33:44:55", "2001:db8::1", "abc#def", "a@b.example", "p%s$w!rd*&", "-x", "a`b",
    ],
)  # fmt: skip
def test_plain_scalars_stay_what_was_typed(written: str) -> None:
    """Nothing that looks like a number, a date, a flag or a base-60 integer becomes one."""
    node = entries(f"key: {written}\n")["key"]
    assert isinstance(node, Text)
    assert (node.text, node.plain) == (written, True)


def test_words_for_yes_and_no_stay_keys() -> None:
    """`on:` is a key named on, not True."""
    assert set(entries("on: x\nno: y\nnull: z\n1: a\n")) == {"on", "no", "null", "1"}


@pytest.mark.parametrize("written", ["", "~", "null", "Null", "NULL"])
def test_a_key_without_a_value_is_nothing(written: str) -> None:
    """YAML's ways to leave a value out are told from text; the same in quotes is text."""
    plain, quoted = entries(f"a: {written}\nb: '{written}'\n").values()
    assert isinstance(plain, Text)
    assert isinstance(quoted, Text)
    assert plain.nothing
    assert not quoted.nothing


def test_places_count_from_one() -> None:
    """Keys, values and list items know line and column, under any line end and after a byte order mark."""
    source = b"\xef\xbb\xbf# one\r\na:\r\n  - x\r\n  - {b: 'y'}\r\n"
    root, mistakes = parse(source, "f")
    assert mistakes == []
    assert isinstance(root, Table)
    assert root.keys["a"] == Place("f", 2, 1)
    items = root.entries["a"]
    assert isinstance(items, Items)
    first, second = items.items
    assert (first.place, first.path) == (Place("f", 3, 5), "a[0]")
    assert isinstance(second, Table)
    assert (second.entries["b"].place, second.entries["b"].path) == (Place("f", 4, 9), "a[1].b")


@pytest.mark.parametrize(("source", "commented"), [("a: b #c", True), ("a: b#c", False), ("a: 'b' #c", False), ("a: b", False)])
def test_a_comment_after_a_plain_value_is_noticed(source: str, commented: bool) -> None:
    """`password: abc #def` is the password abc: whoever reads a secret can say so."""
    node = entries(source)["a"]
    assert isinstance(node, Text)
    assert node.commented is commented


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"a: 1\nb:\n  a: 2\na: 3\n", "f:4:1: a: set twice; first on line 1"),
        (b"b: {c: 1, 'c': 2}\n", "f:1:11: b.c: set twice; first on line 1"),
        (b"a: &hunter2 x\n", "f:1:4: a: expected a plain value, found an anchor (&); put the value in quotes"),
        (b"a: *hunter2\n", "f:1:4: a: expected the value itself, found an alias (*); write it out, or put it in quotes"),
        (b"a: !hunter2\n", "f:1:4: a: expected a plain value, found a tag (!); put the value in quotes"),
        (b"a: !!python/name:os.system x\n", "f:1:4: a: expected a plain value, found a tag (!); put the value in quotes"),
        (b"a: [!!int 3]\n", "f:1:5: a[0]: expected a plain value, found a tag (!); put the value in quotes"),
        (b"a: 1\n--- \nb: 2\n", "f:2:1: expected one document, found a second one; everything goes into the first"),
        (b"? {a: 1}\n: 2\n", "f:1:3: expected a name before the colon, found a list or a mapping"),
        (b"a: \xff\n", "f:1:4: expected UTF-8 text, found the octet 0xff; save the file as UTF-8"),
        ("a: 1\nb: 件名\n".encode("cp932"), "f:2:4: expected UTF-8 text, found the octet 0x8c; save the file as UTF-8"),
        ("a: b\n".encode("utf-16"), "f:1:1: expected UTF-8 text, found UTF-16; save the file as UTF-8"),
        (b"a: 1\nb: x\x00y\n", "f:2:5: expected printable text, found the control character U+0000"),
        (b"a: \x1b[31m\n", "f:1:4: expected printable text, found the control character U+001B"),
        (b'a: "\\U99999999"\n', "f:1:7: expected YAML, found an escape or number that cannot be"),
        (b"%YAML 1." + b"9" * 5000 + b"\n---\na: 1\n", "f:1:9: expected YAML, found an escape or number that cannot be"),
        (b'a: "\\ud83d"\n', "f:1:4: a: expected text, found half of a surrogate pair"),
        (b"#" * 1_000_001, "f:1:1: expected at most 1000000 octets, found 1000001"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(octets: bytes, said: str) -> None:
    """Each thing that PyYAML lets pass, or fails over in its own way, is one mistake with a line and a column."""
    assert complaints(octets) == [said]


@pytest.mark.parametrize("secret", [b"a: &hunter2 x\n", b"a: *hunter2\n", b"a: !hunter2 x\n", b"{a:hunter2: 1, a:hunter2: 2}"])
def test_what_may_be_a_secret_is_not_shown(secret: bytes) -> None:
    """A password that YAML takes for an anchor, an alias, a tag or a key does not get into a message."""
    assert complaints(secret)
    assert "hunter2" not in "".join(complaints(secret))


@pytest.mark.parametrize("opening", [b"[", b"{a: ", b"- ", b"? "])
def test_deep_nesting_is_one_mistake(opening: bytes) -> None:
    """Thousands of levels end at the thirty-first, without recursion and without delay."""
    assert ["at most 30 levels" in complaint for complaint in complaints(opening * 5000)] == [True]


def test_thirty_levels_are_enough_for_anybody() -> None:
    """The limit itself is allowed."""
    assert complaints(b"[" * 30 + b"]" * 30) == []
    assert len(complaints(b"[" * 31 + b"]" * 31)) == 1


def test_several_mistakes_are_told_at_once() -> None:
    """What can be read goes on being read after a mistake."""
    found = complaints(b"a: *x\nb: !y 1\na: 3\nc: [&z 1]\n")
    assert [line.split(": ")[0] for line in found] == ["f:1:4", "f:2:4", "f:3:1", "f:4:5"]


def test_the_parser_is_the_pure_one() -> None:
    """Messages are the same words where PyYAML was built without libyaml."""
    assert issubclass(yaml.SafeLoader, yaml.parser.Parser)


@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        (Mistake(Place("c.yaml", 3, 39), "a.b", "expected x, found 'y'"), "c.yaml:3:39: a.b: expected x, found 'y'"),
        (Mistake(Place("c.yaml", 1, 1), "", "expected x, found 'y'"), "c.yaml:1:1: expected x, found 'y'"),
        (Mistake(Place(""), "RELAY_PORT", "expected x, found 'y'"), "RELAY_PORT: expected x, found 'y'"),
    ],
)
def test_a_mistake_is_one_line(mistake: Mistake, line: str) -> None:
    """file:line:column: key.path: expected ..., found ...; a variable stands for itself."""
    assert str(mistake) == line == located(mistake.place, mistake.path, mistake.text)
