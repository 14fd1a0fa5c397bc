"""A password or token that never shows itself by accident.  Pure."""

from dataclasses import dataclass

_LONG = 8


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """Text that logs, errors and pages show as `***`; only `reveal()` tells it."""

    _text: str

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __str__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._text)


def unsaid(text: str, *secrets: str) -> str:
    """What somebody else said, each of these secrets in it as `***`: some servers repeat what they do not understand.

    One of less than 8 characters stays: it may be any word, and the place where it was taken out would tell it.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _LONG:
            text = text.replace(secret, "***")
    return text
