"""The page's words by subject: each key has them in English and in Japanese."""

from relay.control.texts import messages, setup

TEXTS: dict[str, tuple[str, str]] = {
    **messages.TEXTS,
    **setup.TEXTS,
}
