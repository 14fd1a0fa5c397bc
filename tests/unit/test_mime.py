"""MIME fields: what is read in them, and what is written."""

import email
import email.policy

import pytest

from relay.mail.message import Field
from relay.mail.mime import (
    ascii_boundary,
    content_type,
    is_misread,
    quoted,
    read_content_type,
    transfer_encoding,
    with_ascii_params,
    with_param,
    with_plain_type,
    with_quotes,
)


@pytest.mark.parametrize(
    ("value", "kind", "params"),
    [
        (b"Text/HTML; Charset=UTF-8", "text/html", {"charset": "UTF-8"}),
        (b'text/plain;charset="a\\"b" ; format=flowed', "text/plain", {"charset": 'a"b', "format": "flowed"}),
        (b"text/plain (words); charset=x", "text/plain", {"charset": "x"}),
        (b"text/plain charset=utf-8", "text/plain", {"charset": "utf-8"}),
        (b"text/plain, charset=utf-8, format=flowed", "text/plain", {"charset": "utf-8, format=flowed"}),
        (b"multipart/mixed;\r\n\tboundary=b", "multipart/mixed", {"boundary": "b"}),
        (b'multipart/mixed; boundary="b', "multipart/mixed", {"boundary": "b"}),
        (b'multipart/mixed; boundary="', "multipart/mixed", {"boundary": ""}),
        (b"multipart/mixed; boundary=b; boundary=c", "multipart/mixed", {"boundary": "b"}),
        (b"application/pdf; name=a b.pdf", "application/pdf", {"name": "a b.pdf"}),
        (b"application/pdf; n\xe9ame=x; =y", "application/pdf", {"name": "x"}),
        (b"text", "", {}),
        (b"text/plain/x; a=b", "text/plain", {"a": "b"}),
        (b"; charset=utf-8", "", {"charset": "utf-8"}),
        (b"", "", {}),
    ],
)
def test_a_content_type_is_read_as_it_was_meant(value: bytes, kind: str, params: dict[str, str]) -> None:
    """Kind and names in lower case, values unquoted, the first of two of a name."""
    read = read_content_type(value)
    assert (read.kind, dict(read.params), read.said) == (kind, params, True)


def test_without_a_field_nothing_was_said() -> None:
    """Then a reader takes it for text; of two fields the first one counts."""
    assert not content_type([]).said and content_type([]).text and content_type([]).boundary == b""
    two = [Field.of("X", "y"), Field.of("Content-Type", "text/html"), Field.of("Content-Type", "image/png")]
    assert content_type(two).kind == "text/html"


@pytest.mark.parametrize(
    ("value", "charset"),
    [
        (b"text/plain; charset= UTF-8 ", "utf-8"),
        (b"text/plain; charset='utf-8'", "utf-8"),
        (b"text/plain; charset=utf-8 format=flowed", "utf-8"),
        (b'text/plain; charset=""', ""),
        (b"text/plain", ""),
    ],
)
def test_a_charset_is_one_word(value: bytes, charset: str) -> None:
    """In lower case, without whatever quotation marks."""
    assert read_content_type(value).charset == charset


@pytest.mark.parametrize(
    ("value", "boundary"),
    [
        (b"multipart/mixed; boundary=b", b"b"),
        (b'multipart/mixed; boundary="a b  "', b"a b"),
        (b"multipart/mixed; boundary=" + b"b" * 500, b"b" * 500),
        (b"multipart/mixed; boundary=" + b"b" * 501, b""),
        (b"multipart/mixed; boundary=\xe9", b"\xe9"),
        (b"text/plain; boundary=b", b""),
    ],
)
def test_only_a_multipart_has_a_boundary(value: bytes, boundary: bytes) -> None:
    """And none that is longer than any that can be meant; a blank at its end is none (RFC 2046 s5.1.1)."""
    assert read_content_type(value).boundary == boundary


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (b"BASE64", "base64"),
        (b" base64 (as ever) ", "base64"),
        (b'"8bit";', "8bit"),
        (b"'7-bit'", "7bit"),
        (b"8 Bit", "8bit"),
        (b"UTF-8", "8bit"),
        (b"b64", "base64"),
        (b"bas\x01e64\xa0", "base64"),
        (b"QP", "quoted-printable"),
        (b"Quoted_Printable,", "quoted-printable"),
        (b"none", "7bit"),
        (b"x-uuencode", "x-uuencode"),
        (b"binary", "binary"),
        (b"", ""),
    ],
)
def test_a_transfer_encoding_is_known_by_many_names(said: bytes, meant: str) -> None:
    """Those that firmware gives to the five that there are."""
    assert transfer_encoding([Field.of("Content-Transfer-Encoding", said)]) == meant


def test_no_transfer_encoding_is_none() -> None:
    """A field that is not there says nothing."""
    assert transfer_encoding([Field.of("Content-Type", "text/plain")]) == ""


@pytest.mark.parametrize(
    ("value", "mended"),
    [
        (b"text/plain charset=utf-8", b"text/plain; charset=utf-8"),
        (b"text/plain, charset=utf-8", b"text/plain; charset=utf-8"),
        (b"text/plain , charset=utf-8 format=flowed", b"text/plain; charset=utf-8 format=flowed"),
        (b"text/plain; charset=utf-8, x=y", b"text/plain; charset=utf-8, x=y"),
        (b"text/plain", b"text/plain"),
        (b"text plain charset=x", b"text plain charset=x"),
        (b"multipart/m\x80ixed boundary=b", b"multipart/mixed; boundary=b"),
        (b"text/plain\xc2\xa0charset=x", b"text/plain; charset=x"),
        (b"text/plain,\xe3\x80\x80 charset=x", b"text/plain; charset=x"),
        (b"text/plain \xa0charset=x", b"text/plain; charset=x"),
        (b"text/plain c\xc2\xa0harset=x", b"text/plain; charset=x"),
        (b"text/pl\xc2\xa0ain; charset=x", b"text/plain; charset=x"),
        (b"text/p\xe3\x80\x80lain charset=x", b"text/plain; charset=x"),
        (b"\xc2\xa0text/plain\xa0", b"text/plain"),
        (b"te\xe3\x81\x82xt/plain; name=\xe3\x81\x82", b"text/plain; name=\xe3\x81\x82"),
        (b"\x93\x8c.pdf", b"\x93\x8c.pdf"),
        (b"te\x1b$Bxt/plain; charset=x", b"te$Bxt/plain; charset=x"),
        (b"text/plain;\x1b$B charset=x", b"text/plain;$B charset=x"),
        (b'text/plain; name="\x1b$B<+.txt"; charset=x', b'text/plain; name="$B<+.txt"; charset=x'),
        (b'text/plain; name="\x1b$B%"%i\x1b(B.txt"', b'text/plain; name="\x1b$B%"%i\x1b(B.txt"'),
        (b"text/plain;\x01 char\x0bset=x", b"text/plain; charset=x"),
        (b'mult\x01ipart/mixed; Boundary="a;\x01b"; x=\x01y', b'multipart/mixed; Boundary="a;\x01b"; x=y'),
        (b"multipart/mixed boundary=a\x7fb;\x01x=y", b"multipart/mixed; boundary=a\x7fb;x=y"),
    ],
)
def test_a_semicolon_that_was_left_out_is_put_in(value: bytes, mended: bytes) -> None:
    """Behind the type, and nowhere else; the type itself is ASCII."""
    assert with_plain_type(value) == mended


@pytest.mark.parametrize(
    ("value", "misread"),
    [
        (b"multipart/mixed; boundary=abc", False),
        (b'multipart/mixed; boundary="a b:c"', False),
        (b'multipart/mixed; boundary=""', False),
        (b"multipart/mixed; boundary=a:b", True),
        (b"multipart/mixed; boundary=a b", True),
        (b"multipart/mixed; Boundary=a/b=c?", False),
        (b"multipart/mixed; boundary=\xe9", True),
        (b'multipart/mixed; boundary="abc', True),
        (b'multipart/mixed; boundary="', True),
        (b'multipart/mixed; charset="x; boundary=abc', False),
        (b"multipart/mixed; name=a b; boundary=abc", False),
        (b"multipart/mixed", False),
    ],
)
def test_boundaries_that_readers_disagree_about_are_known(value: bytes, misread: bool) -> None:
    """Blanks and specials without quotation marks, a quotation mark that is never closed; other parameters do not count."""
    assert is_misread(value) is misread


@pytest.mark.parametrize(
    ("value", "name", "new", "mended"),
    [
        (b"text/plain", "charset", "utf-8", b"text/plain; charset=utf-8"),
        (b"text/plain ; ", "charset", "utf-8", b"text/plain; charset=utf-8"),
        (b"text/plain; charset=x; format=flowed", "charset", "utf-8", b"text/plain; charset=utf-8; format=flowed"),
        (b'text/plain; CharSet="x" junk; format=flowed', "charset", "utf-8", b"text/plain; CharSet=utf-8; format=flowed"),
        (b"text/plain;  a=b ;charset=x", "charset", "utf-8", b"text/plain;  a=b ; charset=utf-8"),
        (b"text/plain; char\xe9set=x", "charset", "utf-8", b"text/plain; charset=utf-8"),
        (b"text/plain; name=\xe9", "charset", "utf-8", b"text/plain; name=\xe9; charset=utf-8"),
        (b"multipart/mixed; boundary=x", "boundary", 'a "b\\', b'multipart/mixed; boundary="a \\"b\\\\"'),
        (b"multipart/mixed; boundary=x", "boundary", "\xe9", b'multipart/mixed; boundary="\xe9"'),
        (b'multipart/mixed; x="y', "boundary", "b", b'multipart/mixed; boundary=b; x="y'),
    ],
)
def test_one_parameter_is_set_and_the_others_stay(value: bytes, name: str, new: str, mended: bytes) -> None:
    """As they were written, in their order; what stood between the old value and the next semicolon goes."""
    assert with_param(value, name, new) == mended


@pytest.mark.parametrize(
    ("value", "written"), [("a-b", "a-b"), ("a b", '"a b"'), ("", '""'), ('a"\\', '"a\\"\\\\"'), ("a=b", '"a=b"')]
)
def test_a_value_is_quoted_where_it_must_be(value: str, written: str) -> None:
    """A token stays one (RFC 2045 s5.1)."""
    assert quoted(value) == written


def test_a_boundary_in_ascii_is_its_own() -> None:
    """Any other gets one that stands for it, the same each time, another for another one, and short enough."""
    assert ascii_boundary(b"=_a b") == b"=_a b"
    first, second = ascii_boundary(b"\xe9"), ascii_boundary(b"\xe8")
    assert first == ascii_boundary(b"\xe9") != second
    assert ascii_boundary(b"\xe9" * 400).isascii() and len(ascii_boundary(b"\xe9" * 400)) <= 70
    assert ascii_boundary(b"a\tb") != b"a\tb"


@pytest.mark.parametrize("length", [1, 5, 6, 7, 20, 40, 120])
def test_a_name_in_any_letters_is_said_by_rfc_2231(length: int) -> None:
    """Whatever its length, Python's reader gets it back; no line is over-long, the other parameters and the type stay."""
    name = ("記録データé 1%" * 20)[:length] + ".csv"
    value = with_ascii_params(f"Text/CSV ; charset=utf-8; name={name}")
    assert value.isascii() and max(map(len, value.split(b"\r\n\t"))) <= 76
    field = email.message_from_bytes(b"Content-Type: " + value + b"\r\n\r\n", policy=email.policy.default)
    assert field.get_content_type() == "text/csv"
    assert field["Content-Type"].params == {"charset": "utf-8", "name": name}
    assert field.get_filename() == name


def test_parameters_that_are_ascii_are_written_plainly() -> None:
    """Also one that was meant in ASCII; foreign octets in the type itself go."""
    value = with_ascii_params("image/\xe9png; name=e.png; size=12; x=a b")
    assert value == b'image/png;\r\n\tname=e.png;\r\n\tsize=12;\r\n\tx="a b"'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a/b; name=é.pdf; name*=utf-8''%C3%A9.pdf", b"a/b;\r\n\tname*=utf-8''%C3%A9.pdf"),
        ("a/b; name=é.pdf; name*0*=utf-8''a; name*1*=b.pdf", b"a/b;\r\n\tname*0*=utf-8''a;\r\n\tname*1*=b.pdf"),
        ("a/b; name*=utf-8''Prüf%20x.pdf", b"a/b;\r\n\tname*=utf-8''Pr%C3%BCf%20x.pdf"),
        ('a/b; name*0="Prü"; name*1="f.pdf"', b"a/b;\r\n\tname*=utf-8''Pr%C3%BCf.pdf"),
    ],
)
def test_a_name_is_said_once(text: str, value: bytes) -> None:
    """Of a raw one and one by RFC 2231 the second stays; raw text in pieces of RFC 2231 becomes whole."""
    assert with_ascii_params(text) == value


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"a/b; name=Page 07.pdf", "Page 07.pdf"),
        (b"a/b; name=photo(1).jpg; size=3", "photo(1).jpg"),
        (b"a/b; name=photo (1).jpg", "photo (1).jpg"),
        (b"a/b; name=a,b.txt", "a,b.txt"),
        (b"a/b; name='Page 07.pdf'", "Page 07.pdf"),
        (b'a/b; name="Page 07.pdf', "Page 07.pdf"),
        (b'a/b; name="a "b" c.txt"', 'a "b" c.txt'),
        (b"a/b; name=C:\\a b\\c.txt", "C:\\a b\\c.txt"),
    ],
)
def test_a_name_that_needs_quotation_marks_gets_them(value: bytes, name: str) -> None:
    """Python's reader gets it whole; the second time nothing is done."""
    mended = with_quotes(value)
    assert (
        email.message_from_bytes(b"Content-Type: " + mended + b"\r\n\r\n", policy=email.policy.default).get_filename() == name
    )
    assert with_quotes(mended) == mended


@pytest.mark.parametrize(
    "value",
    [
        *(
            b"a/b; name=a.pdf",
            b'a/b; name="a b.pdf"',
            b"a/b; name=a.pdf (x)",
            b'a/b; name="a.pdf" (x)',
            b'a/b; name="a;b.pdf"; s=3',
        ),
        *(b"a/b; name=", b'a/b; name=""', b"a/b; name=a b charset=x", b"a/b; x=c d", b'a/b; name="\x1b$B5"Bp\x1b(B.txt"'),
    ],
)
def test_a_name_that_is_right_stays(value: bytes) -> None:
    """Comments, semicolons within marks, a parameter run into the next, and what must be decoded first."""
    assert with_quotes(value) == value
