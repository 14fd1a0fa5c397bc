"""Date, Message-ID, From, and the other fields of people: which of several stays, and what is kept of what goes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.mail.address import Address
from relay.mail.dates import write_date
from relay.mail.envelope import Origin
from relay.mail.message import Field
from tests.support.letters import HOST, ID, NAS, NOW, RIGHT, about, assert_sendable, octets, read, repaired, without_trace

LINES = RIGHT.splitlines(keepends=True)


def letter(*fields: str, without: str = "") -> bytes:
    kept = [line for line in LINES if not without or not line.startswith(without.encode() + b":")]
    return b"".join([*kept, *(field.encode() + b"\r\n" for field in fields)]) + b"\r\nx\r\n"


def values(content: bytes, name: str, **how: object) -> list[str]:
    return [field.value.decode() for field in repaired(content, about(**how)).message.all(name)]  # type: ignore[arg-type]


SEALED = "DKIM-Signature: v=1; d=x; h={}; b=y"
GOOD = "Sun, 22 Nov 2026 11:59:00 +0900"


@pytest.mark.parametrize(
    ("fields", "date", "original", "note"),
    [
        ([f"Date: {GOOD}"], GOOD, [], ""),
        ([f"Date: {GOOD}", f"Date: {GOOD}"], GOOD, [], "kept one Date of several"),
        (["Date: Mon, 01 Jan 2001 00:00:00 +0000", f"Date: {GOOD}"], GOOD, [], "kept one Date of several"),
        (["Date: yesterday", "Date: 2026-11-22T11:59:00+09:00"], GOOD, ["yesterday"], "rewrote Date"),
        (["Date: yesterday"], None, ["yesterday"], "replaced Date: 'yesterday' cannot be read"),
        (["Date: 2001-01-01 00:00"], None, ["2001-01-01 00:00"], "replaced Date: '2001-01-01 00:00' is far from"),
        (["Date: Mon, 01 Jan 2001 00:00:00 +0000"], None, ["Mon, 01 Jan 2001 00:00:00 +0000"], "is far from"),
        (["Date: ", "Date: yesterday"], None, ["yesterday"], "cannot be read"),
        (["Date: "], None, [], "added Date: the device's was empty"),
        ([], None, [], "added Date: the device sent none"),
        (["Date: yesterday", "X-Original-Date: never"], None, ["never"], "cannot be read"),
        (["Date: =?utf-8?Q?yesterday"], None, ["=?utf-8?B?eWVzdGVyZGF5?="], "cannot be read"),
        (["Date: " + "y" * 500], None, ["y" * 300], "replaced Date: '" + "y" * 60 + "' cannot be read"),
    ],
)
def test_one_date_leaves(fields: list[str], date: str | None, original: list[str], note: str) -> None:
    """The one that can be right, else the hour of arrival; the device's first words are kept once, behind it."""
    content = letter(*fields, without="Date")
    result = repaired(content)
    assert [field.value.decode() for field in result.message.all("date")] == [date or values(letter(without="Date"), "date")[0]]
    assert [field.value.decode() for field in result.message.all("x-original-date")] == original
    assert any(note in said for said in result.notes) if note else not result.notes
    names = [field.name for field in result.message.fields]
    if original and "X-Original-Date: never" not in fields:
        assert names[names.index("date") + 1] == "x-original-date"
    assert without_trace(repaired(octets(result.message)).message) == octets(result.message)


@pytest.mark.parametrize(("hours", "near"), [(49, True), (48.9, True), (49.1, False), (-49, True), (-49.1, False)])
def test_how_far_a_date_may_be_off(hours: float, near: bool) -> None:
    """Two days, and an hour in which it may have waited in the device; the same for a date in another form."""
    for written in (write_date(NOW - timedelta(hours=hours)), (NOW - timedelta(hours=hours)).isoformat()):
        assert bool(values(letter(f"Date: {written}", without="Date"), "x-original-date")) is (not near or written[0].isdigit())
        notes = repaired(letter(f"Date: {written}", without="Date")).notes
        assert any("is far from" in note for note in notes) is not near


def test_a_sealed_date_stays_if_anybody_can_read_it() -> None:
    """However old; one that nobody can read could not be sent."""
    old = "Mon, 01 Jan 2001 00:00:00 +0000"
    sealed = SEALED.format("date:from")
    assert values(letter(sealed, f"Date: {old}", without="Date"), "date") == [old]
    assert values(letter(sealed, f"Date: {old}", "Date: Tue, 02 Jan 2001 00:00:00 +0000", without="Date"), "date") == [old]
    assert values(letter(sealed, "Date: yesterday", without="Date"), "x-original-date") == ["yesterday"]
    assert values(letter(SEALED.format("from"), f"Date: {old}", without="Date"), "x-original-date") == [old]


OURS = f"<{ID}@{HOST}>"


@pytest.mark.parametrize(
    ("ids", "kept", "note"),
    [
        (["<a@b>", "<c@d>"], "<a@b>", "kept one Message-ID of several"),
        (["junk", "<c@d>"], "<c@d>", "kept one Message-ID of several"),
        (["junk", "c@d"], "<c@d>", "set Message-ID in brackets"),
        (["<c@d"], "<c@d>", "set Message-ID in brackets"),
        (["junk"], OURS, "replaced Message-ID: the device's is malformed"),
        (["", ""], OURS, "added Message-ID: the device sent none"),
        ([], OURS, "added Message-ID: the device sent none"),
        (["<" + "a" * 896 + "@b>"], "<" + "a" * 896 + "@b>", ""),
        (["<" + "a" * 897 + "@b>"], OURS, "malformed"),
        (["a" * 896 + "@bcd"], "<" + "a" * 896 + "@bcd>", "in brackets"),
        (["a" * 897 + "@bcd"], OURS, "malformed"),
    ],
)
def test_one_message_id_leaves(ids: list[str], kept: str, note: str) -> None:
    """The first good one, else one that only lacks its brackets, else ours; short enough to be folded."""
    content = letter(*(f"Message-ID: {each}" for each in ids), without="Message-ID")
    result = repaired(content)
    assert [field.value.decode() for field in result.message.all("message-id")] == [kept]
    assert any(note in said for said in result.notes) if note else not result.notes


def test_an_id_that_was_used_before_is_ours_now() -> None:
    """Also one without brackets; one that a signature covers must stay."""
    assert values(letter(), "message-id", repeated_id=True) == [OURS]
    assert values(letter("Message-ID: a@b", without="Message-ID"), "message-id", repeated_id=True) == [OURS]
    assert values(letter(SEALED.format("from"), "X: y"), "message-id", repeated_id=True) == [OURS]
    assert values(letter(SEALED.format("from:message-id")), "message-id", repeated_id=True) == ["<1@nas.example.test>"]


@pytest.mark.parametrize(
    ("fields", "authors", "reply", "note"),
    [
        (["From: a@b.jp"], ["a@b.jp"], [], ""),
        (["From: a@b.jp, c@d.jp", "Sender: a@b.jp"], ["a@b.jp", "c@d.jp"], [], ""),
        (["From: a@b.jp, c@d.jp", "Sender: a@b.jp, c@d.jp"], ["a@b.jp"], ["c@d.jp"], "kept one address in From, a@b.jp"),
        (["From: a@b.jp, c@d.jp", SEALED.format("from")], ["a@b.jp", "c@d.jp"], [], ""),
        (["From: a@b.jp, c@d.jp"], ["a@b.jp"], ["c@d.jp"], "providers refuse several"),
        (["From: a@b.jp, c@d.jp", "Reply-To: e@f.jp"], ["a@b.jp"], ["e@f.jp"], "providers refuse several"),
        (["From: a@b.jp", "From: c@d.jp"], ["a@b.jp"], ["c@d.jp"], "providers refuse several"),
        (["From: root@nas, c@d.jp, e@f.jp"], ["c@d.jp"], ["e@f.jp"], "kept one address in From, c@d.jp"),
        (["From: root@nas, root@box"], ["root@nas"], [], "kept one address in From, root@nas"),
        (["From: root, pi@nas"], ["pi@nas"], [], "kept one address in From, pi@nas"),
        (["From: NAS <a@b.jp"], ["a@b.jp"], [], "wrote From in the standard form"),
        (["From: NAS-01"], ["nas@nas.example.test"], [], "put the address nas@nas.example.test into From"),
        (["From: <>"], ["nas@nas.example.test"], [], "the device gave none that can be used"),
        ([], ["nas@nas.example.test"], [], "added From nas@nas.example.test: the device sent none"),
        (["From: 太郎@b.jp"], ["nas@nas.example.test"], [], "gave none that can be used"),
        (["From: Team: a@b.jp;"], ["a@b.jp"], [], "From"),
    ],
)
def test_who_wrote_it(fields: list[str], authors: list[str], reply: list[str], note: str) -> None:
    """One author, or several and who sent it; the best address there is, and answers go to the others that can be reached."""
    result = repaired(letter(*fields, without="From"))
    mail = read(result.message)
    assert [box.addr_spec for box in mail["From"].addresses] == authors
    assert [box.addr_spec for field in mail.get_all("Reply-To", []) for box in field.addresses] == reply
    said = [each for each in result.notes if "From" in each]
    assert any(note in each for each in said) if note else not said
    if reply and "Reply-To: e@f.jp" not in fields:
        names = [field.name for field in result.message.fields]
        assert names.index("reply-to") == names.index("from") + 1


@pytest.mark.parametrize(
    ("path", "author"),
    [(NAS, "nas@nas.example.test"), (Address("pi"), f"root@{HOST}"), (None, f"root@{HOST}"), (Address("pi", "nas"), "pi@nas")],
)
def test_a_bare_name_in_from_is_one_of_ours_if_the_envelope_has_none(path: Address | None, author: str) -> None:
    """The envelope's sender comes first if it has a domain; the name is kept beside it."""
    mail = read(repaired(letter("From: root (Cron Daemon)", without="From"), about(path)).message)
    [box] = mail["From"].addresses
    assert (box.addr_spec, box.display_name) == (author, "Cron Daemon")


@pytest.mark.parametrize(
    ("fields", "name", "left"),
    [
        (["Sender: a@b.jp, c@d.jp"], "sender", ["a@b.jp"]),
        (["Sender: root, c@d.jp"], "sender", ["c@d.jp"]),
        (["Sender: root"], "sender", []),
        (["Sender: <a@b.jp"], "sender", ["a@b.jp"]),
        (["Cc: root, a@b.jp;"], "cc", ["root :;, a@b.jp"]),
        (["Cc: a@b.jp; root"], "cc", ["a@b.jp, root :;"]),
        (["Cc: <>"], "cc", []),
        (["Cc: , ;"], "cc", []),
        (["Cc: (nobody)"], "cc", ["nobody :;"]),
        (["Reply-To: <a@b.jp"], "reply-to", ["a@b.jp"]),
        (["Resent-To: a@b.jp; c@d.jp"], "resent-to", ["a@b.jp, c@d.jp"]),
        (["Cc: a@b.jp", "CC: , c@d.jp", "cc: "], "cc", ["a@b.jp, c@d.jp"]),
        (["Reply-To: a@b.jp", "Reply-To: c@d.jp"], "reply-to", ["a@b.jp, c@d.jp"]),
        (["In-Reply-To: ", "In-Reply-To: <a@b>"], "in-reply-to", ["<a@b>"]),
        (["Content-Type: a/b", "Content-Type: c/d"], "content-type", ["a/b"]),
        (["Content-Transfer-Encoding: foo", "Content-Transfer-Encoding: 8BIT"], "content-transfer-encoding", ["8BIT"]),
        (["Content-Type: garbage", "Content-Type: TEXT/HTML (x)"], "content-type", ["TEXT/HTML (x)"]),
        (["Content-Transfer-Encoding: foo", "Content-Transfer-Encoding: 7bit"], "content-transfer-encoding", ["7bit"]),
        (
            ["Content-Transfer-Encoding: foo", "Content-Transfer-Encoding: Quoted-Printable"],
            "content-transfer-encoding",
            ["Quoted-Printable"],
        ),
        (["Bcc: a@b.jp", "Resent-Bcc: a@b.jp", "Return-Path: <a@b.jp>"], "bcc", []),
        (["Comments: a", "Comments: b"], "comments", ["a", "b"]),
    ],
)
def test_fields_of_addresses_and_fields_that_stand_once(fields: list[str], name: str, left: list[str]) -> None:
    """What can be read in them stays; what says nothing goes; each change is named, and is made once."""
    once = repaired(letter(*fields))
    assert [field.value.decode() for field in once.message.all(name)] == left
    assert (once.notes != ()) is ([f"{name}: {each}".lower() for each in left] != [each.lower() for each in fields])
    assert without_trace(repaired(octets(once.message)).message) == octets(once.message)


@pytest.mark.parametrize("name", ["From", "To", "Cc", "Reply-To", "Sender", "Subject", "Message-ID"])
def test_a_sealed_field_that_no_line_can_hold_is_written_like_others(name: str) -> None:
    """Its signature is lost in any case; what is written then is right, and stays."""
    word = "x" * 1010
    said = f"<{word}@b.jp>" if name == "Message-ID" else word if name == "Subject" else f"{word} <nas@nas.example.test>"
    once = repaired(letter(SEALED.format(name.lower()), f"{name}: {said}", without=name))
    assert_sendable(octets(once.message))
    again = repaired(octets(once.message))
    assert (without_trace(again.message), again.notes) == (octets(once.message), ())


def test_blind_recipients_stay_blind_and_what_is_sealed_stays() -> None:
    """A field that a signature covers is not taken away, nor is one added that it says is not there."""
    assert values(letter("Bcc: a@b.jp", SEALED.format("from:bcc")), "bcc") == ["a@b.jp"]
    assert values(letter(SEALED.format("from:to"), without="To"), "to") == []
    assert values(letter(SEALED.format("from"), without="To"), "to") == ["undisclosed-recipients:;"]
    for field in ("Cc: a@b.jp", "To: a@b.jp"):
        assert "undisclosed" not in str(values(letter(field, without="To"), "to"))
    [note] = repaired(letter("Bcc: a@b.jp", "BCC: c@d.jp", "Return-Path: <x@y.jp>")).notes
    assert note == "removed Bcc, BCC, Return-Path"


@pytest.mark.parametrize(
    ("helo", "subject"), [("nas", "nas"), ("", "192.168.0.9"), ("x\x07" + "y" * 200, "x" + "y" * 99), ("\x07", "a device")]
)
def test_text_without_a_header_is_named_by_its_device(helo: str, subject: str) -> None:
    """By what it calls itself, else by its address; a letter that has a header keeps having no Subject."""
    circumstances = replace(about(), origin=Origin("192.168.0.9", helo))
    assert read(repaired(b"Disk failed\r\n", circumstances).message)["Subject"] == f"Message from {subject}"
    assert not repaired(letter(without="Subject"), circumstances).message.all("subject")


def test_a_signature_may_name_its_fields_in_folded_lines() -> None:
    """RFC 6376 lets blanks stand anywhere in it; without a list of names nothing but itself is sealed."""
    old = "Date: Mon, 01 Jan 2001 00:00:00 +0000"
    folded = "DKIM-Signature: v=1; H=from : Da\r\n te:to; b=y"
    assert values(letter(folded, old, without="Date"), "x-original-date") == []
    assert values(letter("DKIM-Signature: v=1; b=y", old, without="Date"), "x-original-date") != []
    assert Field(folded.encode() + b"\r\n") in repaired(letter(folded)).message.fields
