"""Which mechanism to log in by, and its words.  RFC 4954, RFC 4616, RFC 2195, RFC 7628, XOAUTH2.  Pure."""

import base64
import binascii
import hmac
from collections.abc import Collection
from dataclasses import dataclass

from relay.mail.reply import Reply
from relay.upstream.settings import Auth, Login

BY_TOKEN = ("XOAUTH2", "OAUTHBEARER")
"""The mechanisms whose secret is an access token: the providers' own one first, the standard's where only that is there."""

_ENCRYPTED = ("PLAIN", "LOGIN", "CRAM-MD5")
_CLEAR = ("CRAM-MD5", "PLAIN", "LOGIN")
_WINDOWS = frozenset({"GSSAPI", "GSS-SPNEGO", "NTLM", "NEGOTIATE", "KERBEROS_V4", "KERBEROS_V5"})


@dataclass(frozen=True, slots=True)
class Choice:
    """The mechanism as the AUTH command names it, or "" and why there is none ("" too: none is wanted)."""

    mechanism: str = ""
    problem: str = ""


def choose(login: Login, offered: Collection[str], *, encrypted: bool, unfit: Collection[str] = ()) -> Choice:
    """The one mechanism to try.  `offered` as in EHLO, any case; `encrypted`: the line is under TLS.

    `unfit` are those that the server announces and does not take.

    PLAIN before CRAM-MD5 under TLS, because servers that keep only hashes of passwords announce CRAM-MD5 and fail it.
    On a line in clear CRAM-MD5 goes first, and PLAIN and LOGIN only because the caller was told `tls: none`.
    """
    if login.auth in (Auth.NONE, Auth.POP) or not login.username:
        return Choice()
    there = {name.upper() for name in offered}
    if login.auth is Auth.AUTO:
        wanted: tuple[str, ...] = BY_TOKEN if login.oauth else _ENCRYPTED if encrypted else _CLEAR
    else:
        wanted = BY_TOKEN if login.auth is Auth.XOAUTH2 else (login.auth.value.upper(),)
    for mechanism in wanted:
        if mechanism in there and mechanism not in unfit:
            return Choice(mechanism)
    if tried := [mechanism for mechanism in wanted if mechanism in there]:
        return Choice(problem=f"the server announces AUTH {', '.join(tried)} and does not take it")
    return Choice(problem=_why_none(wanted, there, encrypted))


def not_taken(reply: Reply) -> bool:
    """Whether a refusal is about the mechanism, and so says nothing of the password (RFC 4954 s4, RFC 5321 s4.2.2)."""
    return reply.permanent and (reply.code in (502, 503, 504) or reply.status in ("5.5.4", "5.7.4"))


def _why_none(wanted: tuple[str, ...], there: set[str], encrypted: bool) -> str:
    names = ", ".join(wanted)
    if there and there <= _WINDOWS and encrypted:
        offered = ", ".join(sorted(there))
        return (
            f"the server offers AUTH by {offered} only, which need a Windows domain or Kerberos and are not spoken here; "
            "its administrator must allow PLAIN or LOGIN under TLS, or mail from this address without a login"
        )
    if there and there <= set(BY_TOKEN):
        return f"the server offers AUTH by {', '.join(sorted(there))} only: it wants OAuth 2.0, set `oauth` for this upstream"
    if there and not encrypted:
        offered = ", ".join(sorted(there))
        return f"the server offers AUTH by {offered} only on this unencrypted line; `tls: starttls` may bring others ({names})"
    if there:
        return f"the server offers AUTH by {', '.join(sorted(there))} only, we could log in by {names}; see `auth`"
    if encrypted:
        return "the server offers no login on this port; use its submission port (587 or 465), or drop `username`"
    return "the server offers no login on this unencrypted line; use `tls: starttls` or `tls: implicit`, or drop `username`"


def opening(mechanism: str, username: str, secret: str) -> tuple[bytes, ...]:
    """The words of the AUTH command.  `secret` is the password, for XOAUTH2 and OAUTHBEARER the access token."""
    if mechanism == "PLAIN" or mechanism in BY_TOKEN:
        return b"AUTH", mechanism.encode(), response(mechanism, username, secret, "", 0)
    return b"AUTH", mechanism.encode()


def response(mechanism: str, username: str, secret: str, challenge: str, turn: int) -> bytes:
    """What to say to the text of the 334 number `turn` (from 0); `*` gives up (RFC 4954 s4)."""
    if mechanism == "PLAIN":
        return base64.b64encode(f"\0{username}\0{secret}".encode())
    if mechanism == "XOAUTH2":
        return base64.b64encode(f"user={username}\x01auth=Bearer {secret}\x01\x01".encode())
    if mechanism == "OAUTHBEARER":
        name = username.replace("=", "=3D").replace(",", "=2C")  # RFC 5801 s4: saslname
        return base64.b64encode(f"n,a={name},\x01auth=Bearer {secret}\x01\x01".encode())
    if mechanism == "LOGIN":
        return base64.b64encode((username, secret)[turn].encode()) if turn < 2 else b"*"
    try:
        nonce = base64.b64decode(challenge, validate=True)
    except (binascii.Error, ValueError):
        return b"*"
    digest = hmac.new(secret.encode(), nonce, "md5").hexdigest()
    return base64.b64encode(f"{username} {digest}".encode())


def spoken(mechanism: str, username: str, secret: str) -> tuple[str, ...]:
    """The secret as it is said in such a login: a server that understands nothing may say it again."""
    turns = (response(mechanism, username, secret, "", turn).decode() for turn in (0, 1) if mechanism != "CRAM-MD5")
    return (secret, *(said.rstrip("=") for said in turns if said.rstrip("=")))


def farewell(mechanism: str) -> bytes:
    """What a server waits for that put the reason of its refusal into a challenge (RFC 7628 s3.2.3)."""
    return b"AQ==" if mechanism == "OAUTHBEARER" else b""


def told(challenge: str) -> str:
    """The text inside a challenge: OAuth servers put the reason of a refusal there, as JSON in base64."""
    try:
        return base64.b64decode(challenge, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return challenge
