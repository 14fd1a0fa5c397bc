"""What a person sees of a message: the right text, the pictures, and how much was left out."""

from email.message import EmailMessage

import pytest

from relay.mail import readable_body
from relay.mail.readable_body import readable_of
from tests.support.push_services import JPEG


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
