"""The Received field."""

from relay.mail.envelope import Origin
from relay.mail.trace import received
from tests.support.letters import HOST, ID, NOW


def test_received_tells_the_way():
    """It names the device, us, the protocol, the queue id and the hour."""
    value = received(ID, NOW, HOST, Origin("192.168.0.9", "nas", protocol="ESMTPS")).value.decode()
    assert value.startswith("from nas ([192.168.0.9])")
    assert f"by {HOST} with ESMTPS id {ID};" in value


def test_a_helo_cannot_write_into_the_header():
    """What is no name is written as `unknown`; IPv6 has its tag."""
    field = received(ID, NOW, HOST, Origin("fe80::1", "x\r\nBcc: a@b.jp"))
    assert b"Bcc" not in field.raw
    assert field.value.startswith(b"from unknown ([IPv6:fe80::1])")


def test_the_lan_address_can_be_hidden():
    """With hide_client neither name nor address is told."""
    field = received(ID, NOW, HOST, Origin("192.168.0.9", "nas"), hide_client=True)
    assert b"192.168" not in field.raw
    assert field.value.startswith(b"by " + HOST.encode())


def test_a_protocol_is_one_word():
    """Whatever else stood there would be read as part of the field's grammar."""
    assert b" with SMTP id " in received(ID, NOW, HOST, Origin("192.168.0.9", "nas", protocol="ESMTP; x")).raw


def test_a_client_without_an_address_is_not_told():
    """The name alone, which anybody can say, is no trace."""
    assert received(ID, NOW, HOST, Origin("", "nas")).value.startswith(b"by " + HOST.encode())
