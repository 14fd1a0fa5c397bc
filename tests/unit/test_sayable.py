"""Who may stand beside whom in a rewritten header, how a name is kept, and what is said of it."""

import pytest

from relay.mail.address import Address
from relay.mail.message import Message
from relay.mail.rewrite import Identity, Rewrite, rewrite
from tests.unit.test_rewrite import ISP, TARO, done, header, untouched

ALWAYS = Identity(TARO, ISP.domains, Rewrite.ALWAYS)
KEEP = Identity(TARO, ISP.domains, rewrite_from=False)


def fields(result: str, name: str) -> list[str]:
    return [line.partition(": ")[2] for line in result.splitlines() if line.lower().startswith(f"{name}:")]


@pytest.mark.parametrize(
    ("sender_field", "author", "path", "stays"),
    [
        ("ops@public.example", "taro@isp.example", "taro@isp.example", True),
        ("ops@public.example", "root@nas", "taro@isp.example", False),
        ("ops@public.example", "root@nas", "root@nas", False),
        ("ops@isp.example", "root@nas", "root@nas", True),
        ("ops@isp.example", "taro@isp.example", "taro@isp.example", True),
        ("root@nas", "taro@isp.example", "taro@isp.example", False),
        ("root", "taro@isp.example", "taro@isp.example", False),
        ("ops@isp.example, taro@isp.example", "taro@isp.example", "taro@isp.example", False),
        ("", "taro@isp.example", "taro@isp.example", False),
    ],
)
def test_a_sender_field_stays_beside_an_author_that_stays(sender_field: str, author: str, path: str, stays: bool) -> None:
    """Beside one that became the account's only the account's own may stand; and there is one sender, or none."""
    result = done(f"From: {author}\nSender: {sender_field}\n", path)
    assert fields(header(result), "sender") == ([sender_field] if stays else [])
    removed = f"removed Sender {sender_field.split(',', maxsplit=1)[0]}".rstrip() + ": the account may send only as itself"
    assert (removed in result.notes) is not stays


@pytest.mark.parametrize("identity", [ALWAYS, ISP])
def test_own_name_and_always_take_a_foreign_sender_field_away(identity: Identity) -> None:
    """After a refusal, or with `always`, nothing but the account stands in it."""
    own_name = identity is ISP
    text = "From: ops@isp.example\nSender: {}@isp.example\n"
    assert fields(header(done(text.format("ops"), "ops@isp.example", identity, own_name=own_name)), "from") == [
        '"ops@isp.example" <taro@isp.example>'
    ]
    assert fields(header(done(text.format("taro"), "ops@isp.example", identity, own_name=own_name)), "sender") == [
        "taro@isp.example"
    ]


@pytest.mark.parametrize(
    ("text", "path", "identity", "why"),
    [
        ("From: ops@isp.example\n", "ops@isp.example", ALWAYS, "this upstream always sends in the account's name"),
        ("From: a@b.example\n", "a@b.example", ALWAYS, "the account may send only as itself"),
        ("From: a@b.example\n", "a@b.example", ISP, "the account may send only as itself"),
    ],
)
def test_the_note_says_why_the_sender_changed(text: str, path: str, identity: Identity, why: str) -> None:
    """A person who reads the trail learns whether it had to be so or was configured."""
    assert done(text, path, identity).notes[0] == f"sender {path} became taro@isp.example: {why}"


def test_own_name_says_that_the_account_may_send_only_as_itself() -> None:
    """Also where the sender is of the account's own domain: the upstream has just refused it."""
    notes = done("From: ops@isp.example\n", "ops@isp.example", own_name=True).notes
    assert notes[0] == "sender ops@isp.example became taro@isp.example: the account may send only as itself"


@pytest.mark.parametrize(
    ("author", "path", "stays"),
    [
        ("a@b.example", "taro@isp.example", True),
        ("a@b.example", "<>", False),
        ("a@b.example", "a@b.example", False),
        ("ops@isp.example", "a@b.example", True),
        ("a_b@x_y.example", "taro@isp.example", False),
        ('"a b"@c.example', "taro@isp.example", False),
        ("é@b.example", "taro@isp.example", False),
    ],
)
def test_when_an_author_stays(author: str, path: str, stays: bool) -> None:
    """A public one stays where the envelope is the account's; else only one that the account may say."""
    assert (fields(header(done(f"From: {author}\n", path)), "x-original-from") == []) is stays


def test_with_smtputf8_an_author_in_utf_8_stays() -> None:
    """Where the upstream takes it."""
    assert untouched("From: é@b.example\n", "taro@isp.example", utf8=True)
    assert fields(header(done("From: é@b.example\n", "<>", utf8=True)), "x-original-from")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ops@isp.example, a@b.example", "ops@isp.example"),
        ("a@b.example, ops@isp.example", "a@b.example"),
        ("Ops Team <ops@isp.example>, root@nas", "Ops Team <ops@isp.example>"),
        ("root@nas, Ops Team <ops@isp.example>", "Ops Team <ops@isp.example>"),
        ("<ops@isp.example", "ops@isp.example"),
    ],
)
def test_of_several_authors_the_first_that_may_stays(before: str, after: str) -> None:
    """With its name as it was, and it is said; the old field is kept."""
    result = done(f"From: {before}\n", "taro@isp.example")
    assert fields(header(result), "from") == [after]
    assert fields(header(result), "x-original-from") == [before]
    assert (
        result.notes[0]
        == f"From says only {after.rsplit('<', maxsplit=1)[-1].rstrip('>')}: upstreams take one well-formed address there"
    )


def test_of_foreign_authors_under_a_foreign_envelope_none_stays() -> None:
    """The account stands there, and answers go to all of them that can be reached, once each."""
    result = done("From: Ann <a@b.example>, c@d.example, A@B.example, a@B.EXAMPLE, root@nas\n", "a@b.example")
    assert fields(header(result), "from") == ["Ann <taro@isp.example>"]
    assert fields(header(result), "reply-to") == ["a@b.example, c@d.example, A@B.example"]
    assert "answers go to a@b.example, c@d.example, A@B.example (Reply-To)" in result.notes
    names = [field.name for field in result.message.fields]
    assert names == ["from", "x-original-from", "reply-to"]


@pytest.mark.parametrize(("author", "sent"), [("taro@isp.example", []), ("=?utf-8?q?a?=@b.example", []), ("a@x_y.example", [])])
def test_answers_go_only_where_they_can(author: str, sent: list[str]) -> None:
    """Not to the account itself, and to no address that a server may stumble over."""
    assert fields(header(done(f"From: {author}, root@nas\n", "root@nas")), "reply-to") == sent


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ("From: a@b.example\nFrom: c@d.example\n", "a@b.example, c@d.example"),
        ("From: Ann\n  <a@b.example>\n", "Ann <a@b.example>"),
        ("From: Größe <a@b.example>\n", "=?utf-8?B?R3LDtsOfZSA8YUBiLmV4YW1wbGU+?="),
    ],
)
def test_the_old_author_is_kept_where_no_upstream_looks(before: str, kept: str) -> None:
    """In one line, encoded if it must be; one that is kept already stays the first."""
    assert fields(header(done(before, "a@b.example")), "x-original-from") == [kept]
    again = done("X-Original-From: first\n" + before, "a@b.example")
    assert fields(header(again), "x-original-from") == ["first"]


def test_an_endless_author_is_kept_in_part() -> None:
    """Eight thousand octets of it, in lines that any server takes."""
    result = done("From: " + "x" * 9000 + " <a@b.example>\n", "a@b.example")
    head = header(result)
    assert max(map(len, head.splitlines())) <= 998
    assert len(head) < 40_000
    original = result.message.get("x-original-from")
    assert original is not None and original.value.startswith(b"=?utf-8?B?eHh4")


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ("root@nas, Ops <ops@b.example>", "Ops <ops@b.example>", "root@nas"),
        ("root, pi@nas, a@b.example, Ann", "a@b.example", "root, pi@nas, Ann"),
        ("root@nas", None, "root@nas"),
        ("", None, "nothing"),
        ("Team: root@nas;", "Team: root@nas;", None),
        ("a@b.example , c@d.example", "a@b.example , c@d.example", None),
    ],
)
def test_answers_that_nobody_could_send_are_not_asked_for(before: str, after: str | None, lost: str | None) -> None:
    """Whoever can be reached stays, and it is said who does not."""
    result = done(f"From: taro@isp.example\nReply-To: {before}\n", "taro@isp.example")
    assert fields(header(result), "reply-to") == ([after] if after is not None else [])
    note = f"Reply-To no longer says {lost}: no answer from outside could reach that"
    assert result.notes == ((note,) if lost else ())


def test_an_answer_field_that_goes_makes_room_for_the_old_author() -> None:
    """Where From changes and nobody is left to be answered, the old author is; where somebody is left, nobody is added."""
    assert fields(header(done("From: a@b.example\nReply-To: root@nas\n", "a@b.example")), "reply-to") == ["a@b.example"]
    both = header(done("From: a@b.example\nReply-To: root@nas, c@d.example\n", "a@b.example"))
    assert fields(both, "reply-to") == ["c@d.example"]
    assert fields(header(done("From: a@b.example\n", "<>")), "reply-to") == []


@pytest.mark.parametrize("count", [5, 6, 200])
def test_the_note_names_the_first_five_of_the_lan(count: int) -> None:
    """All of them stand there as names, and no address of theirs is sent."""
    names = [f"user{number}@nas" for number in range(count)]
    result = done("From: taro@isp.example\nTo: " + ", ".join(names) + ", a@b.example\n", "taro@isp.example")
    unfolded = header(result).replace("\n ", " ")
    assert fields(unfolded, "to") == [", ".join([*(f'"{name}":;' for name in names), "a@b.example"])]
    more = " ..." if count > 5 else ""
    assert result.notes == (f"To {', '.join(names[:5])}{more}: no address outside the LAN, so it stands there as a name only",)


def test_recipients_in_any_letters_are_looked_at() -> None:
    """An international domain is public; one that is none stays as a name."""
    assert untouched("From: taro@isp.example\nTo: a@例え.example\n", "taro@isp.example", utf8=True)
    result = done("From: taro@isp.example\nTo: 太郎 <root@nas>, a@b.example\n", "taro@isp.example")
    assert fields(header(result), "to") == ['"root@nas":;, a@b.example']


@pytest.mark.parametrize("signature", ["DKIM-Signature", "DomainKey-Signature"])
def test_a_signed_author_stays_and_it_is_said_only_where_something_changed(signature: str) -> None:
    """Without a change of the envelope there is nothing to say."""
    text = f"From: a@b.example\n{signature}: v=1\n"
    assert untouched(text, "taro@isp.example")
    assert done(text, "a@b.example").notes[-1] == "From stays as it is: the message is DKIM-signed"
    resent = done("From: a@b.example\nResent-Date: x\n", "a@b.example")
    assert resent.notes[-1] == "From stays as it is: the message was resent by hand"


def test_where_from_is_left_alone_even_own_name_leaves_it() -> None:
    """`rewrite_from: false`: names of the LAN go all the same, and what is signed stays."""
    assert header(done("From: a@b.example\nReply-To: c@d.example\n", "a@b.example", KEEP, own_name=True)) == (
        "From: a@b.example\nReply-To: c@d.example\n"
    )
    assert header(done("From: root@nas\nDKIM-Signature: v=1\n", "root@nas", KEEP, own_name=True)).startswith("From: root@nas\n")
    assert fields(header(done("From: root@nas\n", "<>", KEEP)), "from") == ['"root@nas" <taro@isp.example>']
    assert untouched("From: a@b.example\n", "<>", KEEP)


@pytest.mark.parametrize(
    ("address", "utf8", "may"),
    [
        (TARO, False, True),
        (Address("taro", "ISP.example"), False, True),
        (Address("Taro", "isp.example"), False, True),
        (Address("other", "ISP.EXAMPLE"), False, True),
        (Address("other", "sub.isp.example"), False, False),
        (Address("o.", "isp.example"), False, False),
        (Address("=?utf-8?q?o?=", "isp.example"), False, False),
        (Address("é", "isp.example"), False, False),
        (Address("é", "isp.example"), True, True),
        (Address("a", "b.example"), False, False),
    ],
)
def test_whom_an_account_may_say(address: Address, utf8: bool, may: bool) -> None:
    """Itself, and who is of one of its domains and well spelled."""
    assert ISP.may_say(address, utf8=utf8) is may
    assert ISP.may_say(address) is (may and address.ascii)
    assert not Identity(None).may_say(address)


def test_an_account_with_an_odd_address_may_say_it() -> None:
    """However it is spelled, its own address is its own."""
    odd = Address("a b", "my_host.example")
    assert Identity(odd).may_say(odd)
    assert untouched('From: "a b"@my_host.example\n', '<"a b"@my_host.example>', Identity(odd))


def test_a_message_of_fields_alone_gets_its_end() -> None:
    """The empty line between header and body is there when a field was changed."""
    result = rewrite(Message.parse([b"From: root@nas\r\n"]), Address("root", "nas"), ISP)
    assert b"".join(result.message).endswith(b"\r\n\r\n")
