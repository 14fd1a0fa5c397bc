"""What is known about providers, so that a user name and a password are enough: data only.  Pure.

Each row names its source; `doubts` lists the fields that rest on common knowledge instead, which nobody has checked
against the provider.  Everything may be said otherwise in the settings.
"""

from dataclasses import dataclass, field
from enum import Enum

from relay.upstream.settings import Auth, Limits, TlsMode

_MB = 1_000_000


class UserForm(Enum):
    """What a provider takes as user name."""

    ADDRESS = "the full address"
    LOCAL = "the part before the @"
    DOTTED = "the address with a dot instead of the @"
    FIXED = "one word that is the same for everybody"
    ANY = "whatever the provider handed out"


class SenderRule(Enum):
    """Whose name an account may send in."""

    ACCOUNT = "the account's own address and its aliases"
    VERIFIED = "addresses or domains that were verified at the provider"
    DOMAINS = "addresses in the domains hosted there"
    FREE = "any address"


@dataclass(frozen=True, slots=True)
class Preset:
    """One provider.  `host` is "" where it depends on the account: then `host_form` tells what it looks like.

    `mail_domain` completes a bare user name to an address, where every account has the same domain.
    `needs_login` False: a listed IP address is enough.  `oauth`: who hands out tokens; `password` False: nothing but
    tokens is taken.  `app_link` is where an app password or key is made.
    """

    key: str
    name: str
    host: str
    aliases: tuple[str, ...] = ()
    host_form: str = ""
    port: int = 587
    tls: TlsMode = TlsMode.STARTTLS
    other_ports: tuple[int, ...] = ()
    auth: Auth = Auth.AUTO
    user: UserForm = UserForm.ADDRESS
    fixed_user: str = ""
    mail_domain: str = ""
    needs_login: bool = True
    password: bool = True
    oauth: str = ""
    sender: SenderRule = SenderRule.ACCOUNT
    limits: Limits = field(default_factory=Limits)
    app_link: str = ""
    note: str = ""
    source: str = ""
    doubts: tuple[str, ...] = ()

    @property
    def confirmed(self) -> bool:
        """Whether server, port, TLS and user name rest on the source."""
        return not set(self.doubts) & {"host", "port", "tls", "user"}


_IMPLICIT = TlsMode.IMPLICIT

# One row, one provider: laid out by hand, because the formatter would give every word a line.
# fmt: off
PRESETS: tuple[Preset, ...] = (
    Preset(
        "gmail", "Gmail", "smtp.gmail.com", port=465, tls=_IMPLICIT, other_ports=(587,), mail_domain="gmail.com",
        oauth="google", limits=Limits(per_day=500, message=25 * _MB, recipients=99),
        aliases=("google", "googlemail", "gmail.com", "googlemail.com"),
        app_link="https://myaccount.google.com/apppasswords",
        note="wants an app password (2-step verification must be on) or OAuth 2.0, not the account's password",
        source="Mozilla ISPDB googlemail.com; support.google.com/a/answer/166852", doubts=("sender",),
    ),
    Preset(
        "google-workspace", "Google Workspace relay", "smtp-relay.gmail.com", port=465, tls=_IMPLICIT,
        other_ports=(25, 587), needs_login=False, oauth="google", sender=SenderRule.DOMAINS,
        limits=Limits(per_day=10_000, message=25 * _MB),
        aliases=("workspace", "google-relay", "gsuite", "google workspace", "smtp-relay.gmail.com"),
        app_link="https://myaccount.google.com/apppasswords",
        note="the relay service is switched on in the admin console, by IP address, by login or both",
        source="support.google.com/a/answer/6140680",
    ),
    Preset(
        "outlook", "Microsoft 365", "smtp.office365.com", other_ports=(25,), oauth="microsoft",
        limits=Limits(connections=3, per_minute=30, per_day=10_000, message=35 * _MB, recipients=500),
        aliases=("m365", "microsoft365", "microsoft-365", "microsoft 365", "office365", "o365", "exchange-online", "microsoft"),
        note="password login is off by default from the end of December 2026; an admin may allow it, OAuth 2.0 lasts",
        source="Microsoft MC786329 of 27 January 2026; learn.microsoft.com Exchange Online limits", doubts=("limits",),
    ),
    Preset(
        "outlook.com", "Outlook.com", "smtp-mail.outlook.com", password=False, oauth="microsoft",
        limits=Limits(connections=1, per_day=300, message=25 * _MB),
        aliases=("outlook-com", "outlook.jp", "hotmail", "hotmail.com", "live", "live.com", "msn"),
        note="takes OAuth 2.0 only; password login ended in September 2024", source="Mozilla ISPDB hotmail.com",
        doubts=("limits",),
    ),
    Preset(
        "icloud", "iCloud", "smtp.mail.me.com", mail_domain="icloud.com",
        limits=Limits(per_day=1000, message=20 * _MB, recipients=500),
        aliases=("icloud.com", "me.com", "mac.com", "apple"), app_link="https://account.apple.com/account/manage",
        note="wants an app-specific password", source="support.apple.com/102198; Mozilla ISPDB me.com",
    ),
    Preset(
        "yahoo", "Yahoo", "smtp.mail.yahoo.com", port=465, tls=_IMPLICIT, other_ports=(587,), mail_domain="yahoo.com",
        oauth="yahoo", limits=Limits(per_day=500, message=25 * _MB), aliases=("yahoo.com", "ymail"),
        app_link="https://login.yahoo.com/account/security", note="wants an app password",
        source="Mozilla ISPDB yahoo.com", doubts=("sender", "limits"),
    ),
    Preset(
        "yahoo-jp", "Yahoo! JAPAN", "smtp.mail.yahoo.co.jp", port=465, tls=_IMPLICIT, other_ports=(587,),
        user=UserForm.LOCAL, mail_domain="yahoo.co.jp", limits=Limits(connections=2, message=25 * _MB),
        aliases=("yahoo.co.jp", "yahoojp", "yahoo-japan", "yahoo!japan", "yahoo! japan"),
        note="SMTP for other programs must be switched on in the mail settings", source="Mozilla ISPDB yahoo.co.jp",
        doubts=("sender", "limits"),
    ),
    Preset(
        "gmx", "GMX", "mail.gmx.net", port=465, tls=_IMPLICIT, other_ports=(587,),
        limits=Limits(connections=2, message=50 * _MB), aliases=("gmx.net", "gmx.de", "gmx.at", "gmx.ch"),
        note="POP3 and IMAP access must be switched on in the mail settings", source="Mozilla ISPDB gmx.net",
        doubts=("limits",),
    ),
    Preset(
        "web.de", "WEB.DE", "smtp.web.de", other_ports=(465,), mail_domain="web.de",
        limits=Limits(connections=2, message=50 * _MB), aliases=("webde", "web-de"),
        note="POP3 and IMAP access must be switched on in the mail settings", source="common knowledge",
        doubts=("host", "port", "tls", "limits"),
    ),
    Preset(
        "fastmail", "Fastmail", "smtp.fastmail.com", port=465, tls=_IMPLICIT, other_ports=(587,),
        limits=Limits(per_day=4000, message=70 * _MB), aliases=("fastmail.com", "messagingengine"),
        app_link="https://app.fastmail.com/settings/security/apps", note="wants an app password",
        source="Mozilla ISPDB messagingengine.com", doubts=("limits",),
    ),
    Preset(
        "zoho", "Zoho", "smtp.zoho.com", port=465, tls=_IMPLICIT, other_ports=(587,),
        limits=Limits(connections=2, per_day=500, message=53_477_376), aliases=("zoho.com", "zohomail"),
        app_link="https://accounts.zoho.com/home#security/app_password",
        note="accounts of other regions set host: smtp.zoho.eu, .jp or .in", source="Mozilla ISPDB zoho.com",
        doubts=("limits",),
    ),
    Preset(
        "mailbox.org", "mailbox.org", "smtp.mailbox.org", port=465, tls=_IMPLICIT, other_ports=(587,),
        limits=Limits(message=100 * _MB), aliases=("mailbox-org", "mailboxorg"), source="common knowledge",
        doubts=("host", "port", "tls", "user", "limits"),
    ),
    Preset(
        "sakura", "Sakura Internet", "", host_form="INITIALDOMAIN.sakura.ne.jp", other_ports=(465,),
        sender=SenderRule.DOMAINS, limits=Limits(connections=2), aliases=("sakura.ne.jp", "sakura-internet"),
        note="host is the initial domain of the contract; an SPF record is one tick in the control panel",
        source="field notes of 2010 and 2014 for the sender rule", doubts=("host", "port", "tls"),
    ),
    Preset(
        "coreserver", "CORESERVER / XREA", "", host_form="sNNN.coreserver.jp or sNNN.xrea.com", other_ports=(465,),
        sender=SenderRule.DOMAINS, limits=Limits(connections=2), aliases=("xrea", "core-server", "coreserver.jp"),
        note="senders outside the hosted domains are refused with 552 senderhosts, even towards its own users",
        source="field notes of 2009 for the sender rule", doubts=("host", "port", "tls", "auth"),
    ),
    Preset(
        "lolipop", "Lolipop", "smtp.lolipop.jp", port=465, tls=_IMPLICIT, sender=SenderRule.DOMAINS,
        limits=Limits(connections=2), aliases=("lolipop.jp",), note="100 to 1,000 messages an hour, by plan",
        source="lolipop.jp for the hourly limit", doubts=("host", "port", "tls"),
    ),
    Preset(
        "xserver", "XSERVER", "", host_form="svNNN.xserver.jp", port=465, tls=_IMPLICIT, other_ports=(587,),
        sender=SenderRule.DOMAINS, limits=Limits(connections=2, per_day=15_000), aliases=("xserver.jp", "x-server"),
        note="1,500 messages an hour", source="ezhp.jp for the limits", doubts=("host", "port", "tls"),
    ),
    Preset(
        "iijmio", "IIJmio", "mbox.iijmio-mail.jp", user=UserForm.DOTTED, sender=SenderRule.FREE,
        limits=Limits(connections=2), aliases=("iij", "iijmio-mail.jp"), note="offers CRAM-MD5",
        source="Mozilla ISPDB iijmio-mail.jp; field notes", doubts=("limits",),
    ),
    Preset(
        "asahi-net", "ASAHI net", "mail.asahi-net.or.jp", port=465, tls=_IMPLICIT, user=UserForm.ANY,
        sender=SenderRule.FREE, limits=Limits(connections=2), aliases=("asahinet", "asahi", "asahi-net.or.jp"),
        note="the user name is the ASAHI-net ID; 587 and 25 have no TLS",
        source="asahi-net.jp/support/guide/mail/0600.html; field notes",
    ),
    Preset(
        "ocn", "OCN", "smtp.ocn.ne.jp", port=465, tls=_IMPLICIT, limits=Limits(connections=2), aliases=("ocn.ne.jp",),
        source="Mozilla ISPDB ocn.ne.jp", doubts=("sender",),
    ),
    Preset(
        "so-net", "So-net", "mail.so-net.ne.jp", other_ports=(465,), limits=Limits(connections=2),
        aliases=("sonet", "so-net.ne.jp"), source="common knowledge", doubts=("host", "port", "tls", "user", "sender"),
    ),
    Preset(
        "nifty", "@nifty", "smtp.nifty.com", tls=TlsMode.NONE, other_ports=(465,), auth=Auth.CRAM_MD5, user=UserForm.LOCAL,
        mail_domain="nifty.com", limits=Limits(connections=2), aliases=("@nifty", "nifty.com"),
        note="587 without TLS, the password hidden by CRAM-MD5", source="Mozilla ISPDB nifty.com", doubts=("sender",),
    ),
    Preset(
        "biglobe", "BIGLOBE", "mail.biglobe.ne.jp", port=465, tls=_IMPLICIT, other_ports=(587,),
        limits=Limits(connections=2), aliases=("biglobe.ne.jp",), source="Mozilla ISPDB biglobe.ne.jp", doubts=("sender",),
    ),
    Preset(
        "ses", "Amazon SES", "", host_form="email-smtp.REGION.amazonaws.com", other_ports=(25, 465, 2465, 2587),
        user=UserForm.ANY, sender=SenderRule.VERIFIED, limits=Limits(message=40 * _MB, recipients=50),
        aliases=("amazon", "amazon-ses", "amazonses", "aws", "aws-ses", "amazon ses"),
        app_link="https://console.aws.amazon.com/ses/home#/smtp",
        note="takes SMTP credentials, not IAM keys; a new account is in the sandbox (200 a day, verified recipients)",
        source="docs.aws.amazon.com SES SMTP endpoints", doubts=("limits",),
    ),
    Preset(
        "sendgrid", "SendGrid", "smtp.sendgrid.net", other_ports=(25, 465, 2525), user=UserForm.FIXED, fixed_user="apikey",
        sender=SenderRule.VERIFIED, limits=Limits(message=30 * _MB, recipients=1000), aliases=("twilio", "sendgrid.net"),
        app_link="https://app.sendgrid.com/settings/api_keys",
        note="the user name is the word apikey, the password an API key", source="twilio.com SendGrid SMTP documentation",
        doubts=("limits",),
    ),
    Preset(
        "mailgun", "Mailgun", "smtp.mailgun.org", other_ports=(25, 465, 2525), sender=SenderRule.VERIFIED,
        limits=Limits(message=25 * _MB, recipients=1000), aliases=("mailgun.org",),
        app_link="https://app.mailgun.com/mg/sending/domains",
        note="EU accounts set host: smtp.eu.mailgun.org; the user name is postmaster@your-domain",
        source="common knowledge", doubts=("host", "port", "tls", "user", "sender", "limits"),
    ),
    Preset(
        "postmark", "Postmark", "smtp.postmarkapp.com", other_ports=(25, 2525), user=UserForm.ANY,
        sender=SenderRule.VERIFIED, limits=Limits(message=10 * _MB, recipients=50),
        aliases=("postmarkapp", "postmarkapp.com"), app_link="https://account.postmarkapp.com/servers",
        note="the server token is both user name and password; refusals show up in its activity log only",
        source="common knowledge", doubts=("host", "port", "tls", "user", "sender", "limits"),
    ),
    Preset(
        "brevo", "Brevo", "smtp-relay.brevo.com", other_ports=(465, 2525), sender=SenderRule.VERIFIED,
        limits=Limits(per_day=300, message=20 * _MB, recipients=99), aliases=("sendinblue", "brevo.com"),
        app_link="https://app.brevo.com/settings/keys/smtp",
        note="the password is an SMTP key; 300 a day is the free plan", source="common knowledge",
        doubts=("host", "port", "tls", "user", "sender", "limits"),
    ),
)
# fmt: on

GENERIC = "generic"
"""The provider that nothing is known about."""

NAMES: tuple[str, ...] = (GENERIC, *(preset.key for preset in PRESETS))

_BY_NAME = {name.lower(): preset for preset in PRESETS for name in (preset.key, preset.name, *preset.aliases)}


def preset_for(provider: str) -> Preset | None:
    """The preset of a provider by any of its names, in any case; None if it is not known."""
    return _BY_NAME.get(provider.strip().lower())
