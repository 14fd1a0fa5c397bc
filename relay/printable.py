"""Makes text that others wrote safe to show: characters that control a terminal, or hide or reorder text, become numbers.

Control characters (C0, DEL, C1), bidirectional and zero-width controls, line and paragraph separators, halves of surrogates
and code points without a character.  Letters of every script stay as they are.  Pure.
"""

import unicodedata


def printable(text: str) -> str:
    """The text with each such character written as in JSON and Python: `\\u202e`."""
    return text if text.isprintable() else "".join(char if _harmless(char) else _escaped(char) for char in text)


def _harmless(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == "Zs"  # an ideographic space is no danger


def _escaped(char: str) -> str:
    octets = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{octets[at]:02x}{octets[at + 1]:02x}" for at in range(0, len(octets), 2))
