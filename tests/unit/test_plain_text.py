"""The text of a message, as the person who reads a digest sees it."""

import base64
import time

import pytest

from relay.mail.message import Message
from relay.mail.plain_text import text_of

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


def said(octets: bytes, most: int = 1000) -> str:
    return text_of(Message.parse((octets,)), most)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (HEAD + b"\r\nhello\r\nworld\r\n", "hello\nworld"),
        (HEAD + b"\nhello\nworld", "hello\nworld"),
        (HEAD + b"\r\n", ""),
        (b"", ""),
        (HEAD + b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$BF0BN8!CN\x1b(B\r\n", "動体検知"),
        (HEAD + b"Content-Type: text/plain; charset=shift_jis\r\n\r\n" + "動体検知".encode("cp932"), "動体検知"),
        (HEAD + b"\r\n" + "Außen 12 °C".encode("latin-1") + b"\r\n", "Außen 12 °C"),
        (HEAD + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=E5=8B=95=\r\n=E4=BD=93\r\n", "動体"),
        (HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes("動体検知".encode()), "動体検知"),
        (HEAD + b"Content-Transfer-Encoding: base64\r\n\r\naGVsbG8", "hello"),
        (HEAD + b"Content-Transfer-Encoding: base64\r\n\r\naGVsb", "hel"),
        (HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n!", ""),
        (MIXED % (b"Content-Type: text/plain", b"the text"), "the text"),
        (MIXED % (b"Content-Type: text/plain\r\nContent-Disposition: attachment; filename=a.txt", b"a file"), ""),
        (MIXED % (b"Content-Type: text/html", HTML), "Disk & fan\n89 C"),
        (HEAD + b"Content-Type: application/pdf\r\n\r\n%PDF-1.4", ""),
        (HEAD + b"\r\nbell \x07 and \x1b[31mred\r\n", "bell  and [31mred"),
    ],
)
def test_the_text(octets: bytes, text: str) -> None:
    assert said(octets) == text


def test_plain_text_counts_more_than_html() -> None:
    body = b"Content-Type: text/html\r\n\r\n<p>html</p>\r\n--q\r\nContent-Type: text/plain\r\n\r\nplain"
    assert said(MIXED % (body.partition(b"\r\n\r\n")[0], body.partition(b"\r\n\r\n")[2])) == "plain"


def test_a_long_text_is_cut_and_says_so() -> None:
    assert said(HEAD + b"\r\n" + b"x" * 5000, 10) == "x" * 10 + " [...]"


def test_a_picture_of_many_megabytes_is_not_read() -> None:
    read = []

    def blocks():
        yield HEAD + b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\nContent-Type: text/plain\r\n\r\nfirst\r\n--q\r\n"
        for number in range(1000):
            read.append(number)
            yield b"A" * 65_536

    class Content:
        def __iter__(self):
            return blocks()

    assert text_of(Message.parse(Content()), 100) == "first"
    assert len(read) < 20


@pytest.mark.parametrize("octets", [b"<" * 200_000, b"<style>" * 30_000, b"&" * 200_000, b"<p " * 60_000, b"\n" * 250_000])
def test_html_of_strangers_takes_linear_time(octets: bytes) -> None:
    began = time.process_time()
    said(HEAD + b"Content-Type: text/html\r\n\r\n" + octets)
    assert time.process_time() - began < 2
