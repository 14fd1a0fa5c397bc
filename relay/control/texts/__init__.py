"""The page's words by subject: each key has them in English and in Japanese."""

from relay.control.texts import content, messages, search

TEXTS: dict[str, tuple[str, str]] = {
    **messages.TEXTS,
    **search.TEXTS,
    **content.TEXTS,
}
