"""What encoded-words and raw octets say to a person."""

from collections.abc import Callable, Iterator
from functools import partial

from relay.mail.charset import decode, vote
from relay.mail.charset_labels import is_name
from relay.mail.encoded_words import decode_words, encode_text, encode_word, fold, hides_controls, readable
from relay.mail.reply import Reply

FALLBACK = ("utf-8", "cp932", "euc-jp", "latin-1")

WORDS = [
    "no words",
    "=?",
    "=?utf-8?B?55uj6KaW?=",
    "a =?utf-8?B?55uj?= \t=?UTF-8?b?6KaW?= b",
    "=?utf-8?B?55uj6A==?= =?UTF-8?B?poY=?= end",
    "=?utf-8?Q?=E7=9B=A3=E8?= =?utf-8?Q?=A6=86?=",
    "=?utf-8?Q?=E7=9B=A3=E8?= =?iso-8859-1?Q?caf=E9?=",
    "=?utf-8?Q?=E7=9B=A3=E8?= =?iso-8859-1?Q?caf=E9?= =?iso-8859-1?Q?=E9?=",
    "=?utf-8?Q?=E8?=",
    "a =?utf-8?Q?=E8?= b",
    "=?x-none?Q?a?= =?utf-8?Q?b?=",
    "=?x-none?Q?a?= =?x-none?Q?b?= =?utf-8?Q?c?=",
    "=?utf-8?B?5?= =?utf-8?Q?ok?=",
    "=?utf-8?B?55u?= =?utf-8?B?j?=",
    "=?utf-8?B?YWI?= =?utf-8?B?YWJj?= =?utf-8?b?YQ?=",
    "=?iso-2022-jp?B?GyRCNEZLPBsoQg==?= =?ISO-2022-JP?B?GyRCNEZLPBsoQg==?=",
    "=?iso-2022-jp?B?GyRCNEY=?= =?iso-2022-jp?B?SzwbKEI=?=",
    "=?utf-8*ja?Q?a_b=5Fc=20d?=",
    "=?utf-8?q?a=0D=0ABcc:_b?= =?utf-8?q?=1B[2J?=",
    "=?utf-8?q?a=ZZ_=?= =?utf-8?q?=?=",
    "(=?utf-8?q?a?=)=?utf-8?q?b?=",
    "=?utf-8?q?a?= and\r\n =?utf-8?q?b?=\r\n\t=?utf-8?q?c?=",
    "=?utf-8?q?" + "x" * 2100 + "?=",
    "=?cp932?B?g1aDWA==?= =?shift_jis?Q?=83V=83X?=",
    "=?utf-16?B?MHQwuQ==?=",
    "=?rot13?Q?uryyb?= =?hex?Q?6162?=",
]
PLAIN = [
    "",
    "plain",
    "監",
    "plain 監 視 plain カメラ",
    " 監  視 ",
    "\t監\tx",
    "監視カメラの記録" * 6,
    "é" * 21,
    "é" * 22,
    "a" * 41 + "監",
    "𠮷" * 30,
    "one é two three four é five",
    "\ud800 x",
    "x" * 100,
    "word " * 40,
    "a\r\nBcc: b\x00\x0b\x7f c",
    "監 =?utf-8?q?a?=",
]
RAW: dict[str, bytes] = {
    "Latin-1": "Température élevée".encode("latin-1"),
    "Latin-1, one letter": b"caf\xe9",
    "Latin-1 capitals": "ÉTÉ ÄÖÜß ÿ ø".encode("latin-1"),
    "Windows": "“Fehler” – 20 € … 30 °C ‘x’".encode("cp1252"),
    "degree": b"30 \xb0C",
    "Shift_JIS": "監視カメラの停止".encode("cp932"),
    "Shift_JIS short": "停電".encode("cp932"),
    "Shift_JIS, with letters": "HDD1異常 disk障害 A表示".encode("cp932"),
    "Shift_JIS half-width": "ﾃﾞｨｽｸ ｴﾗｰ".encode("cp932"),
    "Shift_JIS half-width, letters": "HDDｴﾗｰ".encode("cp932"),
    "Shift_JIS half-width, one": "aｱ".encode("cp932"),
    "Shift_JIS wide signs": "【ＮＡＳ】、。・～".encode("cp932"),
    "Shift_JIS rare": "齟齬 驟雨".encode("cp932"),
    "Shift_JIS rare beside letters": "x齟 齬y".encode("cp932"),
    "EUC": "監視カメラの停止".encode("euc-jp"),
    "EUC short": "停電".encode("euc-jp"),
    "EUC half-width": "ﾃﾞｨｽｸ".encode("euc-jp"),
    "EUC half-width, one": "ﾃ".encode("euc-jp"),
    "EUC rare": "齟齬 驟雨".encode("euc-jp"),
    "EUC wide signs": "【ＮＡＳ】、。・".encode("euc-jp"),
    "UTF-8": "監視 é".encode(),
    "UTF-8 and Latin-1": "監視".encode() + b" \xe9",
    "JIS": "監視 x".encode("iso-2022-jp"),
    "JIS half-width": b"\x1b(I6RW\x1b(B \x1b$B4F;k\x1b(J\\~\x1b(B",
    "JIS circled": b"\x1b$B-!-j\x1b(B ok",
    "JIS and half-width, circled": b"\x1b$B-!\x1b(I6R\x1b(B ok \xe9",
    "JIS 1978": b"\x1b$@4F;k\x1b(B",
    "JIS cut": b"\x1b$B4F;",
    "escape alone": b"a\x1b[2Jb",
    "odd octets": b"\x80\x81\xfe\xff\xa0",
    "C1": b"a\x85b\x9fc \xe9",
    "controls": b"a\x07b\tc\nd\x7f\xe2\x80\xa8e",
    "GBK": "硬盘温度过高，请检查风扇".encode("gbk"),
    "Big5": "硬碟溫度過高，請檢查風扇".encode("big5"),
    "KOI8-R": "Температура слишком высокая".encode("koi8-r"),
}
NAMES = ["utf-8", "UTF-8", "x none", "", "a" * 50, "iso-8859-1", "iso_8859:1", "cp932'", 'a"b', "a;b", "é", "Shift_JIS", "A-Z"]
REPLIES = [
    (250, "2.0.0 taken"),
    (250, "taken"),
    (550, "5.1.1 <a@b.example>: no such user"),
    (550, "4.1.1 no"),
    (450, "4.2.0 a\n4.2.0 b\nc 4.2.0"),
    (552, "sorry (#5.7.1)"),
    (452, "sorry (#5.7.1)"),
    (553, "5.7.1"),
    (554, "  5.7.1   blanks  \n  more "),
    (554, "5.7 no status"),
    (554, "5.7.1000 no status"),
    (554, "5.123.456 a status"),
    (554, ""),
    (354, "go on"),
    (421, "4.3.2"),
    (550, "spam, see (#5.7.1) and (#5.7.2)"),
    (550, "x (#5.7.1) y"),
    (550, "Requested action not taken #5.1.1"),
]


def texts() -> Iterator[tuple[str, Callable[[], str]]]:
    """Name, and what makes the text under it."""
    for text in WORDS:
        yield f"words {text[:60]!r}", partial(_words, text)
    for text in PLAIN:
        yield f"text {text[:60].encode('ascii', 'backslashreplace').decode()!r}", partial(_encoded, text)
    for name, octets in RAW.items():
        yield f"octets {name}", partial(_octets, octets)
    yield "votes", _votes
    yield "names", lambda: "".join(f"{name!r}: {is_name(name)}\n" for name in NAMES)
    for code, said in REPLIES:
        yield f"reply {code} {said!r}", partial(_reply, code, said)


def _words(text: str) -> str:
    return f"{decode_words(text)!r}\n{readable(text)!r}\nhides: {hides_controls(text)}\n"


def _encoded(text: str) -> str:
    folded = [fold(name, text) for name in ("Subject", "X" * 60)] + [fold("Subject", text, 30)]
    shown = [encode_word(text), encode_text(text), *(line.decode("utf-8", "backslashreplace") for line in folded)]
    return "".join(f"{line!r}\n" for line in shown)


def _octets(octets: bytes) -> str:
    votes = [vote([octets], FALLBACK), vote([octets], ("euc-jp", "cp932")), vote([octets], ("gbk", "big5", "koi8-r", "cp932"))]
    said = [decode(octets, charset) for charset in ("utf-8", "cp932", "euc-jp", "latin-1", "x-none", votes[0])]
    return f"{votes}\n" + "".join(f"{text!r}\n" for text in said)


def _votes() -> str:
    ballots = [
        ([], FALLBACK),
        ([b"ascii"], FALLBACK),
        ([*RAW.values()], FALLBACK),
        ([RAW["EUC"], RAW["Shift_JIS"], RAW["EUC short"]], FALLBACK),
        ([RAW["Shift_JIS"]], ()),
        ([RAW["Shift_JIS"]], ("ascii", "utf-8", "x-none")),
        ([RAW["Shift_JIS"]], ("euc-jp",)),
        ([RAW["EUC half-width"], RAW["EUC half-width, one"]], FALLBACK),
        ([RAW["Windows"]], ("latin-1", "cp932")),
        ([RAW["Latin-1"] * 400], FALLBACK),
        ([RAW["GBK"]] * 3, ("gbk", "euc-jp")),
        ([RAW["UTF-8"]] * 3 + [RAW["Latin-1"]], FALLBACK),
    ]
    return "".join(f"{vote(pieces, names)}\n" for pieces, names in ballots)


def _reply(code: int, said: str) -> str:
    reply = Reply.of(code, said)
    return f"{reply!r}\n{reply}\n{reply.positive} {reply.transient} {reply.permanent}\n"
