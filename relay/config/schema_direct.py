"""What each setting of DNS look-ups, of direct delivery and of DKIM is for, in words: a part of schema.py.  Pure."""

from relay.config.described import Section, Setting

_S = Setting

DIRECT_DELIVERY: tuple[Section, ...] = (
    Section(
        "dns",
        "{nameservers: [192.168.0.1]}",
        "For MX, SPF and block list look-ups. Upstream hosts go through the system's own resolver.",
        (
            _S("nameservers", "Addresses, with `:port` if it is not 53.", otherwise="the system's", several=True),
            _S(
                "trusted",
                "Addresses of nameservers that validate DNSSEC, where nobody can change the answer on the way here. Those on"
                " this machine (loopback) count without it. `mx` uses DANE where they say that an answer is validated.",
                several=True,
            ),
        ),
    ),
    Section(
        "mx",
        "{tls: verified}",
        "The built-in upstream `mx`, which delivers straight to the recipient's domain.",
        (
            _S(
                "tls",
                "`opportunistic`: TLS with any certificate, and in clear to hosts without. `verified`: only to hosts with"
                " a trusted certificate for their name. What a domain demands by DANE or MTA-STS holds either way.",
                "opportunistic",
            ),
            _S(
                "private",
                "`true`: mail hosts may also be in the LAN or on this machine, for domains of your own. With `false` nobody"
                " who owns a domain can make the relay connect to machines there.",
                "false",
            ),
            _S("connections", "Open sessions to the hosts of one domain.", "2"),
            _S("per_minute", "Messages to one domain in a minute, or `none`.", "30"),
        ),
    ),
    Section(
        "dkim",
        "{domain: own.example}",
        "Mail from a domain of your own is signed, so that receivers see that it is yours "
        "([how to](without-provider.md)). One mapping, or a list of them.",
        (
            _S("domain", "The domain in the From of what is signed. Required."),
            _S("selector", "The key's name in the DNS. Each key of a domain needs its own.", "relay"),
            _S(
                "key_file",
                "The private key (PEM). It is made if it is not there, and only the relay's user can read it.",
                otherwise="`dkim-SELECTOR.DOMAIN.pem` in `spool.state_dir`",
            ),
            _S("via", "The upstreams on whose way it is signed: `mx`, or such as are reached by SMTP.", "[mx]", several=True),
            _S(
                "algorithm",
                "The kind of key that is made: `rsa` (2048 bits) or `ed25519`, which not all receivers know.",
                "rsa",
            ),
        ),
    ),
)
