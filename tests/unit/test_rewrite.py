"""Rewriting: what an account may say as sender, in the envelope and in the header."""

import email
import email.policy
import time

import pytest

from relay.mail.address import Address, parse_path
from relay.mail.message import Message
from relay.mail.rewrite import Identity, Rewrite, Rewritten, rewrite

TARO = Address("taro", "isp.example")
ISP = Identity(TARO, frozenset({"isp.example"}))


def done(header: str, sender: str, identity: Identity = ISP, **how: bool) -> Rewritten:
    octets = header.replace("\n", "\r\n").encode() + b"\r\nbody\r\n"
    return rewrite(Message.parse([octets]), parse_path(sender), identity, **how)


def header(result: Rewritten) -> str:
    return result.message.head.decode().replace("\r\n", "\n").removesuffix("\n")


def untouched(header_text: str, sender: str, identity: Identity = ISP, **how: bool) -> bool:
    result = done(header_text, sender, identity, **how)
    return header(result) == header_text and result.reverse_path == parse_path(sender) and result.notes == ()


def test_a_device_on_the_lan_becomes_the_account() -> None:
    """Envelope and From say the account; the device's name stays to be read, and the old From is kept."""
    result = done("From: root@nas\nTo: me@example.jp\nSubject: x\n", "root@nas")
    assert result.reverse_path == TARO
    assert header(result) == ('From: "root@nas" <taro@isp.example>\nX-Original-From: root@nas\nTo: me@example.jp\nSubject: x\n')
    assert result.notes == (
        "sender root@nas became taro@isp.example: the account may send only as itself",
        "From root@nas became taro@isp.example: the account may send only as itself",
    )


def test_a_public_foreign_sender_can_still_be_answered() -> None:
    """The display name stays, and answers go to the old address."""
    result = done("From: NAS Status <nas@other.example>\n", "nas@other.example")
    assert header(result) == (
        "From: NAS Status <taro@isp.example>\nX-Original-From: NAS Status <nas@other.example>\nReply-To: nas@other.example\n"
    )


def test_a_reply_to_that_is_there_stays() -> None:
    """Where the device says who wants the answers, the old From is not put there."""
    result = done("From: nas@other.example\nReply-To: ops@other.example\n", "nas@other.example")
    assert [field.value for field in result.message.all("reply-to")] == [b"ops@other.example"]


@pytest.mark.parametrize("sender", ["taro@isp.example", "other@isp.example", "TARO.NAS@ISP.example"])
def test_senders_of_the_account_stay_octet_for_octet(sender: str) -> None:
    """A sender in `sender_domains` is the account's own, whatever its case; nothing at all changes."""
    assert untouched(f"From:  My   NAS\n <{sender}>\nSender: {sender}\nTo: a@b.example ,c@d.example\n", sender)


def test_the_envelope_is_what_foreign_judges() -> None:
    """A public foreign From under an own envelope stays: many a list and alias sends so, and a refusal can still cure it."""
    assert untouched("From: friend@elsewhere.example\n", "list@isp.example")


@pytest.mark.parametrize(
    "author", ["root", "root@nas", "nas@pi.local", "x@[192.168.0.9]", "root (Cron)", "ilo-srv.@isp.example"]
)
def test_a_from_that_no_server_takes_is_made_sendable(author: str) -> None:
    """Even under an own envelope an unqualified or LAN-only From becomes the account's."""
    result = done(f"From: {author}\n", "nas@isp.example")
    assert result.reverse_path == Address("nas", "isp.example")
    mail = email.message_from_bytes(b"".join(result.message), policy=email.policy.default)
    assert [one.addr_spec for one in mail["From"].addresses] == ["taro@isp.example"]


@pytest.mark.parametrize(
    "sender", ["root", "nas@localhost", "pi@raspberrypi", "x@192.168.0.5", "ilo-srv.@isp.example", "太郎@isp.example"]
)
def test_senders_that_no_server_takes_are_foreign(sender: str) -> None:
    """Unqualified, LAN-only, malformed and 8-bit senders become the account's own."""
    assert done("From: taro@isp.example\n", sender).reverse_path == TARO


def test_an_8_bit_sender_may_stay_where_the_upstream_takes_it() -> None:
    """With SMTPUTF8 at the upstream an own 8-bit sender is no trouble."""
    assert untouched("From: taro@isp.example\n", "太郎@isp.example", utf8=True)


def test_the_null_sender_is_never_touched() -> None:
    """A bounce keeps `<>`; its From is still made the account's, since providers compare that too."""
    result = done("From: MAILER-DAEMON@nas.local\n", "<>")
    assert result.reverse_path is None
    assert result.message.get("from").value == b'"MAILER-DAEMON@nas.local" <taro@isp.example>'  # type: ignore[union-attr]
    assert result.message.get("reply-to") is None


def test_own_name_gives_even_a_notice_a_sender() -> None:
    """After a refusal of `<>` itself, the notice goes in the account's name, and says so."""
    result = done("From: postmaster@relay.home.example\n", "<>", own_name=True)
    assert result.reverse_path == TARO
    assert result.notes[0] == "the empty sender became taro@isp.example: the upstream takes no mail without a sender"


def test_dkim_signed_mail_keeps_its_from() -> None:
    """The envelope may change, the signed header may not; the note says why."""
    text = "From: a@b.example\nTo: ups\nDKIM-Signature: v=1; d=b.example\n"
    result = done(text, "a@b.example")
    assert result.reverse_path == TARO and header(result) == text
    assert result.notes[-1] == "From stays as it is: the message is DKIM-signed"


def test_resent_mail_keeps_its_from() -> None:
    """What a person resent is the author's still."""
    text = "Resent-From: me@isp.example\nFrom: a@b.example\n"
    result = done(text, "a@b.example")
    assert result.reverse_path == TARO and header(result) == text


@pytest.mark.parametrize("how", [{"own_name": True}, {}])
def test_a_refusal_or_always_changes_signed_mail_too(how: dict[str, bool]) -> None:
    """After the upstream's refusal, or where `always` is set, the account's own name goes before the signature."""
    identity = ISP if how else Identity(TARO, ISP.domains, Rewrite.ALWAYS)
    result = done("From: a@isp.example\nDKIM-Signature: v=1\n", "a@isp.example", identity, **how)
    assert result.reverse_path == TARO
    assert result.message.get("from").value == b'"a@isp.example" <taro@isp.example>'  # type: ignore[union-attr]


def test_always_leaves_what_says_the_account_already() -> None:
    """A message that is the account's own stays octet for octet even with `always`."""
    identity = Identity(TARO, ISP.domains, Rewrite.ALWAYS)
    assert untouched("From: Taro  <taro@isp.example>\nSubject: x\n", "taro@isp.example", identity)


@pytest.mark.parametrize("how", [{}, {"own_name": True}])
def test_never_is_never(how: dict[str, bool]) -> None:
    """`rewrite: never` changes nothing, not even after a refusal; neither does an upstream without an own address."""
    text = "From: root@nas\nSender: root\nReply-To: root\nTo: ups\n"
    assert untouched(text, "root@nas", Identity(TARO, ISP.domains, Rewrite.NEVER), **how)
    assert untouched(text, "root@nas", Identity(None, ISP.domains), **how)


@pytest.mark.parametrize("how", [{}, {"own_name": True}])
def test_rewrite_from_off_leaves_the_header(how: dict[str, bool]) -> None:
    """Only the envelope changes where the person wants From left alone."""
    text = "From: me@club.example\nSender: you@club.example\n"
    result = done(text, "me@club.example", Identity(TARO, ISP.domains, rewrite_from=False), **how)
    assert (result.reverse_path, header(result)) == (TARO, text)


def test_a_name_of_the_lan_goes_even_with_rewrite_from_off() -> None:
    """No upstream takes `From: root@nas`, whoever may say it."""
    result = done("From: root@nas\n", "root@nas", Identity(TARO, ISP.domains, rewrite_from=False))
    assert header(result) == 'From: "root@nas" <taro@isp.example>\nX-Original-From: root@nas\n'


def test_a_foreign_sender_field_goes() -> None:
    """Providers compare Sender as well; one that the account may say stays."""
    assert done("From: root@nas\nSender: root@nas\n", "root@nas").message.get("sender") is None
    assert done("From: root@nas\nSender: ops@isp.example\n", "root@nas").message.get("sender") is not None
    assert done("From: taro@isp.example\nSender: root\n", "taro@isp.example").message.get("sender") is None


def test_a_reply_to_on_the_lan_goes() -> None:
    """Nobody outside can answer to root@nas; those whom answers reach stay."""
    result = done("From: taro@isp.example\nReply-To: root@nas, Ops <ops@b.example>\n", "taro@isp.example")
    assert result.message.get("reply-to").value == b"Ops <ops@b.example>"  # type: ignore[union-attr]
    result = done("From: nas@b.example\nReply-To: root@nas\n", "nas@b.example")
    assert result.message.get("reply-to").value == b"nas@b.example"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"ups", b'"ups":;'),
        (b"me@example.jp, ups", b'me@example.jp, "ups":;'),
        (b"Root <root@nas.local>", b'"root@nas.local":;'),
        (b"root (the boss), me@example.jp", b'"root":;, me@example.jp'),
    ],
)
def test_recipients_on_the_lan_stay_as_names(before: bytes, after: bytes) -> None:
    """An unqualified name in To is no address to any server outside: it becomes a group without members."""
    result = done(f"From: taro@isp.example\nTo: {before.decode()}\nCc: {before.decode()}\n", "taro@isp.example")
    assert [result.message.get(name).value for name in ("to", "cc")] == [after, after]  # type: ignore[union-attr]


@pytest.mark.parametrize("value", ["a@b.example, c@d.example", "undisclosed-recipients:;", "Team: root@nas, a@b.example;", ""])
def test_other_recipients_stay(value: str) -> None:
    """Public addresses and groups are left as they are."""
    assert untouched(f"From: taro@isp.example\nTo: {value}\n", "taro@isp.example")


def test_two_authors_become_one() -> None:
    """Gmail and Fastmail refuse several addresses in From: the first one that may stays, the others get the answers."""
    result = done("From: nas@isp.example, Ops <ops@isp.example>\n", "nas@isp.example")
    assert result.message.get("from").value == b"nas@isp.example"  # type: ignore[union-attr]
    assert result.message.get("reply-to").value == b"ops@isp.example"  # type: ignore[union-attr]
    assert untouched("From: nas@isp.example, ops@isp.example\nSender: nas@isp.example\n", "nas@isp.example")


def test_two_from_fields_become_one() -> None:
    """However many From fields there are, one leaves."""
    result = done("From: root@nas\nSubject: x\nFrom: nas@b.example\n", "root@nas")
    assert [field.value for field in result.message.all("from")] == [b'"root@nas" <taro@isp.example>']


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("NAS: Backup, Server [01] <nas@b.example>", '"NAS: Backup, Server [01]" <taro@isp.example>'),
        ("me@work.example <nas@b.example>", '"me@work.example" <taro@isp.example>'),
        ('"Quoted, \\"name\\"" <nas@b.example>', '"Quoted, \\"name\\"" <taro@isp.example>'),
        ("N.A.S. <nas@b.example>", '"N.A.S." <taro@isp.example>'),
        ("NAS <nas@b.example", "NAS <taro@isp.example>"),
        ("NAS-01", '"NAS-01" <taro@isp.example>'),
        ("root (Cron Daemon)", "Cron Daemon <taro@isp.example>"),
        ("=?utf-8?b?55uj6KaW?= <nas@b.example>", "=?utf-8?b?55uj6KaW?= <taro@isp.example>"),
        ("監視 <nas@b.example>", "=?utf-8?B?55uj6KaW?= <taro@isp.example>"),
        ('"unclosed <nas@b.example>', '"unclosed" <taro@isp.example>'),
        ("", "taro@isp.example"),
    ],
)
def test_display_names_survive(before: str, after: str) -> None:
    """Whatever a device writes before its address comes out as one display name that any parser takes."""
    result = done(f"From: {before}\n", "root@nas")
    assert result.message.get("from").value.decode() == after  # type: ignore[union-attr]


def test_a_missing_from_is_added() -> None:
    """Without any From the account's address stands there."""
    result = done("Subject: x\n", "root@nas")
    assert header(result) == "Subject: x\nFrom: taro@isp.example\n"
    assert "added From taro@isp.example" in result.notes


def test_a_from_of_control_octets_leaves_no_empty_field() -> None:
    """What holds nothing that can be shown is not kept: an empty field is no field (RFC 5322 s3.6.8)."""
    assert header(done("From: \x01\n", "root@nas")) == "From: taro@isp.example\n"


def test_the_body_is_not_read() -> None:
    """Rewriting touches the header only: the body is handed on as it is, unread."""

    class Unreadable:
        def __iter__(self):  # type: ignore[no-untyped-def]
            raise AssertionError("the body was read")

    body = Unreadable()
    message = Message(Message.parse([b"From: root@nas\r\n\r\n"]).fields, b"\r\n", body)
    assert rewrite(message, None, ISP).message.body is body


def test_a_pathological_header_costs_little() -> None:
    """8,000 recipients, deep comments and endless names are looked at within half a second (a busy machine's tenth)."""
    heads = [
        b"To: " + b", ".join(b"user%d@host.example" % n for n in range(8000)) + b"\r\n",
        b"To: " + b", ".join(b"user%d" % n for n in range(8000)) + b"\r\n",
        b"From: " + b"(" * 100_000 + b"\r\n",
        b"From: " + b'"\\' * 100_000 + b"\r\n",
        b"From: " + b"<" * 100_000 + b"\r\n",
        b"From: " + b"a " * 100_000 + b"<nas@b.example>\r\n",
        b"Reply-To: " + b"a,;" * 80_000 + b"\r\n",
        b"From: " + b",@" * 100_000 + b"\r\n",
    ]
    for head in heads:
        message = Message.parse([head + b"\r\nbody"])
        started = time.process_time()
        rewrite(message, parse_path("root@nas"), ISP)
        assert time.process_time() - started < 0.5, head[:40]


OWN = Address("nas", "isp.example")


def as_device(header_text: str, sender: str, identity: Identity = ISP, **how: bool) -> Rewritten:
    octets = header_text.replace("\n", "\r\n").encode() + b"\r\nbody\r\n"
    return rewrite(Message.parse([octets]), parse_path(sender), identity, device_sender=OWN, **how)


@pytest.mark.parametrize("sender", ["root@nas", "taro@isp.example", "nas@other.example"])
@pytest.mark.parametrize(
    "identity",
    [
        ISP,
        Identity(TARO, frozenset({"isp.example"}), Rewrite.ALWAYS),
        Identity(TARO, frozenset({"isp.example"}), Rewrite.NEVER),
        Identity(),
    ],
)
def test_a_device_has_its_own_sender(sender: str, identity: Identity) -> None:
    """Where the account may send so, or there is none: in the envelope and in From, whoever the device says it is."""
    result = as_device(f"From: NAS <{sender}>\nTo: a@b.example\n", sender, identity)
    assert result.reverse_path == OWN
    assert header(result).startswith("From: NAS <nas@isp.example>\n")
    assert "the device has its own sender" in result.notes[0]
    again = as_device(header(result) + "\n", "nas@isp.example", identity)
    assert (header(again), again.notes) == (header(result), ())


@pytest.mark.parametrize("how", [{"own_name": True}, {}])
def test_elsewhere_a_device_sends_as_the_upstream_does(how: dict[str, bool]) -> None:
    """Where the account may not send so, or the upstream has refused it."""
    identity = ISP if how else Identity(Address("x", "other.example"), frozenset({"other.example"}))
    result = as_device("From: root@nas\n", "root@nas", identity, **how)
    usual = rewrite(Message.parse([b"From: root@nas\r\n\r\nbody\r\n"]), parse_path("root@nas"), identity, **how)
    assert (header(result), result.notes) == (header(usual), usual.notes)
    assert result.reverse_path == identity.sender


def test_a_device_without_a_reverse_path_keeps_it_empty() -> None:
    """A notice must not be answered by a notice; its From is the device's."""
    result = as_device("From: root@nas\n", "<>")
    assert result.reverse_path is None
    assert "<nas@isp.example>" in header(result)


def test_a_signed_from_stays_for_a_device_too() -> None:
    """The envelope alone is changed."""
    text = "From: taro@isp.example\nDKIM-Signature: v=1; h=from\n"
    result = as_device(text, "taro@isp.example")
    assert (result.reverse_path, header(result)) == (OWN, text)


def test_a_from_that_the_upstream_lets_alone_stays() -> None:
    """`rewrite_from: false` is about the device's sender, too."""
    result = as_device("From: a@other.example\n", "root@nas", Identity(TARO, frozenset({"isp.example"}), rewrite_from=False))
    assert (result.reverse_path, header(result)) == (OWN, "From: a@other.example\n")
