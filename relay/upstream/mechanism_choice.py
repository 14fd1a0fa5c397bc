"""Which mechanism to log in by.  RFC 4954, RFC 5802.  Pure."""

from collections.abc import Collection
from dataclasses import dataclass

from relay.mail.reply import Reply
from relay.upstream.client_sasl import PLUS
from relay.upstream.settings import Auth, Login

BY_TOKEN = ("XOAUTH2", "OAUTHBEARER")
"""The mechanisms whose secret is an access token: the providers' own first, else the standard one."""

_SCRAM = (PLUS, "SCRAM-SHA-256")
_ENCRYPTED = (*_SCRAM, "PLAIN", "LOGIN", "CRAM-MD5")
_CLEAR = ("SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN")
_WINDOWS = frozenset({"GSSAPI", "GSS-SPNEGO", "NTLM", "NEGOTIATE", "KERBEROS_V4", "KERBEROS_V5"})


@dataclass(frozen=True, slots=True)
class Choice:
    """The mechanism as the AUTH command names it, or "" and why there is none ("" too: none is wanted)."""

    mechanism: str = ""
    problem: str = ""


def choose(
    login: Login, offered: Collection[str], *, encrypted: bool, bound: bool = False, unfit: Collection[str] = ()
) -> Choice:
    """The one mechanism to try.  `offered` as in EHLO, any case; `encrypted`: the connection is under TLS.

    `bound`: there is the channel binding that -PLUS needs.  `unfit` are those that the server announces and does not take.
    SCRAM first: the password stays here, and the server proves itself too.

    PLAIN before CRAM-MD5 under TLS, because servers that keep only hashes of passwords announce CRAM-MD5 and fail it.
    On a connection in clear CRAM-MD5 goes before, and PLAIN and LOGIN only because the caller was told `tls: none`.
    """
    if login.auth in (Auth.NONE, Auth.POP) or not login.username:
        return Choice()
    there = {name.upper() for name in offered}
    if login.auth is Auth.AUTO:
        wanted: tuple[str, ...] = BY_TOKEN if login.oauth else _ENCRYPTED if encrypted else _CLEAR
    else:
        named = {Auth.XOAUTH2: BY_TOKEN, Auth.SCRAM: _SCRAM}
        wanted = named.get(login.auth, (login.auth.value.upper(),))
    if not bound:
        wanted = tuple(mechanism for mechanism in wanted if mechanism != PLUS)
    for mechanism in wanted:
        if mechanism in there and mechanism not in unfit:
            return Choice(mechanism)
    if tried := [mechanism for mechanism in wanted if mechanism in there]:
        return Choice(problem=f"the server announces AUTH {', '.join(tried)} and does not take it")
    return Choice(problem=_why_none(wanted, there, encrypted))


def not_taken(reply: Reply) -> bool:
    """Whether a refusal is about the mechanism, and so says nothing of the password (RFC 4954 s4, RFC 5321 s4.2.2)."""
    return reply.permanent and (reply.code in (500, 502, 503, 504) or reply.status in ("5.5.4", "5.7.4"))


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
        return (
            f"the server offers AUTH by {offered} only on this unencrypted connection;"
            f" `tls: starttls` may bring others ({names})"
        )
    if there:
        return f"the server offers AUTH by {', '.join(sorted(there))} only, we could log in by {names}; see `auth`"
    if encrypted:
        return "the server offers no login on this port; use its submission port (587 or 465), or drop `username`"
    return (
        "the server offers no login on this unencrypted connection; use `tls: starttls` or `tls: implicit`, or drop `username`"
    )
