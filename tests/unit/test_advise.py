"""`relay advise`: a pasted reply, or many on standard input, whatever octets they have."""

import io
import json
import sys

import pytest

from relay.cli.main import main


class Pipe:
    """Standard input that is no terminal."""

    def __init__(self, octets: bytes) -> None:
        self.buffer = io.BytesIO(octets)

    def isatty(self) -> bool:
        return False


@pytest.fixture
def ask(monkeypatch, capsys):
    """Runs the command; its status, and what it wrote to stdout and stderr."""

    def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", Pipe(stdin))
        try:
            status = main(["advise", *arguments])
        except SystemExit as ended:
            status = int(ended.code or 0)
        return status, *capsys.readouterr()

    return run


def test_a_pasted_reply_is_explained(ask):
    """What it means, what the relay does, what to do, and where there is more."""
    status, out, _ = ask("550 5.7.26 This mail has been blocked because the sender is unauthenticated")
    assert status == 0
    assert "SPF" in out and "is kept" in out and "docs/advice.md#spf-dkim-dmarc" in out


def test_the_stage_is_guessed_where_nobody_tells(ask):
    """A reply about the content is not taken for one to RCPT; --stage says it for certain."""
    for words, said in (
        ("554 5.7.1 Message contains spam", "in answer to the message itself"),
        ("535 wrong password", "at the login"),
        ("550 5.1.1 User unknown", "in answer to the recipient's address"),
    ):
        assert f"It was said:          {said} (as its words suggest" in ask(words)[1]
    assert "It was said:          in answer to the sender's address\n" in ask("--stage", "mail", "550 5.1.1 User unknown")[1]


@pytest.mark.parametrize(
    "said",
    [
        "454 4.7.5 Certificate validation failure, Reason:SubjectMismatch",
        "454 4.7.5 the certificate of mail.isp.example has expired; have it renewed there",
        "454 4.7.5 the certificate of mail.isp.example is self-signed; name it in `ca_file`",
        "454 4.7.5 the certificate of 192.0.2.1 is not valid",
        "454 4.7.5 Server certificate not trusted",
        "454 4.7.0 TLS not available due to local problem",
        "454 4.3.3 TLS not available",
        "454 4.7.0 SSL handshake failed",
        "421 4.4.2 [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1006)",
        "451 4.7.5 cryptographic failure",
        "554 5.7.5 could not start TLS",
    ],
)
def test_words_of_tls_alone_are_not_taken_for_a_login(ask, said):
    """454 is also a number of logins; where TLS alone is spoken of, or X.7.5 says so (RFC 3463), it was said there."""
    (row,) = json.loads(ask("--json", said)[1])["replies"]
    assert (row["stage"], row["fate"], row["blame"]) == ("tls", "deferred", "upstream")
    assert "secured connection" in row["advice"][0] and "password" not in " ".join(row["advice"])


@pytest.mark.parametrize(
    ("said", "stage"),
    [
        ("535 5.7.5 a client certificate is needed for this login", "auth"),
        ("454 4.7.5 authentication failed: the certificate of the user is not valid", "auth"),
        ("454 4.7.0 Temporary authentication failure", "auth"),
        ("554 5.7.5 Permanent error evaluating DMARC policy", "rcpt"),
        ("530 5.7.0 Must issue a STARTTLS command first", "auth"),
        ("550 5.7.5 the message could not be decrypted", "rcpt"),
        ("450 4.2.0 Greylisted", "rcpt"),
    ],
)
def test_where_more_than_tls_is_spoken_of_it_was_not_said_there(ask, said, stage):
    """A login, a sender's domain and a message have rules of their own."""
    assert json.loads(ask("--json", said)[1])["replies"][0]["stage"] == stage


def test_a_connection_that_was_not_made_is_not_about_the_recipient(ask):
    """X.4.1 and X.4.3 of RFC 3463: nobody answered, or has that name."""
    for said in ("421 4.4.1 connection to 192.0.2.1:587 refused", "421 4.4.3 Name or service not known"):
        (row,) = json.loads(ask("--json", said)[1])["replies"]
        assert (row["stage"], row["blame"]) == ("connect", "upstream") and "relay doctor" in row["advice"][2]


@pytest.mark.parametrize("before", ["isp said: ", "isp said:\n", "What the server said: ", "isp (mail.isp.example) at rcpt: "])
def test_a_reply_may_be_pasted_with_what_stands_before_it(ask, before):
    """As a notice and a trail show it."""
    status, out, _ = ask(before + "550 5.1.1 User unknown")
    assert (status, out) == (0, ask("550 5.1.1 User unknown")[1])


def test_a_reply_of_several_lines_may_be_pasted(ask):
    """Each line has the number; they are one reply."""
    status, out, _ = ask(
        "--json", "--stage", "content", "550-5.7.1 Our system has detected that this message is\n550 5.7.1 likely spam"
    )
    (row,) = json.loads(out)["replies"]
    assert status == 0 and (row["fate"], row["blame"]) == ("failed", "message")


def test_the_document_has_these_keys_and_values(ask):
    """One row for each line, in order; empty lines are passed over."""
    lines = b"rcpt\t550 5.1.1 User unknown\n\nauth\t535 5.7.8 authentication failed\r\ncontent\t250 2.0.0 queued\n"
    status, out, _ = ask("--json", stdin=lines)
    rows = json.loads(out)["replies"]
    assert status == 0 and json.loads(out).keys() == {"replies"}
    assert [row.keys() for row in rows] == [{"stage", "reply", "fate", "blame", "rests", "next", "advice"}] * 3
    assert [(row["stage"], row["fate"], row["blame"], row["rests"], row["next"]) for row in rows] == [
        ("rcpt", "failed", "recipient", False, True),
        ("auth", "deferred", "login", True, True),
        ("content", "relayed", "nobody", False, False),
    ]
    assert rows[0]["reply"] == "550 5.1.1 User unknown"
    assert all(isinstance(sentence, str) and sentence for row in rows for sentence in row["advice"])


@pytest.mark.parametrize(
    "said",
    [
        "550 用户不存在".encode("gbk"),
        "550 Boîte pleine".encode("latin-1"),
        "550 ユーザー不明".encode("shift_jis"),
        b"550 \x00\x00 user \x1b[2J unknown\x9b",
        b"550 " + b"x" * 100_000,
        b"550 " + b"a@b." * 25_000,
        b"550",
        b"550 ",
        b"no number at all",
        b"999 what",
        bytes(range(128, 256)),
        "550 \u202egnp.exe\u2028".encode(),
    ],
)
def test_any_octets_are_answered(ask, said):
    """Nothing breaks, in words or as JSON; nothing in them can move a terminal's cursor."""
    for stage in (b"connect", b"auth", b"mail", b"rcpt", b"content"):
        status, out, err = ask("--json", stdin=stage + b"\t" + said + b"\n")
        assert (status, err) == (0, "")
        assert len(json.loads(out)["replies"]) == 1
        status, out, err = ask(stdin=stage + b"\t" + said + b"\n")
        assert (status, err) == (0, "")
        assert not set(out) & set("\x00\x1b\x9b\u202e")


def test_an_argument_of_any_octets_is_answered(ask):
    """What a shell hands over undecodable is shown as such."""
    status, out, _ = ask("--json", "550 \udcb0\udca1 unknown user")
    assert status == 0 and json.loads(out)["replies"][0]["blame"] == "recipient"


@pytest.mark.parametrize(
    ("arguments", "stdin", "complaint"),
    [
        ((), b"", "found none"),
        ((), b"\n \n", "found none"),
        ((), b"rcpt\t550 no\ndata\t550 no\n", "line 2: expected `stage<TAB>reply`"),
        ((), b"550 no tab\n", "line 1: expected"),
        (("user unknown",), b"", "begins with its number"),
        (("",), b"", "begins with its number"),
        (("--stage", "data", "550 no"), b"", "invalid choice: 'data'"),
    ],
)
def test_what_is_no_question_is_said_so(ask, arguments, stdin, complaint):
    """One clear sentence, nothing on stdout, exit 2."""
    status, out, err = ask(*arguments, stdin=stdin)
    assert (status, out) == (2, "")
    assert complaint in err


def test_with_a_stage_lines_may_be_replies_alone(ask):
    """`--stage rcpt` and a file of replies."""
    status, out, _ = ask("--json", "--stage", "rcpt", stdin=b"550 5.1.1 User unknown\n450 4.2.0 Greylisted\n")
    assert status == 0 and [row["blame"] for row in json.loads(out)["replies"]] == ["recipient", "greylist"]
