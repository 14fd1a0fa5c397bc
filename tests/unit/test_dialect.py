"""What devices write on the command line is read as what they meant."""

import pytest

from relay.inbound.dialect import clean_helo, is_http, is_tls_hello, mail_argument, rcpt_argument, read_command
from relay.mail.address import Address, BadAddress

AB = Address("a", "b.c")


@pytest.mark.parametrize(
    ("line", "verb", "argument"),
    [
        (b"EHLO nas", "EHLO", "nas"),
        (b"  mail\tFROM:<a@b>", "MAIL", "FROM:<a@b>"),
        (b"data ", "DATA", ""),
        (b"\xff\xfb\x1f\xff\xfd\x03\x00HELO x\x00", "HELO", "x"),
        (b"RCPT TO:<a@b>\rDATA", "RCPT", "TO:<a@b>DATA"),
        (b"", "", ""),
        (b"123 x", "", "123 x"),
        (b"Subject: x", "SUBJECT", ": x"),
        (b"HELO \xfcber", "HELO", "\ufffdber"),
    ],
)
def test_commands_are_read(line, verb, argument):
    """Case, blanks, telnet negotiation and stray CR do not hide the verb."""
    command = read_command(line)
    assert (command.verb, command.argument) == (verb, argument)


def test_control_octets_are_told():
    """The trail shows that something was taken out."""
    assert read_command(b"NOOP\x07").quirk == "telnet or control octets in a command"
    assert read_command(b"NOOP").quirk == ""


@pytest.mark.parametrize(
    "argument",
    [
        "FROM:<a@b.c>",
        "FROM: <a@b.c>",
        "from :<a@b.c>",
        "FROM <a@b.c>",
        "FROM<a@b.c>",
        ":<a@b.c>",
        "a@b.c",
        "FROM:a@b.c",
        "FROM:< a@b.c >",
        "FROM:<<a@b.c>>",
        "FROM:<a@b.c",
        "FROM:a@b.c>",
        "FROM:<a@b.c>;",
        "FROM:My NAS <a@b.c>",
        'FROM:"My <x@y> NAS" <a@b.c>',
        "FROM:<My NAS <a@b.c>>",
        "FROM:mailto:a@b.c",
        "FROM:<@r1,@r2:a@b.c>",
        "FROM:<a@b.c> AUTH=<>",
        "FROM:a@b.c AUTH=<> SIZE=1",
        "FROM:<a@b.c> RET=HDRS ENVID=x<y@z>",
        "FROM:<a@b.c>SIZE=12",
        "FROM:<a@b.c> what is this",
        "FROM:<a@b.c.>",
    ],
)
def test_a_sender_is_found_whatever_stands_around_it(argument):
    """Quirks S5 to S8, S12, S15: never the wrong bracket, never a parameter for a path."""
    assert mail_argument(argument).reverse_path == AB


@pytest.mark.parametrize("argument", ["FROM:<>", "FROM:< >", "FROM: <> SIZE=10", "FROM:", "FROM:<>;", "FROM:<> AUTH=<a@b.c>"])
def test_nothing_is_the_null_reverse_path(argument):
    """A device without a sender, and a notice of a mail server."""
    assert mail_argument(argument).reverse_path is None


@pytest.mark.parametrize(
    ("argument", "sender"),
    [
        ("FROM:<root>", Address("root")),
        ("FROM:<nas@>", Address("nas")),
        ("FROM:bounce+x=y@z.example", Address("bounce+x=y", "z.example")),
        ("FROM:<ilo-srv.@b.c>", Address("ilo-srv.", "b.c")),
        ("FROM:<u@[192.168.1.5]>", Address("u", "[192.168.1.5]")),
        ('FROM:<"a b"@b.c> SIZE=3', Address("a b", "b.c")),
        ('FROM:<"a>b"@b.c>', Address("a>b", "b.c")),
        ("FROM:<n\ufffds@b.c>", Address("n\ufffds", "b.c")),
        ("FROM:<esp_32@my_host>", Address("esp_32", "my_host")),
    ],
)
def test_odd_senders_stay_what_they_are(argument, sender):
    """Nothing is decoded, quoted or cut that the device did not write so."""
    assert mail_argument(argument).reverse_path == sender


@pytest.mark.parametrize(
    "argument", ["TO:<nas x@y.z>", "TO:<a@=?utf-8?q?evil=2Ecom?=>", "TO:<a@b@c>", "TO:<@>", "TO:<a@b.c)>", "TO:<'a@b.c' x>"]
)
def test_a_recipient_that_is_no_address_is_refused(argument):
    """No guess is made that could be somebody else's address."""
    with pytest.raises(BadAddress):
        rcpt_argument(argument)


@pytest.mark.parametrize(
    ("said", "sender"),
    [
        ("Artillery Incident", Address("Artillery Incident")),
        ("Front Door@camera.local", Address("Front Door", "camera.local")),
        ("root@localhost.(none)", Address("root@localhost.(none)")),
        ("@@hermes", Address("@@hermes")),
        ("ups@My UPS", Address("ups@My UPS")),
        ("cam[1]@nas.local", Address("cam[1]", "nas.local")),
        ("cam@.local", Address("cam@.local")),
        ("cam@192.168.1.10:25", Address("cam@192.168.1.10:25")),
        ("OFFICE\\scan@office.local", Address("OFFICE\\scan", "office.local")),
        ("cam@nas.local;ups@nas.local", Address("cam@nas.local;ups@nas.local")),
        ("nas x@y.z", Address("nas x", "y.z")),
        ("a@b@c", Address("a@b", "c")),
        ("x" * 600, Address("x" * 200)),
    ],
)
def test_a_sender_that_is_no_address_is_kept_as_it_was_written(said, sender):
    """It will be replaced, which is no reason to lose the message; the trail shows what the device said."""
    mail = mail_argument(f"FROM:<{said}> SIZE=3")
    assert (mail.reverse_path, mail.size) == (sender, 3)
    assert said[:90] in mail.quirks[0].replace("\\\\", "\\")


@pytest.mark.parametrize(
    "said",
    [
        *(
            "'a@b.c'",
            '"a@b.c"',
            "SMTP:a@b.c",
            "smtp:'a@b.c'",
            "mailto:a@b.c?subject=x",
            "a @ b.c",
            "a＠b.c",
            "‘a@b.c’",
            "[a@b.c]",
        ),
        *("a@b.c (Taro)", "a(x)@(y(z))b.c", '"a@b.c', "`a@b.c'", "a@b.c'", "rfc822;a@b.c", "'<a@b.c>'", '"<a@b.c>"'),
    ],
)
def test_a_recipient_that_can_mean_one_address_only_is_taken(said):
    """Marks around it, a word of groupware before it, comments in it, blanks around the @."""
    assert rcpt_argument(f"TO:<{said}>")[0] == (AB,)


@pytest.mark.parametrize(
    "said", ["o'neil@b.c", "'a'@b.c", "'a@b.c", "smtp=a@b.c", '"a b"@b.c', '"a@x"@b.c', "a..b@b.c", ".a.@b.c"]
)
def test_marks_that_belong_to_an_address_stay(said):
    """An address is never changed into another one."""
    (one,), _ = rcpt_argument(f"TO:<{said}>")
    assert str(one).replace('"', "") == said.replace('"', "")


def test_parameters_are_read_and_others_ignored():
    """SIZE, BODY and SMTPUTF8 count, in any case; a SIZE that is no number counts as none."""
    mail = mail_argument("FROM:<a@b.c> size=36 Body=8bitmime SMTPUTF8 X-FOO=bar")
    assert (mail.size, mail.body, mail.utf8) == (36, "8BITMIME", True)
    assert mail_argument("FROM:<a@b.c> SIZE=abc").size == 0
    assert mail_argument("FROM:<a@b.c> SIZE=99999999999999999999999").size == 0
    assert mail_argument("FROM:<a@b.c> SIZE=\u0663").size == 0


def test_quirks_are_named_for_the_trail():
    """The usual way has none."""
    assert mail_argument("FROM:<a@b.c> SIZE=1").quirks == ()
    assert mail_argument("FROM: a@b.c").quirks == ("odd spacing after MAIL FROM", "no plain angle brackets in MAIL")
    assert rcpt_argument("TO:a@b.c")[1] == ("no plain angle brackets in RCPT",)


def test_recipients_are_read_one_or_several():
    """A list in one field is split; an empty one is no recipient."""
    assert rcpt_argument("TO:<a@b.c> NOTIFY=NEVER ORCPT=rfc822;a@b.c") == ((AB,), ())
    assert rcpt_argument("TO:<a@b.c, x@y.z>")[0] == (AB, Address("x", "y.z"))
    assert rcpt_argument("TO:<a@b.c>; <x@y.z>;")[0] == (AB, Address("x", "y.z"))
    assert rcpt_argument("TO:<a@b.c, bob>")[0] == (AB, Address("bob"))
    assert rcpt_argument("TO:Smith, John <a@b.c>")[0] == (AB,)
    assert rcpt_argument("TO:<@r1.x,@r2.x:a@b.c>")[0] == (AB,)
    assert rcpt_argument("TO:<>")[0] == ()
    with pytest.raises(BadAddress):
        rcpt_argument("TO:<a b@c>")


def test_helo_cannot_break_out_of_a_received_field():
    """Printable ASCII without brackets, quotes and blanks; bounded."""
    assert clean_helo("nas.local") == "nas.local"
    assert clean_helo("[192.168.1.21]") == "[192.168.1.21]"
    assert clean_helo("My Printer") == "My_Printer"
    assert clean_helo('a)\r\nX: <y>;"\\\x00\u2028') == "a?_X:_?y?????"
    assert len(clean_helo("x" * 1000)) == 255


def test_other_protocols_are_recognised():
    """TLS by its record header, HTTP by its request line; SMTP is neither."""
    assert is_tls_hello(b"\x16\x03\x01\x02\x00")
    assert not is_tls_hello(b"EHLO x")
    assert all(map(is_http, [b"GET / HTTP/1.1", b"POST /x HTTP/1.0", b"host: relay"]))
    assert not any(map(is_http, [b"HELO GET", b"HELP", b"GETX"]))
