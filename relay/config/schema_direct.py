"""What each setting of DNS look-ups and of direct delivery is for, in words: a part of schema.py.  Pure."""

from relay.config.described import Section, Setting

_S = Setting

DIRECT_DELIVERY: tuple[Section, ...] = (
    Section(
        "dns",
        "{nameservers: [192.168.0.1]}",
        "For MX, SPF and block list look-ups. Upstream hosts go through the system's own resolver.",
        (
            _S("nameservers", "Addresses, with `:port` if it is not 53.", otherwise="the system's"),
            _S(
                "trusted",
                "Addresses of nameservers that validate DNSSEC, where nobody can change the answer on the way here. Those on"
                " this machine (loopback) count without it. `mx` uses DANE where they say that an answer is validated.",
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
)
