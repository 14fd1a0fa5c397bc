"""Reading a section key by key: each value typed, each mistake noted, nothing left over unseen.

A section that is finished tells every key that nobody asked for; so the settings need no second list of names.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from relay.config.files import Unreadable, from_home, others_may_read, read_secret, read_secrets
from relay.config.located import Broken, Items, Mistake, Node, Place, Table, Text, located, segment
from relay.config.references import BadReference, expand
from relay.config.scalars import Wrong, flag, near
from relay.config.schema import EXAMPLES
from relay.secret import Secret

T = TypeVar("T")
D = TypeVar("D")


@dataclass(slots=True)
class Reading:
    """What one reading of the settings has found so far.

    Relative file names are meant from `folder`.  `names` tells what stands for a setting, by its path, where there is no file.
    `quick`: what takes a second is not checked.
    """

    environ: Mapping[str, str]
    folder: Path
    names: Mapping[str, str] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    remarks: list[tuple[Place, str, str]] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    literal_secret: Text | None = None
    quick: bool = False

    def mistake(self, place: Place, path: str, text: str) -> None:
        self.mistakes.append(Mistake(place, path, text))

    def remark(self, place: Place, path: str, text: str) -> None:
        self.remarks.append((place, path, text))

    def told(self) -> tuple[str, ...]:
        """The remarks in the order of their places."""
        return tuple(dict.fromkeys(located(*remark) for remark in sorted(self.remarks)))

    def value(self, node: Node, convert: Callable[[str], T], *, secret: bool = False) -> T | None:
        """One scalar as its type; None after a mistake.  What was found is never shown of a secret."""
        if not isinstance(node, Text):
            self._not_a_scalar(node)
            return None
        try:
            text, names = (node.text, ()) if node.literal else expand(node.text, self.environ)
        except BadReference as bad:
            self.mistake(node.place, node.path, f"expected {bad.expected}, found {bad.found}")
            return None
        try:
            if node.nothing:
                raise Wrong("" if secret else _expected_of(convert))
            return convert(text)
        except Wrong as wrong:
            found = "nothing" if node.nothing or not text else "***" if secret else _found(node, text, names)
            hint = f"; {wrong.hint}" if wrong.hint else ""
            if node.nothing and node.text:
                hint = f'; put "{node.text}" in quotes if it is meant'
            self.mistake(node.place, node.path, f"expected {wrong.expected or 'a value'}, found {found}{hint}")
            return None

    def _not_a_scalar(self, node: Node) -> None:
        if not isinstance(node, Broken):
            found = "a list" if isinstance(node, Items) else "a mapping"
            self.mistake(node.place, node.path, f"expected one value, found {found}")

    @contextmanager
    def fields(self, node: Node | None, path: str, place: Place) -> Iterator["Fields"]:
        """The keys of a mapping; an absent or empty one has none.  Unknown keys are told at the end."""
        table = node if isinstance(node, Table) else Table(place, path)
        sound = node is None or isinstance(node, Table) or (isinstance(node, Text) and node.nothing)
        if not sound and not isinstance(node, Broken) and node is not None:
            found = "a list" if isinstance(node, Items) else "text"  # never shown: `password x` for `password: x`
            self.mistake(node.place, path, f"expected settings ({_example(path)}), found {found}")
        reader = Fields(self, table, sound)
        yield reader
        reader.finish()


def _example(path: str) -> str:
    bare = re.sub(r"\[\d+\]", "", path)
    return EXAMPLES.get(bare) or EXAMPLES.get(re.sub(r"^(upstreams|devices)\.[^.]+", r"\1.*", bare), "key: value")


def _expected_of(convert: Callable[[str], object]) -> str:
    """What a converter says that it wants of an empty text."""
    try:
        convert("")
    except Wrong as wrong:
        return wrong.expected
    return "a value"


_ENGINE_SECRETS = Path("/run/secrets")
"""Where container engines show secrets, readable for all who are in the container: nobody else is."""

_SECRET_WORDS = ("password", "passwd", "secret", "token")
_SECRET_VARIABLES = ("PASS", "PW", "SECRET", "TOKEN", "KEY", "CRED", "AUTH", "LOGIN", "URL", "URI", "DSN", "HOOK")


def show(text: str) -> str:
    """Text as a message shows it: in quotes, on one line, not too long, without the login and the query of a URL."""
    login, at, rest = text.rpartition("@")
    if at and ":" in login:
        scheme, slashes, _ = login.partition("://")
        text = f"{scheme if slashes else ''}{slashes}***@{rest}"
    bare, query, _ = text.partition("?")
    bare = f"{bare}?..." if query else bare
    short = bare if len(bare) <= 60 else bare[:57] + "..."
    return f"'{short}'" if short.isprintable() and "'" not in short else repr(short)


def _found(node: Text, text: str, names: tuple[str, ...]) -> str:
    if not names:
        return show(text)
    if any(word in name.upper() for name in names for word in _SECRET_VARIABLES):
        return f"what {show(node.text)} stands for"
    return f"{show(text)} (from {show(node.text)})"


class Fields:
    """The keys of one section.  Every key that is asked for counts as known."""

    def __init__(self, reading: Reading, table: Table, sound: bool) -> None:
        self.reading, self.table, self.sound = reading, table, sound
        self.asked: set[str] = set()

    @property
    def path(self) -> str:
        return self.table.path

    @property
    def place(self) -> Place:
        return self.table.place

    def path_of(self, key: str) -> str:
        path = f"{self.path}.{segment(key)}" if self.path else segment(key)
        return self.reading.names.get(path, path)

    def word(self, key: str) -> str:
        """What people call this key: itself, or the variable that stands for it."""
        return self.reading.names.get(f"{self.path}.{key}", segment(key))

    def node(self, key: str) -> Node | None:
        self.asked.add(key)
        found = self.table.entries.get(key)
        if found is not None:
            self.reading.places[found.path] = found.place
        return found

    def said(self, key: str) -> bool:
        return self.node(key) is not None

    def given(self, key: str) -> bool:
        """Said, and not just a key whose value is commented out."""
        found = self.node(key)
        return found is not None and not (isinstance(found, Text) and found.nothing)

    def place_of(self, key: str) -> Place:
        found = self.node(key)
        return found.place if found else self.table.place

    def mistake(self, key: str, text: str) -> None:
        """A mistake in, or the lack of, a value; silent in a section that is no section at all."""
        if self.sound:
            found = self.node(key)
            self.reading.mistake(self.place_of(key), found.path if found else self.path_of(key), text)

    def remark(self, key: str, text: str) -> None:
        found = self.node(key)
        self.reading.remark(self.place_of(key), found.path if found else self.path_of(key), text)

    def get(self, key: str, convert: Callable[[str], T], default: D, *, secret: bool = False) -> T | D:
        """The value; of a `secret` nothing is shown, whatever is wrong with it."""
        node = self.node(key)
        if node is None:
            return default
        found = self.reading.value(node, convert, secret=secret)
        return default if found is None else found

    def flag(self, key: str, default: bool) -> bool:
        return self.get(key, flag, default)

    def each(self, key: str, *, commas: bool = True) -> tuple[Node, ...]:
        """The values of a list; a single value is a list of one, a variable's text is one of words."""
        node = self.node(key)
        if node is None or not self.given(key):
            return ()
        if isinstance(node, Text) and node.literal:
            return node.words(commas=commas)
        return node.items if isinstance(node, Items) else (node,)

    def many(self, key: str, convert: Callable[[str], T], default: tuple[T, ...]) -> tuple[T, ...]:
        """A list that is not empty, or one value."""
        node = self.node(key)
        if node is None:
            return default
        nodes = self.each(key)
        if not nodes:
            self.mistake(key, f"expected {_expected_of(convert)}, or a list of such, found nothing")
        values = [self.reading.value(each, convert) for each in nodes]
        return tuple(value for value in values if value is not None)

    @contextmanager
    def section(self, key: str) -> Iterator["Fields"]:
        node = self.node(key)
        with self.reading.fields(node, node.path if node else self.path_of(key), self.place_of(key)) as inner:
            yield inner

    def file(self, key: str, *, must_exist: bool = True) -> str:
        """The path of a file, absolute if the settings came from one; "" if not said."""
        name = self.get(key, _file_name, "")
        if not name:
            return ""
        path = self.reading.folder / from_home(name)
        if must_exist:
            try:
                with path.open("rb") as opened:
                    opened.read(1)
            except OSError as bad:
                self.mistake(key, f"expected a readable file, found {show(name)} ({bad.strerror})")
        return str(path)

    def secret(self, key: str, what: str = "a password") -> Secret | None:
        """A secret from `key` or from the file that `key_file` names, which loses its trailing newline."""
        twin = f"{key}_file"
        node, named = self.node(key), self.node(twin)
        if node is not None and named is not None:
            self.mistake(twin, f"expected {self.word(key)} or {self.word(twin)}, found both")
            return None
        if named is not None:
            line = self._secret_file(twin, read_secret, "one line of text")
            self._remark_on_form(twin, line or "")
            return None if line is None else Secret(line)
        if isinstance(node, Text) and node.literal:
            self._remark_on_form(key, node.text)
        return None if node is None else self._written_secret(node, what)

    def _remark_on_form(self, key: str, said: str) -> None:
        """A file or a variable is taken as it is: what YAML or a shell would take away stays."""
        if said != said.strip():
            self.remark(key, "the secret begins or ends with a blank, which counts; remove it if it is not meant")
        elif len(said) > 1 and said[0] == said[-1] and said[0] in "\"'":
            self.remark(key, "the secret stands in quotation marks, which count; remove them if they are not meant")

    def secrets(self, key: str, what: str) -> list[tuple[str, Place, str, Secret]]:
        """All secrets of a list at `key`, or on the lines of the file that `key_file` names.

        Each with the key, the place and the words that a mistake in it is told by.
        """
        twin = f"{key}_file"
        if self.said(key) and self.said(twin):
            self.mistake(twin, f"expected {self.word(key)} or {self.word(twin)}, found both")
        elif self.said(twin):
            lines = self._secret_file(twin, read_secrets, f"{what} on each line") or {}
            return [
                (twin, self.place_of(twin), f" in line {number} of the file", Secret(line)) for number, line in lines.items()
            ]
        found = [(node, self._written_secret(node, what)) for node in self.each(key, commas=False)]  # a URL may have commas
        return [(key, node.place, "", secret) for node, secret in found if secret is not None]

    def _secret_file(self, twin: str, read: Callable[[Path], T], what: str) -> T | None:
        name = self.get(twin, _file_name, "")
        if not name:
            return None
        path = self.reading.folder / from_home(name)
        try:
            secret = read(path)
            self.remark_if_exposed(twin, path)
            return secret
        except Unreadable as bad:
            found = show(name) if os.path.lexists(path) else "***"  # what is no file may be the secret itself
            self.mistake(twin, f"expected a readable file with {what}, found {found} ({bad})")
            return None

    def remark_if_exposed(self, key: str, path: Path) -> None:
        """On a file with a secret that everybody may read."""
        if others_may_read(path) and not path.is_relative_to(_ENGINE_SECRETS):
            self.remark(key, f"every user of this machine can read the secret; chmod 600 {path.name}")

    def _written_secret(self, node: Node, what: str) -> Secret | None:
        def convert(text: str) -> Secret:
            if not text or any(char in text for char in "\0\r\n"):
                raise Wrong(f"{what} on one line")
            return Secret(text)

        found = self.reading.value(node, convert, secret=True)
        if found is not None and isinstance(node, Text) and not node.literal and "${" not in node.text:
            self.reading.literal_secret = self.reading.literal_secret or node
            if node.commented:
                text = "what follows the # is a comment; put the secret in quotes if the # belongs to it"
                self.reading.remark(node.place, node.path, text)
        return found

    @property
    def strangers(self) -> tuple[str, ...]:
        """The keys that nobody has asked for yet."""
        return tuple(key for key in self.table.keys if key not in self.asked)

    def finish(self) -> None:
        for key in self.strangers:
            hint = near(key, self.asked)
            text = f"no such setting; {hint}" if hint else f"no such setting; there are {', '.join(sorted(self.asked))}"
            path = self.path_of(without_secret(key)) if hint or self.given(key) else self.path
            self.reading.mistake(self.table.keys[key], path, text)


def without_secret(key: str) -> str:
    """A key that is none of ours; where a colon was forgotten, what follows the name may be the secret itself."""
    name = re.match(r"\w*", key)[0]  # type: ignore[index]
    for word in _SECRET_WORDS:
        before, found, after = name.partition(word)
        if found and after.lower() not in ("", "s", "_file"):
            return f"{before}{found}..."
    return key if key.removeprefix(name)[:1] in ("", ":") else f"{name}..."


def _file_name(value: str) -> str:
    if not value.strip() or "\0" in value or "\n" in value:
        raise Wrong("the name of a file")
    return value.strip()
