"""What mail and servers say is shown on a terminal, never obeyed by it."""

from relay.cli.queue import story


def test_no_control_character_reaches_the_terminal():
    """Escape sequences, bells and text that runs backwards become visible marks; letters of any script stay."""
    line = {"at": "2026-11-22T10:20:30Z", "event": "tried", "text": "550 \x1b[2J\x07gone \u202eevil\u202c 障害\nfake line"}
    (shown,) = story({"trail": [line]})
    assert shown.isprintable() or "\ufffd" in shown
    assert not set(shown) & set("\x1b\x07\n\u202e")
    assert "障害" in shown
