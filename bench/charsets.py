"""How many short subjects arrive readable, by language and charset: `python bench/charsets.py [LANGUAGE...]` prints a table.

Real text: the message catalogs (*.mo) of the packages that are installed here, one third of them, from which the relay's
own tables were not made.  A Debian has some thousands of them; in a container install language packages first.

    apt-get install bash coreutils dpkg apt iso-codes gettext-base glib-networking ...   # each brings 20 to 100 languages

Subjects have 10 to 40 letters.  `own`: with what docs/configuration.md says to write in that country; `auto`: with
`fallback_charset: auto`; `default`: with no setting.
"""

import argparse
import gettext
import random
import re
import sys
import unicodedata
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from relay.mail.charset import decode, vote
from relay.mail.policy import RepairPolicy

CATALOGS = Path("/usr/share/locale")
COUNTRIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "zh_CN": (("gb18030",), ("utf-8", "gb18030", "latin-1")),
    "zh_TW": (("big5",), ("utf-8", "big5", "latin-1")),
    "ko": (("cp949",), ("utf-8", "cp949", "latin-1")),
    "ru": (("cp1251", "koi8-r", "cp866"), ("utf-8", "windows-1251", "koi8-r", "cp866", "latin-1")),
    "uk": (("cp1251", "koi8-u"), ("utf-8", "windows-1251", "koi8-u", "latin-1")),
    "bg": (("cp1251",), ("utf-8", "windows-1251", "latin-1")),
    "pl": (("cp1250", "iso8859-2"), ("utf-8", "windows-1250", "iso-8859-2", "latin-1")),
    "cs": (("cp1250", "iso8859-2"), ("utf-8", "windows-1250", "iso-8859-2", "latin-1")),
    "hu": (("cp1250", "iso8859-2"), ("utf-8", "windows-1250", "iso-8859-2", "latin-1")),
    "ro": (("cp1250", "iso8859-2"), ("utf-8", "windows-1250", "iso-8859-2", "latin-1")),
    "tr": (("cp1254",), ("utf-8", "windows-1254", "latin-1")),
    "el": (("cp1253", "iso8859-7"), ("utf-8", "windows-1253", "iso-8859-7", "latin-1")),
    "he": (("cp1255",), ("utf-8", "windows-1255", "latin-1")),
    "ar": (("cp1256", "iso8859-6"), ("utf-8", "windows-1256", "iso-8859-6", "latin-1")),
    "th": (("cp874",), ("utf-8", "windows-874", "latin-1")),
    "vi": (("cp1258",), ("utf-8", "windows-1258", "latin-1")),
    "lt": (("cp1257",), ("utf-8", "windows-1257", "latin-1")),
    "ja": (("cp932", "euc_jp"), ("utf-8", "cp932", "euc-jp", "latin-1")),
    **dict.fromkeys(
        ["de", "fr", "es", "it", "pt", "sv", "da", "nl", "fi"], (("cp1252",), ("utf-8", "cp932", "euc-jp", "latin-1"))
    ),
}
"""Language -> the charsets that its devices write, and what to write in `fallback_charset`."""

_TONES = "\u0300\u0301\u0303\u0309\u0323"


def is_measured(catalog: str) -> bool:
    """Whether a catalog is one of those that are only measured with."""
    return zlib.crc32(catalog.encode()) % 3 == 0


@cache
def catalog_lines(language: str, *, measured: bool) -> tuple[str, ...]:
    """Lines with other letters than ASCII, each once: no accelerators, no tags, a figure for what is put in."""
    lines: dict[str, None] = {}
    for file in sorted(CATALOGS.glob(f"{language}/LC_MESSAGES/*.mo")):
        if is_measured(file.name) != measured:
            continue
        try:
            texts = gettext.GNUTranslations(file.open("rb"))._catalog  # type: ignore[attr-defined]
        except (OSError, UnicodeError, ValueError):
            continue
        for key, text in texts.items():
            if key and isinstance(text, str) and text != key:
                lines.update(dict.fromkeys(map(_plain, text.split("\n"))))
    return tuple(line for line in lines if not line.isascii())


def _plain(line: str) -> str:
    line = re.sub(r"[_&](?=\w)|<[^>]*>|\\[a-z]", "", line)
    line = re.sub(r"%[-#0-9.*$]*l*[a-zA-Z]|%?[{(]\w*[)}]s?", "4", line)
    return " ".join(line.split())


def _letters(text: str) -> int:
    return sum(char.isalpha() for char in text)


def subjects(language: str, most: int) -> Iterator[str]:
    """Some lines, and beginnings of longer ones, of 10 to 40 letters; always the same ones."""
    lines = list(catalog_lines(language, measured=True))
    random.Random(20).shuffle(lines)  # noqa: S311
    found = 0
    for line in lines:
        words = line.split(" ")
        while len(words) > 1 and _letters(" ".join(words)) > 40:
            words.pop()
        subject = " ".join(words)[:60]
        if 10 <= _letters(subject) <= 40 and not subject.isascii():
            yield subject
            found += 1
            if found == most:
                return


def encoded(text: str, charset: str) -> bytes:
    """The text in that charset; for Vietnamese in windows-1258 with tone marks behind their letters.  Raises UnicodeError."""
    if charset != "cp1258":
        return text.encode(charset)
    octets = b""
    for char in unicodedata.normalize("NFC", text):
        pieces = unicodedata.normalize("NFD", char)
        tones = "".join(piece for piece in pieces if piece in _TONES)
        bare = unicodedata.normalize("NFC", "".join(piece for piece in pieces if piece not in _TONES))
        octets += (bare + tones).encode(charset)
    return octets


def share(language: str, charset: str, fallback: tuple[str, ...], most: int) -> tuple[float, int]:
    """How many of the subjects that can be written in that charset come out as they were, in hundredths; and of how many."""
    right = whole = 0
    for subject in subjects(language, most):
        try:
            octets = encoded(subject, charset)
        except UnicodeError:
            continue
        if not octets.isascii():
            whole += 1
            read = decode(octets, vote([octets], fallback))
            right += unicodedata.normalize("NFC", read) == unicodedata.normalize("NFC", octets.decode(charset))
    return (100 * right / whole if whole else 0.0), whole


def main() -> None:
    parser = argparse.ArgumentParser(prog="python bench/charsets.py", description=__doc__.partition("\n")[0])
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE", help="such as pl or zh_CN (default: all)")
    parser.add_argument("--most", type=int, default=400, help="subjects of each language (default: 400)")
    options = parser.parse_args()
    wanted = options.languages or list(COUNTRIES)
    missing = [language for language in wanted if not catalog_lines(language, measured=True)]
    if missing:
        print(f"no message catalogs under {CATALOGS} for: {', '.join(missing)}")
    if len(missing) == len(wanted):
        sys.exit("nothing to measure: install packages that bring translations (see --help)")
    print(f"{'':8} {'charset':10} {'own':>6} {'auto':>6} {'default':>8} {'subjects':>9}   fallback_charset")
    for language in wanted:
        charsets, own = COUNTRIES[language]
        for charset in charsets:
            ways = (own, ("auto",), RepairPolicy().fallback_charset)
            shares = [share(language, charset, way, options.most) for way in ways]
            if shares[0][1]:
                row = " ".join(f"{part:{width}.1f}" for (part, _), width in zip(shares, (6, 6, 8), strict=True))
                print(f"{language:8} {charset:10} {row} {shares[0][1]:9}   [{', '.join(own)}]", flush=True)


if __name__ == "__main__":
    main()
