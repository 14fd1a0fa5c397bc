"""One letter of our own for each row of the message quirks (M1 to M55): what is wrong, and what must leave.

Each row: its number, the octets as a device sends them, and what the mended letter says (fields decoded, text).  All of
them also pass the checks that hold for any relayed message, with and without 8BITMIME.
"""

import base64
import email
import email.policy
from collections.abc import Callable
from email.message import EmailMessage

import pytest

from relay.mail.address import Address
from relay.mail.recode import seven_bit
from relay.mail.rewrite import Identity, rewrite
from tests.corpus.checks import dec, default_checks, fields
from tests.support.letters import HOST, ID, NAS, octets, repaired

DATE = "Date: Sun, 22 Nov 2026 11:59:00 +0900\n"
MESSAGE_ID = "Message-ID: <7@nas.example.test>\n"
FROM = "From: NAS <nas@nas.example.test>\n"
TO = "To: admin@example.jp\n"
SUBJECT = "Subject: backup\n"
ALL = DATE + MESSAGE_ID + FROM + TO + SUBJECT
ACCOUNT = Identity(Address("relay", "isp.example.jp"), frozenset({"isp.example.jp", "nas.example.test"}))
FILE = bytes(range(256)) * 5


def crlf(text: str | bytes, charset: str = "utf-8") -> bytes:
    octets = text if isinstance(text, bytes) else text.encode(charset)
    return octets.replace(b"\n", b"\r\n")


def mime(kind: str, body: str = "", more: str = "") -> str:
    return f"{ALL}MIME-Version: 1.0\nContent-Type: {kind}\n{more}\n{body}"


def parts(boundary_line: str, *bodies: str) -> str:
    return boundary_line + "\n" + f"\n{boundary_line}\n".join(bodies) + f"\n{boundary_line}--\n"


CODED = "Content-Transfer-Encoding: base64\n"
WRAPPED = base64.encodebytes(FILE).decode()
MIXED = "multipart/mixed; boundary=cut-here"
TEXT_PART = "Content-Type: text/plain\n\nhello"

Says = dict[str, str | None]

# number -> (octets, {field: decoded value, None: absent}); "text" is the text of the letter
ROWS: dict[str, tuple[bytes, Says]] = {
    "M1": (crlf(MESSAGE_ID + FROM + TO + SUBJECT + "\nx\n"), {"Date": "Sun, 22 Nov 2026 03:00:00 +0000"}),
    "M1 empty": (crlf("Date:\n" + MESSAGE_ID + FROM + TO + "\nx\n"), {"Date": "Sun, 22 Nov 2026 03:00:00 +0000"}),
    "M2 none": (crlf(DATE + FROM + TO + SUBJECT + "\nx\n"), {"Message-ID": f"<{ID}@{HOST}>"}),
    "M2 no brackets": (crlf(DATE + "Message-ID: 7@nas.test\n" + FROM + TO + "\nx\n"), {"Message-ID": "<7@nas.test>"}),
    "M2 no at": (crlf(DATE + "Message-ID: <7>\n" + FROM + TO + "\nx\n"), {"Message-ID": f"<{ID}@{HOST}>"}),
    "M2 two ats": (crlf(DATE + "Message-ID: <7@a@b>\n" + FROM + TO + "\nx\n"), {"Message-ID": f"<{ID}@{HOST}>"}),
    "M3": (crlf(DATE + MESSAGE_ID + TO + SUBJECT + "\nx\n"), {"From": "nas@nas.example.test"}),
    "M4": (crlf(DATE + MESSAGE_ID + FROM + SUBJECT + "\nx\n"), {"To": "undisclosed-recipients:;"}),
    "M5": (crlf(DATE + MESSAGE_ID + FROM + "To: \nCc: ,\nSubject:\n\nx\n"), {"To": "undisclosed-recipients:;", "Cc": None}),
    "M6": (crlf(DATE + MESSAGE_ID + "From: Router Syslog\n" + TO + "\nx\n"), {"From": "Router Syslog <nas@nas.example.test>"}),
    "M6 8-bit": (
        crlf(DATE + MESSAGE_ID + "From: 玄関カメラ\n" + TO + "\nx\n", "cp932"),
        {"From": "玄関カメラ <nas@nas.example.test>"},
    ),
    "M7": (
        crlf(DATE + MESSAGE_ID + "From: pi@pi.local\nTo: root@nas\n\nx\n"),
        {"From": '"pi@pi.local" <relay@isp.example.jp>'},
    ),
    "M8": (crlf(DATE + MESSAGE_ID + FROM + "To: NAS <nas@nas.example.test>\n\nx\n"), {"To": "NAS <nas@nas.example.test>"}),
    "M9 colon": (
        crlf(DATE + MESSAGE_ID + "From: Disk: 3, [bay 1] <nas@nas.example.test>\n" + TO + "\nx\n"),
        {"From": '"Disk: 3, [bay 1]" <nas@nas.example.test>'},
    ),
    "M9 address": (
        crlf(DATE + MESSAGE_ID + "From: me@home.test <nas@nas.example.test>\n" + TO + "\nx\n"),
        {"From": '"me@home.test" <nas@nas.example.test>'},
    ),
    "M10": (
        crlf(DATE + MESSAGE_ID + "From: nas@nas.example.test, b@office.example.jp\n" + TO + "\nx\n"),
        {"From": "nas@nas.example.test", "Reply-To": "b@office.example.jp"},
    ),
    "M11": (
        crlf(DATE + MESSAGE_ID + "From: NAS <nas@nas.example.test\n" + TO + "\nx\n"),
        {"From": "NAS <nas@nas.example.test>"},
    ),
    "M11 To": (crlf(DATE + MESSAGE_ID + FROM + "To: Boss <boss@example.jp\n\nx\n"), {"To": "Boss <boss@example.jp>"}),
    "M12": (crlf(DATE + MESSAGE_ID + FROM + "To: a@example.jp; b@example.jp;\n\nx\n"), {"To": "a@example.jp, b@example.jp"}),
    "M12 commas": (
        crlf(DATE + MESSAGE_ID + FROM + "To: a@example.jp,, b@example.jp,\n\nx\n"),
        {"To": "a@example.jp, b@example.jp"},
    ),
    "M13": (crlf(ALL + "Bcc: secret@example.jp\n\nx\n"), {"Bcc": None}),
    "M14": (
        crlf("Return-Path: <x@y.example>\n" + ALL + "Delivered-To: d\nStatus: RO\n\nx\n"),
        {"Return-Path": None, "Status": "RO"},
    ),
    "M15 ISO": (
        crlf("Date: 2026-11-22T11:59:00+09:00\n" + MESSAGE_ID + FROM + TO + "\nx\n"),
        {"Date": "Sun, 22 Nov 2026 11:59:00 +0900"},
    ),
    "M15 asctime": (
        crlf("Date: Sun Nov 22 02:59:00 2026\n" + MESSAGE_ID + FROM + TO + "\nx\n"),
        {"Date": "Sun, 22 Nov 2026 02:59:00 +0000"},
    ),
    "M15 colon zone": (
        crlf("Date: Sun, 22 Nov 2026 11:59:00 +09:00\n" + MESSAGE_ID + FROM + TO + "\nx\n"),
        {"Date": "Sun, 22 Nov 2026 11:59:00 +0900"},
    ),
    "M15 slashes": (
        crlf("Date: 2026/11/22 02:59:00\n" + MESSAGE_ID + FROM + TO + "\nx\n"),
        {"X-Original-Date": "2026/11/22 02:59:00", "Date": "Sun, 22 Nov 2026 02:59:00 +0000"},
    ),
    "M16": (
        crlf("Date: Thu, 01 Jan 1970 00:00:11 +0000\n" + MESSAGE_ID + FROM + TO + "\nx\n"),
        {"Date": "Sun, 22 Nov 2026 03:00:00 +0000", "X-Original-Date": "Thu, 01 Jan 1970 00:00:11 +0000"},
    ),
    "M17": (
        crlf("Date: Sun, 22 Nov 26 11:59:00 JST\n" + MESSAGE_ID + FROM + TO + "\nx\n"),
        {"Date": "Sun, 22 Nov 2026 11:59:00 +0900"},
    ),
    "M18 German": (
        crlf("Date: So, 22 Nov 2026 03:59:00 +0100\n" + MESSAGE_ID + FROM + TO + "\nx\n"),
        {"Date": "Sun, 22 Nov 2026 03:59:00 +0100"},
    ),
    "M18 Japanese": (
        crlf("Date: 2026年11月22日(日) 2時59分00秒\n" + MESSAGE_ID + FROM + TO + "\nx\n", "cp932"),
        {"Date": "Sun, 22 Nov 2026 02:59:00 +0000"},
    ),
    "M18 nonsense": (crlf("Date: gestern\n" + MESSAGE_ID + FROM + TO + "\nx\n"), {"Date": "Sun, 22 Nov 2026 03:00:00 +0000"}),
    "M19": (
        crlf("Date: never\n" + ALL + "Subject: second\nFrom: other@example.jp\nMessage-ID: <8@x>\n\nx\n"),
        {"Date": "Sun, 22 Nov 2026 11:59:00 +0900", "Subject": "backup"},
    ),
    "M20": (crlf(ALL + "Content-Type: text/html; charset=utf-8\n\n<p>ok</p>\n"), {"MIME-Version": "1.0"}),
    "M21 UTF-8": (crlf(DATE + MESSAGE_ID + FROM + TO + "Subject: 温度上昇 é\n\nx\n"), {"Subject": "温度上昇 é"}),
    "M21 CP932": (
        crlf(DATE + MESSAGE_ID + FROM + TO + "Subject: [重要] ディスク①交換\n\nx\n", "cp932"),
        {"Subject": "[重要] ディスク①交換"},
    ),
    "M21 EUC-JP": (
        crlf(DATE + MESSAGE_ID + FROM + TO + "Subject: 停電を検知しました\n\nx\n", "euc-jp"),
        {"Subject": "停電を検知しました"},
    ),
    "M21 Latin-1": (
        crlf(DATE + MESSAGE_ID + FROM + TO + "Subject: Gerät überhitzt\n\nx\n", "latin-1"),
        {"Subject": "Gerät überhitzt"},
    ),
    "M21 folded": (crlf(DATE + MESSAGE_ID + FROM + TO + "Subject: 温度\n 上昇\n\nx\n", "cp932"), {"Subject": "温度 上昇"}),
    "M22": (crlf(DATE + MESSAGE_ID + FROM + TO + "Subject: 受信テスト\n\nx\n", "iso-2022-jp"), {"Subject": "受信テスト"}),
    "M23 UTF-8": (crlf(ALL + "\n完了しました\n"), {"text": "完了しました\n", "MIME-Version": "1.0"}),
    "M23 EUC-JP": (crlf(ALL + "\n完了しました\n", "euc-jp"), {"text": "完了しました\n"}),
    "M23 ISO-2022-JP": (crlf(ALL + "\n完了しました\n", "iso-2022-jp"), {"text": "完了しました\n"}),
    "M24 us-ascii": (crlf(mime("text/plain; charset=us-ascii", "完了\n")), {"text": "完了\n"}),
    "M24 empty": (crlf(mime('text/plain; charset=""', "完了\n")), {"text": "完了\n"}),
    "M24 unknown": (crlf(mime("text/plain; charset=x-unknown", "完了しました\n"), "cp932"), {"text": "完了しました\n"}),
    "M24 latin-1": (crlf(mime("text/plain; charset=iso-8859-1", "監視カメラ\n")), {"text": "監視カメラ\n"}),
    "M25 7bit": (crlf(mime("text/plain; charset=utf-8", "完了\n", "Content-Transfer-Encoding: 7bit\n")), {"text": "完了\n"}),
    "M25 qp": (
        crlf(mime("text/plain; charset=utf-8", "完了 a=3Db\n", "Content-Transfer-Encoding: quoted-printable\n")),
        {"text": "完了 a=b\n"},
    ),
    "M26": (crlf(mime("text/plain; charset=utf-8", "ok\n", "Content-Transfer-Encoding: binary\n")), {"text": "ok\n"}),
    "M27": (crlf(mime("text", "ok\n")), {"text": "ok\n"}),
    "M28": (
        crlf(
            mime(
                MIXED,
                parts(
                    "--cut-here",
                    TEXT_PART,
                    f'Content-Type: application/pdf; name="見積書.pdf"\n'
                    f'Content-Disposition: attachment;\n filename="見積書.pdf"\n{CODED}\n{WRAPPED}',
                ),
            ),
            "cp932",
        ),
        {"filename": "見積書.pdf", "file": "kept"},
    ),
    "M29": (
        crlf(DATE + MESSAGE_ID + "here is a log line\n" + FROM + TO + SUBJECT + "\nx\n"),
        {"X-Removed-Line": "here is a log line", "Subject": "backup"},
    ),
    "M30": (crlf(DATE + MESSAGE_ID + FROM + TO + "Subject : spaced\n\nx\n"), {"Subject": "spaced"}),
    "M31 no blank": (crlf(ALL + "this is text at once\nmore\n"), {"text": "this is text at once\nmore\n"}),
    "M31 body only": (crlf("just a line\nand: another\n"), {"text": "just a line\nand: another\n"}),
    "M32": (b"\xef\xbb\xbf" + crlf(ALL + "\nx\n"), {"Date": "Sun, 22 Nov 2026 11:59:00 +0900"}),
    "M33 text": (crlf(ALL + "\n" + "word " * 600 + "\n"), {"text": "word " * 600 + "\n"}),
    "M33 base64": (
        crlf(
            mime(
                MIXED,
                parts(
                    "--cut-here",
                    TEXT_PART,
                    "Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n" + base64.b64encode(FILE).decode(),
                ),
            )
        ),
        {"file": "kept"},
    ),
    "M34 blanks": (crlf(ALL + "X-Log: " + "abc " * 400 + "\n\nx\n"), {"X-Log": ("abc " * 400).strip()}),
    "M34 To": (
        crlf(DATE + MESSAGE_ID + FROM + "To: " + ",".join(f"user{n}@example.jp" for n in range(200)) + "\n\nx\n"),
        {"To": ", ".join(f"user{n}@example.jp" for n in range(200))},
    ),
    "M34 Subject": (crlf(DATE + MESSAGE_ID + FROM + TO + "Subject: " + "y" * 1500 + "\n\nx\n"), {"Subject": "y" * 1500}),
    "M35": (
        crlf(b"Sub\0ject: nul\0led\n" + (DATE + MESSAGE_ID + FROM + TO).encode() + b"\na\0b\n"),
        {"Subject": "nulled", "text": "ab\n"},
    ),
    "M36": (crlf(DATE + MESSAGE_ID + FROM + TO + "Subject: a\x07b\x1b[31mc\n\nx\x1a\n"), {"text": "x\x1a\n"}),
    "M37": ((ALL + "\nline\n.dot\n").encode(), {"text": "line\n.dot\n"}),
    "M38": ((ALL + "\nline\nnext\n").encode().replace(b"\n", b"\r"), {"text": "line\nnext\n", "Subject": "backup"}),
    "M39": ((ALL + "\nline\n\nnext\n").encode().replace(b"\n", b"\r\r\n"), {"text": "line\n\nnext\n", "Subject": "backup"}),
    "M40": (crlf(ALL + "\n.\n..\nend\n"), {"text": ".\n..\nend\n"}),
    "M41": (crlf("\n\n" + ALL + "\nx\n"), {"Subject": "backup", "text": "x\n"}),
    "M42 indented": (crlf("  " + ALL + "\nx\n"), {"Subject": "backup", "text": "x\n"}),
    "M42 blanks": (crlf(DATE + MESSAGE_ID + FROM + TO + "Subject: one\n   \n two\n\nx\n"), {"Subject": "one two"}),
    "M43": (crlf("From root Sun Nov 22 03:00:00 2026\n" + ALL + "\nx\n"), {"Subject": "backup", "text": "x\n"}),
    "M43 quoted": (crlf(">From root@nas Sun Nov 22 03:00:00 2026\n" + ALL + "\nx\n"), {"Subject": "backup", "text": "x\n"}),
    "M44 empty": (b"", {"To": "undisclosed-recipients:;", "Subject": "Message from nas"}),
    "M44 blank lines": (b"\r\n\r\n\r\n", {"Subject": "Message from nas"}),
    "M44 header only": (crlf(DATE + SUBJECT), {"Subject": "backup"}),
    "M45 open": (
        crlf(
            mime(
                MIXED,
                f"--cut-here\n{TEXT_PART}\n--cut-here\nContent-Type: application/pdf\n{CODED}\n{WRAPPED}",
            )
        ),
        {"file": "kept", "part": "hello"},
    ),
    "M45 no parameter": (
        crlf(mime("multipart/mixed", parts("--cut-here", TEXT_PART, "Content-Type: text/plain\n\nsecond"))),
        {"part": "hello"},
    ),
    "M45 another": (
        crlf(mime("multipart/mixed; boundary=other", parts("--cut-here", TEXT_PART, "Content-Type: text/plain\n\nsecond"))),
        {"part": "hello"},
    ),
    "M45 no parts": (crlf(mime("multipart/mixed; boundary=other", "just text\n")), {"text": "just text\n"}),
    "M46": (
        crlf(
            mime("application/pdf", WRAPPED.replace("\n", " \n").rstrip("= \n") + "\n", "Content-Transfer-Encoding: base64\n")
        ),
        {},
    ),
    "M47": (
        crlf(
            DATE + MESSAGE_ID + 'From:"=?ISO-8859-1?B?TUZQ?=\n =?ISO-8859-1?B?MDc=?=" <nas@nas.example.test>\n' + TO + "\nx\n"
        ),
        {"From": "MFP07 <nas@nas.example.test>"},
    ),
    "M48": (crlf(ALL + "\nbegin 644 a.txt\n#0V%T\n`\nend\n"), {"text": "begin 644 a.txt\n#0V%T\n`\nend\n"}),
    "M51": (
        crlf(ALL + "Auto-Submitted: auto-generated\nPrecedence: bulk\nX-Priority: 1\n\nx\n"),
        {"Auto-Submitted": "auto-generated", "Precedence": "bulk", "X-Priority": "1"},
    ),
    "M52": (
        crlf(DATE + MESSAGE_ID + FROM + TO + "Subject: form\nX-Form: injected\nBcc: victim@example.jp\n\nx\n"),
        {"Bcc": None, "X-Form": "injected"},
    ),
    "M53": (
        crlf(
            mime(
                "multipart/related; boundary=cut-here",
                parts("--cut-here", "Content-Type: text/plain; charset=iso-8859-1\n\n監視カメラが動きを検知しました"),
            ),
            "cp932",
        ),
        {"part": "監視カメラが動きを検知しました"},
    ),
    "M54": (
        crlf(
            mime(
                MIXED,
                parts(
                    "--cut-here",
                    TEXT_PART,
                    "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n" + WRAPPED,
                ),
            )
        ),
        {"file": "kept"},
    ),
    "M55": (
        crlf(
            mime(
                MIXED,
                parts(
                    "--cut-here",
                    TEXT_PART,
                    "Content-Type: image/jpeg; name=image.jpg\nContent-Transfer-Encoding: base64\n\n" + WRAPPED,
                ),
            )
        ),
        {"file": "kept", "filename": "image.jpg"},
    ),
}


def relayed(content: bytes, *, eight_bit: bool) -> dict:
    """As it reaches the upstream, in the corpus's terms."""
    done = rewrite(repaired(content).message, NAS, ACCOUNT)
    data = octets(done.message if eight_bit else seven_bit(done.message))
    params = "BODY=8BITMIME" if not data.isascii() else ""
    return {
        "data": data,
        "wire": data,
        "params": params,
        "ok8": eight_bit,
        "mail_from": str(done.reverse_path),
        "rcpts": [],
        "bad": [],
    }


@pytest.mark.parametrize("eight_bit", [True, False], ids=["8bitmime", "7 bit"])
@pytest.mark.parametrize("row", ROWS)
def test_a_quirk_is_mended(row: str, eight_bit: bool) -> None:
    """What leaves is well formed and says what the device meant."""
    content, says = ROWS[row]
    sent = relayed(content, eight_bit=eight_bit)
    problems, notes = default_checks(sent)
    assert problems + notes == []
    letter = email.message_from_bytes(sent["data"], policy=email.policy.default)
    for name, value in says.items():
        LOOK.get(name, header(name))(letter, sent["data"], value)


def header(name: str) -> Callable[[EmailMessage, bytes, str | None], None]:
    def look(_letter: EmailMessage, data: bytes, value: str | None) -> None:
        found = [dec(raw) for label, raw in fields(data)[0] if label.lower() == name.lower()]
        assert found == ([] if value is None else [value])

    return look


def leaves(letter: EmailMessage) -> list[EmailMessage]:
    return [part for part in letter.walk() if not part.is_multipart()]


def _text(letter: EmailMessage, _data: bytes, value: str | None) -> None:
    assert letter.get_content().replace("\r\n", "\n") == value


def _part(letter: EmailMessage, _data: bytes, value: str | None) -> None:
    assert value in [str(part.get_content()).strip() for part in leaves(letter) if part.get_content_maintype() == "text"]


def _file(letter: EmailMessage, _data: bytes, _value: str | None) -> None:
    assert FILE in [part.get_payload(decode=True) for part in leaves(letter)]


def _filename(letter: EmailMessage, _data: bytes, value: str | None) -> None:
    assert value in [part.get_filename() for part in leaves(letter)]


LOOK = {"text": _text, "part": _part, "file": _file, "filename": _filename}
