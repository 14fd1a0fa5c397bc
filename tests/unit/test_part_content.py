"""Octets of parts decoded as a stream, and their file names."""

import base64
import binascii
import os

import pytest

from relay.mail.message import Field
from relay.mail.part_content import decoder_for, file_name


def decoded(encoding, octets, step):
    decoder = decoder_for(encoding)
    return b"".join([*(decoder.feed(octets[at : at + step]) for at in range(0, len(octets), step)), decoder.close()])


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
class TestDecoders:
    """Block borders change nothing."""

    def test_base64(self, step):
        """Line ends and signs outside of the alphabet do not count."""
        octets = os.urandom(501)
        assert decoded("base64", base64.encodebytes(octets).replace(b"\n", b"\r\n *"), step) == octets

    def test_several_pieces_with_padding(self, step):
        """Some devices encode block by block."""
        assert decoded("base64", b"QQ==\r\nQUI=\r\nQUJD\r\nQQ==", step) == b"AABABCA"

    def test_padding_that_is_missing(self, step):
        """A lone character at the end holds nothing."""
        assert decoded("base64", b"QUJDRA", step) == b"ABCD"
        assert decoded("base64", b"QUJDR", step) == b"ABC"

    def test_quoted_printable(self, step):
        """Soft line ends go, codes become octets."""
        assert decoded("quoted-printable", b"a=3D=E3=81=82 b=\r\nc\r\nd", step) == "a=あ bc\r\nd".encode()

    def test_what_is_unknown_stays(self, step):
        """As RFC 2045 wants it."""
        assert decoded("x-own", b"abc\r\n", step) == b"abc\r\n"

    def test_uuencode(self, step):
        """Between `begin` and `end`; a check character at the end of each line, as some add it, does not count."""
        octets = os.urandom(200)
        lines = [binascii.b2a_uu(octets[at : at + 45]).rstrip(b"\n") for at in range(0, 200, 45)]
        for more in (b"", b"x"):
            coded = b"\r\n".join(
                [b"said before", b"begin 644 a.pdf", *(line + more for line in lines), b"`", b"end", b"after", b""]
            )
            assert decoded("x-uuencode", coded, step) == octets


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (["Content-Disposition: attachment; filename=a.pdf"], "a.pdf"),
        (['Content-Disposition: attachment; filename="a b.pdf"'], "a b.pdf"),
        (["Content-Type: application/pdf; name=t.pdf"], "t.pdf"),
        (["Content-Type: application/pdf; name=t.pdf", "Content-Disposition: attachment; filename=d.pdf"], "d.pdf"),
        (["Content-Disposition: attachment; filename*=utf-8''%E5%86%99%E7%9C%9F.jpg"], "写真.jpg"),
        (["Content-Disposition: attachment; filename*0*=utf-8''%E5%86; filename*1*=%99.jpg"], "写.jpg"),
        (['Content-Disposition: attachment; filename*0="long "; filename*1="name.pdf"'], "long name.pdf"),
        (['Content-Disposition: attachment; filename="=?utf-8?B?5YaZ?=.jpg"'], "写.jpg"),
        (["Content-Disposition: attachment; filename*=shift_jis''%8E%CA.jpg"], "写.jpg"),
        (["Content-Disposition: attachment; filename*=no-such''a.jpg"], "a.jpg"),
        (['Content-Disposition: attachment; filename="../../etc/passwd"'], "passwd"),
        (['Content-Disposition: attachment; filename="C:\\\\scans\\\\a.pdf"'], "a.pdf"),
        (['Content-Disposition: attachment; filename="a\x07b.pdf"'], "ab.pdf"),
        (["Content-Disposition: attachment"], ""),
        ([], ""),
    ],
)
def test_file_names(fields, name):
    """As the sender meant them, without folders and control characters."""
    assert file_name([Field(f"{one}\r\n".encode()) for one in fields]) == name


def test_a_name_has_a_bound():
    """However long the sender makes it."""
    assert len(file_name([Field(b"Content-Type: a/b; name=" + b"x" * 5000 + b"\r\n")])) == 200
