"""MIME fields: read as devices write them, written exactly.  RFC 2045 s5 and s6, RFC 2046 s5.1, RFC 2231.  Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from relay.mail.message import Field, first

_ATOM = r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,120}"
_KIND = re.compile(rf"[ \t]*({_ATOM})/({_ATOM})[ \t]*(?=;|\(|\Z)")
_LOOSE_KIND = re.compile(rf"[ \t]*({_ATOM})/({_ATOM})")
_NO_SEMICOLON = re.compile(rf"\A([ \t]*{_ATOM}/{_ATOM}+)(?:[ \t]*+,[ \t]*+|[ \t]++)([A-Za-z-]{{1,30}}+=)".encode("ascii"))
_TYPE_END = re.compile(rb'[;="]')
_RAW = bytes(range(128, 256))
_CONTROLS = bytes((*range(9), 11, 12, *range(14, 27), *range(28, 32), 127))  # all but blanks, line ends and escape
_BOUNDARY = re.compile(rb'(?<=[;\s])boundary[ \t]*=[ \t]*(?:"[^"]*|[^;\s]*)', re.IGNORECASE)
_RAW_GAP = re.compile(rb"([ \t]*[^ \t]+?)(?:\xe3\x80\x80|\xc2\xa0|(?<![\x80-\xff])\xa0(?![\x80-\xff]))[ \t]*([A-Za-z-]{1,30})")
"""A blank of another script between the type and the name of a parameter, from the beginning to the end."""
_PARAM = re.compile(r';[ \t\r\n]*([^=;\s"]+)[ \t]*=[ \t\r\n]*("[^"\\]*+(?:\\.[^"\\]*+)*"?|[^;]*)')
_BARE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+\Z")
_COMMENTED = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+[ \t]+\([^()]*\)\Z")  # a token and a comment
_RUN_ON = re.compile(r"[ \t][A-Za-z-]{1,30}=")  # the next parameter, without a semicolon
_TEARABLE = re.compile(rb"content-(?:type|disposition)[ \t]*:", re.IGNORECASE)
_PARAM_LINE = re.compile(rb'([A-Za-z-]{1,30}[*0-9]{0,4})[ \t]*=[ \t]*(?:"[^"]*"|[^\s"=;]+)[ \t]*(?:;|\Z)')
_TORN_NAMES = frozenset(b"name filename charset boundary format delsp type start size protocol micalg report-type".split())
_NO_QUOTES = re.compile(r"\x1b\$[^\x1b]*|\\.")
"""Where a quotation mark is none: escaped, or half of a character of ISO-2022-JP."""
_MISREAD = re.compile(r"[\s()<>@,;:\\\"\[\]\x80-\xff]")
_ENCODING_NAMES = {
    **dict.fromkeys(("7-bit", "7 bit", "us-ascii", "ascii", "none", "text"), "7bit"),
    **dict.fromkeys(("8-bit", "8 bit", "utf-8", "utf8", "raw"), "8bit"),
    **dict.fromkeys(("base-64", "base 64", "b64"), "base64"),
    **dict.fromkeys(("quoted_printable", "quotedprintable", "quoted printable", "qp"), "quoted-printable"),
}


@dataclass(frozen=True, slots=True)
class ContentType:
    """`kind` is `type/subtype` in lower case, "" if there is none that can be read; `params` as latin-1 text.

    `said`: there was a Content-Type field at all.
    """

    kind: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    said: bool = False

    @property
    def text(self) -> bool:
        """Text, or no type at all, which readers take for text (RFC 2045 s5.2)."""
        return self.kind.startswith("text/") or not self.kind

    @property
    def multipart(self) -> bool:
        return self.kind.startswith("multipart/")

    @property
    def boundary(self) -> bytes:
        """The boundary; b"" if there is none or this is no multipart.  RFC 2046 allows 70 octets, more are accepted."""
        value = self.params.get("boundary", "").rstrip().encode("latin-1") if self.multipart else b""
        return value if len(value) <= 500 else b""

    @property
    def charset(self) -> str:
        said = self.params.get("charset", "")
        if not said:
            return ""
        said = said.strip()
        return said.split(" ")[0].strip("'\"").lower() if said.isascii() else ""


def content_type(fields: Iterable[Field]) -> ContentType:
    """The type in the first Content-Type field."""
    found = first(fields, "content-type")
    return read_content_type(found.value) if found else ContentType()


def with_plain_type(value: bytes) -> bytes:
    """The value without control octets, with a type in ASCII, and a semicolon after it, where some write a comma or a blank.

    A boundary keeps its control octets: the lines between the parts have them, too.
    """
    clean = value.translate(None, _CONTROLS)
    if clean != value and (found := _BOUNDARY.search(value)):
        start, end = found.span()
        clean = value[:start].translate(None, _CONTROLS) + found[0] + value[end:].translate(None, _CONTROLS)
    value = clean
    if b"\x1b" in value:
        value = _with_escapes_in_values(value)
    said = b"" if value.isascii() else _TYPE_END.split(value, 1)[0]
    if not said.isascii() and b"/" in said:
        rest = value[len(said) :]
        parted = _RAW_GAP.fullmatch(said) if rest[:1] == b"=" else None
        value = (parted[1] + b" " + parted[2] if parted else said).translate(None, _RAW) + rest
    return _NO_SEMICOLON.sub(rb"\1; \2", value, count=1)


def _with_escapes_in_values(value: bytes) -> bytes:
    """The value with escape sequences only where text in another charset begins, in a parameter's value.

    Text that never ends, with a parameter behind its beginning, is none.
    """
    text = value.decode("latin-1")
    begin = text.rfind("\x1b$")
    if begin > text.rfind("\x1b(") and _PARAM.search(text, begin):
        return value.replace(b"\x1b", b"")
    # from the first on: a quotation mark may be half of a character, so where that value ends is not known yet
    kept = next((found.start(2) for found in _PARAM.finditer(text) if "\x1b" in found[2]), len(text))
    return value[:kept].replace(b"\x1b", b"") + value[kept:]


def read_content_type(value: bytes) -> ContentType:
    text = with_plain_type(value).decode("latin-1")
    match = _KIND.match(text) or _LOOSE_KIND.match(text)
    kind = f"{match[1]}/{match[2]}".lower() if match else ""
    return ContentType(kind, dict(_params(text)), said=True)


def _params(text: str) -> Iterable[tuple[str, str]]:
    seen: set[str] = set()
    for written, value in _PARAM.findall(text[:8000]):
        name = _named(written)
        if name not in seen:
            seen.add(name)
            yield name, _unquoted(value)


def _named(written: str) -> str:
    """A parameter's name in lower case, without 8-bit octets, which no reader understands."""
    return _ascii(written).lower()


def _ascii(written: str) -> str:
    return written if written.isascii() else "".join(char for char in written if char.isascii())


def with_ascii_names(value: bytes) -> bytes:
    """The value with each parameter's name as it was read: without its 8-bit octets, if anything is left of it."""
    return _PARAM.sub(_ascii_name, value.decode("latin-1")).encode("latin-1")


def _ascii_name(parameter: re.Match[str]) -> str:
    name = _ascii(parameter[1])
    return parameter[0].replace(parameter[1], name, 1) if name else parameter[0]


def split_params(text: str) -> list[str]:
    """What stands before the first semicolon, and each parameter, without junk behind its closing quotation mark."""
    return [text.partition(";")[0], *(parameter[0][1:] for parameter in _PARAM.finditer(text))]


def _unquoted(value: str) -> str:
    bare = value.strip()
    if bare.startswith('"'):
        return re.sub(r"\\(.)", r"\1", bare[1:-1] if len(bare) > 1 and bare.endswith('"') else bare[1:])
    return bare


def transfer_encoding(fields: Iterable[Field]) -> str:
    """The Content-Transfer-Encoding in lower case; a misspelt one by its right name; "" if there is none."""
    found = first(fields, "content-transfer-encoding")
    if found is None:
        return ""
    word = (
        re.sub(rb"\([^()]*\)", b"", found.value)
        .translate(None, _CONTROLS + _RAW)
        .decode("ascii")
        .strip()
        .strip("\"';,")
        .lower()
    )
    return _ENCODING_NAMES.get(word, word)


def is_misread(value: bytes) -> bool:
    """Whether readers may disagree about the boundary: it has blanks or specials, and no quotation marks."""
    for name, said in _PARAM.findall(value.decode("latin-1")):
        if _named(name) == "boundary":
            bare = said.strip()
            return (len(bare) < 2 or bare[-1] != '"') if bare[:1] == '"' else _MISREAD.search(bare) is not None
    return False


def with_param(value: bytes, name: str, new: str) -> bytes:
    """The field's value with this parameter set; the others stay as they are."""
    text = value.decode("latin-1").rstrip().rstrip(";").rstrip()
    for match in _PARAM.finditer(text):
        if _named(match[1]) == name:
            _junk, semicolon, others = text[match.end() :].partition(";")
            return (
                f"{text[: match.start()]}; {match[1] if match[1].isascii() else name}={quoted(new)}{semicolon}{others}".encode(
                    "latin-1"
                )
            )
    kind, semicolon, others = text.partition(";")
    if _NO_QUOTES.sub("", others).count('"') % 2:  # nothing can be said behind a quotation mark that is never closed
        return f"{kind}; {name}={quoted(new)}{semicolon}{others}".encode("latin-1")
    return f"{text}; {name}={quoted(new)}".encode("latin-1")


def ascii_boundary(boundary: bytes) -> bytes:
    """The boundary itself if it is ASCII, else an ASCII boundary made from it."""
    if re.fullmatch(rb"[ -~]*", boundary):
        return boundary
    return b"=_" + boundary.hex().encode()[:60]


def quoted(value: str) -> str:
    """A parameter's value as a token, or in quotation marks if needed."""
    if _BARE.match(value):
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def untorn(field: bytes, line: bytes) -> bytes:
    """The field joined with a line that lost its fold: a parameter at the line's beginning, or the rest of a word.

    b"" if the line does not belong to the field.
    """
    if not _TEARABLE.match(field):
        return b""
    if field.count(b'"') % 2:
        return field + line if b'"' in line else b""
    if field.endswith(b"="):
        return field + line if line.startswith(b'"') else b""
    param = _PARAM_LINE.match(line)
    if not param:
        return b""
    _, semicolon, tail = field.rpartition(b";")
    if semicolon and tail.strip() and (tail.strip() + param[1]).lower() in _TORN_NAMES:
        return field + line
    if param[1].rstrip(b"*0123456789").lower() not in _TORN_NAMES:
        return b""
    return field + (b"\r\n " if field.endswith(b";") else b";\r\n ") + line


def with_ascii_params(text: str) -> bytes:
    """The value of a field in ASCII: parameters that are not ASCII are written by RFC 2231, `name*=utf-8''...`.

    `text` must be decoded already: in Shift_JIS a backslash or quotation mark may be half of a character.  Each parameter
    is written in one form only, since readers disagree on which form counts.
    """
    kind, *_ = text.partition(";")
    pieces = ["".join(char for char in kind.strip() if char.isascii())]
    said = _joined(dict(_params(text)))
    for name, value in said.items():
        if value.isascii():
            pieces.append(f"{name}={value if name.endswith('*') else quoted(value)}")
        elif f"{name}*" not in said and f"{name}*0*" not in said and f"{name}*0" not in said:
            pieces += _extended(name, value)
    return ";\r\n\t".join(pieces).encode("ascii", "replace")


def _joined(said: Mapping[str, str]) -> dict[str, str]:
    """The parameters; raw text in the form of RFC 2231 (`name*`, `name*0`, `name*1*`) is joined under its plain name."""
    raw = {name.partition("*")[0] for name, value in said.items() if "*" in name and not value.isascii()}
    found: dict[str, str] = {}
    for name, value in said.items():
        base, extended, _ = name.partition("*")
        if not extended or base not in raw:
            found.setdefault(name, value)
            continue
        coded = name.endswith("*")
        text = unquote(value.rpartition("'")[2]) if coded else value
        found[base] = found[base] + text if base in found and base not in said else text
    return {name: value for name, value in found.items() if name}


def with_quotes(value: bytes) -> bytes:
    """The value with file names in quotation marks where they are needed (RFC 2045 s5.1): `name=Page 07.pdf`."""
    if b"name" not in value.lower() or not value.isascii() or b"\x1b" in value:
        return value
    text = value.decode("ascii")
    out, place = "", 0
    for match in _PARAM.finditer(text):
        said, end = match[2], match.end()
        if match.start() < place or match[1].lower() not in ("name", "filename"):
            continue
        if said[:1] == '"' and (len(said) < 2 or said[-1] != '"' or text[end : end + 1] not in ("", ";")):
            junk = text[end:].partition(";")[0]
            if len(said) > 1 and said[-1] == '"' and (not junk.strip() or junk.strip()[0] == "("):
                continue
            whole, end = (said + junk).strip(), end + len(junk)
            bare = whole[1:-1] if len(whole) > 1 and whole[-1] == '"' else whole[1:]
        elif said[:1] == '"' or _BARE.match(said.strip()) or _COMMENTED.match(said.strip()) or _RUN_ON.search(said):
            continue
        else:
            bare = said.strip()
            bare = bare[1:-1] if len(bare) > 2 and bare[0] == bare[-1] == "'" else bare
        if bare:
            out += f"{text[place : match.start(2)]}{quoted(bare)}"
            place = end
    return (out + text[place:]).encode("ascii") if out else value


def _extended(name: str, text: str) -> list[str]:
    coded = "utf-8''" + quote(text, safe="")
    if len(coded) <= 66:
        return [f"{name}*={coded}"]
    pieces: list[str] = [""]
    for unit in re.findall(r"%[0-9A-F]{2}|.", coded):
        if len(pieces[-1]) + len(unit) > 60:
            pieces.append("")
        pieces[-1] += unit
    return [f"{name}*{place}*={piece}" for place, piece in enumerate(pieces)]
