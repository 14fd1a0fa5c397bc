"""The page's words by subject: each key has them in English and in Japanese."""

from relay.control.texts import access, care, content, messages, search, setup

TEXTS: dict[str, tuple[str, str]] = {
    **access.TEXTS,
    **messages.TEXTS,
    **care.TEXTS,
    **setup.TEXTS,
    **search.TEXTS,
    **content.TEXTS,
}
