"""What is known about providers, so that a user name and a password are enough: data only.  Pure.

`confirmed` rows rest on the named source; the others on common knowledge that nobody has checked against the provider.
Everything may be said otherwise in the settings.
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
    source: str
    confirmed: bool
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


_IMPLICIT = TlsMode.IMPLICIT

PRESETS: tuple[Preset, ...] = (
    Preset(
        "gmail",
        "Gmail",
        "smtp.gmail.com",
        source="Mozilla ISPDB googlemail.com; support.google.com/a/answer/166852",
        confirmed=True,
        aliases=("google", "googlemail", "gmail.com", "googlemail.com"),
        port=465,
        tls=_IMPLICIT,
        other_ports=(587,),
        mail_domain="gmail.com",
        oauth="google",
        limits=Limits(connections=4, per_day=500, message=25 * _MB, recipients=99),
        app_link="https://myaccount.google.com/apppasswords",
        note="wants an app password (2-step verification must be on) or OAuth 2.0, not the account's password",
    ),
    Preset(
        "google-workspace",
        "Google Workspace relay",
        "smtp-relay.gmail.com",
        source="support.google.com/a/answer/6140680",
        confirmed=True,
        aliases=("workspace", "google-relay", "gsuite", "google workspace", "smtp-relay.gmail.com"),
        port=465,
        tls=_IMPLICIT,
        other_ports=(25, 587),
        needs_login=False,
        oauth="google",
        sender=SenderRule.DOMAINS,
        limits=Limits(connections=4, per_day=10_000, message=25 * _MB, recipients=100),
        app_link="https://myaccount.google.com/apppasswords",
        note="the relay service is switched on in the admin console, by IP address, by login or both",
    ),
    Preset(
        "outlook",
        "Microsoft 365",
        "smtp.office365.com",
        source="Microsoft MC786329 of 27 January 2026; learn.microsoft.com Exchange Online limits",
        confirmed=True,
        aliases=("m365", "microsoft365", "microsoft-365", "microsoft 365", "office365", "o365", "exchange-online", "microsoft"),
        other_ports=(25,),
        oauth="microsoft",
        limits=Limits(connections=3, per_minute=30, per_day=10_000, message=35 * _MB, recipients=500),
        note="password login is off by default from the end of December 2026; an admin may allow it, OAuth 2.0 lasts",
    ),
    Preset(
        "outlook.com",
        "Outlook.com",
        "smtp-mail.outlook.com",
        source="Mozilla ISPDB hotmail.com",
        confirmed=True,
        aliases=("outlook-com", "outlook.jp", "hotmail", "hotmail.com", "live", "live.com", "msn"),
        password=False,
        oauth="microsoft",
        limits=Limits(connections=1, per_day=300, message=25 * _MB, recipients=100),
        note="takes OAuth 2.0 only; password login ended in September 2024",
    ),
    Preset(
        "icloud",
        "iCloud",
        "smtp.mail.me.com",
        source="support.apple.com/102198; Mozilla ISPDB me.com",
        confirmed=True,
        aliases=("icloud.com", "me.com", "mac.com", "apple"),
        mail_domain="icloud.com",
        limits=Limits(connections=4, per_day=1000, message=20 * _MB, recipients=500),
        app_link="https://account.apple.com/account/manage",
        note="wants an app-specific password",
    ),
    Preset(
        "yahoo",
        "Yahoo",
        "smtp.mail.yahoo.com",
        source="Mozilla ISPDB yahoo.com",
        confirmed=True,
        aliases=("yahoo.com", "aol", "ymail"),
        port=465,
        tls=_IMPLICIT,
        other_ports=(587,),
        mail_domain="yahoo.com",
        oauth="yahoo",
        limits=Limits(connections=4, per_day=500, message=25 * _MB, recipients=100),
        app_link="https://login.yahoo.com/account/security",
        note="wants an app password",
    ),
    Preset(
        "yahoo-jp",
        "Yahoo! JAPAN",
        "smtp.mail.yahoo.co.jp",
        source="Mozilla ISPDB yahoo.co.jp",
        confirmed=True,
        aliases=("yahoo.co.jp", "yahoojp", "yahoo-japan", "yahoo!japan", "yahoo! japan"),
        port=465,
        tls=_IMPLICIT,
        other_ports=(587,),
        user=UserForm.LOCAL,
        mail_domain="yahoo.co.jp",
        limits=Limits(connections=2, message=25 * _MB),
        note="SMTP for other programs must be switched on in the mail settings",
    ),
    Preset(
        "gmx",
        "GMX",
        "mail.gmx.net",
        source="Mozilla ISPDB gmx.net",
        confirmed=True,
        aliases=("gmx.net", "gmx.de", "gmx.at", "gmx.ch"),
        port=465,
        tls=_IMPLICIT,
        other_ports=(587,),
        limits=Limits(connections=2, message=50 * _MB),
        note="POP3 and IMAP access must be switched on in the mail settings",
    ),
    Preset(
        "web.de",
        "WEB.DE",
        "smtp.web.de",
        source="common knowledge; same operator as GMX",
        confirmed=False,
        aliases=("webde", "web-de"),
        other_ports=(465,),
        mail_domain="web.de",
        limits=Limits(connections=2, message=50 * _MB),
        note="POP3 and IMAP access must be switched on in the mail settings",
    ),
    Preset(
        "fastmail",
        "Fastmail",
        "smtp.fastmail.com",
        source="Mozilla ISPDB messagingengine.com",
        confirmed=True,
        aliases=("fastmail.com", "messagingengine"),
        port=465,
        tls=_IMPLICIT,
        other_ports=(587,),
        limits=Limits(connections=4, per_day=4000, message=70 * _MB),
        app_link="https://app.fastmail.com/settings/security/apps",
        note="wants an app password",
    ),
    Preset(
        "zoho",
        "Zoho",
        "smtp.zoho.com",
        source="Mozilla ISPDB zoho.com",
        confirmed=True,
        aliases=("zoho.com", "zohomail"),
        port=465,
        tls=_IMPLICIT,
        other_ports=(587,),
        limits=Limits(connections=2, per_day=500, message=53_477_376),
        app_link="https://accounts.zoho.com/home#security/app_password",
        note="accounts of other regions set host: smtp.zoho.eu, .jp or .in",
    ),
    Preset(
        "mailbox.org",
        "mailbox.org",
        "smtp.mailbox.org",
        source="common knowledge",
        confirmed=False,
        aliases=("mailbox-org", "mailboxorg"),
        port=465,
        tls=_IMPLICIT,
        other_ports=(587,),
        limits=Limits(connections=4, message=100 * _MB),
    ),
    Preset(
        "sakura",
        "Sakura Internet",
        "",
        source="field notes (2010, 2014); mail settings of the control panel",
        confirmed=True,
        aliases=("sakura.ne.jp", "sakura-internet"),
        host_form="INITIALDOMAIN.sakura.ne.jp",
        other_ports=(465,),
        sender=SenderRule.DOMAINS,
        limits=Limits(connections=2),
        note="host is the initial domain of the contract; an SPF record is one tick in the control panel",
    ),
    Preset(
        "coreserver",
        "CORESERVER / XREA",
        "",
        source="field notes (2009) for the sender rule; ports and AUTH are common knowledge",
        confirmed=False,
        aliases=("xrea", "core-server", "coreserver.jp"),
        host_form="sNNN.coreserver.jp or sNNN.xrea.com",
        other_ports=(465,),
        sender=SenderRule.DOMAINS,
        limits=Limits(connections=2),
        note="senders outside the hosted domains are refused with 552 senderhosts, even towards its own users",
    ),
    Preset(
        "lolipop",
        "Lolipop",
        "smtp.lolipop.jp",
        source="lolipop.jp for the limit; host and port are common knowledge",
        confirmed=False,
        aliases=("lolipop.jp",),
        port=465,
        tls=_IMPLICIT,
        sender=SenderRule.DOMAINS,
        limits=Limits(connections=2),
        note="100 to 1,000 messages an hour, by plan",
    ),
    Preset(
        "xserver",
        "XSERVER",
        "",
        source="ezhp.jp for the limit; host and port are common knowledge",
        confirmed=False,
        aliases=("xserver.jp", "x-server"),
        host_form="svNNN.xserver.jp",
        port=465,
        tls=_IMPLICIT,
        other_ports=(587,),
        sender=SenderRule.DOMAINS,
        limits=Limits(connections=2, per_day=15_000),
        note="1,500 messages an hour",
    ),
    Preset(
        "iijmio",
        "IIJmio",
        "mbox.iijmio-mail.jp",
        source="Mozilla ISPDB iijmio-mail.jp; field notes",
        confirmed=True,
        aliases=("iij", "iij4u", "iijmio-mail.jp"),
        user=UserForm.DOTTED,
        sender=SenderRule.FREE,
        limits=Limits(connections=2),
        note="offers CRAM-MD5",
    ),
    Preset(
        "asahi-net",
        "ASAHI net",
        "mail.asahi-net.or.jp",
        source="asahi-net.jp/support/guide/mail/0600.html; field notes",
        confirmed=True,
        aliases=("asahinet", "asahi", "asahi-net.or.jp"),
        port=465,
        tls=_IMPLICIT,
        user=UserForm.ANY,
        sender=SenderRule.FREE,
        limits=Limits(connections=2),
        note="the user name is the ASAHI-net ID; 587 and 25 have no TLS",
    ),
    Preset(
        "ocn",
        "OCN",
        "smtp.ocn.ne.jp",
        source="Mozilla ISPDB ocn.ne.jp",
        confirmed=True,
        aliases=("ocn.ne.jp",),
        port=465,
        tls=_IMPLICIT,
        limits=Limits(connections=2),
    ),
    Preset(
        "so-net",
        "So-net",
        "mail.so-net.ne.jp",
        source="common knowledge",
        confirmed=False,
        aliases=("sonet", "so-net.ne.jp"),
        other_ports=(465,),
        limits=Limits(connections=2),
    ),
    Preset(
        "nifty",
        "@nifty",
        "smtp.nifty.com",
        source="Mozilla ISPDB nifty.com",
        confirmed=True,
        aliases=("@nifty", "nifty.com"),
        tls=TlsMode.NONE,
        other_ports=(465,),
        auth=Auth.CRAM_MD5,
        user=UserForm.LOCAL,
        mail_domain="nifty.com",
        limits=Limits(connections=2),
        note="587 without TLS, the password hidden by CRAM-MD5",
    ),
    Preset(
        "biglobe",
        "BIGLOBE",
        "mail.biglobe.ne.jp",
        source="Mozilla ISPDB biglobe.ne.jp",
        confirmed=True,
        aliases=("biglobe.ne.jp",),
        port=465,
        tls=_IMPLICIT,
        other_ports=(587,),
        limits=Limits(connections=2),
    ),
    Preset(
        "ses",
        "Amazon SES",
        "",
        source="docs.aws.amazon.com SES SMTP endpoints",
        confirmed=True,
        aliases=("amazon", "amazon-ses", "amazonses", "aws", "aws-ses", "amazon ses"),
        host_form="email-smtp.REGION.amazonaws.com",
        other_ports=(25, 465, 2465, 2587),
        user=UserForm.ANY,
        sender=SenderRule.VERIFIED,
        limits=Limits(connections=4, message=40 * _MB, recipients=50),
        app_link="https://console.aws.amazon.com/ses/home#/smtp",
        note="takes SMTP credentials, not IAM keys; a new account is in the sandbox (200 a day, verified recipients)",
    ),
    Preset(
        "sendgrid",
        "SendGrid",
        "smtp.sendgrid.net",
        source="twilio.com SendGrid SMTP documentation",
        confirmed=True,
        aliases=("twilio", "sendgrid.net"),
        other_ports=(25, 465, 2525),
        user=UserForm.FIXED,
        fixed_user="apikey",
        sender=SenderRule.VERIFIED,
        limits=Limits(connections=4, message=30 * _MB, recipients=1000),
        app_link="https://app.sendgrid.com/settings/api_keys",
        note="the user name is the word apikey, the password an API key",
    ),
    Preset(
        "mailgun",
        "Mailgun",
        "smtp.mailgun.org",
        source="common knowledge",
        confirmed=False,
        aliases=("mailgun.org",),
        other_ports=(25, 465, 2525),
        sender=SenderRule.VERIFIED,
        limits=Limits(connections=4, message=25 * _MB, recipients=1000),
        app_link="https://app.mailgun.com/mg/sending/domains",
        note="EU accounts set host: smtp.eu.mailgun.org; the user name is postmaster@your-domain",
    ),
    Preset(
        "postmark",
        "Postmark",
        "smtp.postmarkapp.com",
        source="common knowledge",
        confirmed=False,
        aliases=("postmarkapp", "postmarkapp.com"),
        other_ports=(25, 2525),
        user=UserForm.ANY,
        sender=SenderRule.VERIFIED,
        limits=Limits(connections=4, message=10 * _MB, recipients=50),
        app_link="https://account.postmarkapp.com/servers",
        note="the server token is both user name and password; refusals show up in its activity log only",
    ),
    Preset(
        "brevo",
        "Brevo",
        "smtp-relay.brevo.com",
        source="common knowledge",
        confirmed=False,
        aliases=("sendinblue", "brevo.com"),
        other_ports=(465, 2525),
        user=UserForm.ADDRESS,
        sender=SenderRule.VERIFIED,
        limits=Limits(connections=4, per_day=300, message=20 * _MB, recipients=99),
        app_link="https://app.brevo.com/settings/keys/smtp",
        note="the password is an SMTP key; 300 a day is the free plan",
    ),
)

GENERIC = "generic"
"""The provider that nothing is known about."""

NAMES: tuple[str, ...] = (GENERIC, *(preset.key for preset in PRESETS))

_BY_NAME = {name.lower(): preset for preset in PRESETS for name in (preset.key, preset.name, *preset.aliases)}


def preset_for(provider: str) -> Preset | None:
    """The preset of a provider by any of its names, in any case; None if it is not known."""
    return _BY_NAME.get(provider.strip().lower())
