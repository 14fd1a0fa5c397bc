"""Addresses are read tolerantly and written exactly."""

import pytest

from relay.mail.address import Address, BadAddress, is_public, parse_address, parse_path, with_a_labels


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a@b.c", Address("a", "b.c")),
        (" a@b.c ", Address("a", "b.c")),
        ("root", Address("root")),
        ("ilo-srv.@b.c", Address("ilo-srv.", "b.c")),
        ("a..b@c.d", Address("a..b", "c.d")),
        ("x@my_host", Address("x", "my_host")),
        ("x@host.example.", Address("x", "host.example")),
        ("x@[192.168.1.5]", Address("x", "[192.168.1.5]")),
        ("x@[IPv6:fe80::1]", Address("x", "[IPv6:fe80::1]")),
        ('"a b"@c.d', Address("a b", "c.d")),
        (r'"a\"b\\c"@d.e', Address(r'a"b\c', "d.e")),
        ('"a@b"@c.d', Address("a@b", "c.d")),
        ("山田@例え.jp", Address("山田", "例え.jp")),
        ("a=b+c@d.e", Address("a=b+c", "d.e")),
    ],
)
def test_addresses_are_read(text, address):
    """What devices use as addresses, LAN names and literals among them."""
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("@b.c", "nothing before"),
        ("a@", "nothing after"),
        ("a b@c.d", "cannot stand before"),
        ("a@b@c.d", "cannot stand before"),
        ("a@b c", "not a domain"),
        ("a@-b.c", "not a domain"),
        ("a@b..c", "not a domain"),
        ("a@=?utf-8?q?x?=", "not a domain"),
        ("a(b@c.d", "cannot stand before"),
        ('"a@b.c', "never closed"),
        ('"a"b@c.d', "text after"),
        ('""@c.d', "empty"),
        ("a\r\nRCPT TO:<x@y>@b.c", "control"),
        ("a@b.c\x00", "control"),
        ("a@" + "b" * 64 + ".c", "not a domain"),
        ("a@" + "b." * 130 + "c", "longer than 253"),
        ("x" * 513, "longer than 512"),
    ],
)
def test_what_is_no_address_is_refused_in_words(text, reason):
    """The reason is for the person at the device."""
    with pytest.raises(BadAddress, match=reason):
        parse_address(text)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (Address("a", "b.c"), "a@b.c"),
        (Address("root"), "root"),
        (Address("a b", "c.d"), '"a b"@c.d'),
        (Address("a.", "c.d"), '"a."@c.d'),
        (Address('q"\\', "c.d"), r'"q\"\\"@c.d'),
    ],
)
def test_addresses_are_written_so_that_any_server_reads_them(address, text):
    """Quoted where a dot-string will not do (RFC 5321 s4.1.2)."""
    assert str(address) == text


def test_the_domain_folds_its_case_the_local_part_does_not():
    """RFC 5321 s2.4."""
    assert Address("a", "B.C").key == Address("a", "b.c").key
    assert Address("A", "b.c").key != Address("a", "b.c").key


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("<a@b.c>", Address("a", "b.c")),
        ("< a@b.c >", Address("a", "b.c")),
        ("<<a@b.c>>", Address("a", "b.c")),
        ("<a@b.c", Address("a", "b.c")),
        ("<a@b.c>;", Address("a", "b.c")),
        ('"My <NAS>" <a@b.c>', Address("a", "b.c")),
        ("<@r1,@r2:a@b.c>", Address("a", "b.c")),
        ("mailto:a@b.c", Address("a", "b.c")),
        ("<nas@>", Address("nas")),
        ('<"x>y"@b.c>', Address("x>y", "b.c")),
        ('<"x\\"><y"@b.c>', Address('x"><y', "b.c")),
        ('"My \\"N<AS" <a@b.c>', Address("a", "b.c")),
        ('"a\\\\" <a@b.c>', Address("a", "b.c")),
        ("<a@b.c> <d@e.f> SIZE=3", Address("d", "e.f")),
        ("a@b.c>", Address("a", "b.c")),
        (">a@b.c<", None),
        ("<@r1,@r2:a@[IPv6:fe80::1]>", Address("a", "[IPv6:fe80::1]")),
        ("<@r1: a@b.c >", Address("a", "b.c")),
        ("<MailTo:a@b.c>", Address("a", "b.c")),
        (",<a@b.c>", Address("a", "b.c")),
        ("a@b.c;,", Address("a", "b.c")),
        ("<a.b-c_d+e@F-1.example>", Address("a.b-c_d+e", "F-1.example")),
        ("<" + "a" * 300 + "@b.c>", Address("a" * 300, "b.c")),
        ("<>", None),
        ("< >", None),
        ("", None),
    ],
)
def test_paths_are_read_whatever_stands_around_them(text, address):
    """None is the null reverse-path."""
    assert parse_path(text) == address


@pytest.mark.parametrize("text", ["@", "<@>", "<a b@c.d>", "<a@b..c>", "<" + "a" * 600 + "@b.c>", "<a@" + "b" * 64 + ">"])
def test_a_path_that_is_none_is_refused(text):
    """It is neither guessed nor taken for the null reverse-path."""
    with pytest.raises(BadAddress):
        parse_path(text)


@pytest.mark.parametrize(
    ("address", "qualified", "plain", "public"),
    [
        (Address("a", "b.example"), True, True, True),
        (Address("a"), False, True, False),
        (Address("é", "b.example"), True, False, True),
        (Address("a", "é.example"), True, False, True),
        (Address(".a", "b.example"), True, True, True),
        (Address("a.", "b.example"), True, True, True),
        (Address("a", "nas.local"), True, True, False),
    ],
)
def test_what_an_address_can_be_used_for(address, qualified, plain, public):
    """With a domain, in ASCII, to be answered from outside."""
    assert (address.qualified, address.ascii, address.public) == (qualified, plain, public)


@pytest.mark.parametrize(
    ("domain", "public"),
    [
        ("example.jp", True),
        ("mail.example.co.jp.", True),
        ("localhost", False),
        ("localhost.localdomain", False),
        ("nas.local", False),
        ("box.home.arpa", False),
        ("printer.LAN", False),
        ("[192.0.2.1]", False),
        ("192.168.1.5", False),
        ("", False),
        ("mylocal.example", True),
        ("nas.local.", False),
        ("local.example.", True),
        ("1.2.3.example", True),
        ("x.y.workgroup", False),
    ],
)
def test_lan_names_are_told_from_public_ones(domain, public):
    """Nobody beyond the LAN could answer to nas.local."""
    assert is_public(domain) is public


@pytest.mark.parametrize(
    ("domain", "labels"),
    [
        ("例え.jp", "xn--r8jz45g.jp"),
        ("例え。jp。", "xn--r8jz45g.jp"),
        ("straße.example", "xn--strae-oqa.example"),
        ("a．example", "a.example"),
        ("a＞\u3000NOTIFY＝NEVER.example", None),
        ("a＠b.example", None),
        ("a：25.example", None),
        ("a⑴.example", None),
        ("a\u2003b.example", None),
        ("。", None),
        ("例え" * 30 + ".jp", None),
    ],
)
def test_a_domain_in_a_labels_is_a_domain(domain, labels):
    """IDNA makes ASCII of signs that look like it: none of them ends the address, and with it the command that it stands in."""
    address = parse_address(f"x@{domain}")
    if labels is None:
        with pytest.raises(UnicodeError):
            with_a_labels(address)
    else:
        assert with_a_labels(address) == Address("x", labels)
