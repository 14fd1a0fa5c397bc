"""More letters of our own around the message quirks: whatever the variant, what leaves is well formed, and mended once."""

import base64

import pytest

from relay.mail.encoded_words import decode_words
from tests.corpus.checks import default_checks
from tests.support.letters import about, octets, repaired, without_trace
from tests.unit.test_quirks import ALL, DATE, FILE, FROM, MESSAGE_ID, MIXED, TEXT_PART, TO, crlf, mime, parts, relayed

D, M, F, T = DATE, MESSAGE_ID, FROM, TO

VARIANTS = {
    "date nozone": crlf("Date: Sun, 22 Nov 2026 02:59:00\n" + M + F + T + "\nx\n"),
    "date ampm": crlf("Date: 11/22/2026 02:59:00 AM\n" + M + F + T + "\nx\n"),
    "date de": crlf("Date: 22.11.2026 02:59\n" + M + F + T + "\nx\n"),
    "date feb30": crlf("Date: Mon, 30 Feb 2026 02:59:00 +0000\n" + M + F + T + "\nx\n"),
    "date lower": crlf("Date: sun, 22 nov 2026 02:59:00 +0000\n" + M + F + T + "\nx\n"),
    "date 1digit time": crlf("Date: Sun, 22 Nov 2026 2:59:00 +0000\n" + M + F + T + "\nx\n"),
    "date wrong weekday": crlf("Date: Mon, 22 Nov 2026 02:59:00 +0000\n" + M + F + T + "\nx\n"),
    "date -0000": crlf("Date: Sun, 22 Nov 2026 02:59:00 -0000\n" + M + F + T + "\nx\n"),
    "date big zone": crlf("Date: Sun, 22 Nov 2026 02:59:00 +9900\n" + M + F + T + "\nx\n"),
    "date sec60": crlf("Date: Sun, 22 Nov 2026 02:59:60 +0000\n" + M + F + T + "\nx\n"),
    "date 24h": crlf("Date: Sun, 22 Nov 2026 24:00:00 +0000\n" + M + F + T + "\nx\n"),
    "from empty": crlf(D + M + "From:\n" + T + "\nx\n"),
    "from <>": crlf(D + M + "From: <>\n" + T + "\nx\n"),
    'from "" ': crlf(D + M + 'From: ""\n' + T + "\nx\n"),
    "from nas@": crlf(D + M + "From: nas@\n" + T + "\nx\n"),
    "from @nas": crlf(D + M + "From: @nas\n" + T + "\nx\n"),
    "from comment": crlf(D + M + "From: nas@nas.example.test (NAS (bay) one)\n" + T + "\nx\n"),
    "from ip": crlf(D + M + "From: nas@192.168.0.3\n" + T + "\nx\n"),
    "from literal": crlf(D + M + "From: nas@[192.168.0.3]\n" + T + "\nx\n"),
    "from underscore": crlf(D + M + "From: nas@my_nas.example.test\n" + T + "\nx\n"),
    "from idn": crlf(D + M + "From: nas@例え.jp\n" + T + "\nx\n"),
    "from utf8local": crlf(D + M + "From: 監視@nas.example.test\n" + T + "\nx\n"),
    "from spaces local": crlf(D + M + "From: my nas@nas.example.test\n" + T + "\nx\n"),
    "from dot": crlf(D + M + "From: Nas Mr. J.R. <nas.@nas.example.test>\n" + T + "\nx\n"),
    "from mailto": crlf(D + M + "From: <mailto:nas@nas.example.test>\n" + T + "\nx\n"),
    "from quoted unclosed": crlf(D + M + 'From: "NAS <nas@nas.example.test>\n' + T + "\nx\n"),
    "from eucjp": crlf(D + M + "From: 監視カメラ <nas@nas.example.test>\n" + T + "\nx\n", "euc-jp"),
    "from quoted sjis": crlf(D + M + 'From: "表示装置" <nas@nas.example.test>\n' + T + "\nx\n", "cp932"),
    "from folded sjis": crlf(D + M + 'From: "表示装置"\n <nas@nas.example.test>\n' + T + "\nx\n", "cp932"),
    "to sjis names": crlf(D + M + F + "To: 田中 <tanaka@example.jp>, 表 <omote@example.jp>\n\nx\n", "cp932"),
    "to <>": crlf(D + M + F + "To: <>\n\nx\n"),
    "to undisclosed": crlf(D + M + F + "To: undisclosed recipients\n\nx\n"),
    "to group": crlf(D + M + F + "To: Team: a@example.jp, b@example.jp;\n\nx\n"),
    "to newline": crlf(D + M + F + "To: a@example.jp\n b@example.jp\n\nx\n"),
    "to blanks sep": crlf(D + M + F + "To: a@example.jp b@example.jp\n\nx\n"),
    "two to": crlf(D + M + F + "To: a@example.jp\nTo: b@example.jp\n\nx\n"),
    "to root": crlf(D + M + F + "To: root\nCc: root@localhost, x@example.jp\n\nx\n"),
    "to lan comma": crlf(D + M + F + 'To: "Doe, J" <j@nas.local>, a@example.jp\n\nx\n'),
    "sender bad": crlf(D + M + F + T + "Sender: nas\n\nx\n"),
    "reply-to bad": crlf(D + M + F + T + "Reply-To: nas@local\n\nx\n"),
    "reply-to empty": crlf(D + M + F + T + "Reply-To:\n\nx\n"),
    "subj short sjis": crlf(D + M + F + T + "Subject: 停電\n\nx\n", "cp932"),
    "subj short euc": crlf(D + M + F + T + "Subject: 停電\n\nx\n", "euc-jp"),
    "subj kana sjis": crlf(D + M + F + T + "Subject: ｾﾝｻ ｴﾗｰ\n\nx\n", "cp932"),
    "subj mixed enc+raw": crlf(D + M + F + T + "Subject: =?utf-8?B?44GC?= 警告\n\nx\n"),
    "subj jis open": crlf(D + M + F + T) + b"Subject: \x1b$B<u?.\r\n\r\nx\r\n",
    "subj ew bad": crlf(D + M + F + T + "Subject: =?utf-8?B?44G?= =?x?Q?=?=\n\nx\n"),
    "subj newline injection enc": crlf(D + M + F + T + "Subject: =?utf-8?Q?a=0D=0ABcc:_x@y.z?=\n\nx\n"),
    "ct two": crlf(ALL + "MIME-Version: 1.0\nContent-Type: text/html\nContent-Type: text/plain\n\nx\n"),
    "cte 8-bit": crlf(mime("text/plain; charset=utf-8", "完\n", "Content-Transfer-Encoding: 8-bit\n")),
    "cte upper": crlf(mime("text/plain; charset=utf-8", "完\n", "Content-Transfer-Encoding: 8BIT\n")),
    "cte junk": crlf(mime("text/plain; charset=utf-8", "完\n", "Content-Transfer-Encoding: foo\n")),
    "cte uuencode": crlf(mime("text/plain", "begin 644 a\n`\nend\n", "Content-Transfer-Encoding: x-uuencode\n")),
    "cte mult base64": crlf(mime(MIXED, parts("--cut-here", TEXT_PART), "Content-Transfer-Encoding: base64\n")),
    "boundary blanks": crlf(mime("multipart/mixed; boundary=cut here now", parts("--cut here now", TEXT_PART))),
    "boundary quotes unclosed": crlf(mime('multipart/mixed; boundary="cut-here', parts("--cut-here", TEXT_PART))),
    "boundary case": crlf(mime('MULTIPART/MIXED; BOUNDARY="cut-here"', parts("--cut-here", TEXT_PART))),
    "ct semicolon": crlf(mime("text/plain;", "x\n")),
    "ct comma": crlf(mime("text/plain, charset=utf-8", "完了\n")),
    "ct utf8 label": crlf(mime("text/plain; charset=utf8", "完了\n")),
    "ct sjis label x-sjis": crlf(mime("text/plain; charset=x-sjis", "完了しました\n"), "cp932"),
    "ct windows-31j": crlf(mime("text/plain; charset=windows-31j", "①完了しました\n"), "cp932"),
    "ct euc label sjis": crlf(mime("text/plain; charset=euc-jp", "完了しました\n"), "cp932"),
    "ct utf-8 label sjis": crlf(mime("text/plain; charset=utf-8", "完了しました\n"), "cp932"),
    "ct charset raw": b"Content-Type: text/plain; charset=\x80; \x80\r\n\r\n\x80",
    "ct quotes in quotes": crlf(
        mime('text/plain; charset="Content-Type: text/plain; charset="iso-8859-1"', "再起動しました\n")
    ),
    "html 8bit": crlf(mime("text/html", "<meta charset=shift_jis>完了しました\n"), "cp932"),
    "html long": crlf(mime("text/html; charset=utf-8", "<p>" + "完了" * 900 + "\n")),
    "qp long": crlf(mime("text/plain; charset=utf-8", "a=3D" * 400 + "\n", "Content-Transfer-Encoding: quoted-printable\n")),
    "rfc822 8bit": crlf(
        mime(MIXED, parts("--cut-here", TEXT_PART, "Content-Type: message/rfc822\n\nFrom: a@b.jp\nSubject: 完了\n\n完了\n"))
    ),
    "rfc822 b64": crlf(
        mime(
            MIXED,
            parts(
                "--cut-here",
                TEXT_PART,
                "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"
                + base64.encodebytes(b"From: a@b.jp\n\nx\n").decode(),
            ),
        )
    ),
    "part hdr raw": crlf(mime(MIXED, parts("--cut-here", "Content-Type: text/plain\nContent-Description: 説明\n\nx")), "cp932"),
    "part no ct 8bit": crlf(mime(MIXED, parts("--cut-here", "\n完了しました")), "cp932"),
    "nested": crlf(
        mime(
            MIXED,
            parts(
                "--cut-here",
                "Content-Type: multipart/alternative; boundary=in\n\n--in\n\n完\n--in\nContent-Type: text/html\n\n<p>完\n",
            ),
        )
    ),
    "preamble 8bit": crlf(mime(MIXED, "前文\n" + parts("--cut-here", TEXT_PART) + "後\n")),
    "preamble long": crlf(mime(MIXED, "p" * 2000 + "\n" + parts("--cut-here", TEXT_PART))),
    "attachment bin": crlf(
        mime(MIXED, parts("--cut-here", TEXT_PART, "Content-Type: image/jpeg\nContent-Transfer-Encoding: binary\n\nQQQ"))
    ).replace(b"QQQ", FILE.replace(b"\r", b"").replace(b"\n", b"")),
    "mime-version only": crlf(ALL + "MIME-Version: 1.0\n\n完了\n"),
    "mime-typ": crlf(ALL + "MIME-Typ: 1.0\nContent-Type: text/plain; charset=utf-8\n\nx\n"),
    "hdr nul name": b"Da\0te: x\r\n" + crlf(M + F + T + "\nx\n"),
    "hdr long name": crlf(ALL + "X-" + "n" * 200 + ": v\n\nx\n"),
    "hdr 8bit name": crlf(ALL + "X-温度: v\n\nx\n"),
    "hdr no name": crlf(ALL + ": v\nX-A: b\n\nx\n"),
    "hdr only colon text": crlf("note: hello\nmore: text\n\nx\n"),
    "hdr long msgid": crlf(D + "Message-ID: <" + "a" * 1200 + "@x>\n" + F + T + "\nx\n"),
    "hdr references long": crlf(ALL + "References: " + "".join(f"<{n}@x>" for n in range(400)) + "\n\nx\n"),
    "hdr X 8bit long": crlf(ALL + "X-A: " + "温度" * 600 + "\n\nx\n"),
    "dkim long": crlf(ALL + "DKIM-Signature: v=1; h=from; b=" + "A" * 2000 + "\n\nx\n"),
    "received junk": crlf("Received: by 温度\n" + ALL + "\nx\n"),
    "resent": crlf("Resent-From: root\nResent-To: a@b.jp\nResent-Date: x\n" + ALL + "\nx\n"),
    "msgid comment": crlf(D + "Message-ID: <7@x> (comment)\n" + F + T + "\nx\n"),
    "msgid folded": crlf(D + "Message-ID:\n <7@x.example>\n" + F + T + "\nx\n"),
    "msgid blank in": crlf(D + "Message-ID: <7 7@x.example>\n" + F + T + "\nx\n"),
    "utf16 bom": b"\xff\xfe" + crlf(ALL + "\nx\n"),
    "ctrl-z": crlf(ALL + "\nx\n\x1a"),
    "no final newline": crlf(ALL + "\nx"),
    "cr only": (ALL + "\nx\n").encode().replace(b"\n", b"\r"),
    "mixed ends": (DATE + MESSAGE_ID).encode() + crlf(FROM + TO) + b"Subject: x\r\r\n\nbody\rline\r\nend\n",
    "M12 an 8-bit address where one only may stand": b"Resent-From:\x80@0\r\nSender: \xe9@nas.example.test\r\n\r\nx\r\n",
    "M24 a right label, one octet damaged, raw text in the header": b"\xebX: 1\r\n"
    + crlf(mime("text/plain; charset=utf-8", "=DAx =E8=AD=A6=E5=A0=B1 ok\n", "Content-Transfer-Encoding: quoted-printable\n")),
    "M45 a multipart with a comma for a semicolon": crlf(
        mime("multipart/mixed, boundary=cut", parts("--cut", TEXT_PART, "\n完了"))
    ),
    "M24 a charset after a stray octet": crlf(ALL + "MIME-Version: 1.0\n")
    + b"Content-Type: text/plain; \x80charset=tf-8; \x80=x\r\n\r\n"
    + crlf("本文\n"),
    "M27 a charset that is no name in no Content-Type": b"Content-Type:;charset=\x1b$@",
    "M24 a charset that is no name, a body that shows its own": b"Content-Type:;charset=<\r\n\r\n\x1b$@",
    "M24 a charset with a stray octet": b'Content-Type: text/plain; charset=\x80"utf-8"\r\n\r\n' + "本文\r\n".encode(),
    "M24 a charset that is no name": b"Content-Type: text/-;charset=\x1b$@\r\n\r\nx\r\n",
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_mended(name: str) -> None:
    """All checks for a relayed message hold, with and without 8BITMIME; coming again it needs nothing."""
    for eight_bit in (True, False):
        sent = relayed(VARIANTS[name], eight_bit=eight_bit)
        problems, notes = default_checks(sent)
        assert problems + notes == []
        again = repaired(sent["data"])
        assert without_trace(again.message) == sent["data"]
        assert again.notes == ()


@pytest.mark.parametrize("field", ["From", "Resent-From", "Resent-To", "Cc", "Sender"])
def test_an_address_in_utf8_stays_where_the_device_said_smtputf8(field: str) -> None:
    """The local part keeps its octets, the long name becomes encoded-words, and coming again it needs nothing."""
    circumstances = about(utf8=True)
    value = "監視" * 150 + " <監視@nas.example.test>"
    once = repaired(crlf(f"{D}{M}{'' if field == 'From' else F}{T}{field}: {value}\n\nx\n"), circumstances)
    assert "監視@nas.example.test".encode() in once.message.head
    assert "監視監視".encode() not in once.message.head
    assert once.utf8
    again = repaired(octets(once.message), circumstances)
    assert without_trace(again.message) == octets(once.message)
    assert again.notes == ()
    assert repaired(VARIANTS["from utf8local"]).message.head.isascii()


def test_a_name_without_an_address_beside_an_address_in_utf8() -> None:
    """The list has a group of nobody then, and is right all the same."""
    once = repaired(crlf(D + M + F) + b'To:\x8a@mixed; boundary="q"\r\n\r\nx\r\n', about(utf8=True))
    assert "Š@mixed, ".encode() in once.message.head
    again = repaired(octets(once.message), about(utf8=True))
    assert without_trace(again.message) == octets(once.message)


@pytest.mark.parametrize("said", ["=?utf-8?B?55uj6A==?= =?UTF-8?B?poY=?=", "=?utf-8?Q?=E7=9B=A3=E8?= =?utf-8?Q?=A6=86?="])
def test_a_character_cut_between_encoded_words_is_whole_again(said: str) -> None:
    """Devices cut UTF-8 at a fixed number of octets (RFC 2047 s5 forbids it); an unknown word beside it stays."""
    assert decode_words(f"a {said} =?x?q?b?=") == "a 監覆 =?x?q?b?="
    assert decode_words(said) == "監覆"


@pytest.mark.parametrize("between", [b", ", b" , ", b" ", b","])
def test_a_content_type_without_its_semicolon_gets_it(between: bytes) -> None:
    """The charset counts as if it had been written rightly, and is not named twice."""
    header = crlf(ALL + "MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n") + b"Content-Type: text/plain" + between
    done = repaired(header + b"charset=Shift_JIS\r\n\r\n" + "完了\r\n".encode("cp932"))
    assert done.message.get("content-type").value == b"text/plain; charset=Shift_JIS"  # type: ignore[union-attr]
    assert done.notes == ("put the semicolon into Content-Type that the device left out",)
