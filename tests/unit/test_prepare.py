"""A stored message as it goes to one upstream: repaired, traced, rewritten, and the same every time."""

from datetime import UTC, datetime

from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.mail.policy import RepairPolicy
from relay.mail.rewrite import Identity, Rewrite
from relay.outbound.prepare import prepare
from relay.spool.entry import Claim, Entry, Recipient, State
from relay.upstream.settings import SmtpServer, Upstream

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
HER = Address("her", "host.example")
BARE = b"From: nas@lan.local\nTo: her@host.example\nSubject: health\n\nall disks fine\n"


def prepared(content, *, sender="nas@lan.local", own_name=False, identity=None, recipients=(HER,)):
    local, _, domain = sender.partition("@")
    path = Address(local, domain) if sender else None
    blocks = [content[start : start + 7] for start in range(0, len(content), 7)]
    entry = Entry("q1234567890", NOW, Origin("192.168.0.7", "nas"), Envelope(path, recipients), len(content), blocks)
    claim = Claim(entry, tuple(Recipient(each, State.QUEUED, 0, NOW) for each in recipients), 1)
    identity = identity or Identity(Address("taro", "isp.example"), frozenset({"isp.example"}))
    upstream = Upstream("isp", SmtpServer("mail.isp.example"), identity=identity)
    return prepare(claim, claim.recipients, upstream, hostname="relay.example", policy=RepairPolicy(), own_name=own_name)


def test_a_nas_message_leaves_mended_and_in_the_accounts_name():
    """Bare LF, no Date, a LAN-only sender: line ends, Date and sender are right afterwards, and each change has its note."""
    made = prepared(BARE)
    content = b"".join(made.outgoing.content)
    assert content.count(b"\n") == content.count(b"\r\n")
    assert b"\r\nDate: " in content and content.startswith(b"Received: ")
    assert made.outgoing.reverse_path == Address("taro", "isp.example")
    assert b"taro@isp.example" in content
    assert len(made.notes) >= 3


def test_size_and_kind_are_those_of_what_is_sent():
    """`size` counts the octets that will be iterated; an 8-bit octet in the body is seen, an ASCII message is none."""
    plain, eight = prepared(BARE), prepared(BARE + "caf\u00e9\n".encode())
    for made in (plain, eight):
        assert made.outgoing.size == sum(map(len, made.outgoing.content))
    assert not plain.outgoing.eight_bit and eight.outgoing.eight_bit and not eight.outgoing.utf8


def test_a_recipient_outside_ascii_does_not_burden_the_others():
    """Only header and sender make a whole message need SMTPUTF8; a forward-path needs it for itself."""
    paths = (Address("b", "there.example"), Address("jos\u00e9", "there.example"))
    assert not prepared(BARE, recipients=paths).outgoing.utf8
    as_it_is = Identity(Address("taro", "isp.example"), rewrite=Rewrite.NEVER)
    assert prepared(BARE, sender="jos\u00e9@shop.example", identity=as_it_is).outgoing.utf8


def test_the_same_message_every_time():
    """A second attempt sends the same octets: Date and Message-ID come from acceptance."""
    assert b"".join(prepared(BARE).outgoing.content) == b"".join(prepared(BARE).outgoing.content)


def test_the_null_reverse_path_stays_unless_the_own_name_is_asked_for():
    """A bounce keeps `<>`."""
    assert prepared(BARE, sender="").outgoing.reverse_path is None


def test_own_name_takes_a_sender_that_was_thought_allowed():
    """The domain was configured as ours, the upstream refused it all the same: now the account's own address is said."""
    ours = Identity(Address("taro", "isp.example"), frozenset({"shop.example"}))
    assert prepared(BARE, sender="me@shop.example", identity=ours).outgoing.reverse_path == Address("me", "shop.example")
    again = prepared(BARE, sender="me@shop.example", identity=ours, own_name=True)
    assert again.outgoing.reverse_path == Address("taro", "isp.example")
