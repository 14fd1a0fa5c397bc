"""What each mechanism says: against the examples of the RFCs."""

import base64
import time

import pytest

from relay.secret import unsaid
from relay.upstream.client_sasl import Scram, mechanism, prepared


def b64(words: bytes | str) -> str:
    return base64.b64encode(words.encode() if isinstance(words, str) else words).decode()


def test_cram_md5_as_in_rfc_2195():
    """The example of RFC 2195 s2 comes out digit for digit."""
    said = mechanism("CRAM-MD5", "tim", "tanstaaftanstaaf")
    assert said.start() is None
    assert said.respond(b64("<1896.697170952@postoffice.reston.mci.net>")) == b"tim b913a602c7eda7a495b4e6e7334d3890"


def test_a_broken_challenge_is_cancelled():
    """What is no base64 is given up, not answered as something else."""
    assert mechanism("CRAM-MD5", "tim", "x").respond("not base64!") is None


def test_plain_as_in_rfc_4616():
    """authzid is empty; user and password follow in UTF-8."""
    assert mechanism("PLAIN", "tim", "p\u00e4ssword").start() == b"\0tim\0p\xc3\xa4ssword"


def test_login_says_user_then_password_then_gives_up():
    """Two challenges are answered whatever they say; a third one ends the exchange."""
    login = mechanism("LOGIN", "taro", "secret")
    assert login.start() is None
    assert [login.respond("") for _ in range(3)] == [b"taro", b"secret", None]


def test_xoauth2():
    """User and bearer token stand between control-A octets; a refusal's reason is read out of its challenge."""
    said = mechanism("XOAUTH2", "a@b.example", "t0ken")
    assert said.start() == b"user=a@b.example\x01auth=Bearer t0ken\x01\x01"
    assert said.respond(b64('{"status":"401"}')) == b""
    assert said.reason == '{"status":"401"}'
    assert said.respond("plain words!") == b"" and said.reason == "plain words!"


def test_oauthbearer_as_in_rfc_7628():
    """The GS2 header names the user; the token follows (section 4.1, without host and port); control-A bids farewell."""
    said = mechanism("OAUTHBEARER", "user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
    assert said.start() == b"n,a=user@example.com,\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
    assert said.respond("") == b"\x01"


def test_a_comma_in_a_user_name_stays_one_name():
    """RFC 5801 section 4: `,` and `=` are escaped in the GS2 header."""
    assert (mechanism("OAUTHBEARER", "a,b=c@x.example", "t").start() or b"").startswith(b"n,a=a=2Cb=3Dc@x.example,\x01")


@pytest.mark.parametrize("name", ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"])
def test_all_that_is_said_in_a_login_is_known(name):
    """In clear and in base64, with and without its padding."""
    login = mechanism(name, "taro@isp.example", "corr3ct-Horse")
    words = [login.start(), login.respond(""), login.respond("")] if name == "LOGIN" else [login.start()]
    for said in (b64(one) for one in words if one):
        assert unsaid(f"502 {said} (corr3ct-Horse)", *login.said).rstrip("=)").startswith("502 ***")
        assert said.rstrip("=") not in unsaid(said, *login.said)


# --- SCRAM

FIRST = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
PROOF = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
LAST = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def scram(**more) -> Scram:
    return Scram("user", "pencil", nonce="rOprNGfwEbeRWgbNEkqO", **more)


def test_scram_as_in_rfc_7677():
    """The example of section 3, octet for octet; only with the server's proof is it over."""
    login = scram()
    assert login.start() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert not login.tested
    assert login.respond(b64(FIRST)) == PROOF
    assert login.tested and not login.proven
    assert login.respond(b64(LAST)) == b""
    assert login.proven


@pytest.mark.parametrize(
    "first",
    [
        FIRST.replace("r=rOprNGfwEbeRWgbNEkqO", "r=somebodyElse"),
        "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        FIRST.replace("i=4096", "i=1"),
        FIRST.replace("i=4096", "i=2147483647"),
        FIRST.replace("i=4096", "i=" + "9" * 5000),
        FIRST.replace("i=4096", "i=-4096"),
        FIRST.replace("s=W22ZaJ0SNY7soEsUEjb6gQ==", "s="),
        "m=what," + FIRST,
        "e=unknown-user",
        "",
        "\x00\xff",
    ],
)
def test_a_first_message_that_is_not_to_be_answered(first):
    """A nonce that is not ours, too few or too many rounds, extensions: nothing of the password is used."""
    login, began = scram(), time.monotonic()
    login.start()
    assert login.respond(b64(first)) is None
    assert not login.tested
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("last", ["v=AAAA", "v=", "", LAST.replace("6rri", "7rri")])
def test_a_server_that_does_not_know_the_password(last):
    """Its proof is wrong: given up, and never held for proven."""
    login = scram()
    login.start(), login.respond(b64(FIRST))
    assert login.respond(b64(last)) is None
    assert not login.proven
    assert "did not prove" in login.reason


@pytest.mark.parametrize(
    ("error", "tested"), [("invalid-proof", True), ("channel-bindings-dont-match", False), ("no-resources", False)]
)
def test_an_error_in_the_last_message(error, tested):
    """It brings the refusal proper; whether it is about the password is told apart."""
    login = scram()
    login.start(), login.respond(b64(FIRST))
    assert login.respond(b64(f"e={error}")) == b""
    assert (login.reason, login.tested, login.proven) == (error, tested, False)


@pytest.mark.parametrize(
    ("more", "header"), [({}, b"n,,"), ({"binding": b"x"}, b"y,,"), ({"binding": b"x", "bound": True}, b"p=tls-unique,,")]
)
def test_what_is_said_of_the_binding(more, header):
    """RFC 5802 s6: not here, here but not there, or this very line, whose data the proof covers."""
    login = scram(**more)
    assert (login.start() or b"").startswith(header)
    said = login.respond(b64(FIRST)) or b""
    bound = base64.b64decode(said.split(b",")[0].removeprefix(b"c="))
    assert bound == header + (b"x" if more.get("bound") else b"")


def test_names_and_passwords_are_prepared():
    """SASLprep: the examples of RFC 4013 s3; what it forbids stays as it is."""
    assert [prepared(text) for text in ("I\u00adX", "user", "USER", "\u00aa", "\u2168", "a\u00a0b")] == [
        "IX", "user", "USER", "a", "IX", "a b"
    ]  # fmt: skip
    assert prepared("\u0007") == "\u0007"
    assert b"n=a=2Cb=3Dc," in (Scram("a,b=c", "x").start() or b"")
