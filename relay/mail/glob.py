"""Patterns with `*` and `?` over addresses, names and subjects.  Pure."""

import re
from functools import lru_cache


@lru_cache(maxsize=1024)
def pattern(glob: str) -> re.Pattern[str]:
    """For `fullmatch`.  Only `*` and `?` are wild: brackets belong to address literals.  Case never matters to the person
    who wrote it.  However many stars there are, the time grows with the text's length only.
    """
    first, *rest = map(_part, re.split(r"\*+", glob))
    if not rest:
        return re.compile(first, _FLAGS)
    # what stands between two stars is looked for once: a lookahead is never tried again, `\1` is what it found
    between = "".join(f"(?=(.*?{part}))\\{number}" for number, part in enumerate(rest[:-1], 1))
    length = len(glob) - glob.rfind("*") - 1
    return re.compile(f"{first}{between}(?=.{{{length}}}).*(?<={rest[-1]})", _FLAGS)


_FLAGS = re.IGNORECASE | re.DOTALL


def _part(text: str) -> str:
    return "".join("." if char == "?" else re.escape(char) for char in text)


def matching(globs: tuple[str, ...], text: str) -> str | None:
    """The first of the globs that the whole text matches."""
    return next((glob for glob in globs if pattern(glob).fullmatch(text)), None)
