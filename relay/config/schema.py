"""What each setting is for, in words: the one description of the settings.  Pure.

`relay check` takes its examples from here, docs/configuration.md is written from it (tools/pages), and
tests/docs/test_settings_page.py holds it against what the code really reads: names, defaults and examples.
"""

from relay.config.described import Section, Setting
from relay.config.schema_devices import DEVICES
from relay.config.schema_direct import DIRECT_DELIVERY

_S = Setting

SECTIONS: tuple[Section, ...] = (
    Section(
        "",
        "",
        "Only `upstreams` is required. The sections below stand at the top level of the file, or where their name says.",
        (
            _S(
                "hostname",
                "Our own name in EHLO, `Received` and `Message-ID`: a full name with a dot, or an address as `[192.0.2.1]`.",
                otherwise="the machine's name if it is a full public one, else `relay.home.arpa`",
            ),
        ),
    ),
    Section(
        "listen",
        '{address: "0.0.0.0:2525"}',
        "Where devices connect, and which of them may. One mapping, or a list of them.",
        (
            _S(
                "address",
                "Address and port. `[::]:25` is IPv6 and IPv4 together; `:25` and `25` mean `0.0.0.0:25`.",
                '"0.0.0.0:25"',
            ),
            _S(
                "networks",
                "Who may submit: networks, single addresses, or `private` (loopback, 10/8, 172.16/12, 192.168/16, fc00::/7 and "
                "link-local). Public networks wider than /8 (IPv6: /32) are a mistake, since that would be an open relay.",
                "[private]",
                several=True,
            ),
            _S(
                "tls",
                "`off`; `starttls`: offered, not demanded; `required`: STARTTLS comes before login and mail; `implicit`: TLS "
                "from the first octet (usual on port 465).",
                "starttls",
            ),
            _S(
                "tls_cert",
                "Certificate (PEM) shown to devices; read again when the file changes.",
                otherwise="one of our own, made beside the spool, and anew before it ends",
            ),
            _S("tls_key", "Its key (PEM).", otherwise="made with the certificate"),
            _S(
                "auth",
                "`any`: any name and password will do, or none; `off`: AUTH is not offered; `required`: only "
                "those named in `users`.",
                "any",
            ),
            _S(
                "users",
                "User names for `auth: required`, each with the hash of its password as `relay hash` makes it, or with the "
                "password; `nas_file: PATH` reads the one of `nas` from a file.",
                secret=True,
            ),
            _S(
                "plain_login",
                "`true`: with `auth: required` a login without TLS is accepted too; needed where `tls` is `off`.",
                "false",
            ),
            _S(
                "legacy_tls",
                "`true` also allows TLS 1.0 and 1.1 on this listener, for old printers and alarm boxes.",
                "false",
            ),
        ),
    ),
    Section(
        "recipients",
        "{default_domain: company.example}",
        "Whom devices write to.",
        (
            _S("default_domain", "Completes a bare name: `root` becomes `root@` this domain."),
            _S(
                "aliases",
                "Other addresses for a name (`root`), an address, or a whole domain (`*@nas.local`). One address or a list.",
            ),
            _S(
                "everything_to",
                "All mail goes here, whatever it is addressed to; the To field stays. One address or a list. Notices go to"
                " `notices.to`, else here, and never to the sender.",
                otherwise="mail goes to whom it is addressed",
                several=True,
            ),
        ),
    ),
    Section(
        "upstreams.*",
        "{host: mail.isp.example}",
        "Where mail goes, under a name of your choice. `mx` is built in: straight to the recipient's own server.",
        (
            _S(
                "provider",
                "A provider by name fills in host, port, TLS, login and limits ([the list](providers.md)); what you set wins.",
                "generic",
            ),
            _S("api", "`graph`: Microsoft Graph instead of SMTP, for Microsoft 365 ([how to](microsoft-365.md)).", "smtp"),
            _S("url", "With `api: graph`: another cloud, such as `https://graph.microsoft.us`.", otherwise="the public one"),
            _S("save_to_sent", "With `api: graph`: `true` leaves a copy in Sent Items.", otherwise="`false`"),
            _S("host", "The server's name or address.", otherwise="the provider's"),
            _S("port", "Its port.", "587", "the provider's; with `tls: implicit` 465, else 587"),
            _S(
                "tls",
                "`starttls`; `implicit`; or `none`: without TLS, so that mail and password can be read on the network.",
                "starttls",
                "the provider's; on port 465 `implicit`, else `starttls`",
            ),
            _S("ca_file", "Trust this authority only (PEM)."),
            _S("fingerprint", "Trust this certificate only: its SHA-256, as `openssl x509 -fingerprint -sha256` prints it."),
            _S("verify", "`false` accepts any certificate; whoever intercepts the mail can read the password.", "true"),
            _S("tls_min", "The lowest TLS version that is used.", '"1.2"'),
            _S("client_cert", "The relay's certificate, for servers that want one from their clients (PEM)."),
            _S("client_key", "Its key.", otherwise="taken from the file of `client_cert`"),
            _S(
                "legacy_tls",
                "`true` allows TLS 1.0, SHA-1 and small keys for this upstream, if its server has nothing better.",
                "false",
            ),
            _S(
                "auth",
                "`auto` takes the strongest login that both sides have, and sends no password without TLS; `pop` logs in by "
                "POP first.",
                "auto",
            ),
            _S("username", "The account. Without one there is no login."),
            _S("password", "Its password. `password_file` or `${ISP_PASSWORD}` is safer.", secret=True),
            _S(
                "password_file",
                "A file with the password on its first line, read again at each reload and retry by hand.",
                names_secret=True,
            ),
            _S(
                "sender",
                "The address that this account may send as.",
                otherwise="`username`, if it is an address; needed where the provider wants a verified one",
            ),
            _S("sender_domains", "Senders that may stay as they are.", otherwise="the domain of `sender`", several=True),
            _S(
                "rewrite",
                "`foreign`: senders outside `sender_domains` become `sender`; `always`: all of them; `never`: none.",
                "foreign",
            ),
            _S("rewrite_from", "The From field too; the original stays in Reply-To and in the display name.", "true"),
            _S(
                "push",
                "Instead of a server: notification URLs, one or a list ([how to](push.md)). They are secrets.",
                secret=True,
                several=True,
            ),
            _S("push_file", "A file with them, one on each line.", names_secret=True),
            _S("title", "With `push`: the title, with `{device}`, `{subject}`, `{sender}` in it.", otherwise="`{subject}`"),
            _S("attachments", "With `push`: `false` leaves pictures out.", otherwise="`true`"),
            _S("folder", "Instead of a server: a folder in which attachments become files ([how to](scans.md))."),
            _S("save", "With `folder`: `attachments`, the whole `message`, or `both`.", otherwise="`attachments`"),
            _S("timeout", "For one reply. For the one after the content ten times that.", "60s"),
        ),
    ),
    Section(
        "upstreams.*.limits",
        "{per_day: 500}",
        "How much this upstream gets. `none` removes a provider's limit. Mail beyond a limit per minute or day waits.",
        (
            _S("connections", "Sessions at a time.", "4", "the provider's, else 4"),
            _S("per_minute", "Messages a minute.", otherwise="the provider's, else no limit"),
            _S("per_day", "Messages a day, by UTC.", otherwise="the provider's, else no limit"),
            _S(
                "message",
                "The largest message that it gets. A larger one goes to the next upstream; if there is none, it fails.",
                otherwise="the provider's, else no limit",
            ),
            _S(
                "recipients",
                "Recipients of one transaction; more go in several.",
                "100",
                "the provider's, else 100",
            ),
        ),
    ),
    Section(
        "upstreams.*.pop",
        "{host: pop.isp.example}",
        "POP before SMTP, with `auth: pop`: log in there first, then send within the window.",
        (
            _S("host", "The POP server. Required."),
            _S("port", "Its port.", "110", "995 with `tls: implicit`, else 110"),
            _S("tls", "`starttls`, `implicit` or `none`.", "none", "`implicit` on port 995, else `none`"),
            _S("window", "How long a login counts.", "10m"),
        ),
    ),
    Section(
        "upstreams.*.oauth",
        "{client_id: 00000000-0000-0000-0000-000000000000, tenant: company.example}",
        "OAuth 2.0 instead of a password, with an application of your own ([how to](oauth.md)).",
        (
            _S("client_id", "The application's id. Required."),
            _S("client_secret", "Its secret, if it has one. Better in a file.", secret=True),
            _S("client_secret_file", "A file with that secret.", names_secret=True),
            _S("tenant", "Microsoft: id or domain of the tenant.", otherwise="`common`; for Outlook.com `consumers`"),
            _S("provider", "Who hands out tokens.", otherwise="the one that the upstream's provider uses"),
            _S(
                "refresh_token_file",
                "A bare refresh token from elsewhere.",
                otherwise="tokens are kept beside the spool",
                names_secret=True,
            ),
            _S("token_url", "Where tokens are renewed, for other providers.", otherwise="the provider's"),
            _S("device_url", "Where codes to type come from.", otherwise="the provider's, or beside `token_url`"),
            _S("auth_url", "The page that a browser opens.", otherwise="the provider's, or beside `token_url`"),
            _S("scope", "What is asked for.", otherwise="the provider's"),
            _S(
                "grant",
                "`client-credentials`: the application's own right, without anybody's consent.",
                "refresh-token",
            ),
            _S("certificate_file", "For `client-credentials`, instead of a secret: certificate and RSA key (PEM)."),
        ),
    ),
    Section(
        "routes",
        '{to: ["*@company.example"], via: [isp]}',
        "Which mail goes where: a list of rules, the first that matches wins, for each recipient. With one upstream and no "
        "rules everything goes there. A rule has conditions (all must hold; of several values one) and exactly one of `via`, "
        "`reject` and `discard`.",
        (
            _S("to", "Condition: the recipient, as a pattern such as `*@host.example`.", otherwise="everybody"),
            _S("from", "Condition: the envelope sender, as a pattern; `<>` is the null sender.", otherwise="everybody"),
            _S("client", "Condition: the device's network or address.", otherwise="every device"),
            _S("listener", "Condition: the `address` of the listener that it came by.", otherwise="every listener"),
            _S("device", "Condition: a name in `devices`.", otherwise="every device"),
            _S("user", "Condition: who logged in.", otherwise="everybody, with a login or without"),
            _S(
                "via",
                "Upstreams in order of preference: the next one if one is down or refuses. `mx` is built in.",
            ),
            _S("reject", "The device is refused with this text."),
            _S("discard", "`true`: accepted, and deleted."),
            _S("copy_to", "Beside `via` or `discard`: who gets a copy. It goes by the rule for that address, on its own."),
        ),
    ),
    Section(
        "retry",
        "{delays: [5m, 1h]}",
        "What happens when an upstream or a recipient's server does not take mail now.",
        (
            _S(
                "delays",
                "Between the attempts for a message; the last one repeats.",
                "[1m, 5m, 15m, 30m, 1h, 2h, 4h]",
                several=True,
            ),
            _S("give_up_after", "The age at which a message is given up. A notice tells of it.", "5d"),
            _S("warn_after", "The age at which one notice says that the message is delayed.", "4h"),
            _S(
                "rest",
                "How long an upstream in trouble is paused, longer each time.",
                "[1m, 2m, 4m, 8m, 15m, 30m, 1h]",
                several=True,
            ),
            _S("rest_login", "The same after a refused login, so that the account is not locked; it doubles.", "15m"),
        ),
    ),
    Section(
        "notices",
        "{to: me@company.example}",
        "Who is told when mail fails.",
        (
            _S("to", "The address that gets the notices that cannot go to the sender.", otherwise="nobody but the sender"),
            _S(
                "via",
                "Upstreams that notices to `to` go by first, such as `[phone]`.",
                otherwise="as the rules say",
                several=True,
            ),
            _S("webhook", "A URL that gets a JSON POST.", secret=True),
            _S("webhook_file", "A file with that URL, where it is a secret.", names_secret=True),
            _S("digest", "Failures within this time after the first are told in one notice.", "15m"),
        ),
    ),
    Section(
        "repair",
        "{hide_client: true}",
        "What may be repaired.",
        (
            _S("date_skew", "A Date that is wrong by more than this is replaced; the old one stays in X-Original-Date.", "2d"),
            _S(
                "fallback_charset",
                "The guesses for raw 8-bit text, the first one first; `auto`: all that are known. [By country](charsets.md).",
                "[utf-8, cp932, euc-jp, latin-1]",
                several=True,
            ),
            _S("hide_client", "`true`: the Received field does not tell the device's address.", "false"),
        ),
    ),
    Section(
        "spool",
        "{url: sqlite:/var/lib/relay/spool.db}",
        "Where accepted mail waits. A power cut does not lose it.",
        (
            _S(
                "url",
                "`sqlite:` and a path, on a local disk; or `postgresql://...`, to share one queue (postgres.md).",
                '"sqlite:/var/lib/relay/spool.db"',
                holds_login=True,
            ),
            _S(
                "password",
                "PostgreSQL: the role's password, if the URL has none. Better in a file.",
                otherwise="none",
                secret=True,
            ),
            _S("password_file", "PostgreSQL: a file with that password.", names_secret=True),
            _S(
                "fallback",
                "PostgreSQL: a file of this relay's own on a local disk, where mail waits while the database is away.",
                otherwise="none: 451",
            ),
            _S("lease", "PostgreSQL: after how long without a sign of life another relay takes over.", "60s"),
            _S("name", "PostgreSQL: what this relay is called in the queue.", otherwise="the machine's name"),
            _S(
                "max_size",
                "PostgreSQL: how much mail may wait in all; devices have `keep_free` less.",
                "20GB",
            ),
            _S("max_message", "The largest message that is taken.", "50MB"),
            _S("keep_free", "Mail is refused for the moment while that disk has less room than this.", "200MB"),
            _S("keep_history", "How long finished messages can be looked at, failed ones sent again.", "14d"),
            _S(
                "state_dir",
                "Where certificate, OAuth tokens and control socket are kept; with PostgreSQL also `relay.id`, which is who"
                " this relay is: one directory for each, never a copy (the tokens are in the database then).",
                otherwise="the folder of the spool's file, or of `fallback`; else `/var/lib/relay`",
            ),
        ),
    ),
    *DIRECT_DELIVERY,
    Section(
        "limits",
        "{per_client: 10}",
        "What devices may use, so that one of them cannot keep the others out.",
        (
            _S("connections", "Open sessions of all devices together.", "100"),
            _S("per_client", "Open sessions of one device: an IPv4 address, or a /64 of IPv6.", "20"),
            _S("recipients", "Recipients of one message.", "500"),
            _S("messages_per_minute", "Messages of one device in a minute; more are answered 450: try again.", "300"),
            _S("share", "How much of the room for mail one device's waiting mail may take; more is answered 452.", "50%"),
            _S(
                "idle",
                "How long a device may take for a command, or for a block of its message: 30 octets a second are enough.",
                "5m",
            ),
        ),
    ),
    Section(
        "web",
        '{address: "127.0.0.1:8025"}',
        "The status page, metrics and API ([how to](watching.md)).",
        (
            _S("address", "Where it answers. Any address that is not loopback needs a password or `user_header`.", '"off"'),
            _S("password", "For the log-in page, and for HTTP Basic with any user name. Better in a file.", secret=True),
            _S("password_file", "A file with that password.", names_secret=True),
            _S("hosts", "Names it is reached by, beside its addresses, `hostname` and the machine's name.", several=True),
            _S("user_header", "A reverse proxy does the login and names the user in this header."),
            _S("proxies", "Where `user_header` is believed from, and the proxy's path.", several=True),
            _S("content", "Whether the page and the API show what a message says; each look is in its trail.", "true"),
        ),
    ),
    *DEVICES,
    Section(
        "log",
        "{level: info}",
        "The log goes to standard output.",
        (
            _S("format", "`auto`: text for people on a terminal, JSON otherwise; or `console`, `json`.", "auto"),
            _S("level", "`debug`, `info`, `warning` or `error`.", "info"),
        ),
    ),
)
"""Every section in the order in which people want to read them."""

EXAMPLES = {
    "upstreams": "{isp: {host: mail.isp.example}}",
    "listen.users": "{nas: secret}",
    "recipients.aliases": "{root: me@company.example}",
    "devices": "{nas: {client: 192.168.0.20, expect_every: 26h}}",
    "devices.*.header": "{X-Location: hallway}",
    **{section.path: section.example for section in SECTIONS if section.path},
}
"""What each section looks like, by its path; the first five hold names of one's own, and no settings."""
