"""How likely a text is in some language, in bits: common pairs of letters take fewer bits.

tools/letters.py counted the pairs in the message catalogs of free software.  Pure.
"""

import math
import re
import unicodedata
from functools import cache, lru_cache
from itertools import repeat
from pathlib import Path

_LATIN_LANGUAGES = "de fr es it pt sv da fi nl ca pl cs hu ro sl tr lt lv et vi"
_LATIN = tuple(_LATIN_LANGUAGES.split())
_SCRIPTS = (
    ("\u0250", _LATIN),
    ("\u0300", ()),
    ("\u0370", _LATIN),
    ("\u0400", ("el",)),
    ("\u0530", ("ru", "uk", "bg")),
    ("\u0590", ()),
    ("\u0600", ("he",)),
    ("\u0700", ("ar",)),
    ("\u0e00", ()),
    ("\u0e80", ("th",)),
)
"""The end of a script, and the languages in it."""

_CHARACTERS = {
    **dict.fromkeys(("cp932", "shift_jis", "shift_jis_2004", "euc_jp", "euc_jis_2004"), "ja"),
    **dict.fromkeys(("gb18030", "gbk", "gb2312"), "zh"),
    **dict.fromkeys(("big5hkscs", "cp950", "big5"), "tw"),
    **dict.fromkeys(("cp949", "euc_kr"), "ko"),
}
_COMMON = {"ja": ("euc_jp", 0xCF), "zh": ("gb2312", 0xD7), "tw": ("big5", 0xC6), "ko": ("euc_kr", 0xC8)}
"""The codec in which common characters have a first octet of no more than that."""

_ASCII_LETTERS = re.compile("[A-Za-z]")
_HALF = re.compile("[\uff61-\uff9f]+")
_RUN = re.compile("[^\x00-\x7f]+")
_AFTER_ANYTHING = frozenset("\xb0\xae\u2122\xb2\xba\xaa\u2026\u201d\u2019\xbb")
_SIGNS = frozenset(
    "\xb0\xa9\xae\xb1\xb2\xb3\xb9\xbd\xbc\xbe\xa3\xbf\xa1\u20ac\xa7\xb5\xb7\xab\xbb\xd7\xf7\xba\xaa\u2013\u2014"
    "\u2018\u2019\u201c\u201d\u201e\u2022\u2026\u2122\xa5\xa2\xb4\xa8\xb6\u2020\u2021\u2039\u203a\xa0\xad"
)
_SECOND_OCTETS = frozenset("@[\\]^`{|}")
_EAST = "\u2e80"  # ideographs, kana and hangul begin here; no single-byte charset has them
_IDEOGRAPH = 12
_UNUSUAL, _FOREIGN, _NONSENSE = 13, 17, 20
_CASE = 4  # a capital behind a small letter
_ASCII_LETTER = 0.4  # in text of ideographs or syllables; not more than 10 in all
LIKELY = 11.0
"""Text that takes more bits a letter than this is not likely."""


class _Table(dict[str, int]):
    """Bits of a letter behind another one (or of a character), for one language."""

    def __init__(self, lines: list[str]) -> None:
        for line in lines:
            first, cost = line[0].replace("_", " ").replace("*", ""), 0
            for char in line[1:]:
                if char in "123456789ABCDEF":
                    cost = int(char, 16)
                else:
                    self[first + char.replace("_", " ")] = cost
        self.letters = frozenset(char for pair in self for char in pair)

    def bits(self, pairs: list[str], letters: str) -> int:
        """What these pairs take; `letters` are those in them that are not ASCII."""
        strange = [letters.count(char) for char in set(letters).difference(self.letters)]
        return sum(map(self.get, pairs, repeat(_UNUSUAL))) + (_FOREIGN - _UNUSUAL) * sum(strange)


@cache
def _table(language: str) -> _Table:
    text = Path(__file__).with_name("charset_letters.txt").read_text("utf-8")
    block = text.partition(f"={language}\n")[2].partition("\n=")[0]
    return _Table(block.strip("\n").split("\n"))


@cache
def _least(languages: tuple[str, ...]) -> dict[str, int]:
    """What each pair takes at least, whatever the language."""
    least: dict[str, int] = {}
    for language in languages:
        for pair, cost in _table(language).items():
            least[pair] = min(cost, least.get(pair, cost))
    return least


@lru_cache(4096)
def letter(char: str) -> str:
    """The letter in lower case, or a blank for any other character."""
    return char.lower()[0] if char.isalpha() or unicodedata.category(char)[0] == "M" else " "


class _Floor(dict[str, int]):
    """What a character that is not ASCII takes at least in text of an alphabet, whatever is beside it; found once for each."""

    def __missing__(self, char: str) -> int:
        bits = self[char] = _floor(char)
        return bits


def _floor(char: str) -> int:
    if char in _SIGNS:
        return 4
    if char >= _EAST:
        return _IDEOGRAPH
    if (now := letter(char)) == " ":
        return _NONSENSE
    return min([_UNUSUAL, *(cost for pair, cost in _least(_LATIN).items() if pair[1] == now)]) if now < "\u0250" else 0


_FLOORS = _Floor()


def bits(text: str, codec: str, most: float = math.inf) -> tuple[float, int]:
    """The bits of a text that was decoded by that codec (infinite if more than `most`), and its number of letters."""
    if language := _CHARACTERS.get(codec):
        return _of_characters(text, language)
    foreign = "".join(_RUN.findall(text))
    if most < math.inf and sum(map(_FLOORS.__getitem__, foreign)) > most:
        return math.inf, len(foreign)
    cost = _of_alphabet(text, most)
    return math.inf if cost > most else cost, len(foreign)


def _of_alphabet(text: str, most: float) -> float:
    pairs: list[str] = []
    letters = ""
    fixed = 0
    for run in _RUN.finditer(text):
        before = text[run.start() - 1] if run.start() else " "
        after = text[run.end()] if run.end() < len(text) else " "
        small = before.islower()
        before = letter(before)
        chars = run[0]
        for place, char in enumerate(chars):
            if char in _SIGNS:
                fixed += _sign(char, before, chars[place + 1] if place + 1 < len(chars) else after)
                before, small = " ", False
            elif char >= _EAST:
                fixed += _IDEOGRAPH
                before, small = " ", False
            elif (now := letter(char)) != " ":
                pairs.append(before + now)
                fixed += _CASE * (small and char.isupper())
                before, small = now, char.islower()
                letters += now
            else:
                fixed += _NONSENSE
                before, small = " ", False
        if before != " ":
            pairs.append(before + letter(after))
        if fixed > most:
            return fixed
    languages = next((names for end, names in _SCRIPTS if max(letters, default="") < end), ())
    if not languages or not pairs:
        return fixed + _FOREIGN * len(pairs)
    if len(languages) > 1 and fixed + sum(map(_least(languages).get, pairs, repeat(_UNUSUAL))) > most:
        return math.inf
    return fixed + min([_table(language).bits(pairs, letters) for language in languages])


def _sign(char: str, before: str, after: str) -> int:
    """A sign is unlikely inside a word, and most are behind one.  None is before what ends two octets of Shift_JIS or Big5."""
    if after in _SECOND_OCTETS:
        return 16
    if before == " ":
        return 12 if char in "\xbf\xa1" and not after.isupper() else 8
    if before == "m" and char in "\xb2\xb3":
        return 4
    if after.isalpha():
        return 5 if char == "\u2019" else 16
    return 8 if char in _AFTER_ANYTHING else 14


def _of_characters(text: str, language: str) -> tuple[float, int]:
    table = _table(language)
    total = 0.0
    counted = 0
    for run in _RUN.finditer(text):
        before = text[run.start() - 1] if run.start() else " "
        chars = run[0]
        counted += len(chars)
        total += sum([table.get(char, 0) or _character(char, table, language) for char in chars])
        for half in _HALF.findall(chars):
            # a mark belongs to the kana before it, and one kana is no word
            total += 18 if len(half) == 1 or half[0] in "\uff70\uff9e\uff9f" else 4
        after = text[run.end()] if run.end() < len(text) else " "
        total += _beside(before, chars[0]) + _beside(after, chars[-1])
    return total + min(10.0, _ASCII_LETTER * len(_ASCII_LETTERS.findall(text))), counted


def _beside(plain: str, char: str) -> int:
    """What a character takes more beside an ASCII letter or figure."""
    if "\uff61" <= char <= "\uff9f":
        return 8 if plain.isalnum() else 0
    return 6 if plain.islower() and char > "\u3100" else 3 if plain.isalpha() else 0


def _character(char: str, table: _Table, language: str) -> int:
    """One that is not among the most frequent ones as it stands."""
    if "\uff61" <= char <= "\uff9f":
        return min(table.get(unicodedata.normalize("NFKC", char), 11), 11)
    if "\u3000" <= char <= "\u30ff" or "\uff00" <= char <= "\uff60":
        return min(table.get(unicodedata.normalize("NFKC", char)[0], 13), 13)
    if "\u3400" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7a3":
        codec, last = _COMMON[language]
        try:
            return 15 if 0xA4 <= char.encode(codec)[0] <= last else _NONSENSE
        except UnicodeEncodeError:
            return _NONSENSE
    return 14 if char in _SIGNS else _NONSENSE + 2
