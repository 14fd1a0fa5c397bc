"""What a person sees of a message: the right text, the pictures, and how much was left out."""

import base64
from email.message import EmailMessage

import pytest

from relay.mail import readable_body
from relay.mail.readable_body import readable_of
from tests.support.push_services import JPEG

HEAD = b"From: a@b.example\r\nSubject: x\r\n"
MIXED = (
    HEAD
    + b'Content-Type: multipart/mixed; boundary="q"\r\n\r\npreamble\r\n--q\r\n%b\r\n\r\n%b\r\n'
    + b"--q\r\nContent-Type: image/jpeg\r\nContent-Transfer-Encoding: base64\r\n\r\n/9j/4AAQ\r\n--q--\r\nepilogue\r\n"
)
HTML = (
    b"<html><head><title>T</title><style>p {color: red}</style></head><body><p>Disk &amp; fan<br>89&nbsp;C</p>"
    b"<script>alert(1)</script></body></html>"
)
NAMED = b"Content-Type: text/plain; charset=\r\nContent-Disposition: inline; filename=m.txt"


def octets(message: EmailMessage) -> list[bytes]:
    return [message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")]


def letter(text: str = "Motion was seen.", subject: str = "Motion at ゲート") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Kamera <cam@home.example>", "me@isp.example", subject
    message.set_content(text)
    return message


def test_text_subject_and_sender() -> None:
    """Encoded-words and transfer encodings are undone."""
    found = readable_of(octets(letter("Bewegung vor der Tür\n\n  eingerückt")))
    assert (found.subject, found.sender) == ("Motion at ゲート", "Kamera <cam@home.example>")
    assert found.text == "Bewegung vor der Tür\n\n  eingerückt"
    assert (found.pictures, found.others, found.too_large) == ((), 0, 0)


@pytest.mark.parametrize(("charset", "text"), [("iso-2022-jp", "動体検知"), ("shift_jis", "動体検知"), ("koi8-r", "Тревога")])
def test_the_charset_that_is_named(charset: str, text: str) -> None:
    """Text in old charsets."""
    content = f"Subject: x\r\nContent-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".encode()
    assert readable_of([content + text.encode(charset) + b"\r\n"]).text == text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (HEAD + b"\r\nhello\r\nworld\r\n", "hello\nworld"),
        (HEAD + b"\nhello\nworld", "hello\nworld"),
        (HEAD + b"\r\n", ""),
        (b"", ""),
        (HEAD + b"\r\n\x1b$BF0BN8!CN\x1b(B\r\n", "動体検知"),
        (HEAD + b"\r\n" + "動体検知".encode("cp932"), "動体検知"),
        (HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + "動体検知です".encode("cp932"), "動体検知です"),
        (HEAD + b"\r\n" + "Außen 12 °C".encode("latin-1") + b"\r\n", "Außen 12 °C"),
        (HEAD + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=E5=8B=95=\r\n=E4=BD=93\r\n", "動体"),
        (HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes("動体検知".encode()), "動体検知"),
        (HEAD + b"Content-Transfer-Encoding: base64\r\n\r\naGVsbG8", "hello"),
        (HEAD + b"Content-Transfer-Encoding: base64\r\n\r\naGVsb", "hel"),
        (HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n!", ""),
        (MIXED % (b"Content-Type: text/plain", b"the text"), "the text"),
        (MIXED % (b"Content-Type: text/plain\r\nContent-Disposition: attachment; filename=a.txt", b"a file"), ""),
        (MIXED % (b"Content-Type: text/html", HTML), "Disk & fan\n89 C"),
        (MIXED % (b"Content-Type: text/html", b"<p>html</p>\r\n--q\r\nContent-Type: text/plain\r\n\r\nplain"), "plain"),
        (MIXED % (b"", b"the text\r\n--q\r\nX: y\r\n\r\n\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "the text"),
        (HEAD + b"Content-Type: application/pdf\r\n\r\n%PDF-1.4", ""),
        (HEAD + b"\r\nbell \x07 and \x1b[31mred\r\n", "bell  and [31mred"),
    ],
)
def test_messages_as_devices_send_them(content: bytes, text: str) -> None:
    """Nothing was repaired yet: labels are missing or wrong, transfer encodings end too early."""
    assert readable_of([content]).text == text


def test_the_one_text_may_have_a_file_name() -> None:
    """BusyBox' makemime gives it one.  Beside a text without a name it is an attachment."""
    found = readable_of([MIXED % (NAMED, b"log of today")])
    assert (found.text, found.others) == ("log of today", 0)
    found = readable_of([MIXED % (NAMED, b"log of today\r\n--q\r\nContent-Type: text/plain\r\n\r\nthe text")])
    assert (found.text, found.others) == ("the text", 1)


def test_many_texts_together_are_bounded() -> None:
    """The cost of a message is that of one text."""
    part = b"--q\r\nContent-Type: text/html\r\n\r\n<p>" + b"x" * 50_000 + b"</p>\r\n"
    head = HEAD + b"Content-Type: multipart/mixed; boundary=q\r\n\r\n"
    assert 100_000 < len(readable_of([head, *[part] * 50]).text) <= readable_body.MOST_TEXT


def test_plain_text_comes_before_html() -> None:
    """Of two forms of the same text, the one that needs nothing."""
    message = letter("plain words")
    message.add_alternative("<p>rich words</p>", subtype="html")
    assert readable_of(octets(message)).text == "plain words"


@pytest.mark.parametrize("stub", ["", "  \n", "This message needs a reader for HTML."])
def test_html_where_the_plain_text_says_nothing(stub: str) -> None:
    """Empty, or only a hint that there is HTML."""
    message = letter(stub)
    message.add_alternative("<h1>Alarm</h1><p>front door</p>", subtype="html")
    assert readable_of(octets(message)).text == "Alarm\n\nfront door"


def test_pictures_and_other_attachments() -> None:
    """A JPEG whatever it is called; a PDF is counted, a pixel that counts readers is nothing."""
    message = letter()
    message.add_attachment(JPEG, maintype="image", subtype="jpeg", filename="../../snap shot.jpg")
    message.add_attachment(JPEG, maintype="application", subtype="octet-stream", filename="B.JPG")
    message.add_attachment(JPEG, maintype="image", subtype="jpeg")
    message.add_attachment(b"GIF89a" + bytes(40), maintype="image", subtype="gif", filename="pixel.gif")
    message.add_attachment(b"%PDF-1.7", maintype="application", subtype="pdf", filename="report.pdf")
    message.add_attachment("a,b", filename="table.csv")
    found = readable_of(octets(message))
    assert [(one.name, one.kind) for one in found.pictures] == [
        ("snap shot.jpg", "image/jpeg"),
        ("B.JPG", "image/jpeg"),
        ("picture.jpg", "image/jpeg"),
    ]
    assert all(one.content == JPEG for one in found.pictures)
    assert (found.others, found.text) == (2, "Motion was seen.")


def test_the_message_itself_may_be_the_picture() -> None:
    """Some cameras send nothing else."""
    message = EmailMessage()
    message["Subject"] = "snap"
    message.set_content(JPEG, maintype="image", subtype="jpeg", filename="snap.jpg")
    found = readable_of(octets(message))
    assert [one.content for one in found.pictures] == [JPEG]
    assert found.text == ""


def test_no_pictures_where_none_are_wanted() -> None:
    """They are not counted as too large either."""
    message = letter()
    message.add_attachment(JPEG, maintype="image", subtype="jpeg", filename="a.jpg")
    found = readable_of(octets(message), pictures=False)
    assert (found.pictures, found.too_large, found.others) == ((), 0, 0)


def test_there_is_room_for_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over the room is left out whole, and the room is for the next; so is a picture that is not whole."""
    monkeypatch.setattr(readable_body, "MOST_OCTETS", 3 * len(JPEG))
    message = letter()
    for size in (2, 2, 1):
        message.add_attachment(JPEG * size, maintype="image", subtype="jpeg", filename=f"{size}.jpg")
    found = readable_of(octets(message))
    assert ([one.name for one in found.pictures], found.too_large) == (["2.jpg", "1.jpg"], 1)
    found = readable_of(octets(message), whole=False)
    assert ([one.name for one in found.pictures], found.too_large) == (["2.jpg"], 2)


def test_long_text_is_cut_between_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the middle of one."""
    monkeypatch.setattr(readable_body, "MOST_TEXT", 10)
    assert readable_of(octets(letter("ああああああ"))).text == "あああ"
