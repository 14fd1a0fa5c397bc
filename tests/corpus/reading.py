"""What readers see of a relayed message: checks that ask a forgiving reader, or one that takes RFCs at their word."""

import base64
import email
import email.message
import email.policy
import re
from collections.abc import Callable, Mapping

Message = email.message.Message

_NAMES = {
    "cp874": "windows-874 dos-874 tis-620 iso-8859-11 iso8859-11",
    "iso8859_8": "iso-8859-8-i iso-8859-8-e csiso88598i csiso88598e logical visual",
    "iso8859_6": "iso-8859-6-i iso-8859-6-e csiso88596i csiso88596e",
    "iso8859_7": "sun_eu_greek",
    "iso8859_15": "iso-8859-15 csisolatin9",
    "gb18030": "gb2312 gb_2312 gb_2312-80 csgb2312 chinese csiso58gb231280 iso-ir-58 gbk x-gbk",
    "big5hkscs": "big5 cn-big5 csbig5 x-x-big5",
    "cp949": "euc-kr cseuckr korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 windows-949 x-windows-949",
    "cp932": "shift_jis shift-jis sjis x-sjis ms_kanji csshiftjis windows-31j cp932",
    "cp1252": "iso-8859-1 iso8859-1 latin1 l1 x-cp1252 windows-1252",
    "cp1254": "iso-8859-9 latin5 x-cp1254",
    "cp1250": "x-cp1250 win-1250",
    "cp1251": "x-cp1251 win-1251",
    "cp850": "cp-850",
    "koi8_r": "koi koi8 cskoi8r",
    "koi8_u": "koi8-ru",
    "mac_cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "iso2022_jp_ext": "iso-2022-jp",
}
"""Codec -> names that mail and web readers know though Python does not, or that they read as a superset."""

_CODECS = {name: codec for codec, names in _NAMES.items() for name in names.split()}
_WORD = re.compile(r"=\?([!#$%&'+0-9A-Za-z^_`{}~.:-]+)(?:\*[A-Za-z0-9-]+)?\?([QqBb])\?([!->@-~]*)\?=$")
_PARAM = re.compile(
    r"\s*;\s*([!#$&+\-.0-9A-Z^_`a-z{|}~%]+(?:\*\d+)?\*?)\s*=\s*"
    r'("(?:[^"\\\r\n]|\\.)*"|[!#-\x27*+\-.0-9A-Z^-~]+)(?:\s*\([^()]*\))*'
)


def reads(octets: bytes, charset: str) -> str:
    try:
        return octets.decode(_CODECS.get(charset.lower(), charset), "replace")
    except (LookupError, ValueError):
        return f"<no reader knows {charset}>"


def inner_charset(octets: bytes) -> str | None:
    """The charset that a text states itself: byte order mark, XML declaration, HTML meta."""
    for mark, charset in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if octets.startswith(mark):
            return charset
    match = re.match(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([\w.:-]+)", octets)
    match = match or re.search(rb"(?i)<meta[^>]*?charset\s*=\s*[\"']?\s*([\w.:-]+)", octets[:1024])
    return match[1].decode() if match else None


def leaves(octets: bytes) -> list[Message]:
    whole = email.message_from_bytes(octets, policy=email.policy.compat32)
    return [part for part in whole.walk() if not part.is_multipart()]


def read_texts(octets: bytes) -> list[str]:
    """The text parts as a forgiving reader shows them: a stated charset first, else what the text itself says, else ASCII."""
    texts = []
    for part in leaves(octets):
        if part.get_content_maintype() == "text":
            payload = part.get_payload(decode=True)
            body = payload if isinstance(payload, bytes) else b""
            texts.append(reads(body, part.get_content_charset() or inner_charset(body) or "us-ascii").removeprefix("\ufeff"))
    return texts


def strict(raw: bytes) -> str:
    """A value as a reader shows it that takes RFC 2047 at its word: encoded-words stand alone, whole, of 75 letters at most."""
    shown, before = "", False
    for token in re.split(r"\s+", raw.decode("latin-1").strip()):
        match = _WORD.match(token) if len(token) <= 75 else None
        octets = b""
        if match and match[2] in "Bb":
            try:
                octets = base64.b64decode(match[3], validate=True)
            except ValueError:
                match = None
        elif match:
            quoted = match[3].replace("_", " ").encode()
            octets = re.sub(rb"=([0-9A-Fa-f]{2})", lambda code: bytes([int(code[1], 16)]), quoted)
        shown += " " if shown and not (match and before) else ""
        shown += reads(octets, match[1]) if match else token
        before = match is not None
    return re.sub(r"\s+", " ", shown).strip()


def bad_params(value: str) -> str:
    """What RFC 2045 s5.1 and RFC 2231 do not allow in the parameters of a Content-Type or Content-Disposition."""
    value = re.sub(r"\r?\n(?=[ \t])", "", value)
    place = value.find(";")
    seen: list[str] = []
    while 0 <= place < len(value):
        match = _PARAM.match(value, place)
        if not match:
            return "" if re.match(r"[\s;]*$", value[place:]) else f"not a parameter: {value[place : place + 60]!r}"
        if match[1].lower() in seen:
            return f"{match[1]} twice: {value[:120]!r}"
        seen.append(match[1].lower())
        place = match.end()
    return ""


def part(octets: bytes, which: object, decoded: Callable[[str], str]) -> Message | None:
    """The leaf with this number or this file name (None: the first text part)."""
    parts = leaves(octets)
    if isinstance(which, int):
        return parts[which] if which < len(parts) else None
    for each in parts:
        name = each.get_filename()
        if which is None and each.get_content_maintype() == "text":
            return each
        if name and which == (decoded(name) if name.isascii() else name):
            return each
    return None


def _lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def text_reads(octets: bytes, value: str) -> list[str]:
    texts = read_texts(octets)
    seen = any(_lf(value) in _lf(text) for text in texts)
    return [] if seen else [f"no reader sees {value!r} (but {[text[:120] for text in texts]!r})"]


def text_reads_not(octets: bytes, value: str) -> list[str]:
    return [f"a reader sees {value!r}"] if any(value in text for text in read_texts(octets)) else []


def part_count(octets: bytes, value: int) -> list[str]:
    return [] if len(leaves(octets)) == value else [f"{len(leaves(octets))} parts, expected {value}"]


def params_valid(octets: bytes, _value: object) -> list[str]:
    found = []
    for each in email.message_from_bytes(octets, policy=email.policy.compat32).walk():
        for name in ("Content-Type", "Content-Disposition"):
            fault = bad_params(str(each.get(name, "")))
            found += [f"{name}: {fault}"] if fault else []
    return found


def part_header(octets: bytes, value: list[object], decoded: Callable[[str], str]) -> list[str]:
    which, name, wanted = value
    found = part(octets, which, decoded)
    if found is None:
        return [f"no part {which!r}"]
    values = found.get_all(str(name))
    if wanted is None:
        return [f"part {which!r} has {name}: {values!r}"] if values else []
    right = bool(values) and re.search(str(wanted), str(values[0] if values else ""))
    return [] if right else [f"part {which!r} has {name} {values!r}, should match {wanted!r}"]


CHECKS: Mapping[str, Callable[..., list[str]]] = {
    "text_reads": text_reads,
    "text_reads_not": text_reads_not,
    "part_count": part_count,
    "params_valid": params_valid,
}
"""Checks that need the octets and the value that the sidecar gives."""
