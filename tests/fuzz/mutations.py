"""What the fuzzer sends: the device corpus, cut, joined and sprinkled with what broken software is fond of."""

from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st

CORPUS = Path(__file__).parents[1] / "corpus" / "device-mail"
_LONGEST = 20_000  # octets; a longer case only makes fewer examples

LETTERS = [octets for file in sorted(CORPUS.glob("message/*.eml")) if len(octets := file.read_bytes()) < _LONGEST]
DIALOGS = [octets for file in sorted(CORPUS.glob("session/*.bin")) if len(octets := file.read_bytes()) < _LONGEST]

ENDS = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b"\n\n", b"\r\n ", b"\r\n\t\r\n"]
FIELDS = [
    *(b"From: ", b"To: ", b"Cc: ", b"Bcc: ", b"Date: ", b"Subject: ", b"Message-ID: ", b"Sender: ", b"Reply-To: "),
    *(b"Received: ", b"Resent-From: ", b"References: ", b"DKIM-Signature: v=1; h=from:date; b=x\r\n", b"MIME-Version: 1.0\r\n"),
    *(b"Content-Type: text/plain; charset=", b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: "),
    *(b"Content-Type: message/rfc822\r\n", b"Content-Type: multipart/signed; boundary=bb\r\n", b"Content-Disposition: "),
    *(b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: 8bit\r\n", b"X-Original-Date: ", b": ", b"x:"),
    *(
        b"Content-Transfer-Encoding: binary\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"From root Sun Mar  3\r\n",
    ),
]
VALUES = [
    *(b"--b\r\n", b"--b--\r\n", b"--bb\r\n", b'boundary="', b"charset=utf-8", b"; name=", b"filename*=utf-8''%E3%81", b"=\r\n"),
    *(b"<", b">", b"<>", b"@", b",", b";", b":", b'"', b"\\", b"(", b")", b"[", b"=", b"=?", b"?=", b"a@b.jp", b"<root>"),
    *(
        b"=?utf-8?B?44GC?=",
        b"=?iso-2022-jp?B?GyRC?=",
        b"=?x?q?=0d=0aBcc:_a@b?=",
        b"=?utf-8?q?",
        b"\x1b$B",
        b"\x1b(B",
        b"\x1b(I",
    ),
    *(b"\0", b"\x01", b"\x0b", b"\x0c", b"\x1a", b"\x7f", b"\x80", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe3\x81\x82"),
    *(
        b"\x83e\x83X\x83g",
        b"\xc6\xfc\xcb\xdc",
        b"\xe9",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b" " * 80,
        b"x" * 1100,
        b"\xe3\x81\x82" * 400,
    ),
    *(
        b".",
        b"..",
        b"\r\n.\r\n",
        b"\n.\n",
        b"\r\n.\n",
        b"\n.\r\n",
        b"\r.\r",
        b"Sun, 22 Nov 2026 03:00:00 +0000",
        b"1e999",
        b"\t",
    ),
]
COMMANDS = [
    *(b"EHLO nas\r\n", b"HELO\r\n", b"MAIL FROM:<a@b.jp>\r\n", b"RCPT TO:<c@d.jp>\r\n", b"DATA\r\n", b"\r\n.\r\n", b"RSET\r\n"),
    *(
        b"MAIL FROM:<> SIZE=99999999999\r\n",
        b"RCPT TO:",
        b"mail from: ",
        b"AUTH LOGIN\r\n",
        b"AUTH PLAIN AGEAYg==\r\n",
        b"*\r\n",
    ),
    *(
        b"STARTTLS\r\n",
        b"\x16\x03\x01\x02\0\x01\0",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"VRFY x\r\n",
        b"BDAT 5 LAST\r\nhello",
        b"HELP\r\n",
    ),
    *(
        b"GET / HTTP/1.1\r\n",
        b"Subject: x\r\n\r\n",
        b"\r\n",
        b"X" * 3000,
        b"SMTPUTF8",
        b" BODY=8BITMIME",
        b"XCLIENT ADDR=1.2.3.4\r\n",
    ),
]
_NOISE = st.binary(max_size=12)


@st.composite
def mutated(draw: st.DrawFn, originals: Sequence[bytes], pieces: Sequence[bytes]) -> bytes:
    """One of the originals after up to eight cuts, insertions, repetitions, exchanges and grafts of another one."""
    octets = draw(st.sampled_from(originals))
    piece = st.sampled_from(pieces) | _NOISE
    for _ in range(draw(st.integers(0, 8))):
        start = draw(st.integers(0, len(octets)))
        end = min(len(octets), start + draw(st.integers(0, 40) | st.integers(0, 2000)))
        match draw(st.sampled_from(["insert", "insert", "replace", "cut", "repeat", "ends", "graft"])):
            case "insert":
                octets = octets[:start] + draw(piece) + octets[start:]
            case "replace":
                octets = octets[:start] + draw(piece) + octets[end:]
            case "cut":
                octets = octets[:start] + octets[end:]
            case "repeat":
                octets = octets[:end] + octets[start:end] * draw(st.integers(1, 4)) + octets[end:]
            case "ends":
                octets = octets[:start] + octets[start:end].replace(b"\r\n", draw(st.sampled_from(ENDS))) + octets[end:]
            case "graft":
                other = draw(st.sampled_from(originals))
                octets = octets[:start] + other[draw(st.integers(0, len(other))) :]
    return octets[: 3 * _LONGEST]


def letters() -> st.SearchStrategy[bytes]:
    """Contents of DATA."""
    pieces = ENDS + FIELDS + VALUES
    loose = st.lists(st.sampled_from(pieces) | _NOISE, max_size=40).map(b"".join)
    return mutated(LETTERS, pieces) | loose | st.binary(max_size=500)


def dialogs() -> st.SearchStrategy[bytes]:
    """All that a client sends in one connection."""
    pieces = COMMANDS + ENDS + VALUES
    loose = st.lists(st.sampled_from(pieces) | _NOISE, max_size=30).map(b"".join)
    return mutated(DIALOGS, pieces) | loose | st.binary(max_size=500)
