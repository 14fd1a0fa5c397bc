"""Letters that nothing else has: the odd corners of header fields, parameters, parts and charsets."""

import base64

_DATE = "Date: Sun, 22 Nov 2026 11:59:00 +0900\n"
_ID = "Message-ID: <7@nas.example.test>\n"
_FROM = "From: NAS <nas@nas.example.test>\n"
_TO = "To: admin@example.jp\n"
_ALL = _DATE + _ID + _FROM + _TO
_MIME = _ALL + "MIME-Version: 1.0\n"


def _l(text: str | bytes, charset: str = "utf-8") -> bytes:
    return (text if isinstance(text, bytes) else text.encode(charset)).replace(b"\n", b"\r\n")


def _dated(said: str, charset: str = "utf-8") -> bytes:
    return _l(f"Date: {said}\n{_ID}{_FROM}{_TO}\nx\n", charset)


def _said(field: str, charset: str = "utf-8") -> bytes:
    return _l(f"{_ALL}{field}\n\nx\n", charset)


def _multi(kind: str, *parts: str, more: str = "", before: str = "", after: str = "", end: bool = True) -> bytes:
    body = "".join(f"--cut-here-1\n{part}\n" for part in parts)
    return _l(f"{_MIME}Content-Type: {kind}\n{more}\n{before}{body}{'--cut-here-1--' if end else ''}\n{after}")


_MIXED = 'multipart/mixed; boundary="cut-here-1"'
_HELLO = "Content-Type: text/plain\n\nhello\n"
_WIDE = "監視カメラの記録" * 9
_FILE = base64.encodebytes(bytes(range(256)) * 3).decode()

LETTERS: dict[str, bytes] = {
    "nothing": b"",
    "a body alone": b"hello\r\n",
    "a line end alone": b"\r\n",
    "no body": _l(_ALL),
    "no body, no line end": _l(_ALL)[:-2],
    # -- dates
    "date with comments": _dated("Sun, 22 Nov 2026 (a) 02:59:00 (b c) +0000 (UTC)"),
    "date am": _dated("22.11.2026 12:05 a.m."),
    "date pm": _dated("2026/11/22 1:59:00 p.m."),
    "date noon": _dated("2026/11/22 12:00 pm"),
    "date in Japanese": _dated("2026年11月22日 午前 2時59分"),
    "date in Japanese, afternoon": _dated("2026年11月21日 午後 11時59分 5秒"),
    "date Japanese month": _dated("22 11月 2026 02:59:00"),
    "date hours only": _dated("22 Nov 2026 02:59:00 +09"),
    "date negative zone": _dated("2026-11-21 22:59:00 -0330"),
    "date colon zone": _dated("2026-11-22T02:59:00+09:30"),
    "date gmt offset": _dated("Sun Nov 22 2026 02:59:00 GMT+0100 (CET)"),
    "date compact": _dated("20261122T025900Z"),
    "date compact, blank": _dated("20261122 025900"),
    "date compact, glued": _dated("backup of 20261122025900 done"),
    "date fraction": _dated("2026-11-22T02:59:00.123456Z"),
    "date epoch": _dated("1795316340"),
    "date epoch fraction": _dated("1795316340.5"),
    "date two figures": _dated("22-Nov-26 02:59:00 JST"),
    "date last century": _dated("22-Nov-96 02:59:00 JST"),
    "date year 49": _dated("22-Nov-49 02:59:00"),
    "date year 50": _dated("22-Nov-50 02:59:00"),
    "date asctime": _dated("Sun Nov 22 02:59:00 2026"),
    "date asctime zone": _dated("Sun Nov 22 02:59:00 JST 2026"),
    "date French": _dated("dim., 22 novembre 2026 02:59:00 +0100"),
    "date mardi": _dated("mar., 24 nov. 2026 02:59:00 +0100"),
    "date German": _dated("So, 22 März 2026 02:59:00 MEZ"),
    "date month first": _dated("11/22/2026 02:59"),
    "date ambiguous": _dated("11/10/2026 02:59"),
    "date same day and month": _dated("11/11/2026 02:59"),
    "date day first": _dated("22/11/2026 02:59:00 CET"),
    "date dots": _dated("2.11.2026 02:59:00"),
    "date dashes": _dated("22-11-2026 02:59:00"),
    "date leap second": _dated("Sun, 22 Nov 2026 02:59:60 GMT"),
    "date obsolete zone": _dated("Sun, 22 Nov 2026 02:59:00 PST"),
    "date military zone": _dated("Sun, 22 Nov 2026 02:59:00 Z"),
    "date wide zone": _dated("Sun, 22 Nov 2026 02:59:00 +2400"),
    "date no time": _dated("Sun, 22 Nov 2026"),
    "date no day": _dated("02:59:00"),
    "date exact, west": _dated("Sat, 21 Nov 2026 22:59:00 -0400"),
    "date exact, west and half": _dated("Sat, 21 Nov 2026 23:29:00 -0330"),
    "date exact, east and half": _dated("Sun, 22 Nov 2026 08:29:00 +0530"),
    "date two years": _dated("2026 Nov 2025 02:59:00"),
    "date one number": _dated("Nov 22 02:59:00"),
    "date three numbers": _dated("22 Nov 2026 7 02:59:00"),
    "date 32": _dated("Sun, 32 Nov 2026 02:59:00 +0000"),
    "date folded": _dated("Sun,\n 22 Nov 2026\n\t11:59:00 +0900"),
    "date blanks": _dated("  Sun,  22  Nov 2026 11:59:00 +0900 "),
    "date 8-bit": _dated("日 22 Nov 2026 11:59:00 +0900", "cp932"),
    "date long": _dated("once upon a time " * 40),
    "date long, with words": _dated("むかしむかし " * 60),
    "date and its original": _l("X-Original-Date: then\n" + "Date: yesterday\n" + _ID + _FROM + _TO + "\nx\n"),
    "dates, one good": _l("Date: yesterday\n" + _ALL + "\nx\n"),
    "dates, none good": _l("Date: yesterday\nDate: 22.11.2026 12:05\n" + _ID + _FROM + _TO + "\nx\n"),
    "dates, both good": _l(_DATE + "Date: Sun, 22 Nov 2026 02:58:00 +0000\n" + _ID + _FROM + _TO + "\nx\n"),
    "date signed": _l(
        "DKIM-Signature: v=1; h=from:date; b=x\nDate: Sun, 1 Mar 2020 02:59:00 GMT\n" + _ID + _FROM + _TO + "\nx\n"
    ),
    # -- ids
    "ids, two": _l(_ALL + "Message-ID: <8@nas.example.test>\n\nx\n"),
    "ids, one bad": _l("Message-ID: 8\n" + _ALL + "\nx\n"),
    "id too long": _l(_DATE + f"Message-ID: <{'i' * 950}@nas.example.test>\n" + _FROM + _TO + "\nx\n"),
    "id with blanks": _l(_DATE + "Message-ID: < 7@nas.example.test >\n" + _FROM + _TO + "\nx\n"),
    "id 8-bit": _l(_DATE + "Message-ID: <監視@nas.example.test>\n" + _FROM + _TO + "\nx\n"),
    # -- authors
    "from two": _l(_DATE + _ID + "From: a@a.example.com, B <b@b.example.com>\n" + _TO + "\nx\n"),
    "from two and a sender": _l(
        _DATE + _ID + "From: a@a.example.com, B <b@b.example.com>\nSender: b@b.example.com\n" + _TO + "\nx\n"
    ),
    "from two fields": _l(
        _DATE + _ID + "From: a@nas.local\nFrom: B <b@b.example.com>\n" + _TO + "Reply-To: c@c.example.com\n\nx\n"
    ),
    "from two fields, both public": _l(_DATE + _ID + "From: a@a.example.com\nFrom: B <b@b.example.com>\n" + _TO + "\nx\n"),
    "from group": _l(_DATE + _ID + "From: all: a@a.example.com;\n" + _TO + "\nx\n"),
    "from label": _l(_DATE + _ID + "From: sender: nas@nas.example.test\n" + _TO + "\nx\n"),
    "from words around": _l(_DATE + _ID + "From: my nas (nas@nas.example.test) in the hall\n" + _TO + "\nx\n"),
    "from name behind": _l(_DATE + _ID + "From: <nas@nas.example.test> NAS\n" + _TO + "\nx\n"),
    "from backslash": _l(_DATE + _ID + 'From: "NAS \\"one\\" \\\\ two" <nas@nas.example.test>\n' + _TO + "\nx\n"),
    "from quotes within": _l(_DATE + _ID + 'From: NAS "one" <nas@nas.example.test>\n' + _TO + "\nx\n"),
    "from nested comment": _l(_DATE + _ID + "From: (a (b) c) nas@nas.example.test (d)\n" + _TO + "\nx\n"),
    "from encoded": _l(
        _DATE + _ID + "From: =?utf-8?B?55uj6KaW?= =?utf-8?Q?=E3=82=AB?= <nas@nas.example.test>\n" + _TO + "\nx\n"
    ),
    "from encoded and quoted": _l(_DATE + _ID + 'From: "=?utf-8?B?55uj6KaW?=" <nas@nas.example.test>\n' + _TO + "\nx\n"),
    "from encoded address": _l(_DATE + _ID + "From: =?utf-8?Q?nas=40nas.example.test?=\n" + _TO + "\nx\n"),
    "from mailto": _l(_DATE + _ID + "From: mailto:nas@nas.example.test\n" + _TO + "\nx\n"),
    "from LAN, nobody": _l(_DATE + _ID + "From: the nas in the hall\n" + _TO + "\nx\n"),
    "from long words": _l(_DATE + _ID + f"From: {'w' * 90} <nas@nas.example.test>\n" + _TO + "\nx\n"),
    "from dots": _l(_DATE + _ID + "From: <.nas..one.@nas.example.test>\n" + _TO + "\nx\n"),
    "from encoded newline": _l(_DATE + _ID + "From: =?utf-8?Q?a=0D=0ABcc:_b?= <nas@nas.example.test>\n" + _TO + "\nx\n"),
    "from long name": _l(_DATE + _ID + f"From: {'very ' * 90}long <nas@nas.example.test>\n" + _TO + "\nx\n"),
    "from long name, 8-bit": _l(_DATE + _ID + f"From: {_WIDE} <nas@nas.example.test>\n" + _TO + "\nx\n"),
    "from two angles": _l(_DATE + _ID + "From: <root> <nas@nas.example.test>\n" + _TO + "\nx\n"),
    "from semicolons": _l(_DATE + _ID + "From: nas@nas.example.test; b@b.example.com\n" + _TO + "\nx\n"),
    "from idn": _l(_DATE + _ID + "From: NAS <nas@例え。テスト。>\n" + _TO + "\nx\n"),
    "from trailing dot": _l(_DATE + _ID + "From: nas@nas.example.test.\n" + _TO + "\nx\n"),
    "from route": _l(_DATE + _ID + "From: <@a,@b:nas@nas.example.test>\n" + _TO + "\nx\n"),
    "from quoted local": _l(_DATE + _ID + 'From: "my nas"@nas.example.test\n' + _TO + "\nx\n"),
    "from and its original": _l(_DATE + _ID + "From: root\nX-Original-From: before\n" + _TO + "\nx\n"),
    "from resent": _l(_ALL + "Resent-From: b@b.example.com\nResent-Date: 1\n\nx\n"),
    "from signed": _l("DKIM-Signature: v=1; h=from:to; b=x\n" + _ALL + "\nx\n"),
    # -- others who are named
    "sender public": _said("Sender: taro@isp.example"),
    "sender elsewhere": _said("Sender: Watch <watch@b.example.com>"),
    "sender two": _said("Sender: a@a.example.com, b@b.example.com"),
    "sender without address": _said("Sender: the watch"),
    "reply-to elsewhere": _said("Reply-To: Desk <desk@b.example.com>"),
    "reply-to mixed": _said("Reply-To: Desk <desk@b.example.com>, nas@nas.local, root"),
    "reply-to on the LAN": _said("Reply-To: nas@nas.local"),
    "reply-to group": _said("Reply-To: desk: a@b.example.com;"),
    "to names": _said("Cc: root:;, the boss, a@b.example.com"),
    "to name with a colon": _said("Cc: root: a@b.example.com"),
    "to LAN": _said("Cc: " + ", ".join(f"u{number}@nas.local" for number in range(8))),
    "to LAN, five": _said("Cc: " + ", ".join(f"u{number}@nas.local" for number in range(5))),
    "to comments": _said("Cc: (one) a@b.example.com (two) (three), (four), root (five)"),
    "to glued": _said("Cc: a@b.example.com,b@b.example.com;c@b.example.com"),
    "to quoted comma": _said('Cc: "Doe, J (x)" <j@b.example.com> b@b.example.com'),
    "to parenthesis open": _said("Cc: a@b.example.com (the boss"),
    "to many": _said("Cc: " + ", ".join(f"somebody.with.a.name{number}@b.example.com" for number in range(40))),
    "to many, one line": _said("Cc: " + ",".join(f"somebody.with.a.name{number}@b.example.com" for number in range(40))),
    "to twice": _said("To: b@b.example.com,\nTo:"),
    "cc of nothing": _said("Cc: , ;"),
    "bcc": _said("Bcc: secret@b.example.com\nReturn-Path: <x@y.z>\nResent-Bcc: d@b.example.com"),
    "receipt long": _said("Disposition-Notification-To: " + ",".join(f"a{n:060}@b.example.com" for n in range(14))),
    # -- text in fields
    "subject words": _said("Subject: =?utf-8?B?55uj6KaW?= and =?iso-2022-jp?B?GyRCNEZLPBsoQg==?= =?x-none?Q?a=E9?="),
    "subject underscore": _said("Subject: =?utf-8?Q?a_b=5Fc?= 監"),
    "subject unpadded": _said("Subject: =?utf-8?B?55uj6KaW44Kr?= =?utf-8?B?44Kr44Oh?= =?utf-8?B?44Op4?= 監"),
    "subject Latin-1 label": _said("Subject: =?iso-8859-1?Q?=E7=9B=A3=E8=A6=96=E3=82=AB?= =?ISO-8859-1?B?44Oh44Op?="),
    "subject Latin-1 meant": _said("Subject: =?iso-8859-1?Q?caf=E9?= =?iso-8859-1?B?6Q==?="),
    "subject Latin-1": _said("Subject: Température élevée du boîtier", "latin-1"),
    "subject Latin-1 capitals": _said("Subject: ÉTÉ ÄÖÜ ß", "latin-1"),
    "subject Windows": _said("Subject: “Fehler” – 20 € … 30 °C", "cp1252"),
    "subject Shift_JIS": _said("Subject: ＮＡＳ：温度が高い、停止します。", "cp932"),
    "subject Shift_JIS, letters": _said("Subject: HDD1異常 disk障害 err警告", "cp932"),
    "subject Shift_JIS, half-width": _said("Subject: ﾃﾞｨｽｸ ｴﾗｰ HDDｴﾗｰ", "cp932"),
    "subject EUC": _said("Subject: ＮＡＳ：温度が高い、停止します。", "euc-jp"),
    "subject EUC, half-width": _said("Subject: ﾃﾞｨｽｸ", "euc-jp"),
    "subject EUC, rare": _said("Subject: 齟齬 驫", "euc-jp"),
    "subject Shift_JIS, rare": _said("Subject: 齟齬 驫", "cp932"),
    "subject JIS": _said("Subject: 監視カメラ", "iso-2022-jp"),
    "subject JIS, half-width": _l(_ALL) + b"Subject: \x1b$B4F;k\x1b(I6RW\x1b(J ok\x1b(B end\r\n\r\nx\r\n",
    "subject JIS, circled": _l(_ALL) + b"Subject: \x1b$B-!-j\x1b(B \x1b(I\x21\x7e\x1b(B\r\n\r\nx\r\n",
    "subject JIS, broken": _l(_ALL) + b"Subject: \x1b$B4F;\x1b(B ok\x1b(X\r\n\r\nx\r\n",
    "subject Chinese": _said("Subject: 硬盘温度过高，请检查风扇", "gbk"),
    "subject odd": _l(_ALL) + b"Subject: \x80\x81\xfe\xff \xf0\r\n\r\nx\r\n",
    "subject long": _said("Subject: " + _WIDE * 5),
    "subject long, one word": _said("Subject: " + "x" * 1500),
    "subject long, words": _said("Subject: " + "word " * 300),
    "subject controls": _l(_ALL) + b"Subject: a\x07b\x0bc\x1bd\x7fe\r\n\r\nx\r\n",
    "references glued": _said("References: " + "".join(f"<{n:040}@b.example.com>" for n in range(30))),
    "references 8-bit": _said("References: <監@b.example.com> <a@b.example.com>"),
    "received long": _said("Received: from " + "x" * 400 + " " + "y" * 950 + " by z; then"),
    "signature long": _said("DKIM-Signature: v=1; b=" + "A1b2" * 400),
    "signature 8-bit": _said("DKIM-Signature: v=1; b=監視"),
    "unknown field long": _said("X-Data: " + "{" + "é" * 900 + "}"),
    "blank fold": _said("X-Data: a\n \n\tb\n \t \n c"),
    "tab fold": _said("Subject: a\n\tb\n\t\tc"),
    # -- the header's shape
    "blanks end the header": _l(_ALL + " \t\nhello\n"),
    "blanks within the header": _l(_DATE + _ID + " \t\n" + _FROM + _TO + "\nhello\n"),
    "blanks before a continuation": _l(_ALL + "Subject: a\n  \n b\n\nhello\n"),
    "blanks before": _l("\n \n\t\n" + _ALL + "\nhello\n"),
    "form feed before": _l("\x0c\n" + _ALL + "\nhello\n"),
    "indented first": _l("\t " + _ALL + "\nhello\n"),
    "indented text first": _l(" hello there\n" + _ALL + "\nhello\n"),
    "no fields among fields": _l(_DATE + "hello there\nand there\n" + _ID + "once more\n" + _FROM + _TO + "\nx\n"),
    "no fields, many lines": _l(_DATE + "hello there\n" * 40 + _ID + "once\nmore\n\ttab\n" + _FROM + _TO + "\nx\n"),
    "a long run of blanks within the header": _l(_DATE + " \n" * 48 + _ID + _FROM + _TO + "\nx\n"),
    "a longer run of blanks": _l(_DATE + " \n" * 60 + _ID + _FROM + _TO + "\nx\n"),
    "no field then a continuation": _l(_DATE + "hello there\n more\n" + _ID + _FROM + _TO + "\nx\n"),
    "NUL in a field": _l(_DATE + _ID + "X-A: a\0b\n" + _FROM + _TO + "\nx\0y\n"),
    "NUL in no field": _l(_DATE + "hel\0lo\n" + _ID + "two\0\nthr\0ee\n" + _FROM + _TO + "\nx\n"),
    "gaps before colons": _l(
        "Date : Sun, 22 Nov 2026 11:59:00 +0900\n" + _ID + "From\t: nas@nas.example.test\n" + _TO + "\nx\n"
    ),
    "mbox": _l("From root Sun Nov 22 02:59:00 2026\n" + _ALL + "\nFrom here\n"),
    "mbox without a date": _l("From root\n" + _ALL + "\nx\n"),
    "quoted mbox": _l(">From root Sun Nov 22 02:59:00 2026\n" + _ALL + "\nx\n"),
    "text at once": _l("The disk is full: /dev/sda\n\nSubject: x\n"),
    "text, then a header": _l("hello there\nyou all\n" + _ALL + "\nx\n"),
    "bare LF": (_ALL + "Subject: a\n b\n\nx\ny\n").encode(),
    "bare CR": (_ALL + "Subject: a\n\nx\ny\n").encode().replace(b"\n", b"\r"),
    "CR CR LF": (_ALL + "Subject: a\n\nx\n\ny\n").encode().replace(b"\n", b"\r\r\n"),
    "mixed ends": b"Subject: a\nTo: b@b.example.com\rX-A: b\r\n\nx\ry\n\r\nz",
    # -- MIME fields
    "type twice": _l(_MIME + "Content-Type: nonsense\nContent-Type: text/html; charset=utf-8\n\n<p>完</p>\n"),
    "type twice, both good": _l(_MIME + "Content-Type: text/plain (x)\nContent-Type: text/html\n\nx\n"),
    "encoding twice": _l(_MIME + "Content-Transfer-Encoding: odd\nContent-Transfer-Encoding: 8BIT\n\n完\n"),
    "encoding twice, base64": _l(_MIME + "Content-Transfer-Encoding: odd\nContent-Transfer-Encoding: Base64\n\neHg=\n"),
    "encoding binary": _l(_MIME + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: binary\n\n完\n"),
    "encoding false": _l(
        _MIME + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n完 is no base64\n"
    ),
    "quoted-printable with 8-bit": _l(
        _MIME
        + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\na=E3=81=82 完 =\nb = c\t\n"
    ),
    "quoted-printable, long": _l(
        _MIME
        + "Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n"
        + "=41b" * 30
        + "\n"
        + "x" * 1200
        + "\n"
    ),
    "quoted-printable, 76 and 77": _l(
        _MIME
        + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n"
        + f"{'a' * 76}\n{'b' * 77}\n{'c' * 75}\n完\n"
    ),
    "long lines": _l(_MIME + "Content-Type: text/plain\n\n" + "x" * 998 + "\n" + "y" * 999 + "\n. \n.\nFrom here\n"),
    "long lines, 8-bit": _l(_MIME + "Content-Type: text/plain; charset=utf-8\n\n" + "完" * 400 + " \nz\n"),
    "charset unknown": _l(_MIME + "Content-Type: text/plain; charset=x-none\n\n完\n"),
    "charset ascii": _l(_MIME + "Content-Type: text/plain; charset=us-ascii\n\n完了しました\n", "cp932"),
    "charset not said": _l(_MIME + "Content-Type: text/html\n\n<p>完了しました</p>\n", "euc-jp"),
    "charset in capitals": _l(_MIME + "Content-Type: TEXT/PLAIN; CHARSET=UTF-8\n\n完了\n"),
    "charset wrong": _l(_MIME + "Content-Type: text/plain; charset=utf-8\n\n完了しました\n", "cp932"),
    "charset mostly wrong": _l(_MIME + "Content-Type: text/plain; charset=cp932\n\n完了しました。監視カメラ\n"),
    "body in Latin-1": _l(_ALL + "\nTempérature élevée\n", "latin-1"),
    "body in UTF-16": _l(_MIME + "Content-Type: text/plain; charset=utf-16\n\n") + "完了\r\n".encode("utf-16"),
    "body with escapes": _l(_ALL + "\n完了しました\n", "iso-2022-jp"),
    "parameter raw": _l(_MIME + 'Content-Type: text/plain; charset=utf-8; name="完了.txt"\n\nx\n'),
    "parameter raw, long": _l(_MIME + f'Content-Type: text/plain; name="{_WIDE}.txt"; charset=utf-8; x=y\n\nx\n'),
    "parameter raw, Shift_JIS": _l(_MIME + 'Content-Disposition: attachment; filename="完了 表.txt"\n\nx\n', "cp932"),
    "parameter long": _l(_MIME + "Content-Type: text/plain;" + ";".join(f"p{n}={'v' * 60}" for n in range(20)) + "\n\nx\n"),
    "parameter endless": _l(_MIME + f'Content-Type: text/plain; name="{"v" * 1500}"; charset=utf-8\n\nx\n'),
    "type with a comment": _l(_MIME + "Content-Type: text/plain (plain); charset=utf-8\n\n完\n"),
    "type, empty": _l(_MIME + "Content-Type:\nContent-Disposition: inline\nContent-Disposition: attachment\n\nx\n"),
    "encoding twice, quoted-printable": _l(
        _MIME + "Content-Transfer-Encoding: q\nContent-Transfer-Encoding: quoted-printable\n\na=3D\n"
    ),
    "encoding twice, binary": _l(_MIME + "Content-Transfer-Encoding: q\nContent-Transfer-Encoding: Binary\n\na\n"),
    "quoted-printable without an end": _l(_MIME + "Content-Transfer-Encoding: quoted-printable\n\n完 =")[:-1],
    "base64 without an end": _l(_MIME + "Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n" + "QUJD" * 300 + "QQ"),
    "base64, unwrapped with 8-bit": _l(_MIME + "Content-Transfer-Encoding: base64\n\n" + "QUJD" * 300 + "é\n"),
    "file in words, labelled": _l(_MIME + "Content-Type: application/csv; charset=cp932\n\n完了,1\n", "cp932"),
    "file of octets, 8-bit": _l(_MIME + "Content-Type: application/octet-stream\n\n完了\n"),
    "file of octets, Content-Type unreadable": _l(_MIME + "Content-Type: csv; charset=utf-8\n\n完了\n"),
    "type without a semicolon": _l(_MIME + "Content-Type: text/plain charset=utf-8\n\n完了\n"),
    "parts, type without a semicolon": _multi('multipart/mixed boundary="cut-here-1"', _HELLO, "\n完\n"),
    "encoding x-": _l(_MIME + "Content-Type: text/plain\nContent-Transfer-Encoding: X-UUENCODE\n\nbegin 644 a\n完\n`\nend\n"),
    "encoding in quotes": _l(_MIME + "Content-Transfer-Encoding: 'base64';\n\neHg=\n"),
    "encoding with a comment": _l(_MIME + "Content-Transfer-Encoding: (mine) base64\n\neHg=\n"),
    "large, short lines": _l(_ALL + "\n" + "完 of many\n" * 20_000),
    "large, one line": _l(_ALL + "\n" + "完" * 40_000),
    "large, mixed ends": (_ALL + "\n" + "a\rb\nc\r\r\nd\r\n" * 15_000).encode(),
    "large, parts": _multi(_MIXED, f"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n{_FILE * 90}", "\n完\n"),
    "header of a quarter of a megabyte": _l(_ALL + f"X-A: {'word ' * 40}\n" * 1_310 + "\nbody\n"),
    # -- parts
    "parts": _multi(_MIXED, _HELLO, "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n<p>完</p>\n"),
    "parts without an end": _multi(_MIXED, _HELLO, "\n完\n", end=False),
    "parts, raw names": _multi(
        _MIXED, _HELLO, f'Content-Type: image/jpeg; name="監視.jpg"\nContent-Transfer-Encoding: base64\n\n{_FILE}'
    ),
    "parts, raw encoding": _multi(_MIXED, _HELLO, "Content-Type: text/plain\nContent-Transfer-Encoding: 8bit監\n\n完\n"),
    "parts, raw disposition": _multi(
        _MIXED, 'Content-Disposition: attachment; filename="記録.txt"\nContent-Description: 監視\nX-A: é\n\nhello\n'
    ),
    "parts, no head": _multi(_MIXED, "\nhello\n", "hello without a head\n", "\n\n"),
    "parts, indented head": _multi(_MIXED, "Content-Type: text/plain;\n\tcharset=utf-8\n\n完\n", " odd\n\nx\n"),
    "parts, before and after": _multi(_MIXED, _HELLO, before="for old readers 完\n" + "p" * 1200 + "\n", after="the end\n"),
    "parts, as base64": _multi(_MIXED, _HELLO, "\n完\n", more="Content-Transfer-Encoding: base64\n"),
    "parts, as quoted-printable": _multi(_MIXED, _HELLO, more="Content-Transfer-Encoding: quoted-printable\n"),
    "parts, as binary": _multi(_MIXED, _HELLO, "\n完\n", more="Content-Transfer-Encoding: binary\n"),
    "parts, as 7bit": _multi(_MIXED, _HELLO, "\n完\n", more="Content-Transfer-Encoding: 7bit\n"),
    "parts, as nonsense": _multi(_MIXED, _HELLO, more="Content-Transfer-Encoding: zip\n"),
    "parts, no boundary said": _multi("multipart/mixed", _HELLO, "\n完\n"),
    "parts, only dashes": _multi("multipart/mixed", "\nx\n").replace(b"cut-here-1", b"----"),
    "parts, another boundary": _multi('multipart/mixed; boundary="other"', _HELLO, _HELLO),
    "parts, glued": _multi(_MIXED, _HELLO).replace(b"hello\r\n\r\n--cut", b"hello--cut"),
    "parts, glued base64": _multi(_MIXED, f"Content-Type: image/jpeg\nContent-Transfer-Encoding: base64\n\n{_FILE}").replace(
        b"\r\n\r\n--cut-here-1--", b"--cut-here-1--"
    ),
    "parts, boundary with blanks": _multi("multipart/mixed; boundary=cut-here-1 ; x=y", _HELLO, "\n完\n"),
    "parts, boundary raw": _multi("multipart/mixed; boundary=cut-here-1", "\n完\n").replace(b"cut-here-1", "境界".encode()),
    "parts, nested": _multi(
        _MIXED,
        'Content-Type: multipart/alternative; boundary="in"\n\n--in\nContent-Type: text/plain\n\n完\n--in\n\nx\n--in--\n',
        _HELLO,
    ),
    "parts, nested without an end": _multi(
        _MIXED, 'Content-Type: multipart/alternative; boundary="in"\n\n--in\nContent-Type: text/plain\n\n完\n', _HELLO
    ),
    "parts, a letter": _multi(_MIXED, _HELLO, "Content-Type: message/rfc822\n\nSubject: 監視\nTo: root\n\n完\n"),
    "a letter": _l(_MIME + "Content-Type: message/rfc822\n\nSubject: 監視\n\n完\n"),
    "a letter as base64": _l(
        _MIME + "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA0KDQp4DQo=\n"
    ),
    "parts, a letter as base64": _multi(
        _MIXED, "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA0KDQp4DQo=\n"
    ),
    "parts, signed": _multi(
        'multipart/signed; boundary="cut-here-1"', "Content-Type: text/plain\n\n完 \n", "Content-Type: x/y\n\ns\n"
    ),
    "parts, long lines": _multi(_MIXED, "Content-Type: text/plain\n\n" + "x" * 1500 + "\n", "\n完" + "y" * 1200 + "\n"),
    "parts, a thousand": _multi(_MIXED, *(["\nx\n"] * 1003)),
    "parts, binary": _l(_MIME + f"Content-Type: {_MIXED}\n\n--cut-here-1\nContent-Type: image/png\n\n")
    + bytes(range(256))
    + b"\r\n--cut-here-1--\r\n",
}
