"""Mailboxes in header fields: read as devices write them, written exactly.  RFC 5322 s3.4, s4.4, RFC 2047 s5.

All of it takes time linear in the field's length.  Pure.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from relay.mail.address import Address, BadAddress, understood, with_a_labels
from relay.mail.encoded_words import decode_words, encode_word, hides_controls, is_encoded

# The patterns do not backtrack: alternatives begin with different characters, and repeats end where their class ends.
# Only classes have possessive repeats: Python before 3.11.5 gets possessive groups wrong.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
# an encoded-word may not stand in quotation marks (RFC 2047 s5); Toshiba e-STUDIO puts it there
_PLAIN = r'[^"\\=\x00-\x08\x0a-\x1f\x7f]*+'
_QUOTED = rf'"{_PLAIN}(?:(?:=(?!\?)|\\[ -~]){_PLAIN})*"'
_ENCODED = r"=\?[!->@-~]{1,40}+\?[BbQq]\?[!->@-~]{0,400}+\?="
_WHOLE = rf"{_ENCODED}(?=[ \t<,;:\"]|\Z)"
_SIGNS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]"
_WORD = rf"(?:(?!=){_SIGNS}++|{_QUOTED}|{_WHOLE}|(?!{_WHOLE})={_SIGNS}*+)"
_ADDR = rf"(?:{_ATOM}++(?:\.{_ATOM}++)*|{_QUOTED})@(?:{_ATOM}++(?:\.{_ATOM}++)*(?<!')|\[[0-9A-Za-z:.-]++\])"
_COMMENT = r"(?:[ \t]*+\([^()\\\r\n]*+\))?"
_PHRASE = rf"{_WORD}(?:[ \t]++{_WORD})*"
_MAILBOX = rf"(?:(?:{_PHRASE}[ \t]*+)?<{_ADDR}>|{_ADDR}){_COMMENT}[ \t]*+"

_REGULAR_PHRASE = re.compile(rf"{_PHRASE}\Z")
_REGULAR_MAILBOX = re.compile(rf"[ \t]*+{_MAILBOX}(?:,|\Z)")
_REGULAR = re.compile(rf"[ \t]*+(?:{_MAILBOX}|{_PHRASE}[ \t]*+:[ \t]*+(?:{_MAILBOX}(?:,[ \t]*+{_MAILBOX})*)?;[ \t]*+)(?:,|\Z)")
_LOCAL_LIMIT = 256  # octets
_UNFOLDABLE = 900
_NAME_LIMIT = 300  # nobody reads a longer name, and a quoted string cannot be folded
_WORD_LIMIT = 75  # of an encoded-word (RFC 2047 s2); a name with a longer word is written anew
_DEPTH = 100  # comments in comments in comments mean nothing any more
_PLAIN_NAME = re.compile(rf"{_ATOM}+(?: {_ATOM}+)*\Z")
_PLAIN_TEXT = re.compile(r"[ !#-<>-\[\]-~]*+\Z")

_TOKEN = re.compile(
    rf'(?:{_ENCODED}[ \t]*+)+|"[^"\\]*+(?:\\.[^"\\]*+)*"?|<(?:[^<>,;"]|"[^"\\]*+(?:\\.[^"\\]*+)*")*>?'
    r'|[,;]|\(|[^"<,;(=]+|.',
    re.DOTALL,
)
_USUAL = re.compile(r'([^"<>,;(=]*+)(?:<([^<>,;"()]*+)>[ \t]*+)?([,;]|\Z)')
_OPEN_WORD = re.compile(r"=\?[!->@-~]{1,60}\?[BbQq]\?")
_RUN = re.compile(r'([<>"()@])\1{3,}')
_MARKS = re.compile('"{5,}')  # of them only the first, the last and whether they are even counts
_STRING = r'(?<!\\)"[^"\\]*+(?:\\.[^"\\]*+)*"'  # one that is never closed is looked for once: all marks behind it are escaped
_QUOTED_STRING = re.compile(_STRING)
_ADDRESS_WORD = re.compile(rf'({_STRING}|(?<![^\s"<>()\[\]:;,@\\])[^\s"<>()\[\]:;,@\\]++)@([^\s"<>();,@\\]+)')
_USUAL_ADDRESS = re.compile(
    rf"({_ATOM}{{1,64}}+(?:\.{_ATOM}{{1,64}}+)*)@([A-Za-z0-9](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?(?:\.[A-Za-z0-9]{{1,63}}){{1,10}})\Z"
)
_LOCAL_PART = re.compile(rb'(?<![^\s<>()\[\]:;,@\\"])[^\s<>()\[\]:;,@\\"]++@')
_AS_LETTERS = bytes(range(128)) + b"x" * 128  # octet for octet: the length counts
_NO_COLON = re.compile(rf"{_STRING}|<[^<>]*+>|\([^()]*+\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A display name ("" if none) and the address; None where there is only a name.

    `phrase` is the display name as it was written, where it may go on so; else "".
    """

    name: str
    address: Address | None
    phrase: str = ""


def is_regular(value: bytes, *, utf8: bool = False) -> bool:
    """Whether the list is correct by RFC 5322 s3.4; then it is left as it is.

    `utf8`: without groups, but addresses and names may be in UTF-8 (RFC 6532).
    """
    if utf8 and not value.isascii():
        return _is_utf8(value) and count_regular(value.translate(_AS_LETTERS), groups=False) > 0
    return count_regular(value) > 0


def _is_utf8(octets: bytes) -> bool:
    try:
        return octets.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        return False


def count_regular(value: bytes, *, groups: bool = True) -> int:
    """How many mailboxes (and groups, if allowed) a correct list has; 0 if it is not correct."""
    match_at = _REGULAR.match if groups else _REGULAR_MAILBOX.match
    if not value.isascii() or (len(value) > _UNFOLDABLE and max(map(len, value.split())) > _UNFOLDABLE):
        return 0
    text, place, count = value.decode("ascii"), 0, 0
    while place < len(text):
        match = match_at(text, place)
        if not match:
            return 0
        place, count = match.end(), count + 1
    return 0 if text.rstrip().endswith(",") or hides_controls(text) else count


def count_with_utf8(value: bytes) -> int:
    """As `count_regular`, but local parts may be in UTF-8 (RFC 6532); display names must use encoded-words."""
    if value.isascii() or not _is_utf8(value):
        return count_regular(value)
    return count_regular(_LOCAL_PART.sub(lambda local: local[0].translate(_AS_LETTERS), value))


def has_group(value: bytes) -> bool:
    """Whether a list holds a group (`name: a, b;`): a colon outside quotation marks, comments and brackets."""
    return b":" in value and ":" in _NO_COLON.sub("", value.decode("latin-1"))


def with_commas(text: str) -> str | None:
    """The list with commas instead of semicolons, newlines and doubled commas, if that makes it correct (M12)."""
    if not text.isascii() or '"' in text or "(" in text or ":" in text:
        return None
    parts = [part.strip() for part in re.split(r"[,;\r\n]+", text)]
    joined = ", ".join(part for part in parts if part)
    return joined if joined != text and count_regular(joined.encode("ascii")) else None


def read_mailboxes(text: str) -> list[Mailbox]:
    """Every mailbox that can be read, in order; text that is no address is a Mailbox without one.

    Accepted: semicolons and newlines for commas, brackets never closed, names with unquoted specials
    (`NAS: Backup, Server [01] <a@b>`), comments as names, an address as its own name.
    """
    return list(each_mailbox(text))


def each_mailbox(text: str) -> Iterator[Mailbox]:
    """As `read_mailboxes`, one by one."""
    waiting = ""
    text = _MARKS.sub(lambda run: '"""' if len(run[0]) % 2 else '""""', text) if '"' in text else _RUN.sub(r"\1", text)
    if text.count("(") > _DEPTH:
        text = text.replace("(", " ").replace(")", " ")
    for words, comment, angle, separator in _entries(text):
        if angle is None and ("@" not in words or (separator == ";" and _is_empty_group(words))):
            if waiting or words.strip():
                waiting += words + separator
            if not words.strip() and comment:
                waiting += comment
            if not separator or separator == ";":
                yield from _named_only(waiting, comment)
                waiting = ""
            continue
        if angle is None:
            yield from _named_only(waiting, "")
            yield from _bare(words, comment)
        else:
            yield _with_name((waiting + words).strip() or comment, _address(angle))
        waiting = ""
    yield from _named_only(waiting, "")


def _entries(text: str) -> Iterator[tuple[str, str, str | None, str]]:
    """Each entry of the list: words, comment, what is in angle brackets (None without), the separator after it."""
    place = 0
    while place < len(text):
        if usual := _USUAL.match(text, place):
            words, angle, separator = usual.groups()
            yield words.replace(">", " "), "", angle if angle is None else angle.strip(), separator
            place = usual.end()
            continue
        words, comment, angle, separator, place = _entry(text, place)
        yield words, comment, angle, separator


def _entry(text: str, place: int) -> tuple[str, str, str | None, str, int]:
    """Reads one entry token by token; returns it and the place after it."""
    words: list[str] = []
    comment: list[str] = []
    angle: str | None = None
    depth = 0
    for match in _TOKEN.finditer(text, place):
        piece = match[0]
        if depth or piece == "(":
            depth += piece.count("(") - piece.count(")")
            if depth > 0:
                comment.append(piece.lstrip("(") if not comment else piece)
                continue
            inside, _, after = piece.rpartition(")")
            comment.append(inside)
            words.append(" " + after)
            depth = 0
        elif piece in (",", ";"):
            return "".join(words), "".join(comment), angle, piece, match.end()
        elif piece[0] == "<" and (angle is None or "@" in piece):
            angle = piece.strip("<> \t")
        else:
            words.append(piece if piece[0] in '"=' else piece.replace(">", " ").replace("<", " "))
    return "".join(words), "".join(comment), angle, "", len(text)


def _with_name(written: str, address: Address | None) -> Mailbox:
    text = written.strip()
    return Mailbox(_name(text), address, text if address and _is_phrase(text) else "")


def _is_phrase(text: str) -> bool:
    """Whether it is a correct display name that all readers read the same way."""
    if not text.isascii() or not _REGULAR_PHRASE.match(text) or hides_controls(text):
        return False
    if "." in text and "." in _QUOTED_STRING.sub("", text):
        return False  # allowed only in old mail (RFC 5322 s4.1)
    return len(text) <= _NAME_LIMIT and (len(text) <= _WORD_LIMIT or max(map(len, text.split())) <= _WORD_LIMIT)


def _is_empty_group(words: str) -> bool:
    """Whether it is `name:` as it stands before a group's semicolon; marks and encoded-words in it may hold any sign."""
    name, colon, after = words.rpartition(":")
    return bool(colon) and not after.strip(" \t") and _REGULAR_PHRASE.match(name.strip(" \t")) is not None


def _named_only(text: str, comment: str) -> Iterator[Mailbox]:
    bare = text.rstrip(",; \t")
    name = _name(bare[:-1] if bare[-1:] == ":" and _is_empty_group(bare) else bare)
    if not name:
        return
    if comment and re.fullmatch(r"[^\s@]+", name):
        yield _with_name(comment, _address(name))
    else:
        yield Mailbox(name, None)


def _bare(words: str, comment: str) -> list[Mailbox]:
    """Addresses without brackets; one address keeps the words around it as its name."""
    matches = list(_ADDRESS_WORD.finditer(words))
    addresses = [(match, _address(match[0])) for match in matches]
    good = [(match, address) for match, address in addresses if address]
    if not good:
        return [Mailbox(_name(words), None)]
    if len(good) == 1:
        match, address = good[0]
        around = f"{words[: match.start()].rstrip(' <')} {words[match.end() :].lstrip(' >')}".strip()
        name = "" if re.fullmatch(r"[\w. -]*:", around) else around
        return [_with_name(name or comment, address)]
    return [Mailbox("", address) for _, address in good]


def _address(text: str) -> Address | None:
    if (usual := _USUAL_ADDRESS.match(text)) and len(text) < _LOCAL_LIMIT and text[0] != "=":
        return Address(usual[1], usual[2])
    bare = text.strip()
    if bare.startswith("@") and ":" in bare:
        bare = bare.partition(":")[2]
    try:
        address = with_a_labels(understood(decode_words(bare) if bare.startswith("=?") else bare))
    except (UnicodeError, BadAddress):
        return None
    if len(address.local.encode("utf-8", "replace")) > _LOCAL_LIMIT:
        return None
    if "=?" in address.local and (address.quoted or _OPEN_WORD.match(address.local)):
        return None  # what is left of a name, and would be read as one again
    return address


def _name(text: str) -> str:
    """A display name for people: unquoted, decoded, one line."""
    bare = text.strip()
    if _PLAIN_TEXT.match(bare):
        return " ".join(bare.split())[:_NAME_LIMIT]
    whole = _QUOTED_STRING.fullmatch(bare)
    if len(bare) > 1 and bare[0] == bare[-1] == '"':
        bare = re.sub(r"\\(.)", r"\1", bare[1:-1])
    if not whole and (bare.count('"') % 2 or bare.startswith('"')):
        bare = bare.replace('"', "")
    text = decode_words(bare)
    if not text.isprintable():
        text = "".join(char for char in text if char.isprintable() or char == " ")
    return " ".join(text.split())[:_NAME_LIMIT]


def write_mailbox(mailbox: Mailbox) -> str:
    """The mailbox with its name as atoms, quoted string or encoded-words, as needed.

    A local part that is not ASCII stays; it needs SMTPUTF8.
    """
    address = str(mailbox.address) if mailbox.address else ""
    if not mailbox.name or mailbox.name == address:
        return address
    return f"{write_name(mailbox.name)} <{address}>"


def write_name(name: str, *, bare: bool = True) -> str:
    """A display name as a phrase (RFC 5322 s3.2.5, RFC 2047 s5); unless `bare`, plain words are quoted too."""
    if "=?" in name and is_encoded(name):
        return name  # in a charset that we cannot read, but a mail reader may
    if not name.isascii() or "=?" in name:
        return encode_word(name)
    if bare and _PLAIN_NAME.match(name):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def fold_list(name: str, mailboxes: Iterable[str], width: int = 76) -> bytes:
    """An address field, folded after commas, and between encoded-words."""
    start = f"{name}:"
    lines = [start]
    for place, text in enumerate(mailboxes):
        if place:
            lines[-1] += ","
        for piece in text.split(" ") if len(text) >= width and text.startswith("=?") else (text,):
            if len(lines[-1]) + 1 + len(piece) > width and lines[-1] != start:
                lines.append("")
            lines[-1] += f" {piece}"
    return "\r\n".join(lines).encode("utf-8") + b"\r\n"
