"""Names of charsets: which codecs read a name, and which name to write for a codec.  RFC 2978, IANA, WHATWG.  Pure."""

import codecs
import re
import unicodedata
from functools import lru_cache

_NAME = re.compile(r"[A-Za-z0-9!#$%&'+^_`{}~.:-]{1,60}")
_NO_CHARSETS = frozenset({"idna", "punycode", "unicode_escape", "raw-unicode-escape", "undefined", "charmap", "mbcs", "oem"})
"""Python's text encodings that are no charsets."""

_NAMES = {
    "big5hkscs": "cnbig5 big5eten",
    "cp1252": "csisolatin1windows iso88591windows30latin1 iso88591windows31latin1 cswindows30latin1 cswindows31latin1",
    "cp874": "thai",
    "cp932": "windows31j",
    "cp949": "euckr ksc56011987 ksc56011989 korean isoir149",
    "euc_jp": "extendedunixcodepackedformatforjapanese eucpkdfmtjapanese eucjpms cp51932",
    "gb18030": "gb2312 gb231280 euccn eucgb2312cn",
    "hp_roman8": "hproman8 roman8 r8",
    "iso2022_jp_ext": "cp50220 cp50221 jis7 iso2022jpms",
    "iso8859_14": "isoceltic",
    "iso8859_15": "isolatin9",
    "iso8859_6": "iso88596i iso88596e",
    "iso8859_7": "suneugreek",
    "iso8859_8": "iso88598i iso88598e logical visual",
    "koi8_r": "koi koi8",
    "koi8_u": "koi8ru",
    "mac_cyrillic": "macukrainian",
    "mac_latin2": "macce",
    "mac_roman": "mac",
    "utf-8": "unicode11utf8",
    "utf_16": "iso10646ucs2 ucs2 unicode11 unicode",
    "utf_32": "iso10646ucs4 ucs4",
}
"""Codec -> its IANA and WHATWG names that Python lacks, in lower-case letters and digits, without x- and cs."""

_CODECS = {name: codec for codec, names in _NAMES.items() for name in names.split()}
_PAGE = re.compile(r"(?:windows|win|dos|ms|ibm|cp)0*(\d{3,5})")
_WITHOUT_CODEC = re.compile(
    r"(?:x|cs)*(?:(?:ibm|cp)\d{3,5}(?:multilingual)?|ibm(?:thai|symbols|ebcdic\w+)|ebcdic\w+|osdebcdicdf\w+"
    r"|iso(?:646|10646|2022|2033|4|5427|5428|6937|10367|8859supp|8859[12]windows|88599windows|ir|\d{1,3}[a-z]|unicode)\w*"
    r"|unicode\w*|utf(?:1|7imap)|cesu8|scsu|bocu1|userdefined|euc\w+|extendedunixcode\w+|jis(?:c|x|encoding)\w*|gb1988\w*"
    r"|ksc5636|koi7switched|tscii|viscii|viqr|tcvn\w*|vps|armscii8|georgian\w+|decmcs|dec|brf|mnemonic|mnem|invariant|ref"
    r"|hp(?:legal|pifont|math8|desktop|psmath)|adobe\w+|ventura\w+|microsoftpublishing|pc8\w+|windows\w+|amiga1251|ptcp154"
    r"|natsdano\w*|natssefi\w*|sen850200\w|bs4730|bsviewdata|din66003|nfz62010\w*|inis\w*|ansix3110\w*|t617bit|t618bit"
    r"|ecmacyrillic|csaz2434\w+|asmo449|msz77953|jusib1\w+|iecp271|greek7\w*|greekccitt|latingreek\w*|ncnc0010\w*"
    r"|gost1976874|latinlap|ds2089|usdk|dkus|mac\w+)"
)
"""Registered names that Python has no codec for."""

_SUPERSETS = {
    "ascii": ("ascii", "utf-8"),
    "big5": ("big5hkscs", "cp950", "big5"),
    "big5hkscs": ("big5hkscs", "cp950"),
    "euc_jp": ("euc_jp", "euc_jis_2004"),
    "euc_kr": ("cp949",),
    "gb2312": ("gb18030",),
    "gbk": ("gb18030",),
    "iso2022_jp": ("iso2022_jp_ext", "iso2022_jp_2004"),
    "iso2022_jp_ext": ("iso2022_jp_ext", "iso2022_jp_2004"),
    "iso8859-1": ("cp1252", "iso8859-1"),
    "iso8859-11": ("cp874", "iso8859-11"),
    "iso8859-9": ("cp1254", "iso8859-9"),
    "shift_jis": ("cp932", "shift_jis_2004"),
    "cp932": ("cp932", "shift_jis_2004"),
    "tis-620": ("cp874",),
}
"""The codecs that readers use for a name: supersets, with the signs that firmware, Windows and phones added."""

_WRITTEN = {
    "big5": "big5",
    "big5hkscs": "big5",
    "cp1252": "windows-1252",
    "cp874": "windows-874",
    "cp932": "Shift_JIS",
    "cp949": "euc-kr",
    "cp950": "big5",
    "euc_jp": "EUC-JP",
    "euc_kr": "euc-kr",
    "gb18030": "gb18030",
    "gb2312": "gb2312",
    "iso2022_jp_ext": "ISO-2022-JP",
    "koi8-r": "koi8-r",
    "koi8-u": "koi8-u",
    "mac-cyrillic": "x-mac-cyrillic",
    "mac-roman": "macintosh",
    "shift_jis": "Shift_JIS",
    "utf-16-be": "utf-16be",
    "utf-16-le": "utf-16le",
}


def is_name(charset: str) -> bool:
    """Whether it has the form of a charset's name, known or not (RFC 2978 s2.3)."""
    return _NAME.fullmatch(charset) is not None


@lru_cache(256)
def codec_of(charset: str) -> str:
    """Python's name of the codec for a charset; "" if there is none."""
    if not is_name(charset):
        return ""  # Python accepts more than other readers do
    bare = re.sub(r"[^a-z0-9]", "", charset.lower())
    stem = re.sub(r"\A(?:x|cs)+", "", bare)
    page = _PAGE.fullmatch(stem)
    for name in (charset, _CODECS.get(bare, ""), _CODECS.get(stem, ""), bare, stem, f"cp{page[1]}" if page else ""):
        if name and (found := _codec(name)):
            return found
    return ""


def _codec(name: str) -> str:
    try:
        found = codecs.lookup(name).name
        b"0\0\0\0".decode(found)  # raises LookupError if the codec is not for text
    except LookupError:
        return ""
    except ValueError:
        pass
    return "" if found in _NO_CHARSETS else found


@lru_cache(256)
def is_registered(charset: str) -> bool:
    """Whether IANA or WHATWG have a charset of that name, also one that we cannot read."""
    if not is_name(charset):
        return False
    return bool(codec_of(charset) or _WITHOUT_CODEC.fullmatch(re.sub(r"[^a-z0-9]", "", charset.lower())))


@lru_cache(256)
def readings(charset: str) -> tuple[str, ...]:
    """The codecs for text under that name, the most likely first; empty if there is none."""
    codec = codec_of(charset)
    return _SUPERSETS.get(codec, (codec,)) if codec else ()


def read(octets: bytes, charset: str) -> str | None:
    """The octets decoded under that name, with its supersets; None if they do not fit."""
    for codec in readings(charset):
        try:
            text = octets.decode(codec)
        except ValueError:
            continue
        # this codec has Vietnamese tone marks as separate characters
        return unicodedata.normalize("NFC", text) if codec == "cp1258" else text
    return None


def written(codec: str) -> str:
    """The name to write for a codec: the one that most mail readers know."""
    if codec in _WRITTEN:
        return _WRITTEN[codec]
    if codec.startswith("cp125"):
        return f"windows-{codec[2:]}"
    return f"iso-{codec[3:]}" if codec.startswith("iso8859") else codec
