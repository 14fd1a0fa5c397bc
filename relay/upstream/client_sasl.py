"""SASL mechanisms: the initial response of each, and its answer to each challenge.

RFC 4422, RFC 4616, RFC 2195, RFC 5802, RFC 7677, RFC 7628, XOAUTH2.  Pure.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from collections.abc import Callable

PLUS = "SCRAM-SHA-256-PLUS"

_FEWEST, _MOST = 4_096, 600_000  # rounds of SCRAM: RFC 7677 s4 asks for the one, the other costs a small board seconds


class Mechanism:
    """One login by one mechanism.

    `reason` is what the server told inside a challenge; `tested`: whether the password was checked, so that a refusal is
    about it.  `said` are the secrets as they were sent readable (to be removed from replies that repeat them).
    """

    tested = True
    reason = ""

    def __init__(self, username: str, secret: str) -> None:
        self.username, self.secret = username, secret
        self.said: list[str] = [secret]

    def start(self) -> bytes | None:
        """The initial response that goes with AUTH; None waits for a challenge."""
        return None

    def respond(self, challenge: str) -> bytes | None:
        """The response to the text of a 334, before base64; None cancels (RFC 4954 s4)."""
        raise NotImplementedError

    @property
    def proven(self) -> bool:
        """Whether a server that says 235 has also proved itself, where the mechanism asks for that."""
        return True

    def _noted(self, words: bytes) -> bytes:
        """Notes what was sent; a server that repeats it may leave out the padding."""
        self.said.append(base64.b64encode(words).decode().rstrip("="))
        return words


class PlainMechanism(Mechanism):
    def start(self) -> bytes:
        return self._noted(f"\0{self.username}\0{self.secret}".encode())

    def respond(self, challenge: str) -> bytes:
        return self.start()


class LoginMechanism(Mechanism):
    """User name, then password, whatever the challenge says."""

    _turn = 0

    def respond(self, challenge: str) -> bytes | None:
        self._turn += 1
        return self._noted((self.username, self.secret)[self._turn - 1].encode()) if self._turn <= 2 else None


class CramMd5(Mechanism):
    def respond(self, challenge: str) -> bytes | None:
        nonce = decoded(challenge)
        if nonce is None:
            return None
        digest = hmac.new(self.secret.encode(), nonce, "md5").hexdigest()
        return f"{self.username} {digest}".encode()


class XOAuth2(Mechanism):
    """The reason of a refusal comes as a challenge; an empty response brings the 535."""

    last_response = b""

    def start(self) -> bytes:
        return self._noted(f"user={self.username}\x01auth=Bearer {self.secret}\x01\x01".encode())

    def respond(self, challenge: str) -> bytes:
        words = decoded(challenge)
        self.reason = challenge if words is None else words.decode("utf-8", "replace")
        return self.last_response


class OAuthBearer(XOAuth2):
    last_response = b"\x01"  # RFC 7628 s3.2.3

    def start(self) -> bytes:
        return self._noted(f"n,a={_escaped(self.username)},\x01auth=Bearer {self.secret}\x01\x01".encode())


class Scram(Mechanism):
    """SCRAM-SHA-256.  The password never leaves, and the server proves that it knows it too.

    `binding` is the channel's own data (tls-unique): with `bound` the login is valid on this connection only (-PLUS), else the
    server is told that we could have (RFC 5802 s6).
    """

    tested = False

    def __init__(self, username: str, secret: str, *, binding: bytes = b"", bound: bool = False, nonce: str = "") -> None:
        super().__init__(username, secret)
        self._gs2 = b"p=tls-unique,," if bound else b"y,," if binding else b"n,,"
        self._binding = binding if bound else b""
        self._nonce = nonce or secrets.token_urlsafe(18)
        self._bare = f"n={_escaped(prepared(username))},r={self._nonce}"
        self._proof_of_server = b""
        self._seen = False

    def start(self) -> bytes:
        return self._gs2 + self._bare.encode()

    def respond(self, challenge: str) -> bytes | None:
        words = decoded(challenge)
        text = (words or b"").decode("utf-8", "replace")
        if self._proof_of_server:
            return self._last(text)
        told = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
        salt, rounds = decoded(told.get("s", "")), told.get("i", "")
        fresh = told.get("r", "").startswith(self._nonce) and len(told["r"]) > len(self._nonce)
        if "e" in told or "m" in told or not salt or not fresh or not (rounds.isascii() and rounds.isdigit()):
            self.reason = told.get("e", "")
            return None
        if not _FEWEST <= int(rounds[:9]) <= _MOST:
            return None
        return self._proof(text, told["r"], salt, int(rounds))

    def _proof(self, first: str, nonce: str, salt: bytes, rounds: int) -> bytes:
        salted = hashlib.pbkdf2_hmac("sha256", prepared(self.secret).encode(), salt, rounds)
        last = f"c={base64.b64encode(self._gs2 + self._binding).decode()},r={nonce}"
        said = f"{self._bare},{first},{last}".encode()
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), said, "sha256")
        self._proof_of_server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), said, "sha256")
        self.tested = True
        proof = bytes(one ^ other for one, other in zip(key, signature, strict=True))
        return f"{last},p={base64.b64encode(proof).decode()}".encode()

    def _last(self, text: str) -> bytes | None:
        if text.startswith("e="):
            self.reason = text.removeprefix("e=")
            # some errors are about the connection or the mechanism: the proof was not checked
            self.tested = not any(word in self.reason for word in ("channel-binding", "unsupported", "resources"))
            return b""  # brings the 535
        proof = decoded(text.partition(",")[0].removeprefix("v="))
        self._seen = proof is not None and hmac.compare_digest(proof, self._proof_of_server)
        if not self._seen:
            self.reason = "the server did not prove that it knows the password"
        return b"" if self._seen else None

    @property
    def proven(self) -> bool:
        return self._seen


def mechanism(name: str, username: str, secret: str, binding: bytes = b"") -> Mechanism:
    """A login by the mechanism of that name, as the server announces it; `secret` is the password or the access token."""
    if name.startswith("SCRAM-SHA-256"):
        return Scram(username, secret, binding=binding, bound=name == PLUS)
    return _KINDS[name](username, secret)


_KINDS: dict[str, Callable[[str, str], Mechanism]] = {
    "PLAIN": PlainMechanism,
    "LOGIN": LoginMechanism,
    "CRAM-MD5": CramMd5,
    "XOAUTH2": XOAuth2,
    "OAUTHBEARER": OAuthBearer,
}


def decoded(text: str) -> bytes | None:
    """Decodes base64; None if it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _escaped(name: str) -> str:
    """RFC 5801 s4, RFC 5802 s5.1: saslname."""
    return name.replace("=", "=3D").replace(",", "=2C")


def prepared(text: str) -> str:
    """SASLprep (RFC 4013); text with what that forbids stays as it is, since the server may have taken it so."""
    mapped = "".join(" " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char))
    normal = unicodedata.normalize("NFKC", mapped)
    forbidden = any(stringprep.in_table_c21_c22(char) or stringprep.in_table_a1(char) for char in normal)
    return text if forbidden else normal
