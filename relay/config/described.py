"""How a setting and a section of settings are described.  Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Setting:
    """One key.  `default` is YAML that says the same as leaving it out; where that depends, `otherwise` tells in words.

    `secret`: its value is never shown.  `holds_login`: it is not if it has a password in it.  `names_secret`: it is the name
    of a file with a secret, and what is no file may be the secret itself.  `several`: a list; in a variable, words.
    """

    key: str
    text: str
    default: str = ""
    otherwise: str = ""
    secret: bool = False
    holds_login: bool = False
    names_secret: bool = False
    several: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping; `path` without numbers, with a star for a name of one's own.  `example` is a value that `check` takes."""

    path: str
    example: str
    text: str
    settings: tuple[Setting, ...]
