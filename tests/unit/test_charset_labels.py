"""What a text part says of its charset, and what it should say."""

import base64
import quopri

import pytest

from relay.mail.body_scan import ScannedPart, scan_body
from relay.mail.charset_names import is_registered
from relay.mail.mime import read_content_type
from tests.support.letters import RIGHT, octets, read, repaired, text_of, without_trace

MIME = RIGHT + b"MIME-Version: 1.0\r\n"
TEXT = "バックアップ先のディスク容量が不足しています。至急確認してください。\n"
GERMAN = "Überwachung: das Gerät ist nicht erreichbar, größere Störung möglich.\n"


def letter(said: bytes, octets: bytes, encoding: bytes = b"8bit") -> bytes:
    return MIME + b"Content-Type: " + said + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + octets


def label(said: bytes, octets: bytes, encoding: bytes = b"8bit") -> str:
    fields = repaired(letter(said, octets, encoding)).message
    [field] = fields.all("content-type")
    return read_content_type(field.value).charset


@pytest.mark.parametrize("charset", ["utf-8", "cp932", "euc_jp"])
@pytest.mark.parametrize(
    "said",
    ["utf-8", "Shift_JIS", "EUC-JP", "ISO-8859-1", "windows-1252", "iso-8859-15", "us-ascii", "x-none", "ISO-2022-JP", ""],
)
def test_a_false_label_goes_and_the_text_is_read(said: str, charset: str) -> None:
    """Whatever a device says of Japanese text, a reader sees what was written."""
    content = letter(b"text/plain; charset=" + said.encode(), TEXT.encode(charset))
    read = text_of(repaired(content).message)
    assert read == (TEXT.encode(charset).decode(said, "replace") if (said, charset) in KEPT else TEXT)


KEPT = {
    ("windows-1252", "cp932"),
    ("windows-1252", "euc_jp"),
    ("ISO-8859-1", "euc_jp"),
    ("iso-8859-15", "euc_jp"),
    ("Shift_JIS", "euc_jp"),
}
"""Text that may as well be what its label says: nobody can tell."""


@pytest.mark.parametrize(
    ("said", "charset"),
    [
        ("ISO-8859-1", "latin-1"),
        ("windows-1252", "cp1252"),
        ("iso-8859-15", "iso-8859-15"),
        ("ISO-8859-2", "iso-8859-2"),
        ("KOI8-R", "koi8-r"),
        ("utf-8", "utf-8"),
        ("us-ascii", "utf-8"),
        ("", "latin-1"),
    ],
)
def test_a_true_label_stays(said: str, charset: str) -> None:
    """Text of other countries is not taken for something else."""
    text = "Предупреждение\n" if charset == "koi8-r" else "Größe\n" if charset == "iso-8859-2" else GERMAN
    content = letter(b"text/plain; charset=" + said.encode(), text.encode(charset))
    assert text_of(repaired(content).message) == text


@pytest.mark.parametrize("said", [b"ISO-8859-1", b"windows-1252", b"ISO-8859-15"])
@pytest.mark.parametrize(
    ("text", "relabelled"), [("é", False), ("é ö", False), ("é ö ü", True), ("温", False), ("温度", True), ("温é", False)]
)
def test_few_letters_are_no_proof_of_utf_8(said: bytes, text: str, relabelled: bool) -> None:
    """Two letters of two octets may be chance under the name of Latin-1; two of three octets, or three of two, are not."""
    assert label(b"text/plain; charset=" + said, text.encode() + b"\r\n") == ("utf-8" if relabelled else said.decode().lower())


@pytest.mark.parametrize("said", ["utf-8", "EUC-JP", "Shift_JIS"])
def test_an_octet_damaged_on_the_way_makes_no_label_false(said: str) -> None:
    """One or two that do not fit do not make it another charset."""
    octets = TEXT.encode(said).replace("至".encode(said), b"\xff")
    assert label(b"text/plain; charset=" + said.encode(), octets) == said.lower()


@pytest.mark.parametrize("charset", ["utf-8", "cp932", "euc_jp"])
@pytest.mark.parametrize("length", range(20, 30))
def test_coded_text_without_a_label_is_read_whatever_its_length(length: int, charset: str) -> None:
    """In base64 of several lines, and in quoted-printable: what it stands for has the say."""
    text = TEXT[:length] * 3 + "x\n"
    octets = text.replace("\n", "\r\n").encode(charset)
    coded = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    for cut in (coded, coded.rstrip().rstrip(b"="), coded.rstrip() + b"A\r\n" if not coded.rstrip().endswith(b"=") else coded):
        assert label(b"text/plain", cut, b"base64") == {"cp932": "shift_jis", "euc_jp": "euc-jp"}.get(charset, charset)
    assert text_of(repaired(letter(b"text/plain", coded, b"base64")).message) == text
    quoted = quopri.encodestring(octets).replace(b"\n", b"\r\n").replace(b"\r\r", b"\r")
    assert text_of(repaired(letter(b"text/plain", quoted, b"quoted-printable")).message).rstrip("\n") == text.rstrip("\n")


def test_raw_text_that_looks_coded_is_taken_as_it_is() -> None:
    """An equals sign means nothing where no quoted-printable was said."""
    assert label(b"text/plain", b"x=E6=B8=A9\r\n", b"7bit") == ""
    assert label(b"text/plain", "温度=83J\r\n".encode("cp932"), b"8bit") == "shift_jis"


@pytest.mark.parametrize("lead", range(4))
@pytest.mark.parametrize("charset", ["cp932", "euc_jp", "utf-8"])
@pytest.mark.parametrize("end", ["。1", "。 ", "。\r\n"])
def test_a_long_text_is_judged_by_whole_characters(lead: int, charset: str, end: str) -> None:
    """Only its first 32 KiB are looked at, and where they end in the middle of a character that one does not count."""
    text = "x" * lead + (TEXT.strip() + end) * 600
    octets = text.encode(charset) + b"\r\n"
    assert label(b"text/plain", octets) == {"cp932": "shift_jis", "euc_jp": "euc-jp"}.get(charset, charset)


@pytest.mark.parametrize("charset", ["cp932", "euc_jp"])
def test_a_text_without_any_place_to_cut_arrives_whole(charset: str) -> None:
    """Where nobody can tell whether its sample ends in the middle of a character, its octets stay what they were."""
    octets = b"x" + (TEXT.strip() * 600).encode(charset) + b"\r\n"
    message = repaired(letter(b"text/plain", octets)).message
    assert read(message).get_payload(decode=True) == octets


@pytest.mark.parametrize(
    ("said", "octets", "expected"),
    [
        (b"text/plain", b"\x1b$B8N>c\x1b(B\r\n", "iso-2022-jp"),
        (b"text/plain; charset=us-ascii", b"\x1b$B8N>c\x1b(B\r\n", "iso-2022-jp"),
        (b"text/plain; charset=8bit", b"\x1b$B8N>c\x1b(B\r\n", "iso-2022-jp"),
        (b"text/plain; charset=(none)", b"\x1b$B8N>c\x1b(B\r\n", "iso-2022-jp"),
        (b"text/plain; charset=x-mine", b"\x1b$B8N>c\x1b(B\r\n", "x-mine"),
        (b"text/plain; charset=utf-8", b"\x1b$B8N>c\x1b(B\r\n", "utf-8"),
        (b"text/plain", b"\x1b$B8\r\n", ""),
        (b"text/plain", b"\x1b[1mbold\x1b[0m\r\n", ""),
        (b"text/plain; charset=(none)", b"plain\r\n", "us-ascii"),
        (b"text/plain; charset=", b"plain\r\n", "us-ascii"),
        (b"text/plain; charset=x-mine", b"plain\r\n", "x-mine"),
        (b"text/plain; format=flowed", b"plain\r\n", ""),
        (b"text/plain", "①番\r\n".encode("cp932"), "ms_kanji"),
        (b"text/plain", "一番ディスク\r\n".encode("cp932"), "shift_jis"),
        (b"text/plain", "é\r\n".encode("latin-1"), "iso-8859-1"),
        (b"text/plain", "Größe – “gut”\r\n".encode("cp1252"), "windows-1252"),
        (b"application/octet-stream", b"\xe3\x81\x82\r\n", ""),
    ],
)
def test_labels(said: bytes, octets: bytes, expected: str) -> None:
    """Escape sequences speak for themselves, a name that can be none is replaced, one that is only unknown stays."""
    assert label(said, octets) == expected


def test_the_sample_is_bounded() -> None:
    """However long a text is, only its beginning is kept."""
    part: ScannedPart = scan_body((), read_content_type(b"text/plain"), [b"x" * 100_000]).parts[0]
    assert (len(part.sample), part.size, part.long_lines) == (32 * 1024, 100_000, True)
    lines = scan_body((), read_content_type(b"text/plain"), [b"x" * 998 + b"\r\n"] * 500).parts[0]
    assert (len(lines.sample), lines.size, lines.long_lines) == (32 * 1024, 500_000, False)


@pytest.mark.parametrize(
    ("said", "octets", "expected"),
    [
        (b"text/plain; charset=utf-8", b"L\x92onduleur n\x92a plus\r\n", "windows-1252"),
        (b"text/plain; charset=utf-8", "Ger\xe4t gest\xf6rt\r\n".encode("latin-1"), "iso-8859-1"),
        (b"text/plain; charset=utf-8", b"47\xb0C in rack 2\r\n", "iso-8859-1"),
        (b"text/plain; charset=utf-8", "温度が高い".encode() + b"\xb0\r\n", "utf-8"),
        (b"text/plain", "경보: 지하 주차장 누수".encode()[:-1] + b"\r\n", "utf-8"),
        (b"text/plain; charset=iso-8859-1", b"can\x92t, isn\x92t, won\x92t\r\n", "iso-8859-1"),
        (b"text/plain; charset=iso-8859-1", b"\x95door\r\n\x95window\r\n\x95alarm\r\n", "iso-8859-1"),
        (b"text/plain; charset=x-gbk", "机房门".encode("gbk") + b"\r\n", "x-gbk"),
        (b"text/plain; charset=euc-tw", b"\xc4\xa3\xc6\xe0\r\n", "euc-tw"),
        (b"text/plain; charset=klingon", "温度\r\n".encode(), "utf-8"),
        (b"text/html", b"<meta charset='windows-1251'>" + "привет\r\n".encode("cp1251"), "windows-1251"),
        (b"text/xml", b"<?xml version='1.0' encoding='koi8-r'?>" + "<a>привет</a>\r\n".encode("koi8-r"), "koi8-r"),
        (b"text/css", b'@charset "iso-8859-2";' + "źle\r\n".encode("iso8859-2"), "iso-8859-2"),
        (b"text/html; charset=utf-8", b"<meta charset=koi8-r>\xc3\xa9\r\n", "utf-8"),
        (b"text/html; charset=utf-8", b"<meta charset=gb2312>" + "机房温度过高，请检查\r\n".encode("gbk"), "gb2312"),
        (b"text/html; charset=utf-8", b"<meta charset=gb2312>" + "停电\r\n".encode("gbk"), "gb2312"),
        (b"text/html; charset=utf-8", b"<meta charset=big5>" + "機房溫度過高\r\n".encode("big5"), "big5"),
        (b"text/html; charset=utf-8", b"<meta charset=euc-kr>" + "경보: 누수\r\n".encode("euc-kr"), "euc-kr"),
        (b"text/html; charset=utf-8", b"<meta charset=windows-1251>" + "Тревога\r\n".encode("cp1251"), "windows-1251"),
        (b"text/html; charset=utf-8", b"<meta charset=utf-8>" + "Ger\xe4t\r\n".encode("latin-1"), "iso-8859-1"),
        (b"text/html; charset=utf-8", b"<meta charset=euc-kr>" + "Ger\xe4t\r\n".encode("latin-1"), "iso-8859-1"),
        (b"text/html; charset=iso-8859-1", b"<meta charset=gb2312>" + "停电警报\r\n".encode(), "utf-8"),
        (b"text/html; charset=iso-8859-1", b"<meta charset=iso-8859-1>" + TEXT.encode("cp932"), "shift_jis"),
        (b"text/html; charset=iso-8859-1", b"<meta charset=windows-1252>" + TEXT.encode("cp932"), "shift_jis"),
        (b"text/plain; charset=iso-8859-1", b"\xef\xbb\xbfT\xc3\xbcr\r\n", "utf-8"),
        (b"text/plain; charset=gb18030", b"\xef\xbb\xbfT\xc3\xbcr\r\n", "utf-8"),
        (b"text/plain; charset=windows-1252", b"\xef\xbb\xbfok\r\n", "utf-8"),
        (b"text/plain; charset=iso-8859-1", b"\xef\xbb\xbfT\xfcr\r\n", "iso-8859-1"),
    ],
)
def test_what_proves_a_label_false_and_what_does_not(said: bytes, octets: bytes, expected: str) -> None:
    """A wound, a sign of Windows or a name that only others know is no proof; no text at all in that charset is."""
    assert label(said, octets) == expected


@pytest.mark.parametrize(
    ("octets", "encoding", "becomes"),
    [
        (b"The pump has stopped.\r\n", b"base64", b"7bit"),
        (b"Test\r\n", b"base64", b"7bit"),
        ("温度が高い\r\n".encode(), b"base64", b"8bit"),
        (b"dGVzdA==\r\n", b"base64", b"base64"),
        (b"44GC44GE44GG44GI44GK44GC44GE44GG44GI44GK44GC44GE44GG44GI44GK \r\n44GK\r\n", b"base64", b"base64"),
        ("ポンプ=停止\r\n".encode(), b"quoted-printable", b"8bit"),
        (b"http://x/?a=zz\r\n", b"quoted-printable", b"7bit"),
        (b"Ger=C3=A4t a=b\r\n", b"quoted-printable", b"quoted-printable"),
    ],
)
def test_an_encoding_that_is_not_there_is_not_said(octets: bytes, encoding: bytes, becomes: bytes) -> None:
    """Text under the name of base64 or quoted-printable arrives as it is."""
    message = repaired(letter(b"text/plain; charset=utf-8", octets, encoding)).message
    [field] = message.all("content-transfer-encoding")
    assert field.value == becomes
    if becomes != encoding:
        assert b"".join(message.body) == octets


@pytest.mark.parametrize(
    ("kind", "octets", "said"),
    [
        (b"PDF; name=a.pdf", b"%PDF-1.4\n\xe2\xe3\n", "application/pdf; name=a.pdf"),
        (b"image/; name=a.png", b"\x89PNG\r\n\x1a\n\0\0", "application/octet-stream; name=a.png"),
        (b"application/octet-stream", b"a\rb\nc\r\n", "application/octet-stream"),
        (b"text/plain; charset=utf-16", "門\nok\n".encode("utf-16"), "text/plain; charset=utf-16"),
        (b"text/plain; charset=utf-16le", "Сначала".encode("utf-16-le"), "text/plain; charset=utf-16le"),
        (b"text/plain; charset=utf-16be", "告警正常".encode("utf-16-be"), "text/plain; charset=utf-16be"),
        (b"text/plain", "Door: open\n".encode("utf-16-le"), "text/plain; charset=utf-16le"),
    ],
)
def test_octets_that_are_no_lines_arrive_octet_for_octet(kind: bytes, octets: bytes, said: str) -> None:
    """Data, and text in UTF-16, put in raw: line ends and NULs are octets as others are, and the name is kept."""
    sent = read(repaired(letter(kind, octets, b"binary")).message)
    assert (sent["Content-Transfer-Encoding"], sent.get_payload(decode=True)) == ("base64", octets)
    assert str(sent["Content-Type"]).replace('"', "") == said


def test_a_damaged_octet_in_base64_makes_no_utf16_of_the_code() -> None:
    """What is labelled UTF-16 is what the base64 holds."""
    code = b"\x01\r\n" + base64.encodebytes("Vše v pořádku\n".encode("utf-16-le")).replace(b"\n", b"\r\n")
    sent = read(repaired(letter(b"text/plain; charset=utf-16le", code, b"base64")).message)
    assert sent.get_payload(decode=True).decode("utf-16-le") == "Vše v pořádku\n"


def test_a_part_without_a_type_is_not_made_text() -> None:
    """An attached image says nothing of itself: its octets tell that it is none."""
    image = base64.encodebytes(b"\x89PNG\r\n\x1a\n\0\0\xff\xfe").replace(b"\n", b"\r\n")
    head = MIME + b"Content-Type: multipart/mixed; boundary=cut-here\r\n\r\n--cut-here\r\n"
    part = b"Content-Disposition: attachment; filename=a.png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    [sent] = read(repaired(head + part + image + b"--cut-here--\r\n").message).iter_attachments()
    assert (sent.get_content_type(), sent.get_filename()) == ("application/octet-stream", "a.png")


@pytest.mark.parametrize(
    "body", [b"page\x0cnext\x07\r\n", b"\x02T=23.5\x03\r\n" * 20, b"\x07\x07\x07ALARM\r\n", b"\x1b[31mred\x1b[0m\r\n"]
)
def test_a_bell_or_a_frame_in_text_without_a_type_makes_no_file_of_it(body: bytes) -> None:
    """What a serial line brings is text still, and stays as it is; readers would show a file instead."""
    head = b"From: a@b.example\r\nTo: c@d.example\r\nSubject: x\r\n\r\n"
    sent = repaired(head + body).message
    assert sent.all("content-type") == ()
    assert b"".join(sent.body) == body


def test_a_name_with_a_foreign_octet_is_no_name() -> None:
    """`charset=\x80windows-1251` names nothing, so the text is labelled, once."""
    assert not is_registered("\x80windows-1251") and is_registered("windows-1251")


def test_a_label_that_is_guessed_again_is_not_told_again() -> None:
    """Octets that windows-1252 does not have make its label doubtful, and no other fits better."""
    name = b'name="\x90\\\x90\xbf\x94\\"\r\n'
    text = b"Die T\xfcr zum K\xfchlraum ist seit f\xfcnfDate: Sun, 03 Mar 2024 09:15:00 application/octet-stream; " + name
    text += b"Content-Disposition: file" + name
    first = repaired(RIGHT + b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n" + text)
    assert any(note.startswith("named the charset windows-1252") for note in first.notes)
    assert repaired(octets(first.message)).notes == ()


@pytest.mark.parametrize("text", [b"\0\xfe\xff", b"\0\xff\xfeh\0i\0\r\0\n\0", b"\0\0\0\xfe\xff\0h"])
def test_a_byte_order_mark_behind_nuls_is_one(text: bytes) -> None:
    """The NULs would be removed; then the text would be UTF-16 for the next who looks."""
    first = repaired(RIGHT + b"\r\n" + text)
    assert repaired(octets(first.message)).notes == ()


@pytest.mark.parametrize("label", [b"koi \x808-r", b"utf-8 \xff", b"\x80windows-1251"])
def test_a_label_with_a_foreign_octet_is_none(label: bytes) -> None:
    """A new one takes its place, so that nobody finds both."""
    content = MIME + b"Content-Type: text/plain; charset=" + label + b"\r\n\r\n" + TEXT.encode("cp932")
    first = octets(repaired(content).message)
    assert first.count(b"charset") == 1 and repaired(first).notes == ()


@pytest.mark.parametrize("name", [b"\x81charset", b"char\x81set", b"\x83\x5echarset\xff"])
@pytest.mark.parametrize("label", [b"windows-31j", b"utf-8"])
def test_a_parameter_whose_name_has_foreign_octets_is_one_parameter(name: bytes, label: bytes) -> None:
    """In Shift_JIS the octet would take the next letter with it, and another name would leave than the one that was read."""
    content = MIME + b"Content-Type: text/plain; " + name + b"=" + label + b"\r\n\r\n" + TEXT.encode("cp932")
    assert repaired(octets(repaired(content).message)).notes == ()


@pytest.mark.parametrize("more", [b"\xe3\x81\x82" * 400, b"\x00\x9c" * 700, b"a short line\r\n"])
def test_a_file_without_a_header_is_no_text_however_long_its_lines(more: bytes) -> None:
    """Named so once; a second repair finds nothing."""
    first = octets(repaired(b"%PDF-1.4 \xe2\xe3" + more).message)
    assert b"\r\nContent-Type: application/octet-stream\r\n" in first
    assert repaired(first).notes == ()


def test_a_label_stands_before_a_name_whose_quotation_mark_is_never_closed() -> None:
    """In ISO-2022-JP half a character may look like the mark that closes it."""
    name = b'filename="' + "\u5e30\u5b85\u8a18\u9332".encode("iso2022_jp") + b".txt"
    assert name.count(b'"') == 2
    content = MIME + b"Content-Type: no-type; " + name + b"\r\n\r\n" + "\u672c\u6587".encode()
    first = octets(repaired(content).message)
    assert read([first]).get_content_charset() == "utf-8"
    assert repaired(first).notes == ()


@pytest.mark.parametrize("encoding", [b"base64", b"8bit"])
@pytest.mark.parametrize("text", ["zażółć", "zażółć\r\ngęślą"])
def test_what_is_said_to_be_utf_16_is_judged_alike_when_it_comes_again(encoding: bytes, text: str) -> None:
    """Text in one octet each, with that label, whatever it is said to be encoded in."""
    head = MIME + b"Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: " + encoding
    once = repaired(head + b"\r\n\r\n" + text.encode("cp1250") + b"\r\n").message
    again = repaired(octets(once))
    assert again.notes == ()
    assert without_trace(again.message) == octets(once)


@pytest.mark.parametrize("cut", [b"\x1b", b"\x1b(", b"\x1b$"])
@pytest.mark.parametrize("end", [b"", b"\r\n"])
def test_iso_2022_jp_that_ends_inside_an_escape_is_iso_2022_jp(cut: bytes, end: bytes) -> None:
    """With a line end behind it and without."""
    assert b"charset=ISO-2022-JP" in octets(
        repaired(RIGHT + b"\r\n" + "容量不足".encode("iso2022_jp")[:-3] + cut + end).message
    )
