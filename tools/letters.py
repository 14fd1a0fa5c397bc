"""Counts which letters follow each other in each language, for relay/mail/charset_likelihood.py: `python tools/letters.py`.

Reads the gettext catalogs of the installed packages (two thirds of them: bench/charsets.py measures with the others) and
writes relay/mail/charset_letters.txt.  Only worth doing again for another language or another way of counting.
"""

import math
import sys
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.charsets import catalog_lines, encoded
from relay.mail.charset_likelihood import letter

PLACE = Path(__file__).parents[1] / "relay/mail/charset_letters.txt"
ALPHABETS = {
    **{
        name: [name]
        for name in [
            "de",
            "fr",
            "es",
            "it",
            "fi",
            "nl",
            "ca",
            "pl",
            "hu",
            "ro",
            "tr",
            "lt",
            "lv",
            "et",
            "vi",
            "ru",
            "el",
            "he",
            "th",
        ]
    },
    "pt": ["pt", "pt_BR"],
    "sv": ["sv"],
    "da": ["da", "nb"],
    "cs": ["cs", "sk"],
    "sl": ["sl", "hr"],
    "uk": ["uk", "be"],
    "bg": ["bg", "sr", "mk"],
    "ar": ["ar", "fa"],
}
CHARACTERS = {"ja": "ja", "zh": "zh_CN", "tw": "zh_TW", "ko": "ko"}
MOST = 700
DEAREST = 11


def pairs_of(languages: list[str]) -> dict[str, int]:
    """Pairs of letters, one at least not ASCII -> the bits that the second costs behind the first."""
    pairs: Counter[str] = Counter()
    first: Counter[str] = Counter()
    for language in languages:
        for line in catalog_lines(language, measured=False):
            letters = [" ", *map(letter, _in_pieces(line) if language == "vi" else line), " "]
            first.update(letters)
            pairs.update(a + b for a, b in pairwise(letters) if max(a, b) > "\x7f")
    costs = {pair: round(-math.log2(count / first[pair[0]])) for pair, count in pairs.most_common(MOST) if count > 2}
    return {pair: max(cost, 1) for pair, cost in costs.items() if cost <= DEAREST}


def _in_pieces(line: str) -> str:
    """Vietnamese as windows-1258 has it: tone marks behind the letters."""
    try:
        return encoded(line, "cp1258").decode("cp1258")
    except UnicodeError:
        return ""


def characters_of(language: str) -> dict[str, int]:
    """The most frequent characters -> the bits that each costs."""
    count: Counter[str] = Counter()
    for line in catalog_lines(language, measured=False):
        count.update(char for char in unicodedata.normalize("NFKC", line) if char > "\x7f")
    whole = count.total()
    return {char: max(round(-math.log2(times / whole)), 1) for char, times in count.most_common(MOST)}


def lines(name: str, costs: dict[str, int]) -> list[str]:
    """`=name`, then for each first letter (`*`: any) its followers behind the cost that they have in common."""
    rows: dict[str, dict[int, list[str]]] = {}
    for pair, cost in costs.items():
        first, second = (pair[0], pair[1]) if len(pair) == 2 else ("*", pair)
        rows.setdefault(first, {}).setdefault(cost, []).append(second)
    written = [f"={name}"]
    for first, groups in sorted(rows.items()):
        written.append(first + "".join(f"{cost:X}" + "".join(sorted(groups[cost])) for cost in sorted(groups)))
    return [line.replace(" ", "_") for line in written]


def main() -> None:
    written: list[str] = []
    for name, languages in sorted(ALPHABETS.items()):
        written += lines(name, pairs_of(languages))
    for name, language in CHARACTERS.items():
        written += lines(name, characters_of(language))
    PLACE.write_text("\n".join(written) + "\n", encoding="utf-8")
    print(f"{PLACE}: {PLACE.stat().st_size} octets")


if __name__ == "__main__":
    main()
