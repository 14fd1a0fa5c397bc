"""What mail and servers say is shown on a terminal, never obeyed by it."""

import json

import pytest

from relay.cli.queue import story
from relay.printable import printable


def test_no_control_character_reaches_the_terminal():
    """Escape sequences, bells and text that runs backwards become visible marks; letters of any script stay."""
    line = {"at": "2026-11-22T10:20:30Z", "event": "tried", "text": "550 \x1b[2J\x07gone \u202eevil\u202c 障害\nfake line"}
    (shown,) = story({"trail": [line]})
    assert shown.isprintable() or "\ufffd" in shown
    assert not set(shown) & set("\x1b\x07\n\u202e")
    assert "障害" in shown


@pytest.mark.parametrize(
    "char",
    [
        "\x00",
        "\x1b",
        "\x7f",
        "\x85",
        "\x9b",
        "\u200b",
        "\u200f",
        "\u2028",
        "\u202e",
        "\u2066",
        "\ufeff",
        "\udc9b",
        "\U000e0041",
    ],
)
def test_what_moves_or_hides_text_is_shown_by_its_number(char):
    """C0, C1, bidirectional and zero-width controls, separators, halves of surrogates, tags: as JSON would write them."""
    shown = printable(f"a{char}b")
    assert shown.isascii() and shown.isprintable()
    assert json.loads(f'"{shown}"') == f"a{char}b"


def test_letters_of_every_script_stay():
    """Spaces of every width too."""
    assert printable(text := "障害\u3000報告 Größe שלום नमस्ते ß\u00a0é 🙂") == text
