"""Text in header fields: encoded-words and folding.  RFC 2047, RFC 5322 s2.2.3.  Pure."""

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from itertools import groupby
from quopri import decodestring

from relay.mail.charset import decode, is_utf8, vote
from relay.mail.charset_names import is_registered, read, readings
from relay.mail.policy import RepairPolicy

LINE_LIMIT = 998
"""Octets that a line may have before its CRLF (RFC 5322 s2.1.1)."""

_WIDTH = 76
_WORD_OCTETS = 42  # 56 characters of base64: with =?utf-8?B??= a word of 68, which leaves room for a short name
_ENCODED = re.compile(r"(=\?([!-)+->@-~]{1,40})(?:\*[!->@-~]{0,20})?\?([bBqQ])\?([!->@-~]{0,2000})\?=)")
"""Groups: the word as it is written, its charset, its encoding, and its text in code; so a word is a row of these four."""

_IN_PHRASE = re.compile(r"=\?[!#-'*+0-9A-Z^_`a-z{}~-]{1,40}\?(?:[bB]\?[A-Za-z0-9+/=]*|[qQ]\?[A-Za-z0-9!*+/=_-]*)\?=")
_BEGIN = rb"=\?([!#-'+0-9A-Z^_`a-z{}~.:-]{1,40})(\*[!->@-~]{0,20})?\?([bBqQ])\?"
_WORD = re.compile(_BEGIN + rb"[^?]{0,2000}\?=")
_TORN = re.compile(_BEGIN + rb"(?=[^?]{0,2000}\?=)([!->@-~]*+[^!-~][^?]*)\?=")
_CUT = re.compile(rb"=\?([!#-'+0-9A-Z^_`a-z{}~.:-]{1,40})\?([bBqQ])\?([!->@-~\x80-\xff]{4,2000})\??([ \t\r\n]{0,80})\Z")
_SOFT_BREAK = re.compile(rb"=[ \t\r]*\n[ \t]*(?![ \t]|[0-9A-F]{2})")
"""The end of a line in quoted-printable (RFC 2045 s6.7), which no encoded-word has; PHP puts it there."""
_CUT_SHIFT = re.compile(rb"\x1b\$[@B][!-~]*\n[!-~\n]*\x1b\([BJ]")
"""ISO-2022-JP where a word ends among kanji and another one goes on; a line feed stands between words."""
_ONE = rb"=\?[!#-'+0-9A-Z^_`a-z{}~.:*-]{1,60}\?[bBqQ]\?[!->@-~]{0,2000}\?="
_WHOLE = re.compile(_ONE)
_SPLIT = re.compile(_ONE + rb"(?:[ \t\r\n]{1,80}" + _ONE + rb"){1,200}")
_TORN_IN = re.compile(rb"[^!-~]")
_BLANK = re.compile(rb"[ \t]+")
_RAW = re.compile(rb"[\x80-\xff]")
_LONGEST = 75  # characters of an encoded-word (RFC 2047 s2)
_FOREIGN_WORD = r"[\x00-\x08\x0a-\x1f!-\x7f]*+[^\x00-\x7f][^ \t]*+"
_FOREIGN = re.compile(rf"(?<![^ \t]){_FOREIGN_WORD}(?:[ \t]++{_FOREIGN_WORD})*")
_PIECE = re.compile(r"(?<![ \t])[ \t]*+[^ \t]+")
_SUBJECT_READ = 2000  # octets of a Subject that are decoded
_SUBJECT_CUT = 390  # octets; what is longer may have been cut at acceptance
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")
_HIDDEN = re.compile(rb"[\x00-\x1a\x1c-\x1f\x7f]")
_JUNK = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+")


def encode_word(text: str) -> str:
    """The text as encoded-words in UTF-8, each of whole characters and at most 75 long, one blank between them."""
    whole = text.encode("utf-8", "replace")
    if len(whole) <= _WORD_OCTETS:
        return f"=?utf-8?B?{b2a_base64(whole, newline=False).decode('ascii')}?="
    words = []
    place = 0
    while place < len(whole):
        end = place + _WORD_OCTETS
        while whole[end : end + 1] and whole[end] & 0xC0 == 0x80:  # in the middle of a character
            end -= 1
        words.append(f"=?utf-8?B?{b2a_base64(whole[place:end], newline=False).decode('ascii')}?=")
        place = end
    return " ".join(words)


def encode_text(text: str) -> str:
    """Unstructured text in ASCII: words that are not ASCII become encoded-words, all others stay."""
    if text.isascii():
        return text
    if " " not in text and "\t" not in text:
        return encode_word(text)
    return _FOREIGN.sub(lambda run: encode_word(run[0]), text)


def decode_words(text: str) -> str:
    """The text with its encoded-words decoded; those that cannot be decoded stay.

    Blanks between two of them are removed (RFC 2047 s6.2).  A character that was cut between two of them is joined.
    """
    if "=?" not in text:
        return text
    out: list[str] = []
    run: list[list[str]] = []
    pieces = _ENCODED.split(text)
    for place in range(0, len(pieces) - 1, 5):
        between = pieces[place]
        if run and between != " " and between.strip(" \t\r\n"):
            out.append(_decoded(run))
            run = []
        if not run:
            out.append(between)
        run.append(pieces[place + 1 : place + 5])
    return "".join(out) + _decoded(run) + pieces[-1]


def mend_words(raw: bytes) -> bytes:
    """Repairs encoded-words in a field's value that have folds, blanks or raw octets inside, or whose end is missing."""
    name, colon, value = raw.partition(b":")
    if b"=?" in _WHOLE.sub(b"", value):
        value = _CUT.sub(_closed, _TORN.sub(_mended, value), count=1)
    return name + colon + (_SPLIT.sub(_joined, value) if value.count(b"?=") > 1 else value)


def _closed(match: re.Match[bytes]) -> bytes:
    """The last word of a field, whose end was cut off: what can be read of it."""
    charset, encoding = match[1].decode("ascii"), match[2].decode("ascii")
    if not is_registered(charset):
        return match[0]
    coded = _RAW.sub(lambda octet: b"" if encoding in "bB" else b"=%02X" % octet[0][0], match[3]).decode("ascii")
    coded = coded[: len(coded) // 4 * 4] if encoding in "bB" else re.sub("=[0-9A-Fa-f]?$", "", coded)
    octets = word_octets(encoding, coded) or b""
    text = ""
    if codecs := readings(charset):
        text = octets.decode(codecs[0], "replace").rstrip("\ufffd")
    return _folded_word(text) + match[4] if text else match[0]


def _joined(match: re.Match[bytes]) -> bytes:
    """Joins words in a row if a character was cut in two between them."""
    words = _ENCODED.findall(match[0].decode("ascii"))
    charsets = {word[1].lower() for word in words}
    encodings = {word[2].lower() for word in words}
    if len(charsets) > 1 or len(encodings) > 1:
        return match[0]
    [charset], [encoding] = charsets, encodings
    pieces = [word_octets(encoding, word[3]) for word in words]
    if (all(pieces) and _in_utf8(pieces, charsets)) or (
        all(_text_of(charset, one) for one in pieces) and not _is_cut_shift(charset, pieces)
    ):
        return match[0]
    together = b"".join(one or b"" for one in pieces)
    text = _text_of(charset, together) or _text_of(charset, word_octets(encoding, "".join(word[3] for word in words)))
    return _folded_word(text) if text else match[0]


def _is_cut_shift(charset: str, pieces: list[bytes | None]) -> bool:
    known = b"\n".join(one or b"" for one in pieces)
    return b"\x1b$" in known and charset.lower().startswith("iso-2022-jp") and _CUT_SHIFT.search(known) is not None


def _folded_word(text: str) -> bytes:
    return b"\r\n ".join(encode_word(text).encode("ascii").split(b" "))


def _mended(match: re.Match[bytes]) -> bytes:
    charset, language, encoding, coded = match[1], match[2] or b"", match[3], match[4]
    if not is_registered(charset.decode("ascii")):
        return match[0]
    if b"\n" in coded:
        coded = _SOFT_BREAK.sub(b"", coded) if encoding in b"qQ" else coded
        coded = b"".join([line.strip(b" \t\r") for line in coded.split(b"\n")])
    if encoding in b"bB":
        coded = _RAW.sub(b"", _BLANK.sub(b"", coded))  # RFC 2045 s6.8: what is not of the alphabet is ignored
    else:
        coded = _BLANK.sub(lambda blanks: b"_" * len(blanks[0]), coded)
        coded = _RAW.sub(lambda octet: b"=%02X" % octet[0][0], coded)
    word = b"=?%b%b?%b?%b?=" % (charset, language, encoding, coded)
    if _TORN_IN.search(coded):
        return match[0]
    if len(word) <= _LONGEST:
        return word
    text = decode_words(word.decode("ascii"))
    return word if text.isascii() and "=?" in text else _folded_word(text)


def named_charsets(raw: bytes) -> list[str]:
    """The charsets in the encoded-words of a field."""
    return [match[1].decode("ascii") for match in _WORD.finditer(raw)]


def is_encoded(text: str) -> bool:
    """Whether the text is encoded-words only, as a phrase may have them (RFC 2047 s5); they must not be encoded again."""
    words = text.split()
    sound = bool(words) and all(_IN_PHRASE.fullmatch(word) and len(word) <= _LONGEST for word in words)
    return sound and not hides_controls(text)


def _decoded(run: list[list[str]]) -> str:
    """The text of encoded-words in a row."""
    octets = [word_octets(word[2], word[3]) for word in run]
    if len(run) > 1 and (together := _in_utf8(octets, {word[1] for word in run})):
        return together.decode()
    texts = [_text_of(word[1], one) for word, one in zip(run, octets, strict=True)]
    if all(text is not None for text in texts) and not (len(run) > 1 and _is_cut_shift(run[0][1], octets)):
        return "".join(text or "" for text in texts)
    said = ""
    for charset, group in groupby(run, lambda word: word[1].lower()):
        words = list(group)
        whole = _text_of(charset, b"".join(word_octets(word[2], word[3]) or b"" for word in words))
        if len(words) > 1 and whole is not None:
            said += whole
            continue
        for word in words:
            text = _text_of(word[1], word_octets(word[2], word[3]))
            said += f" {word[0]} " if text is None else text
    return said.strip(" ")


def _in_utf8(octets: list[bytes | None], charsets: set[str]) -> bytes:
    """The octets of encoded-words in a row, if each of them is right UTF-8; else b""."""
    if charsets not in ({"utf-8"}, {"UTF-8"}):
        return b""
    known = [one for one in octets if one is not None]
    return b"".join(known) if len(known) == len(octets) and is_utf8(b"\n".join(known)) else b""


def _text_of(charset: str, octets: bytes | None) -> str | None:
    return None if octets is None else read(octets, charset)


def hides_controls(text: str) -> bool:
    """Whether an encoded-word holds a control character, which some readers obey.  ESC is allowed, for ISO-2022."""
    if "=?" not in text:
        return False
    return any(_HIDDEN.search(word_octets(word[2], word[3]) or b"") for word in _ENCODED.findall(text))


def readable(text: str) -> str:
    """A field's text for people: decoded, in one line, without control characters."""
    return " ".join(_JUNK.sub(" ", decode_words(text)).split())


def subject_text(octets: bytes) -> str:
    """A Subject's value for people: raw octets are guessed, encoded-words decoded."""
    octets = octets[:_SUBJECT_READ]
    return readable(decode(octets, vote([octets], RepairPolicy().fallback_charset)))


def kept_subject(subject: str) -> str:
    """The same for one as it is kept at acceptance: cut, octets that are not ASCII as lone surrogates."""
    octets = subject.encode("utf-8", "surrogateescape")
    while len(octets) > _SUBJECT_CUT and octets[-1] > 0x7F and not is_utf8(octets):
        octets = octets[:-1]  # it was cut in the middle of a character
    return subject_text(octets)


def word_octets(encoding: str, coded: str) -> bytes | None:
    """The octets of an encoded-word (`encoding` is B or Q); None if they cannot be decoded."""
    try:
        if encoding in "bB":
            return a2b_base64(coded + "=" * (-len(coded) % 4) if len(coded) % 4 else coded)
        return decodestring(coded.replace("_", " ").encode("ascii"), header=True)
    except (Base64Error, ValueError):
        return None


def fold(name: str, value: str, width: int = _WIDTH) -> bytes:
    """The field `name: value`, folded at blanks to lines of at most `width` characters where the words allow it.

    Control characters become blanks, so that no value can begin another field.
    """
    if not value.isprintable():
        value = _CONTROL.sub(" ", value)
    if len(name) + len(value) < width - 1 and value[:1] not in " \t" and value[-1:] not in " \t":
        return f"{name}: {value}\r\n".encode("utf-8", "replace")
    lines: list[str] = []
    line = f"{name}:"
    for piece in _PIECE.findall(" " + value.strip()):
        if len(line) + len(piece) > width and line.strip() and line != f"{name}:":
            lines.append(line)
            line = piece
        else:
            line += piece
    lines.append(line)
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n"
