"""Whatever else is mended: no address becomes another one, and what is signed stays octet for octet if it can be sent."""

import email
import email.policy

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.address import Address
from relay.mail.mailboxes import read_mailboxes, write_mailbox
from relay.mail.recode import seven_bit
from tests.support.letters import RIGHT, octets, repaired, without_trace

ATOMS = st.text("abzAZ09!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=8).filter(lambda text: "=?" not in text)
DOTTED = st.lists(st.one_of(ATOMS, st.just("")), min_size=1, max_size=4).map(".".join).filter(bool)
QUOTED = st.text('ab .,;:@<>()[]"\\', min_size=1, max_size=8).filter(lambda text: text.strip() == text)
MARKS = ("'", "`")
LOCALS = st.one_of(DOTTED, QUOTED).filter(lambda text: text[0] not in MARKS)  # 'a@b' with marks around it means a@b
DOMAINS = st.sampled_from(["example.jp", "mail.carrier.example", "x-y.example.test"])
ADDRESSES = st.builds(Address, LOCALS, DOMAINS)
NAMES = st.sampled_from(["", "NAS", "Backup, Server [01]", "温度計", 'say "hi"', "a@b.example"])


def mailboxes_of(message: bytes, name: str) -> list[tuple[str, str]]:
    """As Python's own parser reads them: local part and domain."""
    field = email.message_from_bytes(message, policy=email.policy.default)[name]
    return [(box.username, box.domain) for box in field.addresses]


@given(st.lists(st.tuples(NAMES, ADDRESSES), min_size=1, max_size=4))
def test_an_address_that_is_written_is_read_again(boxes):
    """Dots at any place, blanks, marks and brackets in the local part, whatever the name beside it."""
    text = ", ".join(f"{name} <{address}>" if name.isalnum() else str(address) for name, address in boxes)
    read = read_mailboxes(text)
    assert [box.address for box in read] == [address for _, address in boxes]
    assert [box.address for box in read_mailboxes(", ".join(map(write_mailbox, read)))] == [address for _, address in boxes]


@settings(deadline=None)
@given(
    st.lists(st.tuples(DOTTED.filter(lambda text: text[0] not in MARKS), DOMAINS), min_size=1, max_size=3),
    st.sampled_from([", ", "; ", ",", " ,"]),
)
def test_no_address_changes_its_mailbox(boxes, separator):
    """To goes out with the same local parts and domains, however the device spelled it, at both kinds of upstream."""
    listed = separator.join(f"{local}@{domain}" for local, domain in boxes)
    lines = RIGHT.split(b"\r\n")
    lines[3] = b"To: " + listed.encode()
    whole = octets(repaired(b"\r\n".join(lines) + "\r\n温度\r\n".encode()).message)
    for sent in (whole, octets(seven_bit([whole]))):
        assert mailboxes_of(sent, "To") == boxes


SIGNED = (
    b"DKIM-Signature: v=1; a=rsa-sha256; d=nas.example.test; s=k; h=date:from:to:subject:message-id:reply-to:content-type;\r\n"
    b" bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n"
)
SPELLED = st.sampled_from(
    [
        *(
            b"a..b@carrier.example",
            b"a@example.jp, b@example.jp,",
            b"NAS (left rack) <nas@nas.example.test>",
            b"'a@example.jp'",
        ),
        *(b'"=?utf-8?B?5rip?=" <a@example.jp>', b"a@example.jp; b@example.jp", b"<a(x)@example.jp>", b"a@example.jp (x)"),
    ]
)
BODIES = st.sampled_from(
    [
        b"x\r\n",
        b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n",
        b"--b\r\nContent-Type: text/plain\r\nx\r\n--b--\r\n",
        b"--b\r\nContent-Type: image/png; name=a b.png\r\nContent-Transfer-Encoding: base64 \r\n\r\nAAAA\r\n--b--\r\n",
        b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: attachment;\r\nfilename=x\r\n\r\nx\r\n--b--\r\n",
    ]
)
IDS = st.sampled_from([b"<1@nas.example.test>", b"<5e0c77a1f3>", b"5e0c77a1f3"])


@settings(deadline=None)
@given(SPELLED, SPELLED, IDS, BODIES, st.booleans())
def test_signed_octets_are_the_same(author, recipients, identifier, body, multipart):
    """Whatever is odd about them, while they can be sent: fields that `h=` names, and the body, at both kinds of upstream."""
    letter = SIGNED + RIGHT.replace(b"<1@nas.example.test>", identifier).replace(b"NAS Status <nas@nas.example.test>", author)
    letter = letter.replace(b"admin@example.jp", recipients) + b"Reply-To: " + recipients + b"\r\n"
    kind = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n" if multipart else b""
    letter += kind + b"\r\n" + body
    whole = repaired(letter)
    assert without_trace(whole.message) == letter
    assert octets(seven_bit([octets(whole.message)])) == octets(whole.message)
