"""`${NAME}` in a value takes an environment variable; `$${` stands for `${` itself.  Pure."""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[^{}]*)(?P<close>\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class BadReference(Exception):
    """A variable that is not set, or no variable at all.  Both texts are safe to show, also of a secret."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(expected)
        self.expected, self.found = expected, found


def expand(text: str, environ: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The text with its variables filled in, and their names.  What a variable holds is not looked into again.

    Raises BadReference.
    """
    names: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "${"
        name = match["name"]
        if not match["close"] or not _NAME.match(name):
            raise BadReference("${NAME}, or $${ for the characters themselves", "something else after ${")
        if name not in environ:
            raise BadReference(f"the environment variable {name}", "none of that name")
        names.append(name)
        return environ[name]

    return _REFERENCE.sub(replace, text), tuple(names)
