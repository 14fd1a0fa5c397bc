"""What upstreams say when they refuse, and what a person at home can do: data, one row per kind of refusal.

The first row that matches wins, so the particular stands before the general.  Evidence: tests/unit/test_advice.py
holds real words for every row.  Pure.
"""

from dataclasses import dataclass
from enum import Enum

from relay.mail.reply import Stage


class Deed(Enum):
    """What the relay does about a kind of refusal, in words."""

    LOGIN = "This upstream is left alone for a while, so that the account is not locked; others in the route are tried."
    SENDER = "It was tried again in the account's own name where `rewrite` allows that, then the next upstream in the route."
    ADDRESS = "The next upstream in the route is tried; the mail does not suffer for our line's reputation."
    DOMAIN = "The next upstream in the route is tried; the mail is kept meanwhile."
    SETTING = "The mail is kept; the next upstream in the route is tried, and this one again later."
    QUOTA = "The mail is kept until this upstream takes mail again; the next one in the route is tried meanwhile."
    PACE = "The mail is kept, and this upstream gets it again more slowly."
    PASSING = "The mail is kept and tried again, at growing intervals."
    MESSAGE = "The next upstream in the route is tried; the same message would be refused here again."
    RECIPIENT = "The upstream's refusal of this recipient counts: it would not change by trying again."
    UNCERTAIN = "The same mail goes to the same upstream later, with the same Message-ID, so that a double can be recognised."
    UNKNOWN = "A refusal for good (5xx) goes to the next upstream in the route; for now (4xx), it is tried again."


@dataclass(frozen=True, slots=True)
class Refusal:
    """One kind of refusal.

    `pattern` is searched, regardless of case, in `code status text` of the reply.  A row with `stages` is only for
    answers of these; `lost` rows are only for those that the line's end (or silence) gave, not the server.
    """

    name: str
    deed: Deed
    pattern: str
    cause: str
    remedy: str
    stages: frozenset[Stage] = frozenset()
    lost: bool = False


_OPENING = frozenset({Stage.CONNECT, Stage.TLS, Stage.HELLO})
_OWN_SENDER = (
    "Leave `rewrite: foreign` and `rewrite_from: true` on for this upstream, and let `sender` be an address of the account."
)

# No reply at all: the words are ours, or the system's.
SILENCES: tuple[Refusal, ...] = (
    Refusal(
        "tls-name",
        Deed.SETTING,
        r"certificate.*(another name|name mismatch|hostname mismatch|doesn't match|not valid for)",
        "The server's certificate is for another name than the `host` set for this upstream; hosting firms often answer "
        "with the name of the machine.",
        "Set `host` to the name in the certificate; the provider's help page usually names it. Or pin it with `fingerprint`.",
    ),
    Refusal(
        "tls-expired",
        Deed.SETTING,
        r"certificate.*(expired|not valid yet|not yet valid)",
        "The server's certificate has run out, or the clock of this machine is wrong.",
        "Check the date and time here first. If they are right, the provider must renew the certificate.",
    ),
    Refusal(
        "tls-trust",
        Deed.SETTING,
        r"certificate|self[- ]signed",
        "The server's certificate cannot be verified, so the password was not sent to it.",
        "If it is your own server, name its authority in `ca_file` or its certificate in `fingerprint`; else ask the provider.",
    ),
    Refusal(
        "tls-mode",
        Deed.SETTING,
        r"wrong version number|answers without TLS|record layer failure|begins with TLS|starttls (is )?not offered|no starttls",
        "One side began with TLS and the other without: port and `tls` of this upstream do not go together.",
        "Port 465 wants `tls: implicit`, port 587 wants `tls: starttls`.",
    ),
    Refusal(
        "tls-old",
        Deed.SETTING,
        r"no TLS version or cipher in common|unsupported protocol|no protocols available|handshake failure",
        "The server knows only TLS versions or ciphers that are no longer safe.",
        "Ask the provider for its current server name, or use another upstream.",
    ),
    Refusal(
        "name",
        Deed.SETTING,
        r"cannot be looked up|has no address|gave no answer about|name or service not known|not be resolved"
        r"|nodename nor servname|name resolution|no such host|getaddrinfo",
        "The name of the server could not be found.",
        "Check `host` for a misspelling, then whether this machine can reach its DNS server.",
        frozenset({Stage.CONNECT}),
        True,
    ),
    Refusal(
        "port-25",
        Deed.SETTING,
        r"[\]\w.]:25(?!\d).*(timed? ?out|no answer|not answer|unreachable)"
        r"|(timed? ?out|no answer|not answer|unreachable).*\bport 25\b",
        "Port 25 to the outside does not answer. Most home lines have it closed by the provider (outbound port 25 blocking).",
        "Send through your provider's or mail host's submission server: port 587 with `tls: starttls`, or 465 with `implicit`.",
        frozenset({Stage.CONNECT}),
        True,
    ),
    Refusal(
        "closed-port",
        Deed.SETTING,
        r"refused",
        "Nothing listens on that port of the server.",
        "Check `host` and `port`: 587 with `tls: starttls`, or 465 with `tls: implicit`.",
        frozenset({Stage.CONNECT}),
        True,
    ),
    Refusal(
        "no-connection",
        Deed.PASSING,
        r"",
        "The server could not be reached: it is down, the internet line is, or something in between drops the connection.",
        "If it does not pass by itself: check the line, then `host` and `port`. `relay doctor` tries them all.",
        frozenset({Stage.CONNECT}),
        True,
    ),
    Refusal(
        "hung-up-early",
        Deed.SETTING,
        r"",
        "The server hung up before the login. Some do so to addresses from abroad, to unknown greeting names, or when port and "
        "`tls` do not go together.",
        "Set `hostname` to a full name such as relay.example.jp; check port and `tls`; look in the provider's panel for a "
        "filter on foreign addresses.",
        _OPENING,
        True,
    ),
    Refusal(
        "uncertain",
        Deed.UNCERTAIN,
        r"",
        "The line was lost after the whole message had been sent and before the server answered: it may or may not have it.",
        "Nothing to do. Should the recipient have it twice, this is why.",
        frozenset({Stage.CONTENT}),
        True,
    ),
    Refusal(
        "lost",
        Deed.PASSING,
        r"",
        "The connection to the server was lost half-way.",
        "Nothing to do if it happens now and then. If always: check the line, and whether a firewall looks into mail.",
        frozenset(),
        True,
    ),
    Refusal(
        "busy-greeting",
        Deed.PACE,
        r"^421\b",
        "The server takes no further connection at the moment: it is busy, or too many are open from this account or address.",
        "Nothing to do if it passes. If not, lower `limits: {connections: 1}` for this upstream.",
        frozenset({Stage.CONNECT}),
    ),
)

LOGINS: tuple[Refusal, ...] = (
    Refusal(
        "m365-basic-auth",
        Deed.LOGIN,
        r"^(550|535) 5\.7\.30\b|basic authentication is not supported for client submission",
        "Microsoft no longer takes a plain password for sending mail.",
        "Set `provider: outlook` with `oauth` for this upstream and run `relay oauth login`, or send through another upstream.",
    ),
    Refusal(
        "m365-smtp-auth-off",
        Deed.LOGIN,
        r"^535 5\.7\.139\b.*SmtpClientAuthentication is disabled",
        "Sending by SMTP is switched off for this Microsoft 365 organisation or mailbox.",
        "An administrator must allow 'Authenticated SMTP' for the mailbox, and for the organisation.",
    ),
    Refusal(
        "m365-security-defaults",
        Deed.LOGIN,
        r"^535 5\.7\.139\b.*(security defaults|user is locked)",
        "The security defaults of this Microsoft 365 organisation forbid logging in with a password.",
        "Use `oauth` for this upstream, or have an administrator make an exception for the sending account.",
    ),
    Refusal(
        "m365-login",
        Deed.LOGIN,
        r"^535 5\.7\.(139|3)\b",
        "Microsoft refused the login: the password is wrong, or passwords are not taken any more (as at Outlook.com).",
        "Check the password. For an Outlook.com or Hotmail address only `oauth` works: run `relay oauth login`.",
    ),
    Refusal(
        "m365-anonymous",
        Deed.LOGIN,
        r"5\.7\.57\b.*(not authenticated|anonymous)",
        "Microsoft saw no valid login before the mail.",
        "Give this upstream `username` and `oauth` (or a password where the organisation still allows one).",
    ),
    Refusal(
        "gmail-app-password",
        Deed.LOGIN,
        r"^53[45][ -]5\.7\.(9|1|14)\b.*(application-specific password|log in (with|through|via) your web browser)",
        "Google wants an app password here, not the password of the account.",
        "Switch on 2-step verification in the Google account, make an app password there, and put it into `password_file`.",
    ),
    Refusal(
        "gmail-login",
        Deed.LOGIN,
        r"^535[ -]5\.7\.[18]\b.*Username and Password not accepted",
        "Google does not know this user name and app password. Changing the account's password ends all app passwords.",
        "Make a new app password in the Google account and put it into `password_file`.",
    ),
    Refusal(
        "gmail-login-rate",
        Deed.PACE,
        r"^454[ -]4\.7\.0\b.*too many login attempts",
        "Google saw too many logins within a short time.",
        "Nothing to do; if it comes back, look for other programs that log in with this account.",
    ),
    Refusal(
        "login",
        Deed.LOGIN,
        r"^535\b|^5\.7\.8\b|(?<!spf )(?<!dkim )(?<!dmarc )authentication (failed(?!: maximum credits)|unsuccessful|failure)"
        r"|authentication credentials invalid|incorrect authentication data|invalid login",
        "The upstream does not accept the user name and password. Some also answer so while an account is locked after "
        "several wrong tries, for an hour or so.",
        "Check `username` (with or without @domain?) and the password; then `relay queue retry --all`.",
    ),
    Refusal(
        "wants-tls",
        Deed.SETTING,
        r"^53[08]\b.*(must issue a starttls|starttls (is )?required|encryption required)",
        "This port wants an encrypted line before the login.",
        "Set `tls: starttls` with port 587, or `tls: implicit` with port 465.",
    ),
    Refusal(
        "wants-login",
        Deed.LOGIN,
        r"^530\b|authentication (is )?required|smtp authentication",
        "The upstream takes mail only after a login.",
        "Set `username` and `password_file` for this upstream.",
    ),
    Refusal(
        "mechanism",
        Deed.LOGIN,
        r"^504\b.*(auth|mechanism|unrecognized authentication)",
        "The server does not know the way we logged in.",
        "Leave `auth: auto`, or set the way that its help page names: plain, login or cram-md5.",
    ),
)

SENDERS: tuple[Refusal, ...] = (
    Refusal(
        "senderhosts",
        Deed.SENDER,
        r"domain isn'?t in my list of allowed senderhosts",
        "This host (CORESERVER, XREA and their like) takes mail only from senders in the domains that it serves, even mail "
        "to its own users, from every address that logged in there a while ago.",
        "Set `sender` to an address in a domain hosted there, or make a route for its recipients `via` another upstream.",
    ),
    Refusal(
        "pop-before-smtp",
        Deed.LOGIN,
        r"isn'?t in my list of allowed rcpthosts|you don'?t authenticate or the domain",
        "The host has seen no login of ours: a POP login opens its door for 10 to 30 minutes only, or SMTP AUTH is needed.",
        "Set `username` and `password_file` with port 587 or 465; if the host knows no SMTP AUTH, set `auth: pop`.",
    ),
    Refusal(
        "workspace-relay",
        Deed.SETTING,
        r"5\.7\.0 mail relay denied|5\.7\.1 invalid credentials for relay",
        "Google's relay service does not know this line's address or this sender's domain.",
        "Log in with `username` and an app password, or register the address and the domain in the Workspace console.",
    ),
    Refusal(
        "relaying",
        Deed.SETTING,
        r"relay(ing)? (access )?denied|relay not permitted|unable to relay|not permitted to relay|must be authenticated",
        "The upstream does not carry mail to that recipient for us: we are not logged in there, or it is the wrong server.",
        "Use the provider's submission server (port 587 or 465) with `username` and `password_file`.",
    ),
    Refusal(
        "m365-send-as",
        Deed.SENDER,
        r"SendAsDenied|not allowed to send as|5\.7\.60\b|does not have permissions to send as",
        "Microsoft 365 lets this account send only as its own mailbox.",
        f"{_OWN_SENDER} Or have an administrator grant 'Send As' for the other address.",
    ),
    Refusal(
        "zoho-sender",
        Deed.SENDER,
        r"553 .*(relaying disallowed|sender is not allowed to relay)",
        "Zoho takes only the account's own addresses as sender, in the envelope and in From.",
        f"{_OWN_SENDER} Use the server of the account's region (.com, .eu, .jp, .in).",
    ),
    Refusal(
        "gmx-sender",
        Deed.SENDER,
        r"sender address is not allowed",
        "The provider takes only the account's own address as sender, although it speaks of the mailbox first.",
        _OWN_SENDER,
    ),
    Refusal(
        "fastmail-from",
        Deed.SENDER,
        r"551 5\.7\.1 .*(multiple addresses in a from header|not authori[sz]ed to send from)",
        "Fastmail wants exactly one address in From, and one that belongs to the account.",
        f"{_OWN_SENDER} A device name with @ or commas in it can also be the reason: make it plainer.",
    ),
    Refusal(
        "icloud-from",
        Deed.SENDER,
        r"from address is not one of your addresses|5\.7\.0 .*not one of your addresses",
        "Apple sends only as the addresses of this account.",
        _OWN_SENDER,
    ),
    Refusal(
        "not-owned",
        Deed.SENDER,
        r"not owned by (auth(orized)? )?user|sender address rejected: not (owned|logged)",
        "The sender's address does not belong to the account that logged in.",
        _OWN_SENDER,
    ),
    Refusal(
        "qq-sender",
        Deed.SENDER,
        r"mail from address must be same as authorization user",
        "The sender must be the very address that logged in.",
        _OWN_SENDER,
    ),
    Refusal(
        "header-from",
        Deed.SENDER,
        r"not allowed in header from",
        "The hosting server does not serve the domain that stands in From.",
        _OWN_SENDER,
    ),
    Refusal(
        "yahoo-from",
        Deed.SENDER,
        r"from: address not verified|5\.7\.9 .*sender is unauthenticated",
        "Yahoo sends only as the account or as an address that was verified with it.",
        _OWN_SENDER,
    ),
    Refusal(
        "ses-identity",
        Deed.SENDER,
        r"email address is not verified",
        "Amazon SES knows neither this sender nor its domain in this region; new ones may write to verified addresses only.",
        "Verify the domain in the SES console, in the same region as `host`; ask there to leave the sandbox.",
    ),
    Refusal(
        "sendgrid-identity",
        Deed.SENDER,
        r"does not match a verified sender identity|not authorized to send from that email address",
        "SendGrid sends only as senders that were verified there.",
        "Verify the domain or the address in its console, and set `sender` to it.",
    ),
    Refusal(
        "null-sender",
        Deed.SENDER,
        r"(empty|null|blank) (envelope )?(senders?|from|return.path|reverse.path)\b.*(not|reject|denied)|mail from:? ?<> "
        r"|null sender (address )?(is )?not allowed",
        "This upstream takes no mail without a sender; reports of failed mail have none, so that no answer goes in circles.",
        "Nothing to do: the relay's own reports go out in the account's name there.",
    ),
    Refusal(
        "sender-domain",
        Deed.SENDER,
        r"sender address rejected: (domain not found|need fully-qualified|malformed)",
        "The sender's domain does not exist outside of the home network (nas.local, localhost).",
        "Set `sender` for this upstream: the relay then puts a real address in its place.",
    ),
)
