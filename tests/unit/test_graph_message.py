"""Who gets a message by Microsoft Graph, and which of its parts go by themselves."""

import base64
import os
import re
from email import message_from_bytes, policy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.address import parse_address
from relay.mail.message import Message
from relay.upstream.graph_message import (
    LARGEST_REQUEST,
    Attachment,
    addressed,
    attachments_of,
    contents,
    request_size,
    taken_out,
    without,
)


def paths(*names):
    return tuple(map(parse_address, names))


def named(message):
    parsed = message_from_bytes(b"".join(message), policy=policy.default)
    return {
        key: [address.addr_spec for value in parsed.get_all(key, []) for address in value.addresses]
        for key in ("to", "cc", "bcc")
    }


HEAD = b"From: a@x.example\r\nSubject: s\r\n"


class TestAddressed:
    """To, Cc and Bcc name exactly those of the transaction."""

    def test_what_is_right_stays_octet_for_octet(self):
        """Folds, names and comments are not touched."""
        head = HEAD + b'To: "B, b" <b@x.example>,\r\n\tC (office) <c@x.example>\r\n\r\n'
        found = addressed([head, b"body\r\n"], paths("c@x.example", "b@x.example"))
        assert (b"".join(found.message), found.notes) == (head + b"body\r\n", ())

    @pytest.mark.parametrize(
        ("fields", "wanted", "expected"),
        [
            (b"To: b@x.example\r\n", ["b@x.example", "z@x.example"], {"to": ["b@x.example"], "bcc": ["z@x.example"]}),
            (b"To: b@x.example, c@x.example\r\n", ["c@x.example"], {"to": ["c@x.example"]}),
            (b"To: b@x.example\r\nCc: c@x.example\r\n", ["c@x.example"], {"cc": ["c@x.example"]}),
            (b"To: B@X.example\r\n", ["b@x.example"], {"to": ["B@X.example"]}),
            (b"", ["b@x.example"], {"bcc": ["b@x.example"]}),
            (b"To: undisclosed-recipients:;\r\n", ["b@x.example"], {"bcc": ["b@x.example"]}),
            (b"To: team: b@x.example, c@x.example;\r\n", ["b@x.example"], {"to": ["b@x.example"]}),
            (b"Bcc: b@x.example, c@x.example\r\n", ["b@x.example", "d@x.example"], {"bcc": ["b@x.example", "d@x.example"]}),
            (b"To: b@x.example\r\nTo: c@x.example\r\n", ["c@x.example"], {"to": ["c@x.example"]}),
            (
                b"Bcc: b@x.example\r\nBcc: c@x.example\r\n",
                ["b@x.example", "c@x.example", "d@x.example"],
                {"bcc": ["b@x.example", "c@x.example", "d@x.example"]},
            ),
            (b"To: b@x.example, b@x.example\r\n", ["b@x.example"], {"to": ["b@x.example", "b@x.example"]}),
            (b"To: b@xn--wgv71a.example\r\n", ["b@日本.example"], {"to": ["b@xn--wgv71a.example"]}),
        ],
    )
    def test_fields(self, fields, wanted, expected):
        """Nobody else stands there, and nobody is missing."""
        found = addressed([HEAD + fields + b"\r\nbody\r\n"], paths(*wanted))
        assert named(found.message) == {"to": [], "cc": [], "bcc": [], **expected}
        assert b"".join(found.message).endswith(b"\r\n\r\nbody\r\n")

    def test_the_notes_say_who(self):
        """One for each field that was changed, and one for those that were added."""
        head = HEAD + b"To: b@x.example, c@x.example\r\nCc: d@x.example\r\n\r\n"
        notes = addressed([head], paths("b@x.example", "z@x.example")).notes
        assert [re.findall(r"\w@x\.example", note) for note in notes] == [["c@x.example"], ["d@x.example"], ["z@x.example"]]

    def test_five_hundred_are_not_all_told(self):
        """The trail stays readable; all of them get it."""
        many = [f"u{number}@x.example" for number in range(500)]
        found = addressed([HEAD + b"\r\n"], paths(*many))
        assert named(found.message)["bcc"] == many
        assert len(found.notes[0]) < 1000
        assert max(map(len, b"".join(found.message).split(b"\r\n"))) <= 998

    @settings(max_examples=60)
    @given(
        st.lists(st.sampled_from("abcdef"), max_size=6),
        st.lists(st.sampled_from("abcdef"), max_size=6),
        st.lists(st.sampled_from("abcdef"), min_size=1, unique=True),
    )
    def test_whatever_is_named(self, to, cc, wanted):
        """The union of all fields is the transaction's recipients, each of them once or as often as the device wrote it."""
        fields = b"".join(
            name + b": " + b", ".join(b"N <%b@x.example>" % one.encode() for one in who) + b"\r\n"
            for name, who in ((b"To", to), (b"Cc", cc))
            if who
        )
        found = named(addressed([HEAD + fields + b"\r\n"], paths(*(f"{one}@x.example" for one in wanted))).message)
        assert {name for who in found.values() for name in who} == {f"{one}@x.example" for one in wanted}


def multipart(*parts, kind=b"mixed", boundary=b"b1"):
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return b"Content-Type: multipart/" + kind + b"; boundary=" + boundary + b"\r\n\r\n" + body + b"--" + boundary + b"--\r\n"


def part(kind, octets, *fields, encoding="base64"):
    coded = base64.encodebytes(octets).replace(b"\n", b"\r\n").removesuffix(b"\r\n") if encoding == "base64" else octets
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n" + "".join(f"{one}\r\n" for one in fields)
    return head.encode() + b"\r\n" + coded


def message(*pieces):
    octets = HEAD + b"MIME-Version: 1.0\r\n" + b"".join(pieces)
    return Message.parse([octets[place : place + 1000] for place in range(0, len(octets), 1000)])


TEXT = b"Content-Type: text/plain; charset=utf-8\r\n\r\nhello"
PDF, JPG = bytes(range(256)) * 40, os.urandom(5000)


class TestParts:
    """What can go by itself, and what is left."""

    def test_each_part_with_its_name_and_size(self):
        """Sizes are those of the decoded octets."""
        found = attachments_of(
            message(multipart(TEXT, part("application/pdf; name=a.pdf", PDF), part("image/jpeg", JPG, "Content-ID: <c@d>")))
        )
        assert [(one.name, one.kind, one.size, one.text) for one in found] == [
            ("text.txt", "text/plain", 5, True),
            ("a.pdf", "application/pdf", len(PDF), False),
            ("attachment.jpg", "image/jpeg", len(JPG), False),
        ]
        assert (found[2].content_id, found[2].inline) == ("c@d", True)

    @pytest.mark.parametrize(
        ("said", "name"),
        [
            (b"../../etc/passwd", "passwd"),
            (b"C:\\\\scans\\\\a.pdf", "a.pdf"),
            (b"a\x07b.pdf", "ab.pdf"),
            ("日本語.pdf".encode("shift_jis"), "日本語.pdf"),
            (b"x" * 5000, "x" * 200),
            (b"../", "attachment.pdf"),
        ],
    )
    def test_a_name_has_no_folders_and_a_bound(self, said, name):
        """Whatever the sender calls the part."""
        kind = b'Content-Type: application/pdf\r\nContent-Disposition: attachment; filename="' + said + b'"\r\n\r\n'
        assert [one.name for one in attachments_of(message(multipart(TEXT, kind + b"x")))][1:] == [name]

    def test_octets_come_in_order(self):
        """One reading gives all that was asked for."""
        whole = message(multipart(TEXT, part("application/pdf", PDF), TEXT, part("image/jpeg", JPG)))
        chosen = [one for one in attachments_of(whole) if not one.text]
        assert b"".join(contents(whole, chosen)) == PDF + JPG

    @pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit"])
    def test_each_encoding(self, encoding):
        """Decoded as they are sized."""
        import quopri

        octets = b"line one\r\nline two = more\r\n" * 50
        coded = quopri.encodestring(octets).replace(b"\n", b"\r\n").replace(b"\r\r\n", b"\r\n")
        body = part("text/csv; name=a.csv", coded if encoding == "quoted-printable" else octets, encoding=encoding)
        whole = message(multipart(TEXT, body))
        [one] = [one for one in attachments_of(whole) if one.name == "a.csv"]
        assert b"".join(contents(whole, [one])) == octets
        assert one.size == len(octets)

    def test_without_an_attachment_the_rest_stays(self):
        """Readers see the same text, and one part fewer."""
        whole = message(multipart(TEXT, part("application/pdf; name=a.pdf", PDF), part("image/jpeg; name=b.jpg", JPG)))
        [pdf] = [one for one in attachments_of(whole) if one.name == "a.pdf"]
        rest = message_from_bytes(b"".join(without(whole, {pdf.number})), policy=policy.default)
        assert not rest.defects
        assert [one.get_content_type() for one in rest.iter_parts()] == ["text/plain", "image/jpeg"]
        assert rest.get_body().get_content().strip() == "hello"

    def test_without_any_part(self):
        """An empty text stays, so that it is a message still; headers stay."""
        whole = message(multipart(part("application/pdf", PDF), part("image/jpeg", JPG)))
        rest = message_from_bytes(
            b"".join(without(whole, {one.number for one in attachments_of(whole)})), policy=policy.default
        )
        assert [one.get_content_type() for one in rest.iter_parts()] == ["text/plain"]
        assert rest["subject"] == "s"

    def test_a_message_that_is_one_file(self):
        """The type of the whole becomes text."""
        whole = message(part("application/pdf; name=a.pdf", PDF))
        [one] = attachments_of(whole)
        assert (one.number, one.name, b"".join(contents(whole, [one]))) == (0, "a.pdf", PDF)
        rest = message_from_bytes(b"".join(without(whole, {0})), policy=policy.default)
        assert (rest.get_content_type(), rest.get_content().strip(), rest["subject"]) == ("text/plain", "", "s")

    def test_a_nested_multipart(self):
        """Inside an alternative with related pictures."""
        inner = multipart(
            b"Content-Type: text/html\r\n\r\n<p>", part("image/jpeg", JPG, "Content-ID: <p@q>"), kind=b"related", boundary=b"b2"
        )
        whole = message(multipart(multipart(TEXT, inner, kind=b"alternative", boundary=b"b3"), part("application/pdf", PDF)))
        chosen = [one for one in attachments_of(whole) if not one.text]
        assert b"".join(contents(whole, chosen)) == JPG + PDF
        rest = message_from_bytes(b"".join(without(whole, {one.number for one in chosen})), policy=policy.default)
        left = [one.get_content_type() for one in rest.walk() if not one.is_multipart()]
        assert left == ["text/plain", "text/html"]

    def test_a_forwarded_message_is_one_attachment(self):
        """With all that is in it, octet for octet."""
        inner = HEAD + multipart(TEXT, part("application/pdf", PDF), boundary=b"in")
        whole = message(multipart(TEXT, b"Content-Type: message/rfc822\r\n\r\n" + inner))
        [one] = [one for one in attachments_of(whole) if not one.text]
        assert one.name == "message.eml"
        got = message_from_bytes(b"".join(contents(whole, [one])), policy=policy.default)
        assert [each.get_content_type() for each in got.iter_parts()] == ["text/plain", "application/pdf"]
        assert next(got.iter_attachments()).get_content() == PDF
        assert one.size == len(b"".join(contents(whole, [one])))

    def test_a_message_that_is_nothing_but_another(self):
        """Its header goes with it."""
        inner = HEAD + b"\r\n" + b"inner text\r\n" * 3
        whole = message(b"Content-Type: message/rfc822\r\n\r\n" + inner)
        [one] = attachments_of(whole)
        assert (one.number, one.name, one.size) == (0, "message.eml", len(inner))
        assert b"".join(contents(whole, [one])) == inner

    def test_what_is_signed_is_not_taken_apart(self):
        """Nothing of it can go by itself."""
        signed = multipart(TEXT, part("application/pkcs7-signature", b"sig"), kind=b"signed", boundary=b"s1")
        assert attachments_of(message(signed)) == ()
        assert [one.text for one in attachments_of(message(multipart(TEXT, signed)))] == [True]


class TestTakenOut:
    """As little as possible, the largest first, text last."""

    @staticmethod
    def one(number, encoded, text=False):
        return Attachment(number, "n", "k/k", "", False, "base64", text, encoded * 3 // 4, encoded)

    def test_nothing_where_all_fits(self):
        """A small message stays whole."""
        assert taken_out([self.one(1, 1000)], LARGEST_REQUEST // 4 * 3) == ()

    def test_the_largest_first(self):
        """One is enough."""
        parts = [self.one(1, 1_000_000), self.one(2, 5_000_000), self.one(3, 900_000, text=True)]
        assert [each.number for each in taken_out(parts, 7_000_000)] == [2]

    def test_text_only_if_nothing_else_helps(self):
        """Attachments first, in the message's order."""
        parts = [self.one(1, 6_000_000, text=True), self.one(2, 10_000), self.one(3, 20_000)]
        assert [each.number for each in taken_out(parts, 6_100_000)] == [1, 2, 3]

    def test_none_where_nothing_helps(self):
        """A signed scan."""
        assert taken_out([], 5_000_000) is None

    def test_the_size_of_a_request_is_that_of_base64(self):
        """To the octet."""
        for octets in range(20):
            assert request_size(octets) == len(base64.b64encode(bytes(octets)))
